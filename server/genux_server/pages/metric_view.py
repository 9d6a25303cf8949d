"""The primary metric laid out for the report page: its definition, a row per variant, its course over time."""

import msgspec

from genux_server.model import ArmReport, ArmResult, Comparison, MetricReport, Report
from genux_server.pages.axis import interval_axis
from genux_server.pages.band import BandChart, build_bands
from genux_server.pages.compared import AxisTick, Compared, compared, effect_ticks, shown_comparison
from genux_server.pages.format import Quantity, count, duration, level, quantity
from genux_server.pages.text import (
    gettext,
    method_name,
    sentences,
    surface_name,
    title,
    validity_sentence,
    validity_word,
)

__all__ = ["ArmRow", "MetricView", "Reading", "metric_view"]

_SAID_BY_THE_PAGE = frozenset({"note_fixed"})
"""Notes that the table of readings makes, where they belong."""


class ArmRow(msgspec.Struct, frozen=True):
    """One variant in the metric's table; control is compared with nothing."""

    label: str
    surface: str
    is_control: bool
    n_units: str
    total: str
    value: str
    value_interval: str
    compared: Compared


class Reading(msgspec.Struct, frozen=True):
    """The same comparison under one rule of validity."""

    label: str
    validity: str
    method: str
    compared: Compared


class MetricView(msgspec.Struct, frozen=True):
    """One metric: `zero` is where no effect lies, in percent of the effect column's width."""

    key: str
    label: str
    definition: str
    total_label: str
    rows: list[ArmRow]
    ticks: list[AxisTick]
    zero: float
    validity: str
    level: str
    effect_unit: str
    notes: list[str]
    bands: list[BandChart]
    readings: list[Reading]


def metric_view(metric: MetricReport, report: Report, labels: dict[str, str]) -> MetricView:
    """Lay out one metric; `labels` names the variants in their order."""
    write = quantity(metric.kind, metric.unit)
    shown = {a.variant: shown_comparison(metric, a.variant) for a in metric.arms}
    axis = interval_axis((c.effect, c.effect_ci_lower, c.effect_ci_upper) for c in shown.values() if c)
    lead = next((c for c in shown.values() if c and c.effect is not None), None)
    arms = {arm.variant: arm for arm in report.arms}
    rows = [
        _arm_row(
            result,
            arms.get(result.variant),
            compared(shown[result.variant], write, axis, report, by_lift=False),
            write,
            count(result.total) if metric.kind in {"quantile", "duration"} else write.total(result.total),
            is_control=result.variant == report.control,
        )
        for result in sorted(metric.arms, key=lambda a: a.variant != report.control)
    ]
    return MetricView(
        key=metric.key,
        label=title(metric.label, metric.key),
        definition=_definition(metric),
        total_label=_total_label(metric.kind),
        rows=rows,
        ticks=effect_ticks(axis, write) if axis else [],
        zero=axis.percent(0.0) if axis else 0.0,
        validity=validity_sentence(lead.validity) if lead else "",
        level=level(lead.level) if lead else level(0.95),
        effect_unit=write.effect_suffix.strip() or write.prefix,
        notes=sentences([m for m in metric.notes if m.code not in _SAID_BY_THE_PAGE]),
        bands=build_bands(metric.series, labels, write),
        readings=[_reading(c, labels, write, report) for c in metric.comparisons],
    )


def _total_label(kind: str) -> str:
    counted = {
        "proportion": gettext("Conversions"),
        "retention": gettext("Conversions"),
        "quantile": gettext("Events"),
        "duration": gettext("Units that got there"),
    }
    return counted.get(kind, gettext("Total"))


def _definition(metric: MetricReport) -> str:
    kinds = {
        "proportion": gettext("Share of exposed units"),
        "retention": gettext("Share of exposed units that came back"),
        "mean": gettext("Average per exposed unit"),
        "count": gettext("Average count per exposed unit"),
        "ratio": gettext("Ratio of two sums, uncertainty at the unit"),
        "quantile": gettext("Quantile over events, clustered by unit"),
        "duration": gettext("Mean time until it happened, at most the window"),
    }
    parts = [kinds.get(metric.kind, metric.kind)]
    if metric.window_seconds:
        parts.append(gettext("within %(window)s of first exposure", window=duration(metric.window_seconds)))
    parts.append(gettext("higher is better") if metric.direction == "increase" else gettext("lower is better"))
    return ", ".join(parts)


def _arm_row(
    result: ArmResult, arm: ArmReport | None, against: Compared, write: Quantity, total: str, *, is_control: bool
) -> ArmRow:
    return ArmRow(
        label=(arm.label if arm else "") or result.variant,
        surface=surface_name(arm.surface) if arm else "",
        is_control=is_control,
        n_units=count(result.n_units),
        total=total,
        value=write.value(result.value, result.ci_lower, result.ci_upper),
        value_interval=write.interval(result.ci_lower, result.ci_upper),
        compared=against,
    )


def _reading(c: Comparison, labels: dict[str, str], write: Quantity, report: Report) -> Reading:
    against = compared(c, write, None, report, by_lift=False)
    return Reading(labels.get(c.variant, c.variant), validity_word(c.validity), method_name(c.method), against)
