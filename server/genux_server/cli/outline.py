"""A report as a list of sentences and tables, which the terminal and Markdown print each in its own way."""

import dataclasses

from genux_server.model import Check, Comparison, MetricReport, Money, Report
from genux_server.pages import format as fmt

__all__ = ["Section", "outline"]

_VALIDITY = {
    "planned": "valid at the planned looks",
    "always": "valid at every look",
    "fixed": "valid for one look",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A heading with sentences and, where there is something to compare, one table. The first column is text."""

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def outline(report: Report) -> list[Section]:
    """The parts of a report in the order a reader needs them; empty ones are left out."""
    sections = [_health(report), *(_metric(metric) for metric in report.metrics), _funnel(report), _economics(report)]
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


def _metric(metric: MetricReport) -> Section:
    quantity = fmt.quantity(metric.kind, metric.unit)
    by_variant: dict[str, list[Comparison]] = {}
    for comparison in metric.comparisons:
        by_variant.setdefault(comparison.variant, []).append(comparison)
    rows: list[tuple[str, ...]] = []
    for arm in metric.arms:
        figures = (
            fmt.count(arm.n_units),
            fmt.count(arm.total) if metric.kind == "proportion" else "",
            quantity.value(arm.value),
        )
        compared = by_variant.get(arm.variant, [])
        if not compared:
            rows.append((arm.variant, *figures, "", "", "", ""))
        for i, comparison in enumerate(compared):
            rows.append((*((arm.variant, *figures) if i == 0 else ("", "", "", "")), *_compared(metric, comparison)))
    title = f"{metric.label or metric.key} ({metric.role}, {metric.kind})"
    header = (
        "variant",
        "units",
        "conversions" if metric.kind == "proportion" else "",
        "value",
        "effect",
        "95 % interval" if not metric.comparisons else f"{100 * metric.comparisons[0].level:g} % interval",
        "lift",
        "evidence",
    )
    return Section(title, tuple(note.text for note in metric.notes), header, tuple(rows))


def _compared(metric: MetricReport, c: Comparison) -> tuple[str, ...]:
    if c.not_computable is not None:
        return "not computable", c.not_computable.text, "", _VALIDITY[c.validity]
    quantity = fmt.quantity(metric.kind, metric.unit)
    evidence = f"{fmt.p_value(c.p_value)}, {_VALIDITY[c.validity]}" if c.p_value is not None else _VALIDITY[c.validity]
    return (
        quantity.effect(c.effect, c.effect_ci_lower, c.effect_ci_upper),
        quantity.effect_interval(c.effect_ci_lower, c.effect_ci_upper),
        fmt.lift(c.lift, c.lift_ci_lower, c.lift_ci_upper)[0] if c.lift is not None else "",
        evidence,
    )


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
        lines.append(f"The cost of {fmt.count(unknown)} calls is unknown and not in these sums.")
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
