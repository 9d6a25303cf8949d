import datetime as dt
import json
import math

import msgspec
import numpy as np
import pytest

from genux.specs import Measure, MetricSpec, Plan
from genux_server.model import CallFacts, Message, Outlier, Quantiles
from genux_server.stats import build_report


def report_of(make, facts):
    report = build_report(facts, generated_at=make.now)
    json.dumps(report.to_dict(), allow_nan=False)
    return report


def check(report, code):
    return next(entry for entry in report.checks if entry.code == code)


def deciding(report, metric="answer"):
    return report.metric(metric).comparisons[0]


def cookie_cats(make):
    for key, (control, treatment) in {"retention_7": (8502, 8279), "retention_1": (20034, 20119)}.items():
        first = key == "retention_7"
        make.share(key, "gate_30", control, 44_700, count=first)
        make.share(key, "gate_40", treatment, 45_489, count=first)
    rng = np.random.default_rng(1)
    rounds = rng.lognormal(2.8, 1.4, 44_699)
    make.cell("sum_gamerounds", "gate_30", np.append(rounds, 49_854.0), count=False)
    make.cell("sum_gamerounds", "gate_40", rng.lognormal(2.8, 1.4, 45_489), count=False)
    metrics = [
        MetricSpec(key="retention_7", numerator=Measure(event="r")),
        MetricSpec(key="retention_1", numerator=Measure(event="r")),
        MetricSpec(key="sum_gamerounds", kind="mean", numerator=Measure(event="r")),
    ]
    outlier = Outlier(
        metric="sum_gamerounds",
        variant="gate_30",
        unit_id="6390605",
        value=49_854.0,
        share=49_854.0 / (float(rounds.sum()) + 49_854.0),
    )
    return make.facts(*metrics, variants=("gate_30", "gate_40"), one_look=True, source="file", outliers=[outlier])


def test_cookie_cats_says_what_a_statistician_would_sign(make):
    report = report_of(make, cookie_cats(make))
    seven, one = deciding(report, "retention_7"), deciding(report, "retention_1")
    assert (seven.validity, seven.method) == ("fixed", "score")
    assert seven.effect == pytest.approx(-0.008201298, abs=1e-9)
    assert seven.statistic == pytest.approx(-3.164359, abs=1e-6)
    assert seven.p_value == pytest.approx(0.00155425, abs=1e-8)
    assert one.p_value == pytest.approx(0.0744097, abs=1e-7)
    assert seven.effect_ci_upper < 0
    assert seven.lift_ci_upper < 0
    assert report.verdict == "do_not_ship"
    assert report.headline.text == (
        "gate_40: -0.8 points on retention_7 (95 % interval -1.3 to -0.3). Do not ship it. "
        "But the split between the variants is odd: treat this with care and find out why."
    )


def test_an_odd_split_at_one_look_is_a_warning_in_plain_words(make):
    report = report_of(make, cookie_cats(make))
    split = check(report, "srm")
    assert split.status == "warn"
    assert split.value == pytest.approx(0.00860799, abs=1e-8)
    assert split.message.text == (
        "The split itself is odd: gate_30 has 44,700 units and gate_40 has 45,489 units, where 45,094.5 each were "
        "expected. A sound experiment would be this uneven only once in 116."
    )
    assert "find out why" in split.advice.text
    assert any(reason.code == "reason_split_odd" for reason in report.reasons)


def test_one_unit_that_drives_a_mean_is_named_with_its_pull_on_the_difference(make):
    facts = cookie_cats(make)
    found = check(report_of(make, facts), "outlier_sum_gamerounds")
    assert found.status == "warn"
    args = found.message.args
    control = next(c.moments for c in facts.cells if c.metric == "sum_gamerounds" and c.variant == "gate_30")
    without = (control.mean[0] * control.n - 49_854.0) / (control.n - 1)
    treatment = next(c.moments for c in facts.cells if c.metric == "sum_gamerounds" and c.variant == "gate_40")
    assert args["without"] == pytest.approx(treatment.mean[0] - without, rel=1e-9)
    assert "6390605" in found.message.text
    assert "49,854" in found.message.text


def test_a_clear_gain_ships_with_cost_and_latency_in_the_headline(make, answer):
    rng = np.random.default_rng(2)
    for variant, rate, cost in (("chat", 0.3, 0.01), ("summary", 0.4, 0.02)):
        converted = rng.random(4_000) < rate
        make.cell("answer", variant, converted, c=cost * (1 + converted) * rng.lognormal(size=4_000))
    calls = [
        CallFacts(variant=variant, n_calls=9, n_units=9, latency_seconds=Quantiles(n=9, p95=p95))
        for variant, p95 in (("chat", 1.9), ("summary", 2.1))
    ]
    report = report_of(make, make.facts(answer, plan=Plan(horizon_units=8_000), calls=calls))
    assert report.verdict == "ship"
    assert report.headline.text.startswith("Summary button: +")
    assert "Ship it." in report.headline.text
    assert "per extra conversion [" in report.headline.text
    assert report.headline.text.endswith("p95 latency 2.10 s against 1.90 s.")
    money = report.money[0]
    assert money.cost_per_incremental_ci_lower < money.cost_per_incremental_usd < money.cost_per_incremental_ci_upper
    assert money.saving_per_1000_usd == pytest.approx(-1000 * money.cost_per_unit_difference_usd)


