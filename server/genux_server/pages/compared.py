"""One treatment against control, in written figures: what every table and chart of effects shows."""

import msgspec

from genux_server.model import Comparison, MetricReport, Report
from genux_server.pages.axis import Axis, IntervalMark, interval_mark
from genux_server.pages.format import Quantity, lift, lift_tick, p_value
from genux_server.pages.text import gettext, sentence

__all__ = ["AxisTick", "Compared", "compared", "effect_ticks", "lift_ticks", "shown_comparison"]

_PREFERENCE = ("planned", "always", "fixed")
_TONES = {True: "good", False: "bad", None: "open"}


class AxisTick(msgspec.Struct, frozen=True):
    """A label at a percentage of the width."""

    at: float
    text: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison in writing; figures that do not exist are empty, and `unavailable` says why there is no estimate.

    Attributes:
        mark: the interval on the axis that it was written for.
        tone: `good`, `bad` or `open`.
    """

    effect: str = ""
    effect_interval: str = ""
    lift: str = ""
    lift_interval: str = ""
    p: str = ""
    mark: IntervalMark | None = None
    tone: str = "open"
    unavailable: str = ""


def shown_comparison(metric: MetricReport, variant: str) -> Comparison | None:
    """The comparison that leads: the promised plan's, else the one valid at every look, else the single look's.

    One without an estimate leads only where no other has one: before the first planned look the always-valid one does.
    """
    found = {c.validity: c for c in metric.comparisons if c.variant == variant}
    ranked = [found[v] for v in _PREFERENCE if v in found]
    return next((c for c in ranked if c.effect is not None), ranked[0] if ranked else None)


def compared(c: Comparison | None, write: Quantity, axis: Axis | None, report: Report, *, by_lift: bool) -> Compared:
    """Write a comparison.

    Args:
        c: the comparison; None where there is none.
        write: how the metric's figures are written.
        axis: where the interval is drawn.
        report: an invalid one decides nothing, so its effects are neither good nor bad.
        by_lift: the axis is one of lift, not of the effect.
    """
    if c is None:
        return Compared(unavailable=gettext("Not compared yet"))
    if c.effect is None:
        return Compared(unavailable=sentence(c.not_computable) if c.not_computable else gettext("Not computable"))
    good = None if report.verdict == "invalid" else c.beats_control
    relative = lift(c.lift, c.lift_ci_lower, c.lift_ci_upper) if c.lift is not None else ("", "")
    effect = (c.effect, c.effect_ci_lower, c.effect_ci_upper)
    absolute = write.effect(*effect)
    drawn = (c.lift, c.lift_ci_lower, c.lift_ci_upper) if by_lift else effect
    return Compared(
        effect=absolute[0],
        effect_interval=absolute[1],
        lift=relative[0],
        lift_interval=relative[1],
        p=p_value(c.p_value),
        mark=interval_mark(axis, *drawn, good=good) if axis else None,
        tone=_TONES[good],
    )


def effect_ticks(axis: Axis, write: Quantity) -> list[AxisTick]:
    """Labels of an axis of effects."""
    return [AxisTick(axis.percent(t), write.tick(t, axis.step)) for t in axis.ticks]


def lift_ticks(axis: Axis) -> list[AxisTick]:
    """Labels of an axis of lifts."""
    return [AxisTick(axis.percent(t), lift_tick(t, axis.step)) for t in axis.ticks]
