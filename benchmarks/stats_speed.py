"""A whole report from summaries, and one comparison beside tea-tasting's and gbstats' on the same table.

python benchmarks/stats_speed.py [--json PATH]

The peers are installed in virtual environments of their own below `.venv-peers/` (they need different numpy versions).
A comparison here is a difference of two means with p-value and intervals, from summaries; gbstats' and ours are valid
at every look, tea-tasting's is a fixed-horizon test, so ours is timed both ways.
"""

import datetime as dt
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from _peers import PeerError, released, run
from _report import SEED, Report, parser, spread

from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec
from genux_server.model import ArmCount, Cell, Epoch, Facts
from genux_server.stats import build_report
from genux_server.stats.estimates import arm_estimates
from genux_server.stats.means import welch
from genux_server.stats.moments import merge, moments_from_arrays
from genux_server.stats.sequential import always_valid, tuning

N_METRICS, N_VARIANTS, N_DAYS, N_SEGMENTS = 20, 4, 30, 50
UNITS_PER_CELL = 40
REPEATS = 7
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

TEA_TASTING = """
import json, sys, time
import tea_tasting.aggr, tea_tasting.metrics
arms = [tea_tasting.aggr.Aggregates(count_=n, mean_={"y": m}, var_={"y": v}) for n, m, v in json.load(sys.stdin)]
metric = tea_tasting.metrics.Mean("y", use_t=True, equal_var=False)
metric.analyze_aggregates(arms[0], arms[1])
times = []
for _ in range(7):
    start = time.process_time()
    for arm in arms[1:]:
        metric.analyze_aggregates(arms[0], arm)
    times.append((time.process_time() - start) / (len(arms) - 1))
print(json.dumps(times))
"""

GBSTATS = """
import json, sys, time
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import SampleMeanStatistic
arms = [SampleMeanStatistic(n=n, sum=n * m, sum_squares=(n - 1) * v + n * m * m) for n, m, v in json.load(sys.stdin)]
config = SequentialConfig(difference_type="absolute")
SequentialTwoSidedTTest(arms[0], arms[1], config).compute_result()
times = []
for _ in range(7):
    start = time.process_time()
    for arm in arms[1:]:
        SequentialTwoSidedTTest(arms[0], arm, config).compute_result()
    times.append((time.process_time() - start) / (len(arms) - 1))
print(json.dumps(times))
"""


def table() -> Facts:
    rng = np.random.default_rng(SEED)
    variants = [f"v{i}" for i in range(N_VARIANTS)]
    metrics = [
        MetricSpec(key=f"m{i}", kind="proportion" if i % 2 == 0 else "mean", numerator=Measure(event=f"e{i}"))
        for i in range(N_METRICS)
    ]
    segments = ["", *(f"country=c{i}" for i in range(N_SEGMENTS))]
    days = [NOW.date() - dt.timedelta(days=N_DAYS - i) for i in range(N_DAYS)]
    cells = []
    for metric in metrics:
        for variant in variants:
            is_share = metric.kind == "proportion"
            values = rng.binomial(1, 0.2, UNITS_PER_CELL) if is_share else rng.lognormal(0, 1, UNITS_PER_CELL)
            moments = moments_from_arrays({"y": values.astype(float)})
            cells += [
                Cell(metric=metric.key, variant=variant, segment=segment, day=day, moments=moments)
                for segment in segments
                for day in days
            ]
    counts = [
        ArmCount(variant=variant, segment=segment, day=day, n_units=UNITS_PER_CELL)
        for variant in variants
        for segment in segments
        for day in days
    ]
    return Facts(
        experiment=ExperimentSpec(
            key="speed",
            variants=[VariantSpec(key=v) for v in variants],
            primary="m0",
            secondaries=[m.key for m in metrics[1:]],
            plan=Plan(horizon_units=20_000),
        ),
        metrics=metrics,
        epochs=[Epoch(number=1, allocation=(0.25,) * 4, started_at=NOW - dt.timedelta(days=40))],
        as_of=NOW,
        arm_counts=counts,
        cells=cells,
    )


def timed(step: Callable[[], object], n: int = 1) -> list[float]:
    step()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        step()
        times.append((time.process_time() - start) / n)
    return times


def peer(name: str, snippet: str, arms: str) -> Mapping[str, Any]:
    try:
        return {"times": run(name, "-c", snippet, stdin=arms), "version": released(name, name)}
    except PeerError as error:
        return {"error": str(error)}


def main() -> None:
    asked = parser(__doc__).parse_args()
    report = Report(__file__)
    facts = table()
    whole_report = timed(lambda: build_report(facts, generated_at=NOW))
    report.table(
        f"s of CPU for a whole report (goal: under 1): {N_METRICS} metrics x {N_VARIANTS} variants x {N_DAYS} days x "
        f"{N_SEGMENTS} segments, {len(facts.cells):,} cells",
        {"": "", "median": ".2f", "q1": ".2f", "q3": ".2f"},
        [{"": "genux", **spread(whole_report)}],
    )

    whole = [
        merge(c.moments for c in facts.cells if (c.metric, c.variant, c.segment) == ("m1", v.key, ""))
        for v in facts.experiment.variants
    ]
    control, *treatments = arm_estimates({f"v{i}": moments for i, moments in enumerate(whole)}).values()
    rho2 = tuning(20_000)
    arms = json.dumps([(m.n, m.mean[0], m.comoments[0] / (m.n - 1)) for m in whole])
    measured: dict[str, Mapping[str, Any]] = {
        "genux, Welch and Fieller": {"times": timed(lambda: [welch(control, t) for t in treatments], len(treatments))},
        "genux, valid at every look": {
            "times": timed(lambda: [always_valid(control, t, rho2) for t in treatments], len(treatments))
        },
        "tea-tasting, Welch and delta": peer("tea-tasting", TEA_TASTING, arms),
        "gbstats, sequential": peer("gbstats", GBSTATS, arms),
    }
    floor = statistics.median(measured["genux, Welch and Fieller"]["times"])
    rows = []
    for name, row in measured.items():
        if "error" in row:
            rows.append({"": name, **row})
        else:
            figures = spread([1e6 * seconds for seconds in row["times"]])
            title = f"{name} ({row['version']})" if "version" in row else name
            rows.append({"": title, **figures, "ratio": figures["median"] / (1e6 * floor)})
    report.table(
        "us of CPU for one comparison", {"": "", "median": ".0f", "q1": ".0f", "q3": ".0f", "ratio": ".1f"}, rows
    )
    report.save(asked.json, repeats=REPEATS)


if __name__ == "__main__":
    main()
