"""A report as a list of sentences and tables, which the terminal and Markdown print each in its own way."""

import dataclasses

from genux_server.model import Check, Comparison, MetricReport, Money, Report
from genux_server.pages import format as fmt
from genux_server.pages.unpriced import why_unpriced

__all__ = ["Section", "outline"]

_VALIDITY = {
    "planned": "the plan's",
    "always": "every look",
    "fixed": "one look",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A heading with sentences and, where there is something to compare, a table whose first column is text.

    Without a title it goes on with the section before; a column without a heading is left out.
    """

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def outline(report: Report) -> list[Section]:
    """The parts of a report in the order a reader needs them; empty ones are left out."""
    said: set[str] = set()
    metrics = [section for metric in report.metrics for section in _metric(metric, said)]
    sections = [_health(report), *metrics, _funnel(report), _economics(report)]
    return [section for section in sections if section is not None]


def _health(report: Report) -> Section | None:
    order = {"fail": 0, "warn": 1, "unknown": 2, "ok": 3}
    troubled = sorted((c for c in report.checks if c.status != "ok"), key=lambda c: order[c.status])
    fine = len(report.checks) - len(troubled)
    lines = tuple(_check(check) for check in troubled)
    if fine:
        lines += (f"{fine} of {len(report.checks)} checks found nothing wrong.",)
    return Section("Health", lines) if lines else None


def _check(check: Check) -> str:
    advice = f" {check.advice.text}" if check.advice else ""
    return f"{check.status.upper()}: {check.message.text}{advice}"


def _metric(metric: MetricReport, said: set[str]) -> list[Section]:
    """A metric's figures and comparisons; a note that another metric has `said` already is not repeated."""
    notes = tuple(note.text for note in metric.notes if note.text not in said)
    said.update(notes)
    quantity = fmt.quantity(metric.kind, metric.unit)
    is_share = metric.kind == "proportion"
    arms = tuple(
        (
            arm.variant,
            fmt.count(arm.n_units),
            quantity.total(arm.total) if is_share else "",
            quantity.value(arm.value, arm.ci_lower, arm.ci_upper),
            quantity.interval(arm.ci_lower, arm.ci_upper),
            fmt.count(arm.pending) if arm.pending else "",
        )
        for arm in metric.arms
    )
    header = (
        "variant",
        "units",
        "conversions" if is_share else "",
        "value",
        "interval",
        "not matured" if any(arm.pending for arm in metric.arms) else "",
    )
    title = f"{metric.label or metric.key} ({metric.role}, {metric.kind})"
    sections = [Section(title, notes, header, arms)]
    computed = [c for c in metric.comparisons if c.not_computable is None]
    if computed:
        against = f"vs {computed[0].control}"
        effect = f"effect{quantity.effect_suffix}"
        level = f"{100 * computed[0].level:g} % interval"
        rows = tuple(_compared(metric, comparison) for comparison in computed)
        sections.append(Section("", (), (against, effect, level, "lift", "z or t", "p", "valid at"), rows))
    missing = dict.fromkeys(
        f"{c.variant} against {c.control}: {c.not_computable.text}" for c in metric.comparisons if c.not_computable
    )
    if missing:
        sections.append(Section("", tuple(missing)))
    return sections


def _compared(metric: MetricReport, c: Comparison) -> tuple[str, ...]:
    quantity = fmt.quantity(metric.kind, metric.unit)
    _, interval = quantity.effect(c.effect, c.effect_ci_lower, c.effect_ci_upper)
    return (
        c.variant,
        _exact(c.effect, quantity.factor, quantity.prefix),
        interval.removesuffix(quantity.effect_suffix),
        fmt.lift(c.lift, c.lift_ci_lower, c.lift_ci_upper)[0] if c.lift is not None else "",
        _exact(c.statistic),
        "" if c.p_value is None else f"{c.p_value:.3g}",
        _VALIDITY[c.validity],
    )


def _exact(x: float | None, factor: float = 1.0, prefix: str = "") -> str:
    """Four significant digits: who reads tables in a terminal compares them with another program's."""
    if x is None:
        return ""
    sign = fmt.MINUS if x < 0 else "+"
    return f"{sign}{prefix}{abs(x) * factor:.4g}"


def _funnel(report: Report) -> Section | None:
    if not report.funnel:
        return None
    variants = [arm.variant for arm in report.arms]
    steps = list(dict.fromkeys(step.step for step in report.funnel))
    cell = {(s.step, s.variant): s for s in report.funnel}
    rows = tuple(
        (
            step.replace("_", " "),
            *(
                f"{fmt.count(found.n_units)} ({fmt.rate(found.share)})" if (found := cell.get((step, v))) else fmt.DASH
                for v in variants
            ),
        )
        for step in steps
    )
    return Section("Surface funnel: people who reached each step", (), ("step", *variants), rows)


def _economics(report: Report) -> Section | None:
    if not any(arm.n_calls for arm in report.arms):
        return None
    rows = tuple(
        (
            arm.variant,
            fmt.count(arm.n_calls),
            fmt.usd(arm.cost_usd),
            fmt.usd(arm.cost_per_unit_usd),
            fmt.seconds(arm.latency_p50_seconds),
            fmt.seconds(arm.latency_p95_seconds),
            fmt.rate(arm.error_rate),
            fmt.rate(arm.fallback_rate),
            ", ".join(arm.served_models),
        )
        for arm in report.arms
    )
    lines = [_money(money) for money in report.money]
    unknown = sum(arm.n_cost_unknown for arm in report.arms)
    if unknown:
        reasons = why_unpriced(report.arms)
        lines.append(f"The cost of {fmt.count(unknown)} calls is unknown and not in these sums: {reasons}.")
    header = ("variant", "calls", "cost", "per unit", "latency p50", "p95", "errors", "fallbacks", "served models")
    return Section("LLM calls", tuple(lines), header, rows)


def _money(money: Money) -> str:
    if money.not_computable is not None:
        return f"{money.variant}: {money.not_computable.text}"
    interval = fmt.quantity("mean", "usd").interval(
        money.cost_per_incremental_ci_lower, money.cost_per_incremental_ci_upper
    )
    interval = interval or "its interval is unbounded: the effect may be zero"
    return (
        f"{money.variant}: {fmt.usd(money.cost_per_incremental_usd)} for each extra conversion of the primary metric "
        f"({interval}), against {money.control}."
    )
