"""The lake that `report_refresh.py` reads: one experiment among many events, made by DuckDB from row numbers."""

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from genux_server.lake._rows import arrow_schema
from genux_server.model import LakeFiles, LakeVersions

__all__ = ["START", "make_files"]

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

_SOURCES = {
    # Two exposures a unit, an hour apart; the variant is a function of the unit.
    "exposures": """
        SELECT 'user-' || (i % {units}) AS unit_id,
               {start} + to_microseconds((hash(i % {units}) % 864000000000)::BIGINT)
                       + to_seconds(3600 * (i // {units})) AS "at",
               'e' AS experiment, CASE WHEN hash(i % {units} + 5) % 2 = 0 THEN 'a' ELSE 'b' END AS variant,
               1 AS epoch, false AS forced, '{{"country": "KR"}}' AS attributes
        FROM range(2 * {units}) t(i)""",
    # Three in ten events matter to the experiment.
    "events": """
        SELECT 'user-' || (hash(i + 7) % {units}) AS unit_id,
               {start} + to_microseconds((hash(hash(i + 7) % {units}) % 864000000000)::BIGINT)
                       + to_microseconds((hash(i + 1) % 691200000000)::BIGINT - 172800000000) AS "at",
               CASE i % 10 WHEN 0 THEN 'answer_accepted' WHEN 1 THEN 'purchase' WHEN 2 THEN 'answer_seen'
                    ELSE 'page_view' END AS name,
               (hash(i) % 1000) / 10.0 AS value, '' AS call_id, '' AS exposure_id, '' AS known_id
        FROM range({events}) t(i)""",
    "calls": """
        SELECT 'user-' || (hash(i + 3) % {units}) AS unit_id,
               {start} + to_microseconds((hash(hash(i + 3) % {units}) % 864000000000)::BIGINT)
                       + to_microseconds((hash(i + 1) % 345600000000)::BIGINT) AS "at",
               uuid()::VARCHAR AS call_id, 'ok' AS status, 'gpt-5-mini' AS served_model,
               (hash(i) % 3000) / 1000.0 AS latency_seconds, 100 AS input_tokens, 50 AS output_tokens,
               0 AS cached_tokens, (hash(i) % 1000)::DECIMAL(30, 12) / 1000000 AS cost_usd, false AS fallback,
               0 AS n_rate_limited
        FROM range({units}) t(i)""",
}


def make_files(n_events: int, folder: Path) -> LakeFiles:
    """Exposures, events and calls in the lake's columns; a tenth as many units as events in all."""
    units = n_events // 10
    paths = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sizes = {"units": units, "events": n_events - 3 * units, "start": f"TIMESTAMPTZ '{START.isoformat()}'"}
        for number, (name, source) in enumerate(_SOURCES.items()):
            rows = connection.sql(
                f"SELECT *, 1 AS project_id, 1 AS environment_id, uuid()::VARCHAR AS event_id, 'user' AS unit_kind, "
                f"'server' AS trust, "
                f"({number}::BIGINT << 32) + row_number() OVER () AS seq FROM ({source.format(**sizes)})"
            ).to_arrow_reader(1_000_000)
            paths[name] = str(folder / f"{name}.parquet")
            schema = pa.schema([field for field in arrow_schema(name) if field.name != "received_date"])
            with pq.ParquetWriter(paths[name], schema, compression="zstd") as writer:
                for batch in rows:
                    given = {field.name for field in batch.schema}
                    writer.write_table(
                        pa.table(
                            [
                                batch[field.name].cast(field.type)
                                if field.name in given
                                else pa.nulls(len(batch), field.type)
                                for field in schema
                            ],
                            schema=schema,
                        )
                    )
    return LakeFiles(versions=LakeVersions(), **{name: (path,) for name, path in paths.items()})