def test_before_the_first_planned_look_nothing_is_judged(make, answer):
    make.share("answer", "chat", 100, 500)
    make.share("answer", "summary", 200, 500)
    report = report_of(make, make.facts(answer, plan=Plan(horizon_units=10_000)))
    assert report.verdict == "collecting"
    planned, always, fixed = report.metric("answer").comparisons
    assert planned.not_computable.code == "before_first_look"
    assert (always.validity, fixed.validity) == ("always", "fixed")
    assert always.p_value < 0.05


def test_a_complete_plan_without_a_gain_says_so(make, answer):
    make.share("answer", "chat", 1_500, 5_000)
    make.share("answer", "summary", 1_510, 5_000)
    report = report_of(make, make.facts(answer, plan=Plan(horizon_units=10_000)))
    assert report.verdict == "do_not_ship"
    assert report.headline.code == "headline_no_gain"


def test_without_a_plan_the_confidence_sequence_decides(make, answer):
    make.share("answer", "chat", 1_500, 5_000)
    make.share("answer", "summary", 1_800, 5_000)
    report = report_of(make, make.facts(answer))
    assert report.verdict == "ship"
    assert deciding(report).validity == "always"
    make.cells.clear()
    make.share("answer", "chat", 1_500, 5_000, count=False)
    make.share("answer", "summary", 1_505, 5_000, count=False)
    assert report_of(make, make.facts(answer)).verdict == "extend"


def test_a_broken_split_makes_the_report_unreadable_at_any_look(make, answer):
    make.share("answer", "chat", 1_500, 5_000)
    make.share("answer", "summary", 1_800, 6_000)
    report = report_of(make, make.facts(answer))
    assert report.verdict == "invalid"
    assert check(report, "srm").status == "fail"
    assert "5,000" in report.headline.text


def test_an_odd_split_never_ships(make, answer):
    make.share("answer", "chat", 8_502, 44_700)
    make.share("answer", "summary", 9_500, 45_489)
    report = report_of(make, make.facts(answer, one_look=True))
    assert report.verdict == "discuss"
    assert "odd" in report.headline.text


@pytest.mark.parametrize(
    ("slower", "verdict", "state"),
    [(1.0, "ship", "safe"), (1.09, "discuss", "unclear"), (1.3, "do_not_ship", "harmed")],
)
def test_a_guardrail_is_judged_by_its_margin(make, answer, latency, slower, verdict, state):
    rng = np.random.default_rng(3)
    for variant, converted, factor in (("chat", 1_500, 1.0), ("summary", 1_800, slower)):
        make.share("answer", variant, converted, 5_000)
        make.cell("latency", variant, factor * rng.gamma(4, 0.5, 5_000), count=False)
    report = report_of(make, make.facts(answer, latency, guardrails=["latency"], plan=Plan(horizon_units=10_000)))
    assert deciding(report, "latency").guardrail == state
    assert report.verdict == verdict


def test_few_units_or_conversions_are_never_judged(make, answer):
    make.share("answer", "chat", 0, 49)
    make.share("answer", "summary", 40, 49)
    report = report_of(make, make.facts(answer, one_look=True))
    assert report.verdict == "collecting"
    assert check(report, "little_data").status == "warn"
    assert deciding(report).p_value < 1e-9


def test_several_treatments_are_corrected_and_the_best_leads(make, answer):
    for variant, converted in (("chat", 1_500), ("summary", 1_560), ("inline", 1_800)):
        make.share("answer", variant, converted, 5_000)
    report = report_of(make, make.facts(answer, variants=("chat", "summary", "inline"), one_look=True))
    weak, strong = report.metric("answer").comparisons
    assert strong.p_adjusted == pytest.approx(2 * strong.p_value)
    assert weak.p_adjusted == weak.p_value
    assert report.verdict == "ship"
    assert report.headline.text.startswith("inline: ")


def test_a_ramp_with_a_trend_is_not_pooled(make, answer):
    """Simpson: in both epochs no effect, pooled a large one."""
    make.share("answer", "chat", 900, 9_000, epoch=1)
    make.share("answer", "summary", 100, 1_000, epoch=1)
    make.share("answer", "chat", 2_500, 5_000, epoch=2)
    make.share("answer", "summary", 2_500, 5_000, epoch=2)
    report = report_of(make, make.facts(answer, epochs=[(0.9, 0.1), (0.5, 0.5)]))
    comparison = deciding(report)
    assert comparison.effect == pytest.approx(0.0, abs=1e-12)
    pooled = 2_600 / 6_000 - 3_400 / 14_000
    assert pooled > 0.19
    assert check(report, "srm").status == "ok"
    assert {c.code for c in report.checks} >= {"srm_epoch_1", "srm_epoch_2"}
    assert any(note.code == "note_epochs" for note in report.metric("answer").notes)


