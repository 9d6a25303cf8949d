"""The facts of a test that is over, from a table that somebody already has: `genux analyze FILE`."""

import datetime as dt
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import ibis
import ibis.expr.types as ir
import msgspec

from genux.errors import ConfigError
from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec
from genux_server.engine._cells import Column, summarise
from genux_server.engine._connection import count_of, duckdb_connection, stored
from genux_server.engine._table_file import digest_of, open_table, refused_by_duckdb
from genux_server.engine._values import Kind, kind_of, number_of, refuse_wrong_values, survey_of, text_of
from genux_server.model import Epoch, Facts, Message

__all__ = ["FileMetric", "facts_from_file", "parse_metric"]

_MAX_VARIANTS = 20
_SHARE_TOLERANCE = 1e-6


class FileMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A column to compare.

    Attributes:
        name: the column.
        kind: `proportion` (was any of the unit's rows true?), `mean` (the sum over the unit's rows), `ratio` (the sum
            of `name` over the sum of `denominator`), or `auto`: a proportion where every value is true, false, 0 or 1,
            else a mean.
        denominator: the column under a ratio's line.
    """

    name: str
    kind: Literal["auto", "proportion", "mean", "ratio"] = "auto"
    denominator: str | None = None
    direction: Literal["increase", "decrease"] = "increase"


def parse_metric(text: str, *, lower_is_better: bool = False) -> FileMetric:
    """A metric as written on the command line: `NAME`, `NAME:proportion`, `NAME:mean` or `NAME:ratio/DENOMINATOR`.

    Raises:
        ConfigError: the kind is none of these.
    """
    name, _, kind = text.partition(":")
    kind, _, denominator = kind.partition("/")
    if (
        not name
        or (kind or "auto") not in {"auto", "proportion", "mean", "ratio"}
        or (kind == "ratio") != bool(denominator)
    ):
        raise ConfigError(
            f"{text!r} is not a metric. Write NAME, NAME:proportion, NAME:mean or NAME:ratio/DENOMINATOR."
        )
    return msgspec.convert(
        {
            "name": name,
            "kind": kind or "auto",
            "denominator": denominator or None,
            "direction": "decrease" if lower_is_better else "increase",
        },
        FileMetric,
    )


def facts_from_file(
    path: str | Path,
    *,
    unit: str,
    variant: str,
    control: str,
    metrics: Sequence[FileMetric],
    shares: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    as_of: dt.datetime | None = None,
) -> Facts:
    """The facts of a finished test in a file with one row per unit or per event.

    The file is read as a stream, twice; what is kept is one row per unit, on disk where memory is short. A unit seen
    in two variants is left out and counted. A value that is missing (empty, NaN, NA, null) leaves its row out of that
    metric, and a unit without any value out of that metric altogether; both are counted in `remarks`.

    Args:
        path: a CSV file with a header, or a Parquet file.
        unit: column that says who was randomised.
        variant: column that says which variant the unit saw.
        control: the variant the others are compared with.
        metrics: columns to compare; the first is the primary metric.
        shares: planned share by variant; equal shares when empty.
        alpha: error rate of the analysis.
        as_of: the day the test is filed under; now when None.

    Raises:
        ConfigError: the file or an argument cannot be used; the message is for the person who wrote it.
    """
    path = Path(path)
    as_of = as_of or dt.datetime.now(dt.UTC)
    if not metrics:
        raise ConfigError("Name at least one metric.")
    columns = _columns_of(metrics)
    _refuse_repeats([m.name for m in metrics], unit, variant)
    with duckdb_connection() as connection, refused_by_duckdb(path):
        rows = open_table(connection, path, [unit, variant, *columns])
        survey = survey_of(rows, columns, unit=unit, variant=variant)
        if survey.n_rows == 0:
            raise ConfigError(f"{path.name} has a header and no rows.")
        variants = _variants(path, variant, control, survey.variants)
        kinds: dict[str, Kind] = {m.name: kind_of(path, rows, survey, m.name, m.kind) for m in metrics}
        refuse_wrong_values(path, rows, survey, [m.denominator for m in metrics if m.denominator])
        per_unit = stored(_per_unit(rows, metrics, kinds, unit=unit, variant=variant))
        experiment = _experiment(path, variants, metrics, shares or {}, alpha)
        whole = per_unit.filter(~per_unit.mixed).mutate(epoch=1, day=as_of.astimezone(dt.UTC).date())
        summary = summarise(whole, [_column(m, kinds[m.name]) for m in metrics], experiment, {})
        remarks = [*survey.remarks(), *_missing_units(whole, metrics, variants)]
        allocation = tuple(experiment.allocation.values())
        return Facts(
            experiment=experiment,
            metrics=[_metric_spec(m, kinds[m.name]) for m in metrics],
            epochs=[Epoch(number=1, allocation=allocation, started_at=as_of)],
            source="file",
            as_of=as_of,
            lake_version=digest_of(path),
            arm_counts=summary.arm_counts,
            cells=summary.cells,
            outliers=summary.outliers,
            multi_variant_units=_mixed_units(rows, per_unit, variants, unit=unit, variant=variant),
            unknown_variant_exposures=survey.n_without_variant,
            remarks=remarks,
            one_look=True,
        )


def _refuse_repeats(names: Sequence[str], unit: str, variant: str) -> None:
    if unit == variant:
        raise ConfigError(f"The unit and the variant cannot both be the column {unit!r}.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"The metric {name!r} is named twice.")


def _variants(path: Path, column: str, control: str, found: Sequence[str]) -> list[str]:
    """Control first, the others in alphabetical order."""
    if len(found) > _MAX_VARIANTS:
        raise ConfigError(
            f"The column {column!r} of {path.name} has more than {_MAX_VARIANTS} different values, such as "
            f"{', '.join(map(repr, found[:3]))}. Is it the column of the variants?"
        )
    if control not in found:
        near = difflib.get_close_matches(control, found, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"No row has the control {control!r} in {column!r}.{hint} It has: {', '.join(found)}.")
    if len(found) == 1:
        raise ConfigError(f"Every row has the variant {control!r}; there is nothing to compare it with.")
    return [control, *(name for name in found if name != control)]


def _per_unit(
    rows: ir.Table, metrics: Sequence[FileMetric], kinds: Mapping[str, Kind], *, unit: str, variant: str
) -> ir.Table:
    """One row per unit: its variant, whether it is mixed, and for each metric its value and whether it has one."""
    given = rows.select(
        unit=text_of(rows[unit]),
        variant=text_of(rows[variant]),
        **{f"n:{name}": number_of(rows[name]) for name in _columns_of(metrics)},
    )
    given = given.filter(given.unit.notnull() & given.variant.notnull())
    folds: dict[str, ir.Value] = {}
    for metric in metrics:
        value = given[f"n:{metric.name}"]
        there = value.notnull()
        if metric.denominator:
            below = given[f"n:{metric.denominator}"]
            there &= below.notnull()
            folds[f"d:{metric.name}"] = below.sum(where=there)
        folds[f"y:{metric.name}"] = (
            value.max(where=there) if kinds[metric.name] == "proportion" else value.sum(where=there)
        )
        folds[f"has:{metric.name}"] = there.any()
    return given.group_by("unit").agg(
        variant=given.variant.min(), mixed=given.variant.min() != given.variant.max(), **folds
    )


def _columns_of(metrics: Sequence[FileMetric]) -> list[str]:
    return list(dict.fromkeys(name for m in metrics for name in (m.name, m.denominator) if name))


def _column(metric: FileMetric, kind: Kind) -> Column:
    components = {"y": f"y:{metric.name}"} | ({"d": f"d:{metric.name}"} if metric.denominator else {})
    return Column(
        metric=metric.name,
        components=components,
        matured=f"has:{metric.name}",
        waits=False,
        outlier=kind != "proportion",
    )


def _metric_spec(metric: FileMetric, kind: Kind) -> MetricSpec:
    """How the service would be told of such a metric; the window is the file's own, which genux does not know."""
    aggregate: Literal["any", "sum"] = "any" if kind == "proportion" else "sum"
    return MetricSpec(
        key=metric.name,
        label=metric.name,
        kind=kind,
        numerator=Measure(event=metric.name, aggregate=aggregate),
        denominator=Measure(event=metric.denominator, aggregate="sum") if metric.denominator else None,
        direction=metric.direction,
    )


