"""How long the engine takes for one experiment's facts, beside the same facts by hand-written DuckDB SQL.

    python benchmarks/report_refresh.py [events ...] [--times 3] [--json PATH]

Everything reads the same Parquet files; `_refresh_sql.py` has the SQL. "The same question" is all that a refresh
answers: moments by variant and day, copies, exposures left out, the funnel, the calls, who weighs most. "Moments alone"
asks the SQL for less, and the engine for all of it still. No metric here is a quantile or a duration, no segment is
asked for, and there are no copies and no aliases, which cost both more. Each figure is compared, and must not be zero,
before a time is told. Memory is that of a process of its own, with the libraries that it loads (from Linux's `/proc`).

Counters that each event raises in SQLite are timed on a sample and extrapolated, which flatters them: they get slower
as their tables grow. They answer two of the moments alone.
"""

import datetime as dt
import functools
import math
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
from _refresh_lake import START, make_files
from _refresh_sql import MOMENTS, PARTS, REST, UPSERT_ROWS, UPSERT_TABLES, UPSERTS
from _report import Report, parser

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux.wire import SURFACE_EVENTS
from genux_server.engine import compute_facts
from genux_server.model import TABLES, Epoch, Facts, LakeFiles, Moments

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

_CALL_COLUMNS = (
    "status",
    "n_rate_limited",
    "fallback",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_seconds",
    "ttft_seconds",
    "served_model",
    "cost_reason",
)
_SAMPLE = 300_000
_UPSERTS_A_COMMIT = 1_000


def by_engine(files: LakeFiles) -> Facts:
    epochs = [Epoch(number=1, allocation=(0.5, 0.5), started_at=START)]
    return compute_facts(
        files, project_id=1, environment_id=1, experiment=EXPERIMENT, metrics=METRICS, epochs=epochs, as_of=AS_OF
    )


def by_hand(files: LakeFiles, *, everything: bool) -> dict[str, list[tuple[Any, ...]]]:
    names = {"purchase", "answer_accepted", *(SURFACE_EVENTS if everything else ())}
    columns = (*_CALL_COLUMNS, "cost_usd") if everything else ("cost_usd",)
    asked = {
        "as_of": f"TIMESTAMPTZ '{AS_OF.isoformat()}'",
        "names": ", ".join(f"'{name}'" for name in sorted(names)),
        "call_columns": ", ".join(columns),
        **{name: list(getattr(files, name)) for name in TABLES},
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        parts = {name: query.format(**asked) for name, query in PARTS.items()}
        if not everything:
            # One query runs a little faster than tables do, that nothing else reads.
            steps = ", ".join(f"{name} AS ({query})" for name, query in parts.items())
            return {"moments": connection.execute(f"WITH {steps} {MOMENTS}").fetchall()}
        for name, query in parts.items():
            connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        rest = {name: connection.execute(query.format(**asked)).fetchall() for name, query in REST.items()}
        return {"moments": connection.execute(MOMENTS).fetchall(), **rest}


def same_figures(facts: Facts, hand: dict[str, list[tuple[Any, ...]]]) -> None:
    """Refuse to compare the times of things that found different numbers, or none."""
    cells = {(c.metric, c.variant, c.day): c for c in facts.cells if c.moments.n}
    assert len(cells) == 2 * len(hand["moments"]) > 0
    for variant, day, *figures in hand["moments"]:
        accepted, spent = cells["accepted", variant, day].moments, cells["spent", variant, day].moments
        # The cost's own moments, the last two, are the same for both metrics.
        mine = [spent.n, *_moments(accepted), *_moments(spent)[:-2], spent.maximum]
        assert accepted.n == spent.n > 0
        assert all(figure != 0 for figure in figures), (variant, day, figures)
        assert len(mine) == len(figures)
        assert all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(mine, figures, strict=True)), (
            mine,
            figures,
        )


def same_rest(facts: Facts, hand: dict[str, list[tuple[Any, ...]]]) -> None:
    assert hand["copies"] == [(facts.duplicate_events,)]
    left_out = (facts.other_kind_exposures, facts.forced_exposures, facts.unknown_variant_exposures)
    assert hand["left out"] == [left_out]
    assert hand["unverified"] == [(len(facts.remarks),)] == [(0,)]
    assert hand["mixed"] == [(sum(facts.multi_variant_units.values()),)]
    assert hand["told"] == [(sum(facts.assigned_not_exposed.values()),)]
    assert hand["funnel"] == sorted((f.variant, f.step, f.n_units) for f in facts.funnel) != []
    weights = [(o.variant, o.share, o.unit_id) for o in facts.outliers]
    for (variant, share, unit), mine in zip(hand["weights"], weights, strict=True):
        assert (variant, unit) == (mine[0], mine[2])
        assert math.isclose(share, mine[1], rel_tol=1e-9)
    assert hand["models"] == [(c.variant, name, n) for c in facts.calls for name, n in c.served_models.items()] != []
    assert hand["unpriced"] == [(c.variant, r, n) for c in facts.calls for r, n in c.cost_unknown_reasons.items()]
    for row, c in zip(hand["calls"], facts.calls, strict=True):
        counts = (c.variant, c.n_calls, c.n_units, c.n_errors, c.n_rate_limited, c.n_fallbacks)
        assert row[:6] == counts
        assert c.n_calls > c.n_units > 0
        assert row[6:8] == (c.n_cost_unknown, c.n_usage_unknown)
        assert math.isclose(row[8], c.cost_usd, rel_tol=1e-9)
        assert row[9:12] == (c.input_tokens, c.cached_tokens, c.output_tokens)
        assert row[12] == [c.latency_seconds.p50, c.latency_seconds.p95, c.latency_seconds.p99]


