"""What `report_refresh.py` asks, in SQL as one would write it for DuckDB, without the engine.

`MOMENTS` are those of a proportion and of a capped mean with a covariate, from `PARTS`, each of which reads the ones
before it. `REST` is what a refresh answers beside
them: copies, forced and unknown exposures, units in two variants, the funnel, the calls, who weighs most, and who was
told a variant that they never met. `UPSERTS` is the other way to have such figures: counters that each event raises.
"""

__all__ = ["MOMENTS", "PARTS", "REST", "UPSERTS", "UPSERT_ROWS", "UPSERT_TABLES"]

PARTS = {
    "exposed": """
        SELECT unit_id, seq, variant, "at" FROM read_parquet({exposures})
        WHERE project_id = 1 AND environment_id = 1 AND trust <> 'browser' AND unit_kind = 'user' AND experiment = 'e'
          AND NOT forced AND variant IN ('a', 'b') AND epoch = 1
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1""",
    "units": """
        SELECT unit_id, arg_min(variant, row("at", seq)) AS variant, min("at") AS first_at FROM exposed
        GROUP BY unit_id HAVING min(variant) = max(variant)""",
    "outcomes": """
        SELECT unit_id, variant, name, value, "at", first_at FROM (
            SELECT unit_id, name, value, "at" FROM read_parquet({events})
            WHERE project_id = 1 AND environment_id = 1 AND trust <> 'browser' AND unit_kind = 'user'
              AND name IN ({names})
            QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1
        ) JOIN units USING (unit_id)""",
    "made": """
        SELECT unit_id, variant, {call_columns}, "at", first_at FROM (
            SELECT unit_id, {call_columns}, "at" FROM read_parquet({calls})
            WHERE project_id = 1 AND environment_id = 1 AND trust <> 'browser' AND unit_kind = 'user'
            QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1
        ) JOIN units USING (unit_id)""",
    "per_unit": """
        WITH done AS (
            SELECT unit_id,
                   count(*) FILTER (name = 'answer_accepted' AND "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY)
                       AS accepted,
                   sum(value) FILTER (name = 'purchase' AND "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY)
                       AS spent,
                   sum(value) FILTER (name = 'purchase' AND "at" >= first_at - INTERVAL 2 DAY AND "at" < first_at)
                       AS before
            FROM outcomes GROUP BY unit_id
        ), costs AS (
            SELECT unit_id, sum(cost_usd)::DOUBLE AS cost FROM made
            WHERE "at" >= first_at AND "at" < first_at + INTERVAL 3 DAY GROUP BY unit_id
        )
        SELECT unit_id, variant, first_at::DATE AS day, (coalesce(accepted, 0) > 0)::INT AS accepted,
               coalesce(spent, 0) AS spent, coalesce(before, 0) AS before, coalesce(cost, 0) AS cost
        FROM units LEFT JOIN done USING (unit_id) LEFT JOIN costs USING (unit_id)
        WHERE first_at + INTERVAL 3 DAY <= {as_of}""",
    "capped": """
        WITH caps AS (
            SELECT quantile_cont(spent, .99) AS spent_cap, quantile_cont(before, .99) AS before_cap FROM per_unit
        )
        SELECT unit_id, variant, day, accepted, cost, least(spent, spent_cap) AS y, least(before, before_cap) AS x
        FROM per_unit, caps""",
}

MOMENTS = """
SELECT variant, day, count(*), avg(accepted), var_pop(accepted), covar_pop(accepted, cost), avg(cost), var_pop(cost),
       avg(y), var_pop(y), covar_pop(y, x), covar_pop(y, cost), avg(x), var_pop(x), covar_pop(x, cost), max(y)
FROM capped GROUP BY variant, day ORDER BY variant, day
"""
"""One row per variant and day of first exposure."""

_MINE = "project_id = 1 AND environment_id = 1 AND trust <> 'browser'"

