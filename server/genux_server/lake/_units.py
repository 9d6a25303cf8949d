"""Every row of one unit, wherever it is named.

A unit is all the ids that are analysed as one: the first alias of an anonymous id joins it to the known one, as in
the engine; a later alias of the same id does not, so that of two people at one browser each has their own. Aliases that
only a browser's public key vouches for join nothing: anybody could hang a stranger's id on their own, and have it
erased.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import msgspec

__all__ = ["ALIAS", "FoundRow", "FoundUnit", "find_unit"]

ALIAS = "genux_alias"

_FIRST_ALIASES = """
CREATE OR REPLACE TEMP TABLE alias AS
SELECT unit_id, known_id FROM events
WHERE project_id = $project AND environment_id = $environment AND unit_kind = $kind AND name = 'genux_alias'
  AND trust <> 'browser' AND unit_id <> '' AND known_id <> '' AND unit_id <> known_id
QUALIFY row_number() OVER (PARTITION BY unit_id ORDER BY "at", seq) = 1
"""

_IDS = """
CREATE OR REPLACE TEMP TABLE id AS
WITH RECURSIVE same(id) AS (
  SELECT $unit
  UNION
  SELECT CASE WHEN alias.unit_id = same.id THEN alias.known_id ELSE alias.unit_id END
  FROM same JOIN alias ON alias.unit_id = same.id OR alias.known_id = same.id
)
SELECT id FROM same
"""

_NAMED = """project_id = $project AND environment_id = $environment AND (
  (unit_kind = $kind AND unit_id IN (SELECT id FROM id))
  OR (units IS NOT NULL AND json_extract_string(units, $path) IN (SELECT id FROM id))"""

_ALSO = {
    "exposures": "",
    "calls": "",
    # An outcome without a unit belongs to the unit of the call that it names, else of the exposure.
    "events": """
  OR (unit_kind = $kind AND name = 'genux_alias' AND known_id IN (SELECT id FROM id))
  OR (unit_id = '' AND call_id <> '' AND call_id IN (SELECT call_id FROM found_calls))
  OR (unit_id = '' AND call_id = '' AND exposure_id IN (SELECT event_id FROM found_exposures))""",
}


class FoundRow(msgspec.Struct, frozen=True):
    """One row: the partition and number by which it is deleted, and all of its columns."""

    received_date: dt.date
    seq: int
    columns: dict[str, Any]


class FoundUnit(msgspec.Struct, frozen=True, kw_only=True):
    """A unit's rows by table, and its ids by environment, the one that was asked for among them."""

    ids: dict[int, list[str]]
    exposures: list[FoundRow]
    events: list[FoundRow]
    calls: list[FoundRow]


def find_unit(
    files: Mapping[str, Sequence[str]], project_id: int, environment_ids: Sequence[int], unit_kind: str, unit_id: str
) -> FoundUnit:
    """Every row of a unit in some environments of a project.

    Args:
        files: of each table.
        project_id: whose.
        environment_ids: where; an alias joins ids within its environment.
        unit_kind: of the id.
        unit_id: the id.
    """
    found = FoundUnit(ids={}, exposures=[], events=[], calls=[])
    with duckdb.connect() as connection:
        tables = [name for name, paths in files.items() if paths]
        for name in tables:
            rows = connection.read_parquet(list(files[name]), hive_partitioning=True, union_by_name=True)
            rows.create_view(name)
        pointer = "/" + unit_kind.replace("~", "~0").replace("/", "~1")
        for environment_id in environment_ids:
            scope = {"project": project_id, "environment": environment_id, "kind": unit_kind}
            if "events" in tables:
                connection.execute(_FIRST_ALIASES, scope)
            else:
                connection.execute("CREATE OR REPLACE TEMP TABLE alias(unit_id VARCHAR, known_id VARCHAR)")
            connection.execute(_IDS, {"unit": unit_id})
            found.ids[environment_id] = [
                row[0] for row in connection.execute("SELECT id FROM id ORDER BY id").fetchall()
            ]
            for name, also in _ALSO.items():
                if name in tables:
                    query = f"SELECT * FROM {name} WHERE {_NAMED}{also})"  # noqa: S608  # words of this module
                    connection.execute(
                        f"CREATE OR REPLACE TEMP TABLE found_{name} AS {query}", {**scope, "path": pointer}
                    )
                    getattr(found, name).extend(_rows(connection, name))
                elif name != "events":
                    connection.execute(f"CREATE OR REPLACE TEMP TABLE found_{name}(event_id VARCHAR, call_id VARCHAR)")
    return found


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[FoundRow]:
    # As Arrow: DuckDB would need pytz to make a moment with a zone of its own.
    found = connection.sql(f"SELECT * FROM found_{name} ORDER BY seq").to_arrow_table()  # noqa: S608  # ours
    for row in found.to_pylist():
        yield FoundRow(row["received_date"], row["seq"], row)
