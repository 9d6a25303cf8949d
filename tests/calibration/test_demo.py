"""The demonstration keeps its promise: an A/A test stays quiet at every look, and the planted effect is covered."""

import datetime as dt

import pytest
from scipy import stats as reference

from genux_server.demo.offline import looks
from genux_server.stats import build_report

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def primary(facts):
    report = build_report(facts, generated_at=NOW)
    return report, {c.validity: c for c in report.metric("accepted").comparisons}


def aa_alarms(seeds, n_looks):
    """Seeds in which some look at an A/A test excluded zero, by validity, and seeds in which one said ship."""
    alarms = {"always": 0, "fixed": 0}
    shipped = 0
    for seed in seeds:
        seen = dict.fromkeys(alarms, False)
        verdicts = set()
        for facts in looks(seed, n_visitors=3_000, n_looks=n_looks, effect=0.0, now=NOW):
            report, by_validity = primary(facts)
            verdicts.add(report.verdict)
            for validity in alarms:
                seen[validity] |= by_validity[validity].beats_control is not None
        for validity in alarms:
            alarms[validity] += seen[validity]
        shipped += "ship" in verdicts
    return alarms, shipped


@pytest.mark.slow
def test_two_hundred_aa_tests_with_fifty_looks_each_stay_below_their_level():
    n = 200
    alarms, shipped = aa_alarms(range(n), n_looks=50)
    # A sound method exceeds each bound once in a thousand runs. Shipping is one-sided.
    bound = reference.binom.isf(1e-3, n, 0.05)
    assert alarms["always"] <= bound
    assert shipped <= reference.binom.isf(1e-3, n, 0.025)
    # The bound can fail: looking fifty times at a fixed-horizon test does.
    assert alarms["fixed"] > bound


@pytest.mark.parametrize("effect", [0.06, -0.05])
def test_the_planted_effect_lies_inside_its_interval_in_the_nominal_share_of_seeds(effect):
    n = 200
    covered = dict.fromkeys(("always", "fixed"), 0)
    for seed in range(n):
        (facts,) = looks(seed, n_visitors=3_000, n_looks=1, effect=effect, now=NOW)
        _, by_validity = primary(facts)
        for validity in covered:
            found = by_validity[validity]
            covered[validity] += found.effect_ci_lower <= effect <= found.effect_ci_upper
    low, high = reference.binom.ppf([5e-4, 1 - 5e-4], n, 0.95)
    assert low <= covered["fixed"] <= high
    assert covered["always"] >= low
