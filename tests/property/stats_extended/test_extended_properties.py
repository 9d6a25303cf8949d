"""What must hold for every input: symmetry, containment, no contradictions, merging, and no NaN anywhere."""

import json
import math
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genux_server.stats.adjust import cap_outliers, regression_adjusted
from genux_server.stats.anytime import anytime_coefficient
from genux_server.stats.bayes import bayesian_means, bayesian_proportions
from genux_server.stats.conversion import sequential_conversion
from genux_server.stats.duration import kaplan_meier, log_rank, merge_risk_tables, risk_table
from genux_server.stats.epochs import EpochMeans, EpochRates, combine_means, combine_rates
from genux_server.stats.equivalence import equivalence_proportions, non_inferiority, non_inferiority_proportions
from genux_server.stats.evals import compare_cases, score_mean, variance_split
from genux_server.stats.generality import generality
from genux_server.stats.multiplicity import adjust_p_values
from genux_server.stats.paired_binary import mcnemar
from genux_server.stats.pass_rates import pass_all
from genux_server.stats.power import Baseline, Design, achieved_power
from genux_server.stats.quantile_summary import merge_quantile_summaries, quantile_from_summary, summarise_values
from genux_server.stats.quantiles import compare_quantiles, quantile_of_values
from genux_server.stats.rates import compare_rates
from genux_server.stats.registry import METHODS, MethodError, describe, run
from genux_server.stats.sample_size import days_needed, minimum_effect, required_units

SETTINGS = settings(max_examples=150, deadline=None)
counts = st.integers(0, 3000)
exposures = st.floats(0.1, 1e6)
values = st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=30)
positive = st.lists(st.floats(0, 1e6), min_size=0, max_size=30)
scores = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4), min_size=1, max_size=12)


def all_finite_or_coded(result):
    """Every number in the result is finite; where the main figure is missing, a code says why."""
    plain = msgspec.to_builtins(result)

    def walk(item):
        if isinstance(item, float):
            assert math.isfinite(item), plain
        for child in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            walk(child)

    walk(plain)
    if "p_value" in plain and plain["p_value"] is None:
        assert plain["not_computable"]["code"], plain
        assert plain["not_computable"]["text"].endswith("."), plain


def tables():
    return st.tuples(st.integers(1, 2000), st.integers(1, 2000), st.floats(0, 1), st.floats(0, 1)).map(
        lambda t: (round(t[0] * t[2]), t[0], round(t[1] * t[3]), t[1])
    )


@SETTINGS
@given(counts, exposures, counts, exposures, st.sampled_from([0.01, 0.05, 0.2]))
def test_rates_never_contradict_themselves_and_swap_sides(e_c, t_c, e_t, t_t, alpha):
    result = compare_rates(e_c, t_c, e_t, t_t, alpha=alpha)
    all_finite_or_coded(result)
    assume(result.p_value is not None)
    assume(abs(result.p_value - alpha) > 1e-9)
    excludes_zero = result.effect_ci_lower > 0 or result.effect_ci_upper < 0
    upper = result.ratio_ci_upper
    excludes_one = result.ratio_ci_lower > 1 or (upper is not None and upper < 1)
    assert (result.p_value < alpha) == excludes_zero == excludes_one
    assert result.effect_ci_lower <= result.effect <= result.effect_ci_upper
    swapped = compare_rates(e_t, t_t, e_c, t_c, alpha=alpha)
    assert swapped.statistic == pytest.approx(-result.statistic)
    span = result.effect_ci_upper - result.effect_ci_lower
    assert swapped.effect_ci_lower == pytest.approx(-result.effect_ci_upper, rel=1e-7, abs=1e-9 * span)