def _experiment(
    path: Path,
    variants: Sequence[str],
    metrics: Sequence[FileMetric],
    shares: Mapping[str, float],
    alpha: float,
) -> ExperimentSpec:
    if shares:
        if set(shares) != set(variants):
            raise ConfigError(f"Give a share for each of {', '.join(variants)}, and for nothing else.")
        if abs(math.fsum(shares.values()) - 1) > _SHARE_TOLERANCE or min(shares.values()) <= 0:
            raise ConfigError("The shares must be positive and add up to 1.")
    allocation = {name: shares.get(name, 1 / len(variants)) for name in variants}
    primary, *others = [m.name for m in metrics]
    return ExperimentSpec(
        key=re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "file",
        variants=[VariantSpec(key=name) for name in variants],
        control=variants[0],
        allocation=allocation,
        primary=primary,
        secondaries=others,
        plan=Plan(alpha=alpha),
    )


def _mixed_units(
    rows: ir.Table, per_unit: ir.Table, variants: Sequence[str], *, unit: str, variant: str
) -> dict[str, int]:
    """Units seen in several variants, by the one in their first row."""
    counts = dict.fromkeys(variants, 0)
    mixed = per_unit.filter(per_unit.mixed).select("unit")
    if count_of(mixed) == 0:
        return counts
    numbered = rows.select(unit=text_of(rows[unit]), variant=text_of(rows[variant]), row=ibis.row_number())
    first = numbered.filter(numbered.variant.notnull()).semi_join(mixed, "unit")
    first = first.group_by("unit").agg(variant=first.variant.argmin(first.row))
    for row in first.group_by("variant").agg(n=first.count()).to_pyarrow().to_pylist():
        counts[row["variant"]] = row["n"]
    return counts


def _missing_units(units: ir.Table, metrics: Sequence[FileMetric], variants: Sequence[str]) -> list[Message]:
    """One sentence for each metric that some units have no value of."""
    names = [f"has:{m.name}" for m in metrics]
    missing = units.group_by("variant").agg(**{name: units.count(where=~units[name]) for name in names})
    by_variant = {row["variant"]: row for row in missing.to_pyarrow().to_pylist()}
    remarks = []
    for metric in metrics:
        counts = {name: by_variant.get(name, {}).get(f"has:{metric.name}", 0) for name in variants}
        if total := sum(counts.values()):
            where = ", ".join(f"{n:,} in {name}" for name, n in counts.items())
            remarks.append(
                Message(
                    code="units_without_value",
                    args={"metric": metric.name, "n": total},
                    text=f"{total:,} units have no value of {metric.name} and are left out of it ({where}).",
                )
            )
    return remarks
