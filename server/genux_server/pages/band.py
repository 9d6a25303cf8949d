"""The cumulative effect, day by day, inside its always-valid band: geometry only, drawn by a template."""

import datetime as dt

import msgspec

from genux_server.model import SeriesPoint
from genux_server.pages.axis import Axis, nice_axis
from genux_server.pages.format import Quantity, count, day

__all__ = ["BandChart", "BandTick", "build_bands"]

_HEIGHT = 200.0
_MOST_DAY_TICKS = 4
_SETTLED_SHARE = 0.1


class BandTick(msgspec.Struct, frozen=True):
    """A label and its place: percent along x, pixels along y."""

    at: float
    text: str
    anchor: str = "middle"


class BandChart(msgspec.Struct, frozen=True):
    """One treatment's chart. Paths live in a box 100 wide and `height` high.

    Attributes:
        band, line: SVG path data; empty when fewer than two days have an estimate.
        zero: y of no effect.
        last_y, last_text: the latest estimate, labelled at the chart's right edge.
        last_lower_y, last_upper_y: the latest interval's ends.
        clipped: early days reach beyond the chart.
        rows: day, units, effect, interval: the same figures as a table.
    """

    variant: str
    label: str
    height: float
    band: str
    line: str
    zero: float
    last_y: float
    last_lower_y: float
    last_upper_y: float
    last_text: str
    summary: str
    clipped: bool
    x_ticks: list[BandTick]
    y_ticks: list[BandTick]
    rows: list[tuple[str, str, str, str]]


def build_bands(series: list[SeriesPoint], labels: dict[str, str], quantity: Quantity) -> list[BandChart]:
    """One chart per treatment, all on the same scale, in the order of `labels`."""
    by_variant: dict[str, list[SeriesPoint]] = {}
    for point in series:
        if point.effect is not None:
            by_variant.setdefault(point.variant, []).append(point)
    points = [p for group in by_variant.values() for p in group]
    if not points:
        return []
    axis = _effect_axis(by_variant)
    first, last = min(p.day for p in points), max(p.day for p in points)
    ordered = sorted(by_variant, key=lambda v: list(labels).index(v) if v in labels else len(labels))
    return [_chart(v, labels.get(v, v), by_variant[v], axis, quantity, (first, last)) for v in ordered]


def _effect_axis(by_variant: dict[str, list[SeriesPoint]]) -> Axis:
    """Scale by the days on which the estimate has settled; the first days' band is allowed to leave the chart."""
    ends = [0.0]
    for group in by_variant.values():
        settled = [p for p in group if p.n_units >= _SETTLED_SHARE * group[-1].n_units]
        for p in settled:
            ends += [b for b in (p.effect, p.effect_ci_lower, p.effect_ci_upper) if b is not None]
    return nice_axis(min(ends), max(ends))


def _chart(
    variant: str, label: str, points: list[SeriesPoint], axis: Axis, quantity: Quantity, span: tuple[dt.date, dt.date]
) -> BandChart:
    first, last = span
    days = max(1, (last - first).days)

    def x(p: SeriesPoint) -> float:
        return round(100 * (p.day - first).days / days, 2)

    def y(value: float | None, edge: float) -> float:
        return round(_HEIGHT * (1 - axis.percent(edge if value is None else value) / 100), 2)

    lower = [(x(p), y(p.effect_ci_lower, axis.low)) for p in points]
    upper = [(x(p), y(p.effect_ci_upper, axis.high)) for p in points]
    middle = [(x(p), y(p.effect, 0.0)) for p in points]
    several = len(points) > 1
    end = points[-1]
    effect, interval = quantity.effect(end.effect, end.effect_ci_lower, end.effect_ci_upper)
    return BandChart(
        variant=variant,
        label=label,
        height=_HEIGHT,
        band=f"{_path(upper)}L{_path(lower[::-1])[1:]}Z" if several else "",
        line=_path(middle) if several else "",
        zero=y(0.0, 0.0),
        last_y=middle[-1][1],
        last_lower_y=lower[-1][1],
        last_upper_y=upper[-1][1],
        last_text=effect,
        summary=f"{effect} ({interval}), {day(end.day)}",
        clipped=any(
            b is None or not axis.low <= b <= axis.high for p in points for b in (p.effect_ci_lower, p.effect_ci_upper)
        ),
        x_ticks=_day_ticks(first, last),
        y_ticks=[BandTick(y(t, t), quantity.tick(t, axis.step)) for t in axis.ticks],
        rows=[
            (
                day(p.day),
                count(p.n_units),
                *quantity.effect(p.effect, p.effect_ci_lower, p.effect_ci_upper),
            )
            for p in reversed(points)
        ],
    )


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _day_ticks(first: dt.date, last: dt.date) -> list[BandTick]:
    days = (last - first).days
    if days == 0:
        return [BandTick(100.0, _short(first), "end")]
    parts = min(_MOST_DAY_TICKS - 1, days)
    ticks: list[BandTick] = []
    for i in range(parts + 1):
        offset = round(days * i / parts)
        anchor = "start" if i == 0 else "end" if i == parts else "middle"
        ticks.append(BandTick(round(100 * offset / days, 2), _short(first + dt.timedelta(days=offset)), anchor))
    return ticks


def _short(when: dt.date) -> str:
    return f"{when.day} {when:%b}"
