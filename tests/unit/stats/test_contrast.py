import math

import numpy as np
import pytest
from scipy import stats

from genux_server.stats.contrast import fieller
from genux_server.stats.estimates import Estimate, arm_estimates
from genux_server.stats.groupseq import boundaries, repeated_p_value
from genux_server.stats.means import welch
from genux_server.stats.moments import moments_from_arrays
from genux_server.stats.money import cost_effect, net_benefit
from genux_server.stats.proportions import (
    boschloo_p_value,
    koopman_interval,
    normal_critical,
    restricted_by_difference,
    score_difference_interval,
)
from genux_server.stats.sequential import one_sided_multiplier, tuning
from genux_server.stats.srm import srm_chi_square, srm_sequential


def test_fieller_is_unbounded_where_the_denominator_may_be_zero():
    assert fieller(1.0, 1.0, 0.1, 1.0, 1.96) == (None, None)


def test_fieller_gives_the_ray_that_holds_the_estimate_where_only_the_numerator_is_sure():
    low, high = fieller(100.0, 1.0, 1.0, 1.0, 1.96)
    assert high is None
    assert 1 < low < 100
    low, high = fieller(-100.0, 1.0, 1.0, 1.0, 1.96)
    assert low is None
    assert -100 < high < -1


def test_a_lift_over_a_negative_control_has_the_sign_of_the_effect():
    contrast = welch(Estimate(100, -10.0, 0.01, 99), Estimate(100, -8.0, 0.01, 99))
    assert contrast.effect == pytest.approx(2.0)
    assert contrast.lift == pytest.approx(0.2)
    assert 0 < contrast.lift_lower < 0.2 < contrast.lift_upper


def test_the_bounds_are_where_the_score_is_critical():
    """The repair of rounding at the boundary hides nothing: at each bound the studentised distance is critical."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        n_c, n_t = (int(n) for n in rng.integers(5, 5_000, 2))
        x_c, x_t = int(rng.integers(1, n_c)), int(rng.integers(1, n_t))
        p_c, p_t = x_c / n_c, x_t / n_t
        for bound in score_difference_interval(x_c, n_c, x_t, n_t):
            if abs(bound) > 1 - 1e-9:
                continue
            a, b = restricted_by_difference(p_t, n_t, p_c, n_c, bound)
            z = (p_t - p_c - bound) / math.sqrt(a * (1 - a) / n_t + b * (1 - b) / n_c)
            assert abs(z) == pytest.approx(normal_critical(0.05), rel=1e-6)


def test_koopman_is_open_upwards_without_successes_in_control():
    lower, upper = koopman_interval(0, 50, 8, 50)
    assert upper is None
    assert lower > 1
    assert koopman_interval(8, 50, 0, 50)[0] == 0.0
    assert koopman_interval(0, 50, 0, 50) == (0.0, None)


def brute_boschloo(x_c, n_c, x_t, n_t):
    """Fisher's p as the statistic, its worst case over the common rate on a fine grid; twice the smaller side."""
    rates = np.linspace(0.0005, 0.9995, 4_001)
    sides = []
    for side in ("less", "greater"):
        tables = [(a, b) for a in range(n_c + 1) for b in range(n_t + 1)]
        fisher = [stats.fisher_exact([[b, a], [n_t - b, n_c - a]], side).pvalue for a, b in tables]
        seen = fisher[tables.index((x_c, x_t))]
        chance = sum(
            stats.binom.pmf(a, n_c, rates) * stats.binom.pmf(b, n_t, rates)
            for (a, b), p in zip(tables, fisher, strict=True)
            if p <= seen * (1 + 1e-9)
        )
        sides.append(chance.max())
    return min(1.0, 2 * min(sides))


@pytest.mark.parametrize("table", [(2, 8, 7, 9), (1, 6, 5, 7)])
def test_boschloo_is_what_its_definition_says(table):
    assert boschloo_p_value(*table) == pytest.approx(brute_boschloo(*table), rel=2e-3)


def test_arms_that_never_vary_have_no_test():
    same = Estimate(10, 1.0, 0.0, 9)
    assert welch(same, same) is None


