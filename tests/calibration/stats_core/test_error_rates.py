"""Simulated error rates of the core, seeded. The short runs here; `-m slow` repeats them at full size.

Each bound is the nominal rate plus three standard errors of a simulation of that size.
"""

import datetime as dt
import math

import numpy as np
import pytest

from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec
from genux_server.model import ArmCount, Cell, Epoch, Facts
from genux_server.stats import build_report
from genux_server.stats.estimates import Estimate
from genux_server.stats.groupseq import boundaries, crossing_probabilities
from genux_server.stats.moments import moments_from_arrays
from genux_server.stats.proportions import score_contrast
from genux_server.stats.sequential import always_valid, multiplier, tuning
from genux_server.stats.srm import srm_sequential

ALPHA = 0.05
LOOKS = np.unique(np.geomspace(100, 20_000, 200).astype(int))


def with_slow(short, long):
    return [short, pytest.param(long, marks=pytest.mark.slow)]


def limit(rate, runs):
    return rate + 3 * math.sqrt(rate * (1 - rate) / runs)


def revenue(rng, size):
    return (rng.random(size) < 0.03) * rng.lognormal(3, 1, size)


POPULATIONS = {
    "bernoulli .05": lambda rng, size: (rng.random(size) < 0.05).astype(float),
    "bernoulli .003": lambda rng, size: (rng.random(size) < 0.003).astype(float),
    "lognormal 1": lambda rng, size: rng.lognormal(0, 1, size),
    "lognormal 2": lambda rng, size: rng.lognormal(0, 2, size),
    "revenue": revenue,
    "pareto 2.1": lambda rng, size: rng.pareto(2.1, size) + 1,
}


def running(values):
    """Mean and variance of the mean at every look, `(runs, looks)`, of `(runs, n)` values."""
    n = LOOKS[None, :]
    total = np.cumsum(values, axis=1)[:, LOOKS - 1]
    square = np.cumsum(values * values, axis=1)[:, LOOKS - 1]
    return total / n, np.maximum(square - total * total / n, 0) / (n - 1) / n


def excludes_zero(population, runs, seed):
    """Share of A/A runs in which the absolute interval, and the lift's, excludes 0 at any of 200 looks.

    The look at which a run came nearest to a false alarm is found by arrays, and put to `always_valid` itself.
    """
    rng = np.random.default_rng(seed)
    rho2 = tuning(2 * LOOKS[-1], ALPHA)
    reach = np.array([multiplier(2 * n, rho2, ALPHA) for n in LOOKS])
    absolute = lift = 0
    for _ in range(0, runs, 50):
        mean_c, var_c = running(population(rng, (50, LOOKS[-1])))
        mean_t, var_t = running(population(rng, (50, LOOKS[-1])))
        with np.errstate(invalid="ignore"):
            worst = np.nan_to_num(np.abs(mean_t - mean_c) / (reach * np.sqrt(var_c + var_t))).argmax(axis=1)
        for run, look in enumerate(worst):
            n = int(LOOKS[look])
            control, treatment = (
                Estimate(n, float(mean[run, look]), float(variance[run, look]), n - 1.0)
                for mean, variance in ((mean_c, var_c), (mean_t, var_t))
            )
            contrast = always_valid(control, treatment, rho2, ALPHA)
            if contrast is None:
                continue
            absolute += contrast.lower > 0 or contrast.upper < 0
            lift += (contrast.lift_lower or 0) > 0 or (contrast.lift_upper or 0) < 0
    return absolute / runs, lift / runs


@pytest.mark.parametrize("runs", with_slow(200, 3_000))
@pytest.mark.parametrize("name", POPULATIONS)
def test_two_hundred_looks_raise_no_more_false_alarms_than_promised(name, runs):
    absolute, lift = excludes_zero(POPULATIONS[name], runs, seed=2026)
    assert absolute <= limit(ALPHA, runs)
    assert lift <= limit(ALPHA, runs)


