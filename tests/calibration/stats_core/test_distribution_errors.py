"""A/A tests of quantiles and durations through the whole report: how often an interval excludes no effect."""

import datetime as dt
import math

import numpy as np
import pytest

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.model import ArmCount, Cell, Facts
from genux_server.stats import build_report
from genux_server.stats.duration import risk_table
from genux_server.stats.moments import moments_from_arrays
from genux_server.stats.quantile_summary import summarise_values

SEED = 20_261_122
DAY = dt.date(2026, 11, 1)
NOW = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)
WINDOW = 60.0
USERS = 400


def with_slow(short, long):
    return [short, pytest.param(long, marks=pytest.mark.slow)]


def comparisons(metric, cells):
    facts = Facts(
        experiment=ExperimentSpec(key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")]),
        metrics=[metric],
        epochs=[],
        as_of=NOW,
        arm_counts=[ArmCount(variant=cell.variant, day=DAY, n_units=USERS) for cell in cells],
        cells=cells,
    )
    return {c.validity: c for c in build_report(facts, generated_at=NOW).metrics[0].comparisons}


def latencies(rng, variant):
    """400 users with five calls on average, alike within a user."""
    units = np.repeat(np.arange(USERS), 1 + rng.poisson(4, USERS))
    values = np.exp(rng.normal(0.0, 0.6, USERS)[units] + rng.normal(0.0, 0.6, units.size))
    moments = moments_from_arrays({"y": np.bincount(units, minlength=USERS)})
    return Cell(metric="m", variant=variant, day=DAY, moments=moments, values=summarise_values(values, units))


def durations(rng, variant):
    """Half of 400 users have been followed to the end of the window, the others for some part of it."""
    times = rng.weibull(0.7, USERS) * 40.0
    seen_for = np.where(rng.random(USERS) < 0.5, rng.uniform(0.0, WINDOW, USERS), WINDOW)
    observed = times < seen_for
    moments = moments_from_arrays({"y": observed[seen_for == WINDOW].astype(float)})
    table = risk_table(np.minimum(times, seen_for), observed)
    return Cell(metric="m", variant=variant, day=DAY, moments=moments, durations=table)


def errors(metric, draw, runs):
    rng, found = np.random.default_rng(SEED), {"fixed": 0, "always": 0}
    for _ in range(runs):
        for validity, comparison in comparisons(metric, [draw(rng, key) for key in ("a", "b")]).items():
            found[validity] += comparison.beats_control is not None
    return {validity: n / runs for validity, n in found.items()}


def assert_five_percent(found, runs):
    """4.4 to 5.6 %, widened by three errors of the simulation where it is short."""
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    assert 0.044 - slack <= found["fixed"] <= 0.056 + slack
    assert found["always"] <= 0.05 + slack


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("runs", with_slow(300, 6_000))
def test_a_quantile_differs_by_chance_in_five_percent_of_reports(quantile, runs):
    metric = MetricSpec(key="m", kind="quantile", quantile=quantile, numerator=Measure(event="e"))
    assert_five_percent(errors(metric, latencies, runs), runs)


@pytest.mark.parametrize("runs", with_slow(300, 6_000))
def test_a_duration_differs_by_chance_in_five_percent_of_reports(runs):
    metric = MetricSpec(key="m", kind="duration", numerator=Measure(event="e"), window_seconds=WINDOW)
    assert_five_percent(errors(metric, durations, runs), runs)
