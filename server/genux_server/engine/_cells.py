"""From one row per unit to mergeable cells: moments by variant, epoch, segment and day."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from genux.specs import ExperimentSpec
from genux_server.engine._connection import stored
from genux_server.model import ArmCount, Cell, Moments, Outlier

__all__ = ["Column", "Summary", "summarise"]

_MAX_SEGMENT_VALUES = 50
_CAPPED_COMPONENTS = ("y", "d", "x", "w")
_GROUP = ("variant", "epoch", "day")


@dataclass(frozen=True)
class Column:
    """Where a metric's components stand in the unit table.

    Attributes:
        metric: the metric's key.
        components: name of the column by component, in the order of `Moments.components`.
        matured: name of a boolean column: the unit counts, because its window has closed.
        waits: whether units that do not count yet will: they are pending.
        cap_quantile: 1 for none.
        outlier: whether one unit's share of the sum means anything.
    """

    metric: str
    components: Mapping[str, str]
    matured: str
    waits: bool = True
    cap_quantile: float = 1.0
    outlier: bool = True


@dataclass(frozen=True)
class Summary:
    """Everything that is counted and averaged over units."""

    arm_counts: list[ArmCount]
    cells: list[Cell]
    outliers: list[Outlier]


def summarise(
    units: ir.Table, columns: Sequence[Column], experiment: ExperimentSpec, segments: Mapping[str, str]
) -> Summary:
    """Cells, counts and outliers of a unit table.

    Args:
        units: one row per unit: `unit`, `variant`, `epoch`, `day` and the columns named by `columns`.
        columns: one entry per metric.
        experiment: gives the order of the variants.
        segments: name of the text column by attribute.
    """
    order = {variant.key: position for position, variant in enumerate(experiment.variants)}
    units, capped = _cap(units, columns)
    anchors = _anchors(units, columns)
    arm_counts: list[ArmCount] = []
    cells: list[Cell] = []
    for segment, rows in [("", units), *_segments(units, segments)]:
        group = [*_GROUP, "segment"] if segment else [*_GROUP]
        aggregates = {"n_units": rows.count()}
        for number, column in enumerate(columns):
            aggregates |= _aggregates(rows, number, column, capped, anchors)
        for row in rows.group_by(group).agg(**aggregates).to_pyarrow().to_pylist():
            name = f"{segment}={row['segment']}" if segment else ""
            where: dict[str, Any] = {
                "variant": row["variant"],
                "epoch": row["epoch"],
                "segment": name,
                "day": row["day"],
            }
            arm_counts.append(ArmCount(n_units=row["n_units"], **where))
            cells += [_cell(row, number, column, anchors, where) for number, column in enumerate(columns)]
    metric_order = {column.metric: number for number, column in enumerate(columns)}

    def place(item: ArmCount | Cell) -> tuple[str, int, int, dt.date]:
        return item.segment, order[item.variant], item.epoch, item.day

    return Summary(
        arm_counts=sorted(arm_counts, key=place),
        cells=sorted(cells, key=lambda cell: (metric_order[cell.metric], *place(cell))),
        outliers=_outliers(units, [column for column in columns if column.outlier], order),
    )


def _cap(units: ir.Table, columns: Sequence[Column]) -> tuple[ir.Table, dict[str, str]]:
    """Cut each component at its quantile over both arms' matured units; name the columns that say which `y` were."""
    quantiles = {
        name: units[name].quantile(column.cap_quantile, where=units[column.matured])
        for column in columns
        if column.cap_quantile < 1
        for component, name in column.components.items()
        if component in _CAPPED_COMPONENTS
    }
    if not quantiles:
        return units, {}
    caps = units.aggregate(**{f"cap:{name}": cap for name, cap in quantiles.items()})
    joined = units.cross_join(caps)
    cut = {name: ibis.least(joined[name], joined[f"cap:{name}"]) for name in quantiles}
    capped = {column.metric: f"capped:{column.metric}" for column in columns if column.components["y"] in quantiles}
    flags = {
        capped[column.metric]: joined[column.components["y"]] > joined[f"cap:{column.components['y']}"]
        for column in columns
        if column.metric in capped
    }
    return stored(joined.mutate(**cut, **flags).drop(*caps.columns)), capped