@pytest.mark.parametrize("runs", with_slow(4_000, 40_000))
def test_the_lift_covers_in_each_tail(runs):
    """p = .02 and 500 units per arm: where intervals on a linearised lift miss in one tail only.

    A two-sided 5 % test of so few conversions is discrete; each tail must stay within 3 s.e. of 2.5 % or under it.
    """
    rng = np.random.default_rng(5)
    below = above = computed = 0
    for x_c, x_t in rng.binomial(500, 0.02, (runs, 2)):
        contrast = score_contrast(int(x_c), 500, int(x_t), 500, ALPHA)
        if contrast is None or contrast.lift is None:
            continue
        computed += 1
        below += contrast.lift_upper is not None and contrast.lift_upper < 0
        above += contrast.lift_lower > 0
    assert computed > 0.99 * runs
    assert max(below, above) / computed <= limit(0.025, computed)
    assert abs(below - above) / computed <= 3 * math.sqrt(2 * 0.025 / computed)


@pytest.mark.parametrize("spending", ["obrien_fleming", "power"])
def test_group_sequential_power_is_that_of_the_reference(spending):
    """At the drift where one fixed look has 80 %, with 14 looks; exact, by the recursion itself."""
    reference = {"obrien_fleming": (0.784, 0.76), "power": (0.767, 0.72)}[spending]
    fractions = tuple(k / 14 for k in range(1, 15))
    bounds = boundaries(fractions, ALPHA, spending)
    drift = 1.959964 + 0.841621
    stopped = [up + down for up, down in crossing_probabilities(fractions, bounds, drift)]
    power = math.fsum(stopped)
    size = math.fsum(p * t for p, t in zip(stopped, fractions, strict=True)) + (1 - power)
    assert power == pytest.approx(reference[0], abs=0.002)
    assert size == pytest.approx(reference[1], abs=0.006)
    null = crossing_probabilities(fractions, bounds)
    assert math.fsum(up + down for up, down in null) == pytest.approx(ALPHA, abs=1e-9)


@pytest.mark.parametrize("runs", with_slow(10_000, 100_000))
@pytest.mark.parametrize(("n_looks", "reference"), [(14, 0.484), (200, 0.532)])
def test_the_tuned_sequence_has_the_power_of_the_reference(runs, n_looks, reference):
    """At the drift where one fixed look has 80 %: within 3 s.e. of the reference, or above it."""
    rng = np.random.default_rng(6)
    fractions = np.arange(1, n_looks + 1) / n_looks
    drift = 1.959964 + 0.841621
    path = np.cumsum(rng.normal(drift / n_looks, math.sqrt(1 / n_looks), (runs, n_looks)), axis=1)
    units = 20_000
    rho2 = tuning(units, ALPHA)
    reach = np.array([multiplier(units * t, rho2, ALPHA) for t in fractions])
    power = float(np.any(np.abs(path) / np.sqrt(fractions) > reach, axis=1).mean())
    assert power >= reference - 3 * math.sqrt(reference * (1 - reference) / runs)


