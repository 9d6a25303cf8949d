"""Who was exposed to what, and when first: from the exposures and aliases of a history to one row per unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from genux.specs import ExperimentSpec
from genux.wire import ASSIGNED_EVENT
from genux_server.engine._connection import count_of, stored
from genux_server.engine._measures import json_member, json_text
from genux_server.model import Epoch

__all__ = ["ALIAS_EVENT", "Exposed", "aliases_of", "assigned_only", "canonical", "exposed_units", "of_kind", "once"]

ALIAS_EVENT = "genux_alias"
_ALIAS_DOUBLINGS = 3


@dataclass(frozen=True)
class Exposed:
    """The units of one experiment, and what was left out on the way.

    Attributes:
        units: one row per unit seen in one variant: `unit`, `unit_key`, `variant`, `epoch`, `first_at`, `day`,
            `attributes`. The key is the `seq` of the first exposure: as unique as the unit's name, and a number, by
            which joining and grouping costs less.
        multi_variant_units: units seen in two or more variants, by the variant first seen.
        n_duplicates, n_forced, n_unknown, n_other_kind: exposures left out.
    """

    units: ir.Table
    multi_variant_units: dict[str, int]
    n_duplicates: int
    n_forced: int
    n_unknown: int
    n_other_kind: int


def once(rows: ir.Table) -> tuple[ir.Table, int]:
    """Each event once, and how many copies that leaves out.

    Of rows with equal `event_id` the one that reached the lake first stays. Copies are rare, so that it pays to look
    for them first, by two columns, instead of sorting all rows by their id.
    """
    copies = rows.group_by("event_id").agg(kept=rows.seq.min(), n=rows.count())
    copies = stored(copies.filter(copies.n > 1).select(copied="event_id", kept="kept", n="n"))
    n_left_out = copies.aggregate(n=(copies.n - 1).sum()).to_pyarrow().to_pylist()[0]["n"] or 0
    if not n_left_out:
        return rows, 0
    joined = rows.left_join(copies, rows.event_id == copies.copied)
    return joined.filter(joined.kept.isnull() | (joined.seq == joined.kept)).select(*rows.columns), int(n_left_out)


def of_kind(rows: ir.Table, unit_kind: str) -> ir.Table:
    """The rows of units of a kind, with that unit's id as `unit_id`, be it the innermost or one around it.

    Rows without a `unit_id`, resumed outcomes, stay: the call or exposure that they name knows the unit.
    """
    rows = rows.filter((rows.unit_kind == unit_kind) | (rows.unit_id == "") | rows.units.notnull())
    own = (rows.unit_kind == unit_kind) | (rows.unit_id == "")
    around = json_member(rows.units.cast("json"), unit_kind).str
    rows = rows.mutate(unit_id=ibis.ifelse(own, rows.unit_id, around))
    return rows.filter(rows.unit_id.notnull())


def aliases_of(events: ir.Table, unit_kind: str) -> ir.Table | None:
    """One row per anonymous `unit_id` with the `unit` it is analysed as; None when nobody was recognised.

    The first alias of an anonymous unit holds. An alias of an alias is followed up to eight steps. Units that name one
    another in a circle are one unit, called by the least of their names.
    """
    named = events.filter((events.name == ALIAS_EVENT) & (events.unit_kind == unit_kind))
    named = named.filter((named.unit_id != "") & (named.known_id != "") & (named.unit_id != named.known_id))
    rank = ibis.row_number().over(group_by=named.unit_id, order_by=[named.at, named.seq])
    aliases = named.mutate(rank=rank).filter(ibis._.rank == 0).select("unit_id", unit="known_id")
    aliases = stored(aliases)
    if count_of(aliases) == 0:
        return None
    aliases = aliases.mutate(least=aliases.unit)
    for _ in range(_ALIAS_DOUBLINGS):
        onward = aliases.select(via="unit_id", further="unit", least_onward="least")
        joined = stored(aliases.left_join(onward, aliases.unit == onward.via))
        aliases = joined.select(
            "unit_id",
            unit=ibis.coalesce(joined.further, joined.unit),
            least=ibis.least(joined.least, ibis.coalesce(joined.least_onward, joined.least)),
        )
        if count_of(joined.filter(joined.further.notnull())) == 0:  # nobody is an alias of an alias
            return aliases.drop("least")
    # Whose unit is an alias still goes round in a circle: `least` of any of its members has seen them all.
    circle = aliases.select(via="unit_id", least_of_all="least")
    joined = aliases.left_join(circle, aliases.unit == circle.via)
    return stored(joined.select("unit_id", unit=ibis.coalesce(joined.least_of_all, joined.unit)))


def canonical(rows: ir.Table, aliases: ir.Table | None) -> ir.Table:
    """The rows with a column `unit`: their `unit_id`, or the unit which that is an alias of."""
    if aliases is None:
        return rows.mutate(unit=rows.unit_id)
    renamed = aliases.select(alias_of="unit_id", known_unit="unit")
    joined = rows.left_join(renamed, rows.unit_id == renamed.alias_of)
    return joined.mutate(unit=ibis.coalesce(joined.known_unit, joined.unit_id)).drop("alias_of", "known_unit")


def exposed_units(
    exposures: ir.Table, aliases: ir.Table | None, experiment: ExperimentSpec, epochs: Sequence[Epoch]
) -> Exposed:
    """One row per exposed unit, by its first exposure in the order of (`at`, `seq`).

    A unit id seen in two variants, within one epoch or over several, is left out and counted: which of the two it
    was influenced by cannot be known. An anonymous and a known id of one unit may well have different variants; that
    unit is analysed as the first it saw, which was assigned at random.

    Args:
        exposures: rows of this experiment, of one project and environment.
        aliases: see `aliases_of`.
        experiment: names the variants and the kind of unit; other kinds are left out and counted.
        epochs: an exposure in an epoch that is not among them is left out like one of an unknown variant. No epochs
            at all allow any.
    """
    exposures, n_duplicates = once(exposures)
    known = exposures.variant.isin([variant.key for variant in experiment.variants]) & (exposures.unit_id != "")
    if epochs:
        known &= exposures.epoch.isin([epoch.number for epoch in epochs])
    of_kind = exposures.unit_kind == experiment.unit_kind
    counts = (
        exposures.aggregate(
            other_kind=exposures.count(where=~of_kind),
            forced=exposures.count(where=of_kind & exposures.forced),
            unknown=exposures.count(where=of_kind & ~exposures.forced & ~known),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )

    seen = canonical(exposures.filter(of_kind & ~exposures.forced & known), aliases)
    by_id = seen.group_by("unit", "unit_id").having(seen.variant.min() != seen.variant.max()).agg()
    mixed = stored(by_id.select("unit").distinct())  # few, so that looking them up costs next to nothing
    first = seen.mutate(rank=ibis.row_number().over(group_by=seen.unit, order_by=[seen.at, seen.seq]))
    first = first.filter(first.rank == 0)
    first = stored(
        first.select(
            "unit", "variant", "epoch", "attributes", unit_key=first.seq, first_at=first.at, day=first.at.date()
        )
    )
    by_variant = first.semi_join(mixed, "unit").group_by("variant").agg(n=ibis._.count()).to_pyarrow().to_pylist()
    n_mixed = {row["variant"]: row["n"] for row in by_variant}
    return Exposed(
        units=first.anti_join(mixed, "unit") if n_mixed else first,
        multi_variant_units={variant.key: n_mixed.get(variant.key, 0) for variant in experiment.variants},
        n_duplicates=n_duplicates,
        n_forced=counts["forced"],
        n_unknown=counts["unknown"],
        n_other_kind=counts["other_kind"],
    )


def assigned_only(
    events: ir.Table, exposures: ir.Table, aliases: ir.Table | None, experiment: ExperimentSpec
) -> dict[str, int]:
    """Units that an SDK told their variant and that no exposure, forced ones included, ever followed; by variant.

    Args:
        events: of one project and environment.
        exposures: those of this experiment.
        aliases: see `aliases_of`.
        experiment: names the variants and the kind of unit.
    """
    told = events.filter((events.name == ASSIGNED_EVENT) & (events.unit_kind == experiment.unit_kind))
    properties = told.properties.cast("json")
    told = told.mutate(key=json_text(properties, "experiment"), variant=json_text(properties, "variant"))
    told = stored(canonical(told.filter(told.key == experiment.key), aliases).select("unit", "variant"))
    if count_of(told) == 0:  # nobody peeks: the exposures need not be read once more
        return {variant.key: 0 for variant in experiment.variants}
    met = canonical(exposures.filter(exposures.unit_kind == experiment.unit_kind), aliases).select("unit").distinct()
    missed = told.anti_join(met, "unit")
    rows = missed.group_by("variant").agg(n=missed.unit.nunique()).to_pyarrow().to_pylist()
    counts = {row["variant"]: row["n"] for row in rows}
    return {variant.key: counts.get(variant.key, 0) for variant in experiment.variants}