def test_looks_are_the_same_however_often_the_report_is_built(make, answer):
    """Later days do not move an earlier look: the planned result is a function of its own days."""
    rng = np.random.default_rng(4)
    plan = Plan(horizon_units=4_000, looks=4)
    results = []
    for day in range(12):
        for variant in ("chat", "summary"):
            make.share("answer", variant, int(rng.binomial(200, 0.3)), 200, day=day)
        results.append(deciding(report_of(make, make.facts(answer, plan=plan))))
    first_look, final = results[2], results[9]
    assert results[1].not_computable.code == "before_first_look"
    assert (results[3].effect, results[3].p_value) == (first_look.effect, first_look.p_value)
    assert (results[11].effect, results[11].p_value) == (final.effect, final.p_value)


def test_a_running_day_is_not_yet_a_look(make, answer):
    make.share("answer", "chat", 300, 1_000)
    make.share("answer", "summary", 300, 1_000)
    facts = make.facts(answer, plan=Plan(horizon_units=4_000, looks=4))
    noon = dt.datetime.combine(make.first_day, dt.time(12), dt.UTC)
    running = report_of(make, msgspec.structs.replace(facts, as_of=noon))
    assert deciding(running).not_computable.code == "before_first_look"
    assert deciding(report_of(make, facts)).not_computable is None


def test_pending_units_are_counted_apart(make, answer):
    make.share("answer", "chat", 300, 1_000, pending=50)
    make.share("answer", "summary", 400, 1_000, pending=70)
    report = report_of(make, make.facts(answer))
    assert [arm.pending for arm in report.metric("answer").arms] == [50, 70]
    assert [arm.n_units for arm in report.metric("answer").arms] == [1_000, 1_000]
    assert any(note.code == "note_pending" and "120" in note.text for note in report.metric("answer").notes)


def test_the_series_ends_where_the_always_valid_result_stands(make, answer):
    for day in range(5):
        make.share("answer", "chat", 60 + day, 200, day=day)
        make.share("answer", "summary", 70 + day, 200, day=day)
    report = report_of(make, make.facts(answer))
    last, always = report.metric("answer").series[-1], deciding(report)
    assert last.effect == pytest.approx(always.effect, rel=1e-12)
    assert last.effect_ci_lower == pytest.approx(always.effect_ci_lower, rel=1e-12)
    assert [point.n_units for point in report.metric("answer").series] == [400, 800, 1_200, 1_600, 2_000]


def test_the_covariate_narrows_the_interval(make):
    metric = MetricSpec(key="rounds", kind="mean", covariate_days=7, numerator=Measure(event="round"))
    rng = np.random.default_rng(5)
    for variant, shift in (("chat", 0.0), ("summary", 0.3)):
        before = rng.normal(10, 3, 3_000)
        make.cell("rounds", variant, before + shift + rng.normal(0, 1, 3_000), x=before)
    report = report_of(make, make.facts(metric, one_look=True))
    note = next(note for note in report.metric("rounds").notes if note.code == "note_cuped")
    assert note.args["reduction"] == pytest.approx(0.9, abs=0.02)
    assert deciding(report, "rounds").se == pytest.approx(math.sqrt(2 / 3_000), rel=0.05)
    assert deciding(report, "rounds").effect == pytest.approx(0.3, abs=4 * math.sqrt(2 / 3_000))


def test_a_metric_that_moments_cannot_answer_is_coded(make, answer):
    make.share("answer", "chat", 300, 1_000)
    make.share("answer", "summary", 300, 1_000)
    tail = MetricSpec(key="p95", kind="quantile", numerator=Measure(source="call", field="latency_seconds"))
    report = report_of(make, make.facts(answer, tail))
    assert deciding(report, "p95").not_computable.code == "too_few_units"


@pytest.mark.parametrize("one_look", [True, False])
def test_no_facts_at_all_are_a_report_too(make, answer, one_look):
    report = report_of(make, make.facts(answer, one_look=one_look))
    assert (report.verdict, report.headline.code) == ("collecting", "headline_nothing")
    assert check(report, "srm").status == "unknown"
    report = report_of(make, make.facts(one_look=one_look))
    assert report.metrics == []


def test_remarks_on_the_data_stand_among_the_checks(make, answer):
    make.share("answer", "chat", 300, 1_000)
    make.share("answer", "summary", 300, 1_000)
    remark = Message(code="missing_values", text="Three values were missing.")
    report = report_of(make, make.facts(answer, one_look=True, remarks=[remark]))
    assert check(report, "missing_values").message == remark