@pytest.mark.parametrize("runs", with_slow(300, 3_000))
def test_the_split_test_stays_quiet_and_finds_small_mismatches(runs):
    rng = np.random.default_rng(7)
    steps = np.unique(np.geomspace(50, 100_000, 120).astype(int))

    def found_at(share):
        counts = np.cumsum(np.diff(steps, prepend=0))
        first = rng.binomial(np.diff(steps, prepend=0), share).cumsum()
        for n, x in zip(counts, first, strict=True):
            if srm_sequential([((int(x), int(n - x)), (0.5, 0.5))]).p_value < 0.01:
                return n
        return None

    alarms = sum(found_at(0.5) is not None for _ in range(runs))
    assert alarms / runs <= limit(0.01, runs)
    for share, units in ((0.52, 8_500), (0.51, 32_000)):
        times = [found_at(share) or steps[-1] for _ in range(runs // 3)]
        # The grid of looks is coarse, which delays a find by up to one step of 7 %.
        assert np.mean(times) <= units * 1.07 + 3 * np.std(times) / math.sqrt(len(times))


DAY = dt.date(2026, 11, 1)
NOW = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)


def facts(rng, rates, *, days=5, per_day=400, plan=None, epochs=((0.5, 0.5),), trend=0.0):
    """An experiment over some days; the control's rate moves by `trend` a day, the treatment's with it."""
    metric = MetricSpec(key="m", numerator=Measure(event="e"))
    spec = ExperimentSpec(
        key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")], primary="m", plan=plan or Plan()
    )
    cells, counts, day = [], [], 0
    for number, shares in enumerate(epochs, 1):
        for _ in range(days):
            sizes = rng.multinomial(per_day, shares)
            for variant, rate, n in zip("ab", rates, sizes, strict=True):
                at = DAY + dt.timedelta(days=day)
                values = (rng.random(n) < rate + trend * day).astype(float)
                counts.append(ArmCount(variant=variant, epoch=number, day=at, n_units=int(n)))
                cells.append(
                    Cell(metric="m", variant=variant, epoch=number, day=at, moments=moments_from_arrays({"y": values}))
                )
            day += 1
    return Facts(
        experiment=spec,
        metrics=[metric],
        epochs=[Epoch(number=i, allocation=shares, started_at=NOW) for i, shares in enumerate(epochs, 1)],
        as_of=NOW,
        arm_counts=counts,
        cells=cells,
    )


def of(report, validity):
    return next(c for c in report.metric("m").comparisons if c.validity == validity)


@pytest.mark.parametrize("seeds", with_slow(200, 2_000))
@pytest.mark.parametrize("looks", [1, 5])
def test_an_a_a_experiment_ships_no_more_often_than_promised(seeds, looks):
    """The whole path from facts to verdict, looked at every day: one-sided, as only a gain ships."""
    shipped = alarms = 0
    for seed in range(seeds):
        rng = np.random.default_rng([11, seed])
        whole = facts(rng, (0.3, 0.3), plan=Plan(horizon_units=2_000, looks=looks))
        verdicts = set()
        ever = False
        for day in range(5):
            until = DAY + dt.timedelta(days=day)
            seen = Facts(
                experiment=whole.experiment,
                metrics=whole.metrics,
                epochs=whole.epochs,
                as_of=dt.datetime.combine(until + dt.timedelta(days=1), dt.time(1), dt.UTC),
                arm_counts=[c for c in whole.arm_counts if c.day <= until],
                cells=[c for c in whole.cells if c.day <= until],
            )
            report = build_report(seen, generated_at=NOW)
            verdicts.add(report.verdict)
            ever = ever or of(report, "always").beats_control is not None
        shipped += "ship" in verdicts
        alarms += ever
    assert shipped / seeds <= limit(ALPHA / 2, seeds)
    assert alarms / seeds <= limit(ALPHA, seeds)


@pytest.mark.parametrize("seeds", with_slow(300, 3_000))
def test_a_planted_effect_is_inside_its_intervals_in_the_nominal_share(seeds):
    missed = {"planned": 0, "always": 0, "fixed": 0}
    for seed in range(seeds):
        rng = np.random.default_rng([12, seed])
        report = build_report(facts(rng, (0.30, 0.35), plan=Plan(horizon_units=2_000)), generated_at=NOW)
        for validity in missed:
            comparison = of(report, validity)
            missed[validity] += not comparison.effect_ci_lower <= 0.05 <= comparison.effect_ci_upper
    assert max(missed.values()) / seeds <= limit(ALPHA, seeds)
    assert missed["fixed"] / seeds >= ALPHA - 3 * math.sqrt(ALPHA / seeds)
    assert missed["always"] <= missed["fixed"]


@pytest.mark.parametrize("seeds", with_slow(200, 2_000))
def test_a_ramp_under_a_trend_is_unbiased_where_pooling_is_not(seeds):
    effects, pooled = [], []
    for seed in range(seeds):
        rng = np.random.default_rng([13, seed])
        made = facts(rng, (0.2, 0.2), days=3, epochs=((0.9, 0.1), (0.5, 0.5)), trend=0.05)
        effects.append(of(build_report(made, generated_at=NOW), "always").effect)
        total = {v: sum(c.moments.n * c.moments.mean[0] for c in made.cells if c.variant == v) for v in "ab"}
        units = {v: sum(c.moments.n for c in made.cells if c.variant == v) for v in "ab"}
        pooled.append(total["b"] / units["b"] - total["a"] / units["a"])
    error = np.std(effects) / math.sqrt(seeds)
    assert abs(np.mean(effects)) <= 3 * error
    assert np.mean(pooled) > 0.02