@SETTINGS
@given(
    st.lists(st.tuples(st.floats(0, 100).map(lambda x: round(x, 1)), st.booleans()), min_size=1, max_size=40), st.data()
)
def test_survival_is_the_same_from_any_split_and_order_of_the_units(units, data):
    durations, observed = zip(*units, strict=True)
    whole = risk_table(durations, observed)
    cut = data.draw(st.integers(0, len(units)))
    parts = [risk_table(durations[a:b], observed[a:b]) for a, b in ((0, cut), (cut, None))]
    assert merge_risk_tables(*parts) == whole == merge_risk_tables(*reversed(parts))
    shuffled = data.draw(st.permutations(units))
    assert risk_table(*zip(*shuffled, strict=True)) == whole
    curve = kaplan_meier(whole)
    all_finite_or_coded(curve)
    survival = [point.survival for point in curve.curve]
    assert survival == sorted(survival, reverse=True)
    assert all(p.ci_lower <= p.survival <= p.ci_upper for p in curve.curve if p.ci_lower is not None)
    if curve.quantile_time is not None and curve.quantile_ci_lower is not None:
        assert curve.quantile_ci_lower <= curve.quantile_time


@SETTINGS
@given(*[st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=25) for _ in range(2)])
def test_log_rank_swaps_sides_and_agrees_with_its_hazard_ratio(a, b):
    first, second = (risk_table(*zip(*units, strict=True)) for units in (a, b))
    result, swapped = log_rank(first, second), log_rank(second, first)
    all_finite_or_coded(result)
    assume(result.p_value is not None)
    assert swapped.statistic == pytest.approx(-result.statistic, abs=1e-9)
    assume(abs(result.p_value - 0.05) > 1e-9)
    low, high = result.hazard_ratio_ci_lower, result.hazard_ratio_ci_upper
    assert (result.p_value < 0.05) == ((low is not None and low > 1) or (high is not None and high < 1))


@SETTINGS
@given(st.lists(tables(), min_size=1, max_size=4))
def test_the_cmh_test_and_its_interval_never_contradict_each_other(rows):
    names = ("x_control", "n_control", "x_treatment", "n_treatment")
    result = combine_rates([EpochRates(**dict(zip(names, row, strict=True))) for row in rows])
    all_finite_or_coded(result)
    assume(result.p_value is not None)
    assume(abs(result.p_value - 0.05) > 1e-6)
    assert (result.p_value < 0.05) == (result.ci_lower > 0 or result.ci_upper < 0)
    assert result.ci_lower <= result.effect <= result.ci_upper
    assert sum(result.weights) == pytest.approx(1)
    swapped = combine_rates([EpochRates(**dict(zip(names, row[2:] + row[:2], strict=True))) for row in rows])
    assert swapped.effect == pytest.approx(-result.effect, abs=1e-12)
    assert swapped.statistic == pytest.approx(-result.statistic, abs=1e-9)


@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1000),
            st.floats(-1e9, 1e9),
            st.floats(0, 1e9),
            st.integers(0, 1000),
            st.floats(-1e9, 1e9),
            st.floats(0, 1e9),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_combined_means_are_finite_or_coded_and_swap_sides(rows):
    names = ("n_control", "mean_control", "variance_control", "n_treatment", "mean_treatment", "variance_treatment")
    result = combine_means([EpochMeans(**dict(zip(names, row, strict=True))) for row in rows])
    all_finite_or_coded(result)
    assume(result.effect is not None)
    swapped = combine_means([EpochMeans(**dict(zip(names, row[3:] + row[:3], strict=True))) for row in rows])
    assert swapped.effect == pytest.approx(-result.effect)
    assert swapped.p_value == (None if result.p_value is None else pytest.approx(result.p_value))


