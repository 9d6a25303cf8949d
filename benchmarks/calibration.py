"""The calibration table of docs/statistics.md: `make calibrate`, or `python benchmarks/calibration.py`.

First the chance of a false winner when an A/A test is looked at 200 times, by genux's methods and by peers' formulas
written out from their documentation; then the simulations of tests/calibration/stats_extended. Its argument, the
scale, multiplies the number of runs; `--json PATH` keeps the first table.
"""

import datetime as dt
import math
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _report import SEED, Report, parser

from genux_server.stats.groupseq import boundaries
from genux_server.stats.sequential import multiplier, tuning, tuning_approximate

Floats = npt.NDArray[np.float64]
Population = Callable[[np.random.Generator, tuple[int, int]], Floats]

ALPHA = 0.05
LOOKS = np.unique(np.geomspace(100, 20_000, 200).astype(int))
EXTENDED = Path(__file__).parents[1] / "tests/calibration/stats_extended/test_simulated_errors.py"

POPULATIONS: dict[str, Population] = {
    "Bernoulli 5 %": lambda rng, shape: (rng.random(shape) < 0.05).astype(float),
    "Bernoulli .3 %": lambda rng, shape: (rng.random(shape) < 0.003).astype(float),
    "lognormal 1": lambda rng, shape: rng.lognormal(0, 1, shape),
    "lognormal 2": lambda rng, shape: rng.lognormal(0, 2, shape),
    "revenue (3 % buy)": lambda rng, shape: (rng.random(shape) < 0.03) * rng.lognormal(3, 1, shape),
    "Pareto 2.1": lambda rng, shape: rng.pareto(2.1, shape) + 1,
}


def running(values: Floats) -> tuple[Floats, Floats]:
    """Mean and its squared standard error at every look, `(runs, looks)`."""
    starts = np.concatenate([[0], LOOKS[:-1]])
    sums = np.cumsum(np.add.reduceat(values, starts, axis=1), axis=1)
    squares = np.cumsum(np.add.reduceat(values * values, starts, axis=1), axis=1)
    mean = sums / LOOKS
    return mean, np.maximum(squares / LOOKS - mean**2, 0) / (LOOKS - 1)


def false_winners(population: Population, runs: int, seed: int) -> dict[str, float]:
    """Share of A/A runs in which any look declares a winner, by rule."""
    rng, chunk = np.random.default_rng(seed), 50
    caught: dict[str, int] = {}
    units = 2 * LOOKS
    plan = tuning(2 * LOOKS[-1], ALPHA)
    reach = {
        "fixed test at every look": np.full(LOOKS.size, 1.959963984540054),
        "flat Bayes, chance to win over 95 %": np.full(LOOKS.size, 1.6448536269514722),
        "sequence tuned to 5,000, absolute": np.array(
            [multiplier(n, tuning_approximate(5000, ALPHA), ALPHA) for n in units]
        ),
        "genux: sequence tuned to the plan": np.array([multiplier(n, plan, ALPHA) for n in units]),
    }
    relative = {
        "GrowthBook's formula (relative, 5,000)": reach["sequence tuned to 5,000, absolute"],
        "Eppo's formula (relative, 10,000)": np.array(
            [multiplier(n, tuning_approximate(10_000, ALPHA), ALPHA) for n in units]
        ),
    }
    planned = np.searchsorted(LOOKS, np.linspace(LOOKS[-1] / 14, LOOKS[-1], 14).astype(int)).clip(max=LOOKS.size - 1)
    bounds = np.array(boundaries(tuple((LOOKS[planned] / LOOKS[-1]).tolist()), ALPHA))
    for _ in range(runs // chunk):
        (mean_c, var_c), (mean_t, var_t) = (running(population(rng, (chunk, LOOKS[-1]))) for _ in range(2))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.nan_to_num(np.abs(mean_t - mean_c) / np.sqrt(var_c + var_t), nan=0.0, posinf=0.0)
            lift_variance = var_t / mean_c**2 + mean_t**2 * var_c / mean_c**4
            z_relative = np.nan_to_num(np.abs(mean_t / mean_c - 1) / np.sqrt(lift_variance), nan=0.0, posinf=0.0)
        for name, critical in reach.items():
            caught[name] = caught.get(name, 0) + int((z > critical).any(axis=1).sum())
        for name, critical in relative.items():
            caught[name] = caught.get(name, 0) + int((z_relative > critical).any(axis=1).sum())
        name = "genux: group sequential, 14 looks"
        caught[name] = caught.get(name, 0) + int((z[:, planned] > bounds).any(axis=1).sum())
    return {name: count / (runs // chunk * chunk) for name, count in caught.items()}


def main() -> None:
    """Prints both tables; the first also goes into the JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("scale", nargs="?", type=float, default=1.0)
    asked = arguments.parse_args()
    runs = max(50, int(1000 * asked.scale))
    results = {name: false_winners(population, runs, SEED) for name, population in POPULATIONS.items()}
    limit = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    print(f"False winners (%) in A/A tests, {LOOKS.size} looks from 100 to 20,000 units per arm, nominal 5 %.")
    print(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, seed {SEED}, {runs} runs each; 5 % + 3 s.e. is {100 * limit:.1f}.\n")
    print("| rule | " + " | ".join(results) + " |\n|---|" + "---|" * len(results))
    for rule in next(iter(results.values())):
        print(f"| {rule} | " + " | ".join(f"{100 * result[rule]:.1f}" for result in results.values()) + " |")
    print()
    report = Report(__file__)
    report.tables["share of A/A tests with a false winner"] = [
        {"rule": rule, **{name: result[rule] for name, result in results.items()}}
        for rule in next(iter(results.values()))
    ]
    report.save(asked.json, runs=runs, looks=LOOKS.size)
    runpy.run_path(str(EXTENDED))["main"](asked.scale)


if __name__ == "__main__":
    main()
