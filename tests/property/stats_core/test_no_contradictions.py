"""p < alpha, the interval of the effect and the interval of the lift never contradict each other."""

import math

import numpy as np
import pytest

from genux_server.stats.estimates import Estimate
from genux_server.stats.groupseq import boundaries, planned
from genux_server.stats.means import welch
from genux_server.stats.proportions import score_contrast
from genux_server.stats.sequential import always_valid, multiplier, tuning

ALPHA = 0.05
MANY = pytest.param(100_000, marks=pytest.mark.slow)


def conflict(contrast):
    """Which of the three statements contradicts the others, or None."""
    significant = contrast.p_value < ALPHA
    if significant != (contrast.lower > 0 or contrast.upper < 0):
        return "effect"
    if contrast.lift is None:
        return None
    below = contrast.lift_upper is not None and contrast.lift_upper < 0
    above = contrast.lift_lower is not None and contrast.lift_lower > 0
    if significant != (below or above):
        return "lift"
    return None if not significant or above == (contrast.effect > 0) else "direction"


def random_tables(n, seed):
    """Two proportions each, half of them moved to where |z| is next to its critical value."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        n_c, n_t = (int(10 ** rng.uniform(0, 5.5)) for _ in range(2))
        rate = 10 ** rng.uniform(-4, 0)
        x_c = int(rng.binomial(n_c, rate))
        x_t = int(rng.binomial(n_t, min(1.0, rate * rng.uniform(0.5, 1.5))))
        if i % 2:
            pooled = (x_c + x_t) / (n_c + n_t)
            shift = 1.959963985 * math.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_t))
            target = (x_c / n_c + rng.choice([-1, 1]) * shift) * n_t
            x_t = int(min(n_t, max(0, math.floor(target) + rng.integers(0, 2))))
        yield x_c, n_c, x_t, n_t


def random_arms(n, seed, critical):
    """Two estimates each, some controls not to be told from zero, half of all at the boundary to the last digits."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        n_c, n_t = (int(10 ** rng.uniform(0.5, 6)) for _ in range(2))
        scale = 10 ** rng.uniform(-9, 9)
        v_c, v_t = (scale**2 * 10 ** rng.uniform(-4, 1) * rng.integers(0, 20, endpoint=True) for _ in range(2))
        mean = scale * rng.normal() * 10 ** rng.uniform(-2, 2)
        se = math.sqrt(v_c + v_t)
        z = rng.normal() * 2
        if i % 2:
            z = critical(n_c, n_t, v_c, v_t) * rng.choice([-1, 1]) * (1 + rng.integers(-4, 4, endpoint=True) * 2e-16)
        yield Estimate(n_c, mean, v_c, max(1, n_c - 1)), Estimate(n_t, mean + z * se, v_t, max(1, n_t - 1))


@pytest.mark.parametrize("n", [5_000, MANY])
def test_the_score_family_never_contradicts_itself(n):
    conflicts, computed = [], 0
    for table in random_tables(n, seed=20_261_122):
        contrast = score_contrast(*table, ALPHA)
        if contrast is None:
            continue
        computed += 1
        if conflict(contrast):
            conflicts.append((conflict(contrast), table))
        assert contrast.lower <= contrast.effect <= contrast.upper, table
        assert -1 <= contrast.lower <= contrast.upper <= 1, table
    assert computed > 0.8 * n
    assert conflicts == []


def welch_boundary(n_c, n_t, v_c, v_t):
    from scipy import stats

    from genux_server.stats.means import satterthwaite

    df = satterthwaite(Estimate(n_c, 0, v_c, max(1, n_c - 1)), Estimate(n_t, 0, v_t, max(1, n_t - 1)))
    return float(stats.t.isf(ALPHA / 2, df))


@pytest.mark.parametrize("n", [5_000, MANY])
def test_welch_and_fieller_never_contradict_each_other(n):
    check_arms(random_arms(n, 7, welch_boundary), welch, n)


@pytest.mark.parametrize("n", [5_000, MANY])
def test_the_confidence_sequence_never_contradicts_itself(n):
    rho2 = tuning(5_000, ALPHA)
    check_arms(
        random_arms(n, 8, lambda n_c, n_t, *_: multiplier(n_c + n_t, rho2, ALPHA)),
        lambda control, treatment, alpha: always_valid(control, treatment, rho2, alpha),
        n,
    )


@pytest.mark.parametrize("n", [150, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_planned_test_never_contradicts_itself(n):
    fractions = (0.2, 0.45, 0.7)
    critical = boundaries(fractions, ALPHA)[-1]
    check_arms(
        random_arms(n, 9, lambda *_: critical),
        lambda control, treatment, alpha: planned(control, treatment, fractions, alpha),
        n,
    )


def check_arms(arms, method, n):
    conflicts, computed = [], 0
    for control, treatment in arms:
        contrast = method(control, treatment, ALPHA)
        if contrast is None:
            assert control.variance == treatment.variance == 0
            continue
        computed += 1
        if conflict(contrast):
            conflicts.append((conflict(contrast), control, treatment))
        assert contrast.lower <= contrast.effect <= contrast.upper
        for bound in (contrast.lift_lower, contrast.lift_upper):
            assert bound is None or math.isfinite(bound)
        if contrast.lift_lower is not None and contrast.lift_upper is not None:
            assert contrast.lift_lower <= contrast.lift + 1e-12 * abs(contrast.lift)
            assert contrast.lift <= contrast.lift_upper + 1e-12 * abs(contrast.lift)
    assert computed > 0.8 * n
    assert conflicts == []
