"""Where a number lies along a chart, in percent of its width, so that one SVG fits every screen undistorted."""

import math
from collections.abc import Iterable

import msgspec

__all__ = ["Axis", "IntervalMark", "interval_axis", "interval_mark", "nice_axis"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TIMES_MIDDLE = 3.0
_SMALLEST = 1e-280


class Axis(msgspec.Struct, frozen=True):
    """A linear scale from `low` to `high` with round `ticks`, `step` apart."""

    low: float
    high: float
    step: float
    ticks: tuple[float, ...]

    def percent(self, x: float) -> float:
        """Position of `x` in 0 to 100; what lies outside stops at the edge."""
        share = (x - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)


class IntervalMark(msgspec.Struct, frozen=True):
    """An estimate with its interval along an axis, in percent.

    Attributes:
        center: the estimate; None when there is none or it lies outside.
        left, right: ends of the interval.
        opens_left, opens_right: the interval goes on beyond the edge; drawn as an arrowhead.
        beyond: `left` or `right` when all of it lies past that edge, else empty.
        tone: `good`, `bad` or `open`, by whether the interval decides.
    """

    center: float | None
    left: float
    right: float
    opens_left: bool
    opens_right: bool
    beyond: str
    tone: str


def nice_axis(low: float, high: float, *, n_ticks: int = 5) -> Axis:
    """An axis over at least `low` to `high` whose ticks are round numbers, about `n_ticks` of them."""
    size = max(abs(low), abs(high), _SMALLEST)
    if not high - low > 1e-12 * size:  # a point, as far as doubles can tell
        spread = size if size > _SMALLEST else 1.0
        low, high = low - spread / 2, high + spread / 2
    rough = (high - low) / max(1, n_ticks - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s for s in _STEPS if s * power >= rough * (1 - 1e-9)) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, step, tuple(i * step for i in range(first, last + 1)))


def interval_axis(intervals: Iterable[tuple[float | None, float | None, float | None]]) -> Axis | None:
    """An axis with 0 for many (estimate, lower, upper), a bound of None being unbounded; None without an estimate.

    One very wide or very distant interval must not squash the others: the axis holds what lies within a few times the
    middle reach. The rest leaves it with an arrowhead; its figures stand beside the chart.
    """
    rows = [(x, lower, upper) for x, lower, upper in intervals if x is not None]
    if not rows:
        return None
    reaches = sorted(max(abs(b) for b in row if b is not None) for row in rows)
    middle = reaches[len(reaches) // 2]
    limit = max(reach for reach in reaches if reach <= _MOST_TIMES_MIDDLE * middle)
    ends = [math.copysign(min(abs(b), limit), b) for row in rows for b in row if b is not None]
    return nice_axis(min(0.0, *ends), max(0.0, *ends))


def interval_mark(
    axis: Axis, x: float | None, lower: float | None, upper: float | None, *, good: bool | None
) -> IntervalMark | None:
    """The mark of one estimate on the axis; None without an estimate."""
    if x is None:
        return None
    return IntervalMark(
        center=axis.percent(x) if axis.low <= x <= axis.high else None,
        left=0.0 if lower is None else axis.percent(lower),
        right=100.0 if upper is None else axis.percent(upper),
        opens_left=lower is None or lower < axis.low,
        opens_right=upper is None or upper > axis.high,
        beyond="right"
        if (x if lower is None else lower) > axis.high
        else "left"
        if (x if upper is None else upper) < axis.low
        else "",
        tone={True: "good", False: "bad", None: "open"}[good],
    )
