"""Simulated error rates of the extended methods, seeded; the short run here, `-m slow` at full size.

`python tests/calibration/stats_extended/test_simulated_errors.py [SCALE]` prints the table that docs/statistics.md
shows; SCALE multiplies the number of runs.
"""

import datetime as dt
import math
import sys

import numpy as np
import pytest

from genux_server.stats.adjust import regression_adjusted
from genux_server.stats.anytime import anytime_coefficient
from genux_server.stats.conversion import sequential_conversion
from genux_server.stats.duration import log_rank, risk_table
from genux_server.stats.epochs import EpochRates, combine_rates
from genux_server.stats.equivalence import non_inferiority
from genux_server.stats.evals import compare_cases
from genux_server.stats.generality import generality
from genux_server.stats.named import compare_values
from genux_server.stats.quantiles import compare_quantiles, quantile_of_values
from genux_server.stats.rates import compare_rates
from genux_server.stats.srm import srm_sequential

SEED = 20261122
ALPHA = 0.05


def clustered_calls(rng, n_users):
    """Calls of users who differ in level and in how much they call: values, owners."""
    calls = 1 + rng.poisson(rng.gamma(2.0, 4.0, n_users))
    owner = np.repeat(np.arange(n_users), calls)
    return np.exp(0.6 * rng.normal(size=n_users)[owner] + 0.5 * rng.normal(size=owner.size)), owner


def ratio_errors(runs, seed=SEED):
    """Share of A/A runs with p < 5 %: delta method at the unit, and event-level rows taken as independent."""
    rng, ours, naive = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        sums, counts, rows = [], [], []
        for _arm in range(2):
            values, owner = clustered_calls(rng, 400)
            sums.append(np.bincount(owner, weights=values))
            counts.append(np.bincount(owner).astype(float))
            rows.append(values)
        ours += (
            compare_values(
                control=sums[0], treatment=sums[1], control_denominator=counts[0], treatment_denominator=counts[1]
            ).p_value
            < ALPHA
        )
        naive += compare_values(control=rows[0], treatment=rows[1]).p_value < ALPHA
    return {"clustered": ours / runs, "events as if independent": naive / runs}


def quantile_errors(quantile, runs, seed=SEED):
    """Share of A/A runs with p < 5 %: clustered, and with the textbook error of independent events."""
    rng, ours, naive = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        arms = [quantile_of_values(*clustered_calls(rng, 400), quantile=quantile) for _ in range(2)]
        comparison = compare_quantiles(*arms)
        ours += comparison.p_value < ALPHA
        plain = math.hypot(*(arm.se / math.sqrt(arm.design_effect) for arm in arms))
        naive += abs(comparison.effect) > 1.959963984540054 * plain
    return {"clustered": ours / runs, "events as if independent": naive / runs}


def eval_errors(design, runs, seed=SEED):
    """Share of evaluations of equal prompts with p < 5 %: 100 cases, 3 trials.

    `repeat`: a case's chance to pass is the same under both prompts. `shift`: prompts shift cases at random.
    """
    rng, found = np.random.default_rng(seed), 0
    for _ in range(runs):
        chance = rng.beta(1.5, 1.5, 100)
        other = chance if design == "repeat" else np.clip(chance + rng.normal(0, 0.2, 100), 0, 1)
        swap = rng.random(100) < 0.5  # clipping is then the same on both sides
        a, b = np.where(swap, other, chance), np.where(swap, chance, other)
        trials = [(rng.random((100, 3)) < p[:, None]).astype(float) for p in (a, b)]
        found += compare_cases(*trials).p_value < ALPHA
    return found / runs


def best_of_twenty(runs, seed=SEED):
    """Twenty useless edits on 40 development cases; the best one judged on 40 held-out cases."""
    rng, general, fooled, gain = np.random.default_rng(seed), 0, 0, 0.0
    for _ in range(runs):
        dev = rng.normal(0, 0.45, (20, 40))
        best = dev[np.argmax(dev.mean(axis=1))]
        verdict = generality(best, rng.normal(0, 0.45, 40))
        general += verdict.verdict == "general"
        fooled += verdict.dev_ci_lower > 0
        gain += verdict.dev_effect
    return {"called general": general / runs, "better on dev": fooled / runs, "gain on dev": gain / runs}


def ramp_bias(runs, seed=SEED):
    """A rate that rises while treatment's share is raised: mean error of combining and of pooling, and coverage."""
    rng, errors, pooled, covered, effect = np.random.default_rng(seed), [], [], 0, 0.01
    plan = ((0.05, 9000, 1000), (0.08, 6000, 4000), (0.12, 2000, 8000))
    for _ in range(runs):
        epochs = [
            EpochRates(
                x_control=int(rng.binomial(n_c, p)),
                n_control=n_c,
                x_treatment=int(rng.binomial(n_t, p + effect)),
                n_treatment=n_t,
            )
            for p, n_c, n_t in plan
        ]
        result = combine_rates(epochs)
        errors.append(result.effect - effect)
        pooled.append(result.pooled_effect - effect)
        covered += result.ci_lower <= effect <= result.ci_upper
    se = float(np.std(errors, ddof=1)) / math.sqrt(runs)
    return {"combined": float(np.mean(errors)), "se": se, "pooled": float(np.mean(pooled)), "coverage": covered / runs}