def arms_with_cost(rng, n=4_000):
    found = {}
    for variant, rate, cost in (("c", 0.3, 0.01), ("t", 0.4, 0.02)):
        converted = (rng.random(n) < rate).astype(float)
        found[variant] = moments_from_arrays({"y": converted, "c": cost * (1 + converted)})
    return arm_estimates(found)


def test_cost_and_effect_of_the_same_units_are_correlated_and_that_is_used():
    arms = arms_with_cost(np.random.default_rng(2))
    assert arms["t"].cost_covariance > 0
    found = cost_effect(arms["c"], arms["t"], 1.96)
    true = (0.02 * 1.4 - 0.01 * 1.3) / 0.1
    assert found.ratio_lower < true < found.ratio_upper
    apart = [Estimate(a.n, a.value, a.variance, a.df, a.cost, a.cost_variance) for a in (arms["c"], arms["t"])]
    loose = cost_effect(*apart, 1.96)
    assert found.ratio_upper - found.ratio_lower < loose.ratio_upper - loose.ratio_lower


def test_the_cost_of_an_effect_that_may_be_none_has_no_bound():
    arms = arms_with_cost(np.random.default_rng(3), n=60)
    close = Estimate(60, arms["c"].value + 0.001, arms["t"].variance, 59, 0.02, 1e-9)
    found = cost_effect(arms["c"], close, 1.96)
    assert found.ratio is not None
    assert (found.ratio_lower, found.ratio_upper) == (None, None)
    assert cost_effect(Estimate(9, 1.0, 1.0, 8), close, 1.96) is None


def test_the_net_benefit_is_zero_where_the_value_is_the_cost():
    arms = arms_with_cost(np.random.default_rng(4))
    price = cost_effect(arms["c"], arms["t"], 1.96).ratio
    found = net_benefit(arms["c"], arms["t"], price, 1.96)
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.lower < 0 < found.upper


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.5, 0.5), (0.7, 0.3)])
def test_information_must_rise(fractions):
    with pytest.raises(ValueError, match="fractions"):
        boundaries(fractions)


def test_very_early_looks_have_nothing_to_spend_and_cost_nothing():
    early = boundaries((0.001, 0.002, 0.5, 1.0))
    assert early[:2] == (40.0, 40.0)
    assert early[2:] == pytest.approx(boundaries((0.5, 1.0)), abs=1e-6)


def test_the_repeated_p_value_crosses_alpha_with_the_boundary():
    fractions = (0.3, 0.6)
    bound = boundaries(fractions)[-1]
    assert repeated_p_value(bound * (1 + 1e-9), fractions, 0.05) < 0.05
    assert repeated_p_value(bound * (1 - 1e-9), fractions, 0.05) >= 0.05
    assert repeated_p_value(bound, fractions, 0.05) == pytest.approx(0.05, abs=1e-6)
    assert repeated_p_value(0.0, fractions, 0.05) == 1.0


def test_a_one_sided_test_spends_all_its_alpha_on_one_side():
    fractions = (0.4, 1.0)
    assert boundaries(fractions, 0.025, sides=1) == pytest.approx(boundaries(fractions, 0.05), abs=1e-6)


def test_the_one_sided_sequence_is_narrower_than_the_two_sided_one():
    from genux_server.stats.sequential import multiplier

    assert one_sided_multiplier(5_000, tuning(5_000, 0.1), 0.05) < multiplier(5_000, tuning(5_000), 0.05)


def test_arms_without_a_share_count_neither_units_nor_degrees_of_freedom():
    two = srm_chi_square([((480, 520), (0.5, 0.5))])
    three = srm_chi_square([((480, 520, 7), (0.5, 0.5, 0.0))])
    assert two == three
    assert srm_chi_square([((0, 0), (0.5, 0.5))]) is None
    assert srm_sequential([]) is None


def test_bayes_factors_of_epochs_multiply():
    first, second = ((480, 520), (0.5, 0.5)), ((90, 10), (0.9, 0.1))
    both = srm_sequential([first, second]).statistic
    assert both == pytest.approx(srm_sequential([first]).statistic + srm_sequential([second]).statistic, rel=1e-12)