def _moments(m: Moments) -> list[float]:
    """In the order of the SQL: each component's mean, then its variance and its covariance with those after it."""
    k, places = len(m.mean), iter(m.comoments)
    return [figure for i in range(k) for figure in (m.mean[i], *(next(places) / m.n for _ in range(i, k)))]


def upserts(n_events: int, folder: Path) -> float:
    """Seconds that counters in SQLite, raised by each event as it comes, take for a history."""
    files = make_files(n_events, folder)
    with duckdb.connect() as connection:
        rows = {
            name: connection.execute(query.format(**{name: list(getattr(files, name))})).fetchall()
            for name, query in UPSERT_ROWS.items()
        }
    counters = sqlite3.connect(folder / "counters.db", isolation_level=None)
    counters.executescript(UPSERT_TABLES)
    began = time.perf_counter()
    for name, found in rows.items():
        for first in range(0, len(found), _UPSERTS_A_COMMIT):
            counters.execute("BEGIN IMMEDIATE")
            counters.executemany(UPSERTS[name], found[first : first + _UPSERTS_A_COMMIT])
            counters.execute("COMMIT")
    seconds = time.perf_counter() - began
    (spent,) = counters.execute("SELECT sum(total) FROM counters WHERE name = 'purchase'").fetchone()
    counters.close()
    assert spent > 0
    return seconds


def timed(work: Callable[[LakeFiles], Any], files: LakeFiles) -> tuple[float, float, Any]:
    """Wall and processor seconds, and what the work gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(files)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def peak_gb(work: Callable[[LakeFiles], Any], files: LakeFiles) -> float:
    """The most memory that a process which does nothing else ever held."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_gb, work, files).result()


def _peak_gb(work: Callable[[LakeFiles], Any], files: LakeFiles) -> float:
    work(files)
    # Not getrusage: what that tells of a new program includes the parent that started it.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1e6


def measure(n_events: int, times: int, folder: Path) -> list[dict[str, Any]]:
    """A row for the engine, and one for each question asked by hand."""
    files = make_files(n_events, folder)
    ways: dict[str, Callable[[LakeFiles], Any]] = {
        "engine": by_engine,
        "the same question": functools.partial(by_hand, everything=True),
        "moments alone": functools.partial(by_hand, everything=False),
    }
    # In turns, so that whatever else the machine does meets all of them.
    runs = [{name: timed(work, files) for name, work in ways.items()} for _ in range(times)]
    facts = runs[0]["engine"][2]
    same_figures(facts, runs[0]["the same question"][2])
    same_rest(facts, runs[0]["the same question"][2])
    same_figures(facts, runs[0]["moments alone"][2])
    wall, cpu = ({name: min(run[name][i] for run in runs) for name in ways} for i in (0, 1))
    return [
        {
            "what": f"{n_events:,} events, {name}",
            "s": wall[name],
            "CPU s": cpu[name],
            "engine x": wall["engine"] / wall[name],
            "engine CPU x": cpu["engine"] / cpu[name],
            "peak GB": peak_gb(work, files),
            "all s": [run[name][0] for run in runs],
            "all CPU s": [run[name][1] for run in runs],
        }
        for name, work in ways.items()
    ]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("events", nargs="*", type=int, default=[1_000_000])
    arguments.add_argument("--times", type=int, default=3, help="runs of each; the quickest counts")
    asked = arguments.parse_args()
    rows = []
    for n_events in asked.events:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(n_events, asked.times, Path(folder))
    report = Report(__file__)
    figures = dict.fromkeys(("s", "CPU s", "engine x", "engine CPU x"), ".2f")
    report.table(
        f"one experiment's facts by the engine, and by hand: the quickest of {asked.times}",
        {"what": "", **figures, "peak GB": ".2f"},
        rows,
    )
    with tempfile.TemporaryDirectory() as folder:
        each = upserts(_SAMPLE, Path(folder)) / _SAMPLE
    columns = {"what": "", "us an event": ".1f", "s": ".1f", "refreshes": ".1f"}
    engine = {n: row["s"] for n, row in zip(asked.events, rows[::3], strict=True)}
    counted = [
        {"what": f"{n:,} events", "us an event": 1e6 * each, "s": each * n, "refreshes": each * n / seconds}
        for n, seconds in engine.items()
    ]
    report.table(
        f"counters raised by each event in SQLite, extrapolated from {_SAMPLE:,}; how many refreshes cost as much",
        columns,
        counted,
    )
    report.save(asked.json, times=asked.times)


if __name__ == "__main__":
    main()
