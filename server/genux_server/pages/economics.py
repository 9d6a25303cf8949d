"""What each variant's LLM calls cost and how they went: one table, variants as columns."""

import msgspec

from genux_server.model import ArmReport, Money, Report
from genux_server.pages.format import DASH, count, quantity, rate, seconds, usd
from genux_server.pages.text import gettext, sentence
from genux_server.pages.unpriced import why_unpriced

__all__ = ["Cell", "Economics", "Group", "Row", "build_economics"]


class Cell(msgspec.Struct, frozen=True):
    """A figure, a second quieter line under it, and `warn` when it deserves a look."""

    text: str
    detail: str = ""
    tone: str = ""


class Row(msgspec.Struct, frozen=True):
    """One figure across the variants; `hint` says what it counts."""

    label: str
    cells: list[Cell]
    hint: str = ""


class Group(msgspec.Struct, frozen=True):
    """Rows that belong together."""

    label: str
    rows: list[Row]


class Economics(msgspec.Struct, frozen=True):
    """The table: variants as columns, groups of rows; `models` says who served each variant."""

    columns: list[str]
    groups: list[Group]
    models: list[str]
    wide: bool


_MOST_NARROW_COLUMNS = 3


def build_economics(report: Report) -> Economics | None:
    """The economics table; None when no variant made a call."""
    arms = report.arms
    if not any(arm.n_calls for arm in arms):
        return None
    money = {m.variant: m for m in report.money}
    groups = [
        Group(gettext("Cost"), _cost_rows(report, arms, money)),
        Group(gettext("Volume"), _volume_rows(arms)),
        Group(gettext("Speed"), _speed_rows(arms)),
        Group(gettext("Reliability"), _reliability_rows(arms)),
    ]
    return Economics(
        columns=[arm.label or arm.variant for arm in arms],
        groups=groups,
        models=_models(arms),
        wide=len(arms) > _MOST_NARROW_COLUMNS,
    )


def _cost_rows(report: Report, arms: list[ArmReport], money: dict[str, Money]) -> list[Row]:
    rows = [
        Row(gettext("Per unit"), [_per_unit(a) for a in arms], gettext("over all exposed units, callers or not")),
        Row(gettext("Extra per unit"), [_extra(a, report.control, money) for a in arms], gettext("against control")),
        Row(
            gettext("Per incremental conversion"),
            [_incremental(a, report.control, money) for a in arms],
            gettext("extra cost for each extra success"),
        ),
        Row(gettext("Per call"), [_per_call(a) for a in arms]),
        Row(gettext("Spent in all"), [Cell(usd(a.cost_usd) if a.n_calls else DASH) for a in arms]),
    ]
    if any(a.n_cost_unknown for a in arms):
        unknown = [Cell(count(a.n_cost_unknown), tone="warn" if a.n_cost_unknown else "") for a in arms]
        hint = gettext("left out of the sums above: {reasons}", reasons=why_unpriced(arms))
        rows.append(Row(gettext("Calls of unknown cost"), unknown, hint))
    return rows


def _per_unit(arm: ArmReport) -> Cell:
    return Cell(usd(arm.cost_per_unit_usd) if arm.n_calls or arm.cost_per_unit_usd is not None else DASH)


def _per_call(arm: ArmReport) -> Cell:
    known = arm.n_calls - arm.n_cost_unknown
    if not arm.n_calls:
        return Cell(DASH)
    return Cell(usd(arm.cost_usd / known if arm.cost_usd is not None and known > 0 else None))


def _extra(arm: ArmReport, control: str, money: dict[str, Money]) -> Cell:
    if arm.variant == control:
        return Cell(gettext("control"), tone="quiet")
    row = money.get(arm.variant)
    if row is None or row.cost_per_unit_difference_usd is None:
        return Cell(gettext("unknown"))
    dollars = quantity("mean", "usd")
    bounds = (row.cost_difference_ci_lower, row.cost_difference_ci_upper)
    return Cell(*dollars.effect(row.cost_per_unit_difference_usd, *bounds))


