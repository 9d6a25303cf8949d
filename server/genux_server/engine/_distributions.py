"""What a quantile and a duration need beside moments: histograms of events' values, and tables of who was at risk."""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import msgspec

from genux.specs import MetricSpec
from genux_server.engine._history import Outcomes
from genux_server.engine._measures import Wanted, measured
from genux_server.model import Cell, QuantileSummary, RiskTable

__all__ = ["with_distributions"]

_GROUP = ("variant", "epoch", "day")
_TINY = 1e-9
_RELATIVE_WIDTH = 0.005
"""Of a bucket: half a percent is far below the error of any quantile of fewer than a hundred thousand events."""
_STEP = math.log1p(_RELATIVE_WIDTH)
_MICROSECONDS = 1_000_000

_Where = tuple[str, int, dt.date]
_Rows = dict[_Where, list[dict[str, Any]]]


def with_distributions(
    cells: Sequence[Cell],
    units: ir.Table,
    outcomes: Outcomes,
    metrics: Sequence[MetricSpec],
    wanted: Mapping[str, Mapping[str, Wanted]],
) -> list[Cell]:
    """The cells, those of everyone with what their metric needs beside moments.

    Args:
        cells: of all metrics.
        units: one row per unit: `unit_key`, `variant`, `epoch`, `day`, `age_us` (microseconds from the first exposure
            to `as_of`), and `<metric>:matured`.
        outcomes: what the units did.
        metrics: quantiles and durations among them are served.
        wanted: what each metric asks for, by component.
    """
    values: dict[str, dict[_Where, QuantileSummary]] = {}
    durations: dict[str, dict[_Where, RiskTable]] = {}
    for metric in metrics:
        want = wanted[metric.key]["y"]
        rows = outcomes.calls if want.measure.source == "call" else outcomes.events
        if metric.kind == "quantile":
            values[metric.key] = _value_summaries(rows, units.filter(units[f"{metric.key}:matured"]), want)
        if metric.kind == "duration":
            durations[metric.key] = _risk_tables(rows, units, want)

    def completed(cell: Cell) -> Cell:
        where = (cell.variant, cell.epoch, cell.day)
        if cell.segment:
            return cell
        if cell.metric in values:
            return msgspec.structs.replace(cell, values=values[cell.metric].get(where))
        if cell.metric in durations:
            return msgspec.structs.replace(cell, durations=durations[cell.metric].get(where))
        return cell

    return [completed(cell) for cell in cells]


def _value_summaries(rows: ir.Table, units: ir.Table, want: Wanted) -> dict[_Where, QuantileSummary]:
    within, value = measured(rows, want)
    events = rows.filter(within).select("unit_key", value=value.cast("float64"))
    events = events.filter(events.value.notnull()).join(units.select("unit_key", *_GROUP), "unit_key")
    events = events.mutate(bucket=_signed_bucket(events.value))
    # The sums that follow are of whole numbers, so that no order of addition changes them.
    events = events.mutate(
        rank=ibis.row_number().over(group_by=events.unit_key, order_by=events.bucket),
        n_events=events.count().over(group_by=events.unit_key),
    )
    sizes = events.group_by(*_GROUP).agg(n_units=events.unit_key.nunique())
    buckets = events.group_by(*_GROUP, "bucket").agg(
        n=events.count(),
        square=(2 * events["rank"] + 1).sum().cast("int64"),
        cross=events.n_events.sum().cast("int64"),
        low=events.value.min(),
        high=events.value.max(),
    )
    n_units = {where: rows[0]["n_units"] for where, rows in _by_group(sizes).items()}
    return {where: _summary(n_units[where], found) for where, found in _by_group(buckets).items()}


def _summary(n_units: int, buckets: Sequence[Mapping[str, Any]]) -> QuantileSummary:
    ordered = sorted(buckets, key=lambda row: row["bucket"])
    crosses = [row["cross"] for row in ordered]
    return QuantileSummary(
        relative_width=_RELATIVE_WIDTH,
        n_units=n_units,
        # Each of a unit's events adds the number of them, so the sum over events is that of the squares over units.
        sum_squared_events=sum(crosses),
        buckets=[row["bucket"] for row in ordered],
        counts=[row["n"] for row in ordered],
        squares=[row["square"] for row in ordered],
        crosses=crosses,
        minimum=ordered[0]["low"],
        maximum=ordered[-1]["high"],
        lows=[row["low"] for row in ordered],
        highs=[row["high"] for row in ordered],
    )


def _risk_tables(rows: ir.Table, units: ir.Table, want: Wanted) -> dict[_Where, RiskTable]:
    """Units by the time to their first event in the window, or to where they were last seen without it.

    Times share buckets of constant relative width, of which the geometric middle stands for all; the window's end,
    where most units are censored, is kept as it is. A unit whose first exposure lies after `as_of` was not seen at all.
    """
    within, _ = measured(rows, want)
    first = rows.group_by("unit_key").agg(first_us=rows.since_us.min(where=within)).rename(done_by="unit_key")
    end_us = want.span.end_us
    joined = units.filter(units.age_us >= 0).left_join(first, units.unit_key == first.done_by)
    followed_us = ibis.least(joined.age_us, end_us)
    observed = joined.first_us.notnull() & (joined.first_us < followed_us)
    lasted_us = ibis.ifelse(observed, joined.first_us, followed_us)
    seen = joined.select(
        *_GROUP,
        observed=observed,
        at_end=~observed & (lasted_us == end_us),
        bucket=_signed_bucket(lasted_us.cast("float64") / _MICROSECONDS),
    )
    counts = seen.group_by(*_GROUP, "at_end", "bucket").agg(
        n_events=seen.count(where=seen.observed), n_censored=seen.count(where=~seen.observed)
    )
    return {where: _risk_table(found, end_us / _MICROSECONDS) for where, found in _by_group(counts).items()}


def _risk_table(rows: Sequence[Mapping[str, Any]], end_seconds: float) -> RiskTable:
    events: dict[float, int] = defaultdict(int)
    censored: dict[float, int] = defaultdict(int)
    for row in rows:
        middle = _TINY * math.exp(_STEP * (row["bucket"] - 0.5)) if row["bucket"] else 0.0
        time = end_seconds if row["at_end"] else min(middle, end_seconds)
        events[time] += row["n_events"]
        censored[time] += row["n_censored"]
    times = sorted(events)
    return RiskTable(times=times, events=[events[t] for t in times], censored=[censored[t] for t in times])


def _signed_bucket(value: ir.Value) -> ir.Value:
    """The bucket of a value, as `QuantileSummary` numbers them."""
    size = ibis.greatest(value.abs(), _TINY).ln() - math.log(_TINY)
    # Without the last term an edge would fall on either side of itself, by the rounding of the logarithm.
    bucket = (size / _STEP - 1e-9).ceil().cast("int64")
    return ibis.ifelse(value < 0, -bucket, bucket)


def _by_group(rows: ir.Table) -> _Rows:
    found: _Rows = defaultdict(list)
    for row in rows.to_pyarrow().to_pylist():
        found[row["variant"], row["epoch"], row["day"]].append(row)
    return dict(found)
