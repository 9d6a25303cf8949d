"""Every metric and treatment on one axis of lift."""

import msgspec

from genux_server.model import Report
from genux_server.pages.axis import interval_axis
from genux_server.pages.compared import AxisTick, Compared, compared, lift_ticks, shown_comparison
from genux_server.pages.format import quantity
from genux_server.pages.text import guardrail_word, role_name, title

__all__ = ["Forest", "ForestRow", "build_forest"]

_ROLES = ("primary", "guardrail", "secondary")
_GUARDRAIL_STATUS = {"safe": "ok", "harmed": "fail", "unclear": "unknown", "quiet": "unknown"}


class ForestRow(msgspec.Struct, frozen=True):
    """One metric and treatment; `guardrail` is a status, empty for what is none."""

    label: str
    role: str
    variant: str
    lower_is_better: bool
    control_value: str
    value: str
    guardrail: str
    guardrail_word: str
    compared: Compared


class Forest(msgspec.Struct, frozen=True):
    """The rows, primary first; `zero` is where no lift lies, in percent of the width."""

    rows: list[ForestRow]
    ticks: list[AxisTick]
    zero: float
    several_variants: bool


def build_forest(report: Report, labels: dict[str, str]) -> Forest | None:
    """All metrics; None where that would only repeat the primary's own table, or no lift exists."""
    if len(report.metrics) <= 1:
        return None
    metrics = sorted(report.metrics, key=lambda m: _ROLES.index(m.role))
    treatments = [v for v in labels if v != report.control]
    shown = [(m, v, shown_comparison(m, v)) for m in metrics for v in treatments]
    lifts = ((c.lift, c.lift_ci_lower, c.lift_ci_upper) for _, _, c in shown if c)
    axis = interval_axis(lifts)
    if axis is None:
        return None
    rows: list[ForestRow] = []
    for metric, variant, comparison in shown:
        write = quantity(metric.kind, metric.unit)
        values = {a.variant: write.value(a.value, a.ci_lower, a.ci_upper) for a in metric.arms}
        state = comparison.guardrail if comparison else ""
        rows.append(
            ForestRow(
                label=title(metric.label, metric.key),
                role=role_name(metric.role),
                variant=labels[variant],
                lower_is_better=metric.direction == "decrease",
                control_value=values.get(report.control, ""),
                value=values.get(variant, ""),
                guardrail=_GUARDRAIL_STATUS.get(state, ""),
                guardrail_word=guardrail_word(state),
                compared=compared(comparison, write, axis, report, by_lift=True),
            )
        )
    return Forest(rows, lift_ticks(axis), axis.percent(0.0), several_variants=len(treatments) > 1)
