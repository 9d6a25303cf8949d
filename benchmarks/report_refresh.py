"""How long the engine takes for one experiment's facts, beside the same figures by hand-written DuckDB SQL.

    python benchmarks/report_refresh.py [events ...] [--times 3] [--json PATH]

Both read the same Parquet files and look for copies of events, find each unit's first exposure, leave units in two
variants out, and give the moments of a proportion and of a capped mean with a covariate, by variant and day. The
hand-written query computes nothing else; the engine also counts the funnel, the calls and the outliers. The figures
are compared before the times are.
"""

import datetime as dt
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from _report import Report, parser

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.engine import compute_facts
from genux_server.lake._rows import arrow_schema
from genux_server.model import Epoch, Facts, LakeFiles, LakeVersions

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
AS_OF = START + dt.timedelta(days=9)
EXPERIMENT = ExperimentSpec(key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")])
METRICS = [
    MetricSpec(key="accepted", numerator=Measure(event="answer_accepted")),
    MetricSpec(
        key="spent",
        kind="mean",
        cap_quantile=0.99,
        covariate_days=2,
        numerator=Measure(event="purchase", aggregate="sum"),
    ),
]

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

_BY_HAND = """
WITH exposed AS (
    SELECT unit_id, event_id, seq, variant, "at" FROM read_parquet({exposures})
    WHERE project_id = 1 AND environment_id = 1 AND unit_kind = 'user' AND experiment = 'e' AND NOT forced
      AND variant IN ('a', 'b') AND epoch = 1
), exposed_once AS (
    SELECT * FROM exposed QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1
), units AS (
    SELECT unit_id, arg_min(variant, row("at", seq)) AS variant, min("at") AS first_at FROM exposed_once
    GROUP BY unit_id HAVING min(variant) = max(variant)
), outcomes AS (
    SELECT unit_id, name, value, "at" FROM read_parquet({events})
    WHERE project_id = 1 AND environment_id = 1 AND unit_kind = 'user' AND name IN ('answer_accepted', 'purchase')
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1
), done AS (
    SELECT u.unit_id,
           count(*) FILTER (name = 'answer_accepted' AND "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY)
               AS accepted,
           sum(value) FILTER (name = 'purchase' AND "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY) AS spent,
           sum(value) FILTER (name = 'purchase' AND "at" >= first_at - INTERVAL 2 DAY AND "at" < first_at) AS before
    FROM outcomes JOIN units u USING (unit_id) GROUP BY u.unit_id
), charged AS (
    SELECT unit_id, cost_usd, "at" FROM read_parquet({calls})
    WHERE project_id = 1 AND environment_id = 1 AND unit_kind = 'user'
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1
), costs AS (
    SELECT u.unit_id, sum(cost_usd)::DOUBLE AS cost FROM charged JOIN units u USING (unit_id)
    WHERE "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY GROUP BY u.unit_id
), per_unit AS (
    SELECT variant, first_at::DATE AS day, (coalesce(accepted, 0) > 0)::INT AS accepted, coalesce(spent, 0) AS spent,
           coalesce(before, 0) AS before, coalesce(cost, 0) AS cost
    FROM units LEFT JOIN done USING (unit_id) LEFT JOIN costs USING (unit_id)
    WHERE first_at + INTERVAL 3 DAY <= {as_of}
), caps AS (
    SELECT quantile_cont(spent, .99) AS spent_cap, quantile_cont(before, .99) AS before_cap FROM per_unit
), capped AS (
    SELECT variant, day, accepted, cost, least(spent, spent_cap) AS y, least(before, before_cap) AS x
    FROM per_unit, caps
)
SELECT variant, day, count(*) AS n, avg(accepted), var_pop(accepted), covar_pop(accepted, cost), avg(cost),
       var_pop(cost),
       avg(y), var_pop(y), avg(x), var_pop(x), covar_pop(y, x), covar_pop(y, cost), covar_pop(x, cost), max(y)
FROM capped GROUP BY variant, day ORDER BY variant, day
"""


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


def by_engine(files: LakeFiles) -> Facts:
    epochs = [Epoch(number=1, allocation=(0.5, 0.5), started_at=START)]
    return compute_facts(
        files, project_id=1, environment_id=1, experiment=EXPERIMENT, metrics=METRICS, epochs=epochs, as_of=AS_OF
    )


def by_hand(files: LakeFiles) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        paths = {name: list(getattr(files, name)) for name in _SOURCES}
        return connection.execute(_BY_HAND.format(as_of=f"TIMESTAMPTZ '{AS_OF.isoformat()}'", **paths)).fetchall()


def same_figures(facts: Facts, rows: list[tuple]) -> None:
    spent = {(c.variant, c.day): c.moments for c in facts.cells if c.metric == "spent" and c.moments.n}
    assert len(rows) == len(spent) > 0
    for row in rows:
        m = spent[row[0], row[1]]
        pairs = [(m.n, row[2]), (m.mean[0], row[8]), (m.comoments[0] / m.n, row[9]), (m.comoments[1] / m.n, row[12])]
        assert all(abs(a - b) <= 1e-9 * max(1, abs(a)) for a, b in pairs), (row, m)


def timed(work: Callable[[LakeFiles], Any], files: LakeFiles) -> tuple[float, float, Any]:
    """Wall and processor seconds, and what the work gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(files)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("events", nargs="*", type=int, default=[1_000_000])
    arguments.add_argument("--times", type=int, default=3, help="runs of each; the quickest counts")
    asked = arguments.parse_args()
    rows = []
    for n_events in asked.events:
        with tempfile.TemporaryDirectory() as folder:
            files = make_files(n_events, Path(folder))
            # In turns, so that whatever else the machine does meets both.
            runs = [(timed(by_engine, files), timed(by_hand, files)) for _ in range(asked.times)]
            engine, engine_cpu, facts = min((run[0] for run in runs), key=lambda run: run[0])
            hand, hand_cpu, by_query = min((run[1] for run in runs), key=lambda run: run[0])
            same_figures(facts, by_query)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        rows.append(
            {
                "what": f"{n_events:,} events",
                "engine s": engine,
                "by hand s": hand,
                "ratio": engine / hand,
                "engine CPU s": engine_cpu,
                "by hand CPU s": hand_cpu,
                "CPU ratio": engine_cpu / hand_cpu,
                "peak GB": peak,
                "all engine s": [run[0][0] for run in runs],
                "all by hand s": [run[1][0] for run in runs],
            }
        )
    report = Report(__file__)
    figures = ("engine s", "by hand s", "ratio", "engine CPU s", "by hand CPU s", "CPU ratio")
    columns = {"what": "", **dict.fromkeys(figures, ".2f"), "peak GB": ".1f"}
    report.table(f"one experiment's facts, the quickest of {asked.times}", columns, rows)
    report.save(asked.json, times=asked.times)


if __name__ == "__main__":
    main()