def _anchors(units: ir.Table, columns: Sequence[Column]) -> dict[str, float]:
    """A whole number near each component's mean.

    Moments are taken around it, so that values of 1e9 and more keep their digits; being whole, it is exact for counts.
    """
    means = {
        name: units[name].mean(where=units[column.matured]) for column in columns for name in column.components.values()
    }
    if not means:
        return {}
    found = units.aggregate(**means).to_pyarrow().to_pylist()[0]
    return {name: float(round(mean or 0.0)) for name, mean in found.items()}


def _aggregates(
    rows: ir.Table, number: int, column: Column, capped: Mapping[str, str], anchors: Mapping[str, float]
) -> dict[str, ir.Value]:
    matured = rows[column.matured]
    names = list(column.components.values())
    shifted = [rows[name] - anchors[name] if anchors[name] else rows[name] for name in names]
    result = {
        f"{number}:n": rows.count(where=matured),
        f"{number}:min": rows[names[0]].min(where=matured),
        f"{number}:max": rows[names[0]].max(where=matured),
    }
    if column.metric in capped:
        result[f"{number}:capped"] = rows.count(where=matured & rows[capped[column.metric]])
    for i, first in enumerate(shifted):
        result[f"{number}:mean:{i}"] = first.mean(where=matured)
        result[f"{number}:var:{i}:{i}"] = first.var(how="pop", where=matured)
        for j, second in enumerate(shifted[i + 1 :], start=i + 1):
            result[f"{number}:var:{i}:{j}"] = first.cov(second, how="pop", where=matured)
    return result


def _cell(
    row: Mapping[str, Any], number: int, column: Column, anchors: Mapping[str, float], where: Mapping[str, Any]
) -> Cell:
    n = row[f"{number}:n"]
    k = len(column.components)
    anchor = [anchors[name] if n else 0.0 for name in column.components.values()]
    return Cell(
        metric=column.metric,
        moments=Moments(
            n=n,
            components=tuple(column.components),
            mean=tuple(anchor[i] + (row[f"{number}:mean:{i}"] or 0.0) for i in range(k)),
            comoments=tuple((row[f"{number}:var:{i}:{j}"] or 0.0) * n for i in range(k) for j in range(i, k)),
            minimum=row[f"{number}:min"] or 0.0,
            maximum=row[f"{number}:max"] or 0.0,
        ),
        pending=row["n_units"] - n if column.waits else 0,
        capped=row.get(f"{number}:capped", 0),
        **where,
    )


def _segments(units: ir.Table, segments: Mapping[str, str]) -> list[tuple[str, ir.Table]]:
    """The units that have the attribute, for each attribute, cut to its most frequent values."""
    result = []
    for attribute, name in segments.items():
        rows = units.filter(units[name].notnull()).mutate(segment=units[name])
        sizes = rows.group_by("segment").agg(n=rows.count())
        top = sizes.order_by([sizes.n.desc(), sizes.segment]).limit(_MAX_SEGMENT_VALUES)
        result.append((attribute, rows.semi_join(top, "segment")))
    return result


def _outliers(units: ir.Table, columns: Sequence[Column], order: Mapping[str, int]) -> list[Outlier]:
    if not columns:
        return []
    totals = units.group_by("variant").agg(
        **{f"best:{c.metric}": units[c.components["y"]].max(where=units[c.matured]) for c in columns},
        **{f"total:{c.metric}": units[c.components["y"]].sum(where=units[c.matured]) for c in columns},
    )
    joined = units.join(totals, "variant")
    largest = {
        f"unit:{c.metric}": joined.unit.min(
            where=joined[c.matured] & (joined[c.components["y"]] == joined[f"best:{c.metric}"])
        )
        for c in columns
    }
    found = joined.group_by("variant", *totals.columns[1:]).agg(**largest).to_pyarrow().to_pylist()
    return [
        Outlier(
            metric=c.metric,
            variant=row["variant"],
            unit_id=row[f"unit:{c.metric}"],
            value=row[f"best:{c.metric}"],
            share=min(row[f"best:{c.metric}"] / row[f"total:{c.metric}"], 1.0),
        )
        for c in columns
        for row in sorted(found, key=lambda row: order[row["variant"]])
        if row[f"unit:{c.metric}"] is not None and row[f"best:{c.metric}"] > 0 and row[f"total:{c.metric}"] > 0
    ]
