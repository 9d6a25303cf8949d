"""One project's history in one environment, as tables, and how an outcome finds the unit that it belongs to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from genux_server.engine._connection import stored
from genux_server.engine._units import ALIAS_EVENT, canonical, of_kind, once
from genux_server.model import TABLES, LakeFiles

__all__ = ["History", "Outcomes", "open_lake", "outcomes_of"]

_IBIS_TYPES = {
    "bool": "boolean",
    "date32": "date",
    "timestamp[us, UTC]": "timestamp('UTC', 6)",
    "decimal128(30, 12)": "decimal(30, 12)",
}

_COMMON = ("event_id", "at", "seq", "unit_kind", "unit_id", "units")
_EVENT_COLUMNS = ("name", "value")
_CALL_COLUMNS = (
    "served_model",
    "status",
    "latency_seconds",
    "ttft_seconds",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "cost_usd",
    "cost_reason",
    "n_rate_limited",
    "fallback",
)
_READ = {
    "exposures": (*_COMMON, "experiment", "variant", "epoch", "forced", "attributes"),
    "events": (*_COMMON, *_EVENT_COLUMNS, "properties", "call_id", "exposure_id", "known_id"),
    "calls": (*_COMMON, *_CALL_COLUMNS, "call_id", "images", "audio_seconds", "characters", "retrieval", "scores"),
}
"""What the engine reads of each table: an expression over all columns takes several times as long to compile."""


@dataclass(frozen=True)
class History:
    """Tables with the columns of `genux_server.model.tables`."""

    exposures: ir.Table
    events: ir.Table
    calls: ir.Table

    def within(self, project_id: int, environment_id: int) -> "History":
        """The rows of one project and environment whose sender is known, and the columns that the engine reads.

        A browser's key is public: what came with it alone could be anybody's, and decides nothing.
        """
        return History(
            *(
                rows.filter(
                    (rows.project_id == project_id)
                    & (rows.environment_id == environment_id)
                    & (rows.trust != "browser")
                ).select(*_READ[name])
                for name, rows in vars(self).items()
            )
        )


@dataclass(frozen=True)
class Outcomes:
    """What exposed units did, each outcome and call once.

    Both tables have the unit's `unit_key` and `variant`, and `since_us`: microseconds since its first exposure,
    negative before it.

    Attributes:
        events: outcomes by name, of units and resumed ones.
        calls: LLM calls.
        n_duplicates: rows left out because their `event_id` had been seen.
    """

    events: ir.Table
    calls: ir.Table
    n_duplicates: int


def open_lake(connection: ibis.BaseBackend, files: LakeFiles) -> History:
    """The lake's files as tables of a connection; a table without files is empty.

    A column that files from before it lack is null in their rows.
    """
    tables = {}
    for name, columns in TABLES.items():
        paths = list(getattr(files, name))
        types = {column: _IBIS_TYPES.get(kind, kind) for column, kind in columns.items()}
        if paths:
            rows = connection.read_parquet(paths, table_name=name, hive_partitioning=True, union_by_name=True)
            tables[name] = rows.mutate(**{c: ibis.null(kind) for c, kind in types.items() if c not in rows.columns})
        else:
            tables[name] = connection.create_table(name, schema=ibis.schema(types), temp=True)
    return History(**tables)


def outcomes_of(
    history: History,
    units: ir.Table,
    aliases: ir.Table | None,
    unit_kind: str,
    names: Collection[str],
    *,
    with_properties: bool,
    with_columns: Sequence[str] = (),
) -> Outcomes:
    """Outcomes called `names`, and all calls, of exposed units.

    What happened in several units, one inside another, belongs to the one of this kind.
    An outcome without a `unit_id` belongs to the unit of the call or exposure that it names, the call first; one that
    names nothing known belongs to nobody.

    Args:
        history: of one project and environment.
        units: see `Exposed.units`.
        aliases: see `aliases_of`.
        unit_kind: the experiment's.
        names: of events.
        with_properties: keep the events' properties.
        with_columns: further columns of calls to keep.
    """
    calls, n_call_copies = once(of_kind(history.calls, unit_kind))
    exposures = of_kind(history.exposures, unit_kind)
    named = history.events.filter(history.events.name.isin(sorted(names)) & (history.events.name != ALIAS_EVENT))
    resumed = named.filter(named.unit_id == "")
    named, n_event_copies = once(of_kind(named, unit_kind))
    columns = (*_EVENT_COLUMNS, "properties") if with_properties else _EVENT_COLUMNS
    return Outcomes(
        events=_since_exposure(_owned(named, resumed, calls, exposures), units, aliases, columns),
        calls=_since_exposure(calls, units, aliases, (*_CALL_COLUMNS, *with_columns)),
        n_duplicates=n_call_copies + n_event_copies,
    )


def _since_exposure(rows: ir.Table, units: ir.Table, aliases: ir.Table | None, columns: Sequence[str]) -> ir.Table:
    exposed = units.select("unit", "unit_key", "variant", "first_at")
    joined = canonical(rows.select("unit_id", "at", *columns), aliases).join(exposed, "unit")
    since_us = joined.at.delta(joined.first_at, unit="microsecond")
    return stored(joined.select("unit_key", "variant", *columns, since_us=since_us))


def _owned(events: ir.Table, as_sent: ir.Table, calls: ir.Table, exposures: ir.Table) -> ir.Table:
    """The events whose unit is known, resumed ones with the `unit_id` of the call or exposure that they name.

    Args:
        events: each once, and of one kind of unit.
        as_sent: the resumed ones among them as they stand in the lake, where finding that there are none is quick.
        calls: of one kind of unit.
        exposures: of one kind of unit.
    """
    resumed = events.unit_id == ""
    how_many = (
        as_sent.aggregate(
            by_call=as_sent.count(where=as_sent.call_id != ""),
            by_exposure=as_sent.count(where=(as_sent.call_id == "") & (as_sent.exposure_id != "")),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    owned = events.filter(~resumed)
    if how_many["by_call"]:
        owners = calls.group_by("call_id").agg(owner=calls.unit_id.argmin(calls.seq))
        owned = owned.union(_through(events.filter(resumed), owners, "call_id"))
    if how_many["by_exposure"]:
        owners = exposures.group_by(exposure_id=exposures.event_id).agg(owner=exposures.unit_id.argmin(exposures.seq))
        rest = events.filter(resumed & (events.call_id == ""))
        owned = owned.union(_through(rest, owners, "exposure_id"))
    return owned


def _through(events: ir.Table, owners: ir.Table, key: str) -> ir.Table:
    owners = owners.select(owner_key=key, owner="owner")
    joined = events.join(owners, events[key] == owners.owner_key)
    return joined.filter(joined.owner != "").mutate(unit_id=joined.owner).select(*events.columns)