def _incremental(arm: ArmReport, control: str, money: dict[str, Money]) -> Cell:
    if arm.variant == control:
        return Cell(gettext("control"), tone="quiet")
    row = money.get(arm.variant)
    if row is None:
        return Cell(gettext("unknown"))
    if row.cost_per_incremental_usd is None:
        return Cell(gettext("none to state"), sentence(row.not_computable) if row.not_computable else "")
    lower, upper = row.cost_per_incremental_ci_lower, row.cost_per_incremental_ci_upper
    if lower is None and upper is None:
        detail = gettext("unbounded: perhaps no extra conversion at all")
    elif upper is None:
        detail = gettext("over %(lower)s, unbounded", lower=usd(lower))
    elif lower is None:
        detail = gettext("under %(upper)s, unbounded", upper=usd(upper))
    else:
        detail = gettext("%(lower)s to %(upper)s", lower=usd(lower), upper=usd(upper))
    if row.cost_per_incremental_usd < 0:
        cheaper = (row.cost_per_unit_difference_usd or 0.0) < 0
        sign = gettext("more conversions for less money") if cheaper else gettext("more money for fewer conversions")
        detail = f"{detail}; {sign}"
    return Cell(usd(row.cost_per_incremental_usd), detail)


def _volume_rows(arms: list[ArmReport]) -> list[Row]:
    def per_call(total: int, arm: ArmReport) -> Cell:
        return Cell(count(round(total / arm.n_calls)) if arm.n_calls else DASH)

    return [
        Row(gettext("Calls"), [Cell(count(a.n_calls)) for a in arms]),
        Row(gettext("Calls per unit"), [_number(a.calls_per_unit) for a in arms]),
        Row(gettext("Input tokens per call"), [per_call(a.input_tokens, a) for a in arms]),
        Row(gettext("Output tokens per call"), [per_call(a.output_tokens, a) for a in arms]),
        Row(
            gettext("Cache hits"),
            [_rate(a, a.cache_hit_rate) for a in arms],
            gettext("share of input tokens read from cache"),
        ),
    ]


def _speed_rows(arms: list[ArmReport]) -> list[Row]:
    return [
        Row(gettext("Latency, median"), [Cell(seconds(a.latency_p50_seconds)) for a in arms]),
        Row(gettext("Latency, p95"), [Cell(seconds(a.latency_p95_seconds)) for a in arms]),
        Row(gettext("Latency, p99"), [Cell(seconds(a.latency_p99_seconds)) for a in arms]),
        Row(gettext("First token, median"), [Cell(seconds(a.ttft_p50_seconds)) for a in arms], gettext("streams only")),
        Row(gettext("First token, p95"), [Cell(seconds(a.ttft_p95_seconds)) for a in arms], gettext("streams only")),
    ]


def _reliability_rows(arms: list[ArmReport]) -> list[Row]:
    return [
        Row(gettext("Errors"), [_rate(a, a.error_rate) for a in arms], gettext("share of calls")),
        Row(
            gettext("Rate limited (429)"),
            [_rate(a, a.rate_limited_rate) for a in arms],
            gettext("share of calls that met a 429"),
        ),
        Row(
            gettext("Fallbacks"),
            [_rate(a, a.fallback_rate) for a in arms],
            gettext("answered by another model or provider than meant"),
        ),
    ]


def _number(x: float | None) -> Cell:
    return Cell(DASH if x is None else quantity("mean", "").value(x))


def _rate(arm: ArmReport, share: float | None) -> Cell:
    return Cell(rate(share) if arm.n_calls else DASH)


def _models(arms: list[ArmReport]) -> list[str]:
    names = {name for arm in arms for name in arm.served_models}
    if len(names) == 1:
        return [gettext("All answered by %(model)s.", model=names.pop() or gettext("an unnamed model"))]
    lines: list[str] = []
    for arm in arms:
        total = sum(arm.served_models.values())
        ranked = sorted(arm.served_models.items(), key=lambda item: (-item[1], item[0]))
        served = ", ".join(f"{name or gettext('unnamed')} {rate(n / total)}" for name, n in ranked)
        if served:
            lines.append(
                gettext("%(variant)s answered by %(models)s.", variant=arm.label or arm.variant, models=served)
            )
    return lines
