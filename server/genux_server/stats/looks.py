"""When the planned looks were: read from the days themselves, so that a report needs no memory of earlier reports."""

import dataclasses
import datetime as dt
from collections.abc import Sequence

__all__ = ["DayCount", "Look", "looks_so_far"]


@dataclasses.dataclass(frozen=True, slots=True)
class DayCount:
    """Units first exposed on a day, over all arms: matured, and with their conversion window still open."""

    day: dt.date
    matured: int
    pending: int


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A planned look: it sees units first exposed up to and including `day`, a `fraction` of the planned units."""

    day: dt.date
    fraction: float


def looks_so_far(days: Sequence[DayCount], horizon_units: int, looks: int, today: dt.date) -> list[Look]:
    """The planned looks that have taken place.

    Look k of K falls at the end of the first day by which k/K of the planned units have matured. It counts once that
    day is over and nobody's window is open any more, so that a later refresh sees the same look; days that pass several
    thresholds at once are one look. The last look is taken as soon as the planned units have matured, and later units
    never change it, except those of its own day.

    Args:
        days: counts by day, in order.
        horizon_units: planned units over all arms, at least 1.
        looks: how many looks were planned, at least 1.
        today: the day of the refresh (UTC).
    """
    out: list[Look] = []
    matured, passed = 0, 0
    for day in days:
        matured += day.matured
        reached = matured * looks // horizon_units
        if matured >= horizon_units:
            out.append(Look(day.day, 1.0))
            break
        if day.pending or day.day >= today:
            continue
        if reached > passed:
            passed = reached
            out.append(Look(day.day, matured / horizon_units))
    return out