def srm_speed(share, runs, limit, seed=SEED):
    """Mean units until a true share other than 1/2 is found at alpha .01, looking every 100 units."""
    rng, needed = np.random.default_rng(seed), []
    for _ in range(runs):
        arrivals = np.cumsum(rng.binomial(100, share, limit // 100))
        at = next(
            (
                100 * (i + 1)
                for i, x in enumerate(arrivals)
                if srm_sequential([((int(x), 100 * (i + 1) - int(x)), (0.5, 0.5))]).p_value < 0.01
            ),
            limit,
        )
        needed.append(at)
    return float(np.mean(needed))


def log_rank_errors(runs, seed=SEED):
    rng, found = np.random.default_rng(seed), 0
    for _ in range(runs):
        tables = []
        for _arm in range(2):
            true, censor = rng.weibull(0.8, 200), rng.exponential(1.5, 200)
            tables.append(risk_table(np.minimum(true, censor), true <= censor))
        found += log_rank(*tables).p_value < ALPHA
    return found / runs


def rate_errors(runs, seed=SEED):
    rng = np.random.default_rng(seed)
    return (
        sum(
            compare_rates(int(rng.poisson(30)), 1000.0, int(rng.poisson(45)), 1500.0).p_value < ALPHA
            for _ in range(runs)
        )
        / runs
    )


def margin_errors(runs, seed=SEED):
    """Treatment exactly at a relative margin of 10 %: how often it passes, and by a margin fixed at the estimate."""
    rng, ours, naive = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        c, t = rng.exponential(10.0, 100), rng.exponential(9.0, 100)
        mean_c, mean_t = float(c.mean()), float(t.mean())
        se_c, se_t = float(c.std(ddof=1)) / 10, float(t.std(ddof=1)) / 10
        given = {"value_control": mean_c, "se_control": se_c, "value_treatment": mean_t, "se_treatment": se_t}
        given |= {"df_control": 99, "df_treatment": 99}
        ours += non_inferiority(**given, margin=0.1, relative=True).passes
        naive += non_inferiority(**given, margin=0.1 * mean_c).passes
    return {"m_t - (1 - r) m_c": ours / runs, "margin taken as known": naive / runs}


def regression_errors(runs, seed=SEED):
    """No effect, 20 % treated, treatment noisier, 80 units."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(runs):
        x = rng.normal(size=80)
        treated = np.arange(80) < 16
        y = x + rng.normal(size=80) * np.where(treated, 2.0, 1.0)
        found += regression_adjusted(y, treated, [x], hc="HC3").p_value < ALPHA
    return found / runs


def anytime_regression_errors(runs, seed=SEED):
    """No effect, looking after every tenth of 500 units; an ordinary t test beside it."""
    rng, ours, naive = np.random.default_rng(seed), 0, 0
    looks = np.arange(20, 501, 10)
    for _ in range(runs):
        t, y = rng.random(500) < 0.5, rng.normal(size=500)
        caught = fooled = False
        for n in looks:
            a, b = y[:n][t[:n]], y[:n][~t[:n]]
            pooled = (a.var() * a.size + b.var() * b.size) / (n - 2)
            se = math.sqrt(pooled * (1 / a.size + 1 / b.size))
            estimate = float(a.mean() - b.mean())
            caught |= anytime_coefficient(estimate, se, int(n), 2).p_value < ALPHA
            fooled |= abs(estimate) > 1.97 * se
        ours, naive = ours + caught, naive + fooled
    return {"anytime": ours / runs, "t test at every look": naive / runs}


def conversion_errors(runs, seed=SEED):
    """Equal arms whose common conversion rate swings between 1 and 9 % with the hour; 200 looks."""
    rng, found = np.random.default_rng(seed), 0
    swing = 0.05 + 0.04 * np.sin(np.arange(200) / 4)
    for _ in range(runs):
        c, t = (np.cumsum(rng.binomial(250, swing)) for _ in range(2))
        found += any(sequential_conversion(int(a), int(b)).p_value < ALPHA for a, b in zip(c, t, strict=True))
    return found / runs


def with_slow(short, long):
    return [short, pytest.param(long, marks=pytest.mark.slow)]


def within(share, rate, runs):
    """Three standard errors of a simulation of this size around a rate."""
    return abs(share - rate) <= 3 * math.sqrt(rate * (1 - rate) / runs)


def at_most(share, rate, runs):
    return share <= rate + 3 * math.sqrt(rate * (1 - rate) / runs)


def near_five_percent(share, runs):
    """4.4 to 5.6 %, widened by the error of a short simulation."""
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    return 0.044 - slack <= share <= 0.056 + slack


@pytest.mark.parametrize("runs", with_slow(500, 10_000))
def test_a_clustered_ratio_keeps_five_percent_where_event_rows_do_not(runs):
    errors = ratio_errors(runs)
    assert near_five_percent(errors["clustered"], runs)
    assert errors["events as if independent"] > 0.1


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("runs", with_slow(300, 10_000))
def test_a_clustered_quantile_keeps_five_percent_where_the_textbook_error_does_not(quantile, runs):
    errors = quantile_errors(quantile, runs)
    assert near_five_percent(errors["clustered"], runs)
    assert errors["events as if independent"] > 0.1


@pytest.mark.parametrize("design", ["repeat", "shift"])
@pytest.mark.parametrize("runs", with_slow(800, 10_000))
def test_equal_prompts_differ_in_five_percent_of_evaluations(design, runs):
    assert within(eval_errors(design, runs), ALPHA, runs)


@pytest.mark.parametrize("runs", with_slow(800, 20_000))
def test_the_best_of_twenty_useless_edits_is_not_called_general(runs):
    result = best_of_twenty(runs)
    assert at_most(result["called general"], 0.0125, runs)
    assert result["better on dev"] > 0.2


@pytest.mark.parametrize("runs", with_slow(100, 3000))
def test_epochs_combined_are_unbiased_under_a_trend_and_a_ramp_where_pooling_is_not(runs):
    result = ramp_bias(runs)
    assert abs(result["combined"]) <= 3 * result["se"]
    assert result["pooled"] > 10 * result["se"]
    assert within(result["coverage"], 0.95, runs)


@pytest.mark.parametrize(("share", "reference"), [(0.51, 32_000), (0.52, 8_500)])
def test_a_wrong_split_is_found_as_quickly_as_promised(share, reference):
    assert srm_speed(share, 60, 4 * reference) <= reference * 1.15


@pytest.mark.parametrize("runs", with_slow(400, 10_000))
def test_log_rank_keeps_five_percent_under_censoring(runs):
    assert within(log_rank_errors(runs), ALPHA, runs)


@pytest.mark.parametrize("runs", with_slow(800, 10_000))
def test_the_score_test_of_rates_keeps_five_percent(runs):
    assert within(rate_errors(runs), ALPHA, runs)


@pytest.mark.parametrize("runs", with_slow(1000, 20_000))
def test_a_treatment_at_a_relative_margin_passes_in_five_percent(runs):
    assert near_five_percent(margin_errors(runs)["m_t - (1 - r) m_c"], runs)


@pytest.mark.parametrize("runs", with_slow(400, 10_000))
def test_adjusted_regression_keeps_its_level_with_unequal_arms_and_variances(runs):
    assert at_most(regression_errors(runs), 0.056, runs)


@pytest.mark.parametrize("runs", with_slow(150, 3000))
def test_anytime_regression_keeps_five_percent_over_all_looks(runs):
    errors = anytime_regression_errors(runs)
    assert at_most(errors["anytime"], ALPHA, runs)
    assert errors["t test at every look"] > 0.15


@pytest.mark.parametrize("runs", with_slow(40, 1000))
def test_the_sequential_conversion_test_keeps_five_percent_while_rates_swing(runs):
    assert at_most(conversion_errors(runs), ALPHA, runs)


def main(scale):
    """Prints the table."""

    def show(name, result):
        cells = {"": result} if isinstance(result, float) else result
        for key, value in cells.items():
            sys.stdout.write(f"| {name}{': ' if key else ''}{key} | {value:.5g} |\n")

    sys.stdout.write(f"Extended calibration, {dt.datetime.now(dt.UTC):%Y-%m-%d}, seed {SEED}, scale {scale:g}\n\n")
    sys.stdout.write("| simulation | figure |\n|---|---|\n")
    runs = int(1000 * scale)
    show(f"A/A, ratio, 400 users per arm ({runs} runs)", ratio_errors(runs))
    show(f"A/A, p50, 400 users per arm ({runs} runs)", quantile_errors(0.5, runs))
    show(f"A/A, p95, 400 users per arm ({runs} runs)", quantile_errors(0.95, runs))
    show(f"equal prompts, cases repeat ({runs} runs)", eval_errors("repeat", runs))
    show(f"equal prompts, cases shift ({runs} runs)", eval_errors("shift", runs))
    show(f"best of 20 useless edits ({2 * runs} runs)", best_of_twenty(2 * runs))
    show(f"ramp with a trend ({runs // 4} runs)", ramp_bias(runs // 4))
    show("units to find 51/49 (mean of 200)", srm_speed(0.51, 200, 200_000))
    show("units to find 52/48 (mean of 200)", srm_speed(0.52, 200, 100_000))
    show(f"A/A, log-rank ({runs} runs)", log_rank_errors(runs))
    show(f"A/A, Poisson rates ({runs} runs)", rate_errors(runs))
    show(f"at a relative margin of 10 % ({4 * runs} runs)", margin_errors(4 * runs))
    show(f"A/A, HC3 regression, 16 of 80 treated ({runs} runs)", regression_errors(runs))
    show(f"A/A, regression, 49 looks ({runs // 2} runs)", anytime_regression_errors(runs // 2))
    show(f"A/A, swinging conversion, 200 looks ({runs // 4} runs)", conversion_errors(runs // 4))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