@SETTINGS
@given(positive, st.data(), st.sampled_from([0.1, 0.5, 0.95]))
def test_quantiles_merge_permute_and_agree_within_a_bucket(numbers, data, quantile):
    owners = data.draw(st.lists(st.integers(0, 8), min_size=len(numbers), max_size=len(numbers)))
    summary = summarise_values(numbers, owners)
    group = [o % 2 for o in owners]
    parts = [
        summarise_values(
            [v for v, g in zip(numbers, group, strict=True) if g == side],
            [o for o, g in zip(owners, group, strict=True) if g == side],
        )
        for side in (0, 1)
    ]
    assert merge_quantile_summaries(*parts) == summary == merge_quantile_summaries(*reversed(parts))
    order = data.draw(st.permutations(range(len(numbers))))
    assert summarise_values([numbers[i] for i in order], [owners[i] for i in order]) == summary
    exact = quantile_of_values(numbers, owners, quantile=quantile)
    rough = quantile_from_summary(summary, quantile=quantile)
    for result in (exact, rough):
        all_finite_or_coded(result)
        assert (result.se is None) == (result.not_computable is not None)
        if result.ci_lower is not None:
            assert result.ci_lower <= result.value * (1 + 1e-9) + 1e-9
    comparison = compare_quantiles(exact, rough)
    all_finite_or_coded(comparison)


@SETTINGS
@given(tables(), st.floats(0.001, 0.5), st.booleans())
def test_a_wider_margin_never_makes_non_inferiority_harder(row, margin, relative):
    given_row = dict(zip(("x_control", "n_control", "x_treatment", "n_treatment"), row, strict=True))
    narrow = non_inferiority_proportions(**given_row, margin=margin, relative=relative)
    wide = non_inferiority_proportions(**given_row, margin=min(0.999, margin * 1.5), relative=relative)
    both = equivalence_proportions(**given_row, margin=margin, relative=relative)
    for result in (narrow, wide, both):
        all_finite_or_coded(result)
    assume(narrow.p_value is not None and wide.p_value is not None)
    assert wide.p_value <= narrow.p_value + 1e-9
    assert both.p_value is None or both.p_value >= narrow.p_value - 1e-12


@SETTINGS
@given(*[st.floats(-1e6, 1e6) for _ in range(2)], *[st.floats(0, 1e6) for _ in range(2)], st.booleans())
def test_non_inferiority_passes_exactly_when_its_bound_is_over_zero(a, b, se_a, se_b, relative):
    result = non_inferiority(
        value_control=a, se_control=se_a, value_treatment=b, se_treatment=se_b, margin=0.1, relative=relative
    )
    all_finite_or_coded(result)
    assume(result.p_value is not None)
    assume(abs(result.p_value - 0.05) > 1e-9)
    assert result.passes == (result.distance_lower > 0)


@SETTINGS
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20), st.sampled_from(["holm", "bh"]))
def test_adjusted_p_values_are_larger_and_keep_their_order(p_values, method):
    family = adjust_p_values(p_values, method=method, primary=0.03)
    assert family.primary.p_adjusted == 0.03
    pairs = sorted((s.p_value, s.p_adjusted) for s in family.secondaries if s.p_value is not None)
    assert all(adjusted >= raw - 1e-15 for raw, adjusted in pairs)
    adjusted = [a for _, a in pairs]
    assert adjusted == sorted(adjusted)


@SETTINGS
@given(scores, st.data())
def test_evals_are_finite_or_coded_and_swap_sides(cases, data):
    other = [data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=3)) for _ in cases]
    result, swapped = compare_cases(cases, other), compare_cases(other, cases)
    all_finite_or_coded(result)
    assert swapped.effect == pytest.approx(-result.effect)
    assert (result.wins, result.losses) == (swapped.losses, swapped.wins)
    order = data.draw(st.permutations(range(len(cases))))
    permuted = compare_cases([cases[i] for i in order], [other[i] for i in order])
    assert permuted.effect == pytest.approx(result.effect)
    assert permuted.p_value == (None if result.p_value is None else pytest.approx(result.p_value))
    split = variance_split(cases)
    all_finite_or_coded(split)
    assert (split.within is None) == (split.not_computable is not None)
    flat = [s for case in cases for s in case]
    mean = score_mean(flat, [i for i, case in enumerate(cases) for _ in case])
    all_finite_or_coded(mean)
    if mean.ci_lower is not None:
        assert mean.ci_lower <= mean.mean <= mean.ci_upper


