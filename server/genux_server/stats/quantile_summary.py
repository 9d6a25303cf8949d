"""Clustered quantiles from summaries that merge: a histogram that remembers how units spread over it.

Buckets have constant relative width. Each also keeps what the between-unit variance of "share below this edge" needs,
so that days, epochs and segments add up without going back to the events.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from genux_server.model import QuantileSummary
from genux_server.stats.common import FloatArray, array, check_alpha, check_share
from genux_server.stats.quantiles import QuantileEstimate, estimate_from_ranks, too_few_units

__all__ = ["QuantileSummary", "merge_quantile_summaries", "quantile_from_summary", "summarise_values"]

_TINY = 1e-9
"""Values within this of zero (a nanosecond) share a bucket."""


def summarise_values(
    values: Sequence[float], unit_ids: Sequence[int | str] = (), *, relative_width: float = 0.005
) -> QuantileSummary:
    """Summarises event-level values so that summaries of disjoint units merge.

    Args:
        values: `(n_events,)` finite values.
        unit_ids: `(n_events,)` whose event it is.
        relative_width: of a bucket; 0.005 bounds the relative error of a quantile by half a percent.

    Raises:
        ValueError: lengths differ, a value is not finite, or the width is not between 0 and 1.
    """
    check_share("relative_width", relative_width)
    y = array(values, "values")
    ids = np.asarray(unit_ids) if len(unit_ids) else np.arange(y.size)
    if ids.shape != y.shape:
        raise ValueError("values and unit_ids must have the same length")
    if y.size == 0:
        return QuantileSummary(
            relative_width=relative_width,
            n_units=0,
            sum_squared_events=0,
            buckets=[],
            counts=[],
            squares=[],
            crosses=[],
            minimum=0.0,
            maximum=0.0,
        )
    _, unit = np.unique(ids, return_inverse=True)
    events = np.bincount(unit)
    size = np.log(np.maximum(np.abs(y), _TINY)) - math.log(_TINY)
    bucket = np.sign(y).astype(np.int64) * np.ceil(size / math.log1p(relative_width) - 1e-9).astype(np.int64)
    order = np.lexsort((bucket, unit))
    starts = np.concatenate([[0], np.cumsum(events)[:-1]])
    rank = np.empty(y.size, dtype=np.int64)
    rank[order] = np.arange(y.size) - starts[unit[order]] + 1
    distinct, where = np.unique(bucket, return_inverse=True)
    return QuantileSummary(
        relative_width=relative_width,
        n_units=int(events.size),
        sum_squared_events=int((events.astype(np.int64) ** 2).sum()),
        buckets=distinct.tolist(),
        counts=np.bincount(where).tolist(),
        squares=_sums(where, 2 * rank - 1, distinct.size),
        crosses=_sums(where, events[unit], distinct.size),
        minimum=float(y.min()),
        maximum=float(y.max()),
        lows=_extremes(np.minimum, where, y, distinct.size),
        highs=_extremes(np.maximum, where, y, distinct.size),
    )


def merge_quantile_summaries(first: QuantileSummary, second: QuantileSummary) -> QuantileSummary:
    """The summary of two disjoint groups of units together.

    Args:
        first: summary of one group.
        second: of the other, with the same buckets.

    Raises:
        ValueError: the summaries have buckets of different widths, or only one has `lows` and `highs`.
    """
    if first.relative_width != second.relative_width:
        raise ValueError("summaries with buckets of different widths cannot be merged")
    if first.n_units and second.n_units and bool(first.lows) != bool(second.lows):
        raise ValueError("summaries with and without lows and highs cannot be merged")
    if first.n_units == 0 or second.n_units == 0:
        return first if second.n_units == 0 else second
    distinct, where = np.unique([*first.buckets, *second.buckets], return_inverse=True)

    def add(a: list[int], b: list[int]) -> list[int]:
        return _sums(where, np.asarray([*a, *b], dtype=np.int64), distinct.size)

    return QuantileSummary(
        relative_width=first.relative_width,
        n_units=first.n_units + second.n_units,
        sum_squared_events=first.sum_squared_events + second.sum_squared_events,
        buckets=distinct.tolist(),
        counts=add(first.counts, second.counts),
        squares=add(first.squares, second.squares),
        crosses=add(first.crosses, second.crosses),
        minimum=min(first.minimum, second.minimum),
        maximum=max(first.maximum, second.maximum),
        lows=_extremes(np.minimum, where, [*first.lows, *second.lows], distinct.size),
        highs=_extremes(np.maximum, where, [*first.highs, *second.highs], distinct.size),
    )


def quantile_from_summary(summary: QuantileSummary, *, quantile: float = 0.95, alpha: float = 0.05) -> QuantileEstimate:
    """The quantile that `quantile_of_values` gives, from a summary, right to the bucket's relative width.

    Within a bucket events are taken as evenly spread between its least and its greatest value (without `lows` and
    `highs`: between its edges, on the log scale), and the variance of the share below is interpolated.

    Args:
        summary: of one arm.
        quantile: nu, 0 to 1.
        alpha: one minus the level.

    Returns:
        The estimate; coded as in `quantile_of_values`.
    """
    check_alpha(alpha)
    check_share("quantile", quantile)
    n = sum(summary.counts)
    known = QuantileEstimate(
        method="clustered_quantile_histogram",
        level=1 - alpha,
        quantile=quantile,
        n_events=n,
        n_units=summary.n_units,
    )
    if summary.n_units < 2:
        return msgspec.structs.replace(known, not_computable=too_few_units())
    counts = np.asarray(summary.counts, dtype=np.float64)
    upto = np.cumsum(counts)
    at = _order_statistics(summary, counts, upto)
    rank = quantile * n
    edge_square, edge_cross = np.cumsum(summary.squares), np.cumsum(summary.crosses)
    square = float(np.interp(rank, np.concatenate([[0.0], upto]), np.concatenate([[0.0], edge_square])))
    cross = float(np.interp(rank, np.concatenate([[0.0], upto]), np.concatenate([[0.0], edge_cross])))
    deviations = square - 2 * quantile * cross + quantile**2 * summary.sum_squared_events
    k = summary.n_units
    return estimate_from_ranks(known, at(rank), max(deviations, 0.0) / (k - 1) * k / n**2, at)


def _order_statistics(summary: QuantileSummary, counts: FloatArray, upto: FloatArray) -> Callable[[float], float]:
    """The value of an order statistic by its (fractional) rank."""
    if summary.lows:
        ranks = np.column_stack([upto - counts + 1, upto]).ravel()
        values = np.column_stack([summary.lows, summary.highs]).ravel()
        return lambda rank: float(np.interp(rank, ranks, values))
    step = math.log1p(summary.relative_width)

    def at(rank: float) -> float:
        b = min(int(np.searchsorted(upto, rank - 1e-9)), upto.size - 1)
        part = (rank - upto[b] + counts[b]) / counts[b]
        bucket = summary.buckets[b]
        # Outwards from zero buckets grow, so a negative one is walked from its far edge inwards.
        exponent = bucket - 1 + part if bucket >= 0 else -bucket - part
        value = math.copysign(_TINY * math.exp(step * exponent), bucket)
        return min(max(value, summary.minimum), summary.maximum)

    return at


def _extremes(fold: np.ufunc, where: npt.NDArray[np.intp], values: npt.ArrayLike, size: int) -> list[float]:
    """Least or greatest value by group; nothing of no values."""
    given = np.asarray(values, dtype=np.float64)
    if given.size == 0:
        return []
    found = np.full(size, np.inf if fold is np.minimum else -np.inf)
    fold.at(found, where, given)
    return [float(value) for value in found]


def _sums(where: npt.NDArray[np.intp], values: npt.NDArray[np.int64], size: int) -> list[int]:
    """Exact integer sums by group."""
    totals = np.zeros(size, dtype=np.int64)
    np.add.at(totals, where, values)
    return [int(total) for total in totals]