_COPIES = f"""
SELECT (SELECT count(*) - count(DISTINCT event_id) FROM read_parquet({{exposures}})
        WHERE {_MINE} AND experiment = 'e')
     + (SELECT count(*) - count(DISTINCT event_id) FROM read_parquet({{events}})
        WHERE {_MINE} AND unit_kind = 'user' AND name IN ({{names}}))
     + (SELECT count(*) - count(DISTINCT event_id) FROM read_parquet({{calls}}) WHERE {_MINE} AND unit_kind = 'user')
"""

REST = {
    "copies": _COPIES,
    "left out": f"""
        SELECT count(*) FILTER (unit_kind <> 'user'), count(*) FILTER (unit_kind = 'user' AND forced),
               count(*) FILTER (unit_kind = 'user' AND NOT forced AND NOT (variant IN ('a', 'b') AND epoch = 1))
        FROM (SELECT * FROM read_parquet({{exposures}}) WHERE {_MINE} AND experiment = 'e'
              QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seq) = 1)""",
    "unverified": """
        SELECT count(*) FROM read_parquet({exposures})
        WHERE project_id = 1 AND environment_id = 1 AND trust = 'browser' AND experiment = 'e'""",
    "mixed": """
        SELECT count(*) FROM (SELECT unit_id FROM exposed GROUP BY unit_id HAVING min(variant) <> max(variant))""",
    "told": f"""
        SELECT count(DISTINCT unit_id) FROM read_parquet({{events}})
        WHERE {_MINE} AND name = 'genux_assigned' AND json_value(properties, '$.experiment') = 'e'
          AND unit_id NOT IN (SELECT unit_id FROM exposed)""",
    "funnel": """
        SELECT variant, name, count(DISTINCT unit_id) FROM outcomes WHERE "at" >= first_at AND name <> 'purchase'
        GROUP BY variant, name ORDER BY variant, name""",
    "weights": """
        SELECT variant, max(y) / sum(y), arg_min(unit_id, row(-y, unit_id)) FROM capped GROUP BY variant
        ORDER BY variant""",
    "calls": """
        SELECT variant, count(*), count(DISTINCT unit_id), count(*) FILTER (status = 'error'),
               count(*) FILTER (n_rate_limited > 0), count(*) FILTER (fallback), count(*) FILTER (cost_usd IS NULL),
               count(*) FILTER (input_tokens IS NULL), sum(cost_usd)::DOUBLE, sum(input_tokens), sum(cached_tokens),
               sum(output_tokens), quantile_cont(latency_seconds, [.5, .95, .99]) FILTER (status = 'ok'),
               quantile_cont(ttft_seconds, [.5, .95, .99]) FILTER (status = 'ok')
        FROM made WHERE "at" >= first_at GROUP BY variant ORDER BY variant""",
    "models": """
        SELECT variant, served_model, count(*) FROM made WHERE "at" >= first_at AND served_model <> ''
        GROUP BY variant, served_model ORDER BY variant, served_model""",
    "unpriced": """
        SELECT variant, cost_reason, count(*) FROM made WHERE "at" >= first_at AND cost_usd IS NULL
        GROUP BY variant, cost_reason""",
}

UPSERT_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE units (unit_id TEXT PRIMARY KEY, first_at INTEGER, variant TEXT) WITHOUT ROWID;
CREATE TABLE counters (unit_id TEXT, name TEXT, n INTEGER, total REAL, PRIMARY KEY (unit_id, name)) WITHOUT ROWID;
"""

UPSERT_ROWS = {
    "exposures": """SELECT unit_id, epoch_us("at"), variant FROM read_parquet({exposures})""",
    "events": """SELECT unit_id, epoch_us("at"), name, value FROM read_parquet({events})
                 WHERE name IN ('answer_accepted', 'purchase')""",
}

UPSERTS = {
    "exposures": """
        INSERT INTO units VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET variant = excluded.variant, first_at = excluded.first_at
        WHERE excluded.first_at < first_at""",
    "events": """
        INSERT INTO counters SELECT unit_id, ?3, 1, ?4 FROM units
        WHERE unit_id = ?1 AND ?2 >= first_at AND ?2 < first_at + 3 * 86400000000
        ON CONFLICT DO UPDATE SET n = n + 1, total = total + excluded.total""",
}