@SETTINGS
@given(values, values)
def test_a_verdict_on_generality_is_given_or_refused_with_a_reason(dev, held_out):
    result = generality(dev, held_out)
    all_finite_or_coded(result)
    assert (result.verdict is None) == (result.not_computable is not None)
    if result.verdict == "general":
        assert result.held_out_ci_lower > 0


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=20), st.integers(1, 8))
def test_all_succeed_less_often_than_any(pairs, k):
    successes, trials = [min(p) for p in pairs], [max(p) for p in pairs]
    result = pass_all(successes, trials, k=k)
    all_finite_or_coded(result)
    if result.pass_all is not None:
        assert result.pass_all <= result.pass_any + 1e-12


@SETTINGS
@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_is_symmetric_and_its_mid_p_is_smaller(b, c):
    result, swapped = mcnemar(b, c), mcnemar(c, b)
    assert result.p_value_exact == swapped.p_value_exact
    assert (result.p_value_exact is None) == (result.not_computable is not None)
    assert result.p_value_mid is None or result.p_value_mid <= result.p_value_exact


@SETTINGS
@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(5, 10**6), st.floats(0.1, 100))
def test_an_anytime_p_value_under_alpha_is_an_interval_without_zero(estimate, se, n, g):
    result = anytime_coefficient(estimate, se, n, 3, g=g)
    all_finite_or_coded(result)
    assume(abs(result.p_value - 0.05) > 1e-9)
    low, high = result.ci_lower, result.ci_upper
    assert (result.p_value < 0.05) == ((low is not None and low > 0) or (high is not None and high < 0))


@SETTINGS
@given(counts, counts, st.floats(0.05, 0.95), st.floats(1, 10_000))
def test_the_sequential_conversion_test_agrees_with_its_interval(c, t, share, concentration):
    result = sequential_conversion(c, t, share_treatment=share, concentration=concentration)
    all_finite_or_coded(result)
    assume(result.p_value is not None)
    assume(abs(result.p_value - 0.05) > 1e-6)
    high = result.ratio_ci_upper
    assert (result.p_value < 0.05) == (result.ratio_ci_lower > 1 or (high is not None and high < 1))
    if result.ratio is not None:
        assert result.ratio_ci_lower <= result.ratio * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_the_bayesian_view_is_coherent_and_labelled(row):
    result = bayesian_proportions(*row)
    all_finite_or_coded(result)
    swapped = bayesian_proportions(*row[2:], *row[:2])
    assert result.chance_to_win + swapped.chance_to_win == pytest.approx(1, abs=1e-6)
    gain = result.expected_loss_control - result.expected_loss_treatment
    assert gain == pytest.approx(result.effect, abs=1e-6)
    assert result.ci_lower <= result.effect + 1e-3
    assert "peeking" in result.label


@SETTINGS
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.one_of(st.none(), st.floats(1e-3, 1e6)))
def test_the_normal_bayesian_view_is_finite_or_coded(effect, se, prior_sd):
    result = bayesian_means(effect, se, prior_sd=prior_sd)
    all_finite_or_coded(result)
    assert (result.chance_to_win is None) == (result.not_computable is not None)


@settings(max_examples=60, deadline=None)
@given(values, values, st.sampled_from([0.9, 0.99, 1.0]))
def test_capping_lowers_and_never_raises(control, treatment, quantile):
    result = cap_outliers(control, treatment, quantile=quantile)
    all_finite_or_coded(result)
    if result.cap is not None:
        assert result.mean_control <= result.mean_control_raw + 1e-6
        assert quantile < 1 or result.share_capped == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.booleans(), st.floats(-1e3, 1e3)), min_size=2, max_size=40))
def test_regression_is_finite_or_coded(rows):
    y, treated, x = zip(*rows, strict=True)
    all_finite_or_coded(regression_adjusted(y, treated, [x]))
    all_finite_or_coded(regression_adjusted(y, treated))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.01, 0.6), st.floats(0.02, 0.3), st.floats(0.1, 0.9), st.sampled_from(["proportion", "mean", "count"])
)
def test_required_units_give_the_power_asked_for(mean, effect, share, kind):
    baseline = Baseline(kind=kind, mean=mean, sd=1.0)
    needed = required_units(baseline, effect, share_treatment=share)
    power = achieved_power(baseline, effect, needed.exact, share_treatment=share).power
    assert power == pytest.approx(0.8, abs=1e-6)
    smallest = minimum_effect(baseline, needed.exact, share_treatment=share)
    assert smallest.effect == pytest.approx(effect, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 6), st.integers(1, 8), st.sampled_from(["group_sequential", "confidence_sequence"]))
def test_looking_often_costs_power_and_never_exceeds_alpha_without_an_effect(drift, looks, kind):
    baseline = Baseline(kind="ratio", mean=1.0, sd=1.0)
    plan = Design(kind=kind, looks=looks)
    result = achieved_power(baseline, drift * 0.02, 10_000, design=plan)
    fixed = achieved_power(baseline, drift * 0.02, 10_000)
    assert result.power <= fixed.power + 1e-7
    assert achieved_power(baseline, 0.0, 10_000, design=plan).power <= 0.05 + 1e-7
    assert 0 < result.expected_share_of_units <= 1


@SETTINGS
@given(*[st.integers(0, 10**6) for _ in range(3)], st.floats(0, 1e5), st.floats(0, 30))
def test_more_units_never_mean_more_days(required, matured, pending, pace, window):
    now = days_needed(required, matured, pace, pending_units=pending, window_days=window)
    later = days_needed(required, matured + 10, pace, pending_units=pending, window_days=window)
    if now.days is not None:
        assert later.days <= now.days


EXAMPLES = {
    vector["method"]: vector["input"]
    for file in sorted((Path(__file__).parents[2] / "conformance").glob("methods_*.json"))
    for vector in json.loads(file.read_text())["vectors"]
}
ODD = [0, 1, 2, -1, 1e18, 1e-18, 1e300, 1e-300, 10**9, 0.5, True]


def disturbed(value, rng, chance):
    """A copy with some numbers made odd and some lists cut short."""
    if isinstance(value, dict):
        return {key: disturbed(child, rng, chance) for key, child in value.items()}
    if isinstance(value, list):
        if rng.random() < chance / 2:
            return value[: rng.choice([0, 1, 2])]
        return [disturbed(child, rng, chance / 3) for child in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < chance:
        return rng.choice(ODD)
    return value


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"boschloo"}))
def test_a_method_given_odd_numbers_answers_finitely_or_refuses_in_words(method):
    rng = random.Random(method)
    for _ in range(25):
        payload = json.dumps(disturbed(EXAMPLES[method], rng, rng.choice([0.1, 0.4]))).encode()
        try:
            output = run(method, payload)
        except MethodError as error:
            refusal = str(error)
        else:
            json.loads(output, parse_constant=pytest.fail)
            continue
        assert refusal.startswith(f"bad_input: {method}: ")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_asked_for_in_vain_answers_with_a_sentence(method):
    for payload in (b"", b"[]", b"nonsense", b'{"surprise": 1}', b'{"alpha": 1e999}'):
        with pytest.raises(MethodError, match=f"^bad_input: {method}: "):
            run(method, payload)


def test_every_method_describes_every_input_in_words():
    for entry in json.loads(describe()):
        assert entry["about"].endswith("."), entry["method"]
        inputs = entry["input"]["$defs"][f"{entry['method']}_input"]["properties"]
        for name, schema in inputs.items():
            assert schema.get("description"), f"{entry['method']}.{name}"


def test_a_tail_beyond_the_range_of_doubles_still_has_a_logarithm():
    far = compare_rates(10, 1e6, 10**6, 1e6)
    assert far.p_value == 0.0
    assert far.log_p_value < -1e5
    assert np.isfinite(far.log_p_value)
