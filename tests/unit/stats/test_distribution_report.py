"""Quantiles and durations from facts to the report."""

import datetime as dt
import json

import msgspec
import numpy as np
import pytest

from genux.specs import Measure, MetricSpec, Plan
from genux_server.model import Cell, Facts
from genux_server.stats import build_report
from genux_server.stats.duration import risk_table
from genux_server.stats.moments import moments_from_arrays
from genux_server.stats.quantile_summary import quantile_from_summary, summarise_values
from genux_server.stats.quantiles import quantile_of_values

P95 = MetricSpec(
    key="p95",
    label="p95 latency",
    kind="quantile",
    numerator=Measure(source="call", field="latency_seconds"),
    direction="decrease",
    unit="s",
    margin=0.25,
)
FIRST_PROMPT = MetricSpec(
    key="first_prompt",
    label="time to first prompt",
    kind="duration",
    numerator=Measure(event="prompt_sent"),
    direction="decrease",
    window_seconds=60.0,
)


def calls(n_units, slower=1.0, seed=0):
    """Latencies of units' calls, and whose they are: three a unit on average, alike within a unit."""
    rng = np.random.default_rng(seed)
    pace = rng.lognormal(0.0, 0.4, n_units)
    units = np.repeat(np.arange(n_units), rng.poisson(3, n_units))
    return slower * pace[units] * rng.lognormal(0.0, 0.5, units.size), units


def add_quantile(make, metric, variant, values, units, n_units, **where):
    counts = np.bincount(units, minlength=n_units)
    make.cell(metric.key, variant, counts, count=False, c=counts * 0.01, **where)
    made = make.cells.pop()
    make.cells.append(msgspec.structs.replace(made, values=summarise_values(values, units) if len(units) else None))


def add_duration(make, metric, variant, times, seen_for, *, day=0, epoch=1):
    lasted, observed = np.minimum(times, seen_for), times < seen_for
    matured = seen_for >= metric.window_seconds
    make.cells.append(
        Cell(
            metric=metric.key,
            variant=variant,
            epoch=epoch,
            day=make.first_day + dt.timedelta(days=day),
            moments=moments_from_arrays({"y": observed[matured].astype(float)}),
            pending=int((~matured).sum()),
            durations=risk_table(lasted, observed),
        )
    )


def report_of(make, facts):
    report = build_report(facts, generated_at=make.now)
    json.dumps(report.to_dict(), allow_nan=False)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts
    return report


def with_answers(make, chat=300, summary=450):
    make.share("answer", "chat", chat, 1_000)
    make.share("answer", "summary", summary, 1_000)


def latency_report(make, answer, slower, n_units=1_000, **metric):
    with_answers(make)
    p95 = msgspec.structs.replace(P95, **metric)
    for seed, (variant, factor) in enumerate([("chat", 1.0), ("summary", slower)]):
        add_quantile(make, p95, variant, *calls(n_units, factor, seed), n_units)
    return report_of(make, make.facts(answer, p95, guardrails=["p95"]))


def test_a_p95_is_compared_with_the_error_between_units(make, answer):
    report = latency_report(make, answer, 1.5)
    always, fixed = report.metric("p95").comparisons
    arms = [quantile_of_values(*calls(1_000, factor, seed)) for seed, factor in enumerate([1.0, 1.5])]
    assert [arm.value for arm in report.metric("p95").arms] == pytest.approx([arm.value for arm in arms], rel=0.002)
    assert fixed.method == "clustered_quantile"
    assert fixed.effect == pytest.approx(arms[1].value - arms[0].value, rel=0.01)
    assert fixed.se == pytest.approx(np.hypot(arms[0].se, arms[1].se), rel=0.03)
    assert fixed.effect_ci_lower < fixed.effect < fixed.effect_ci_upper
    assert always.effect_ci_lower < fixed.effect_ci_lower
    assert report.metric("p95").arms[0].total == calls(1_000)[0].size


def test_a_slower_p95_beyond_its_margin_stops_a_better_variant(make, answer):
    report = latency_report(make, answer, 2.0)
    assert report.verdict == "do_not_ship"
    assert report.headline.code == "headline_guardrail"
    assert report.headline.text.startswith("Summary button harms p95 latency by +")
    assert "p95 latency changed: +" in report.headline.text


@pytest.mark.parametrize(
    ("slower", "margin", "sentence"),
    [
        (0.5, 0.25, "p95 latency changed: -"),
        (1.0, 0.25, "p95 latency stays within the tolerated 25 %: "),
        (1.0, None, "Whether p95 latency changed is open: "),
    ],
)
def test_the_headline_says_what_became_of_the_latency_with_its_interval(make, answer, slower, margin, sentence):
    headline = latency_report(make, answer, slower, n_units=4_000, margin=margin).headline.text
    assert sentence in headline
    assert headline.count("95 % interval") == 2
    assert "unchanged" not in headline


def test_days_and_a_whole_give_the_same_quantile(make, answer):
    with_answers(make)
    for variant, seed in (("chat", 1), ("summary", 2)):
        values, units = calls(900, 1.0, seed)
        for day in range(3):
            here = units % 3 == day
            add_quantile(make, P95, variant, values[here], units[here] // 3, 300, day=day)
    whole = [quantile_from_summary(summarise_values(*calls(900, 1.0, seed))) for seed in (1, 2)]
    arms = report_of(make, make.facts(answer, P95)).metric("p95").arms
    assert [(arm.value, arm.se) for arm in arms] == [pytest.approx((w.value, w.se), rel=1e-12) for w in whole]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], "too_few_events"),
        ([1.0, 2.0, 3.0], "tail_too_thin"),
        ([2.0] * 500, "quantile_flat"),
    ],
)
def test_a_quantile_that_cannot_be_had_says_why(make, answer, values, code):
    with_answers(make)
    for variant in ("chat", "summary"):
        add_quantile(make, P95, variant, values, np.arange(len(values)), 500)
    report = report_of(make, make.facts(answer, P95, guardrails=["p95"]))
    assert report.metric("p95").comparisons[0].not_computable.code == code
    assert report.metric("p95").comparisons[0].guardrail == "unclear"


def durations(n, mean, seed):
    rng = np.random.default_rng(seed)
    return rng.exponential(mean, n), np.where(rng.random(n) < 0.3, rng.uniform(1.0, 60.0, n), 60.0)


def test_a_duration_is_compared_as_the_mean_up_to_the_window(make):
    means = {"chat": 40.0, "summary": 20.0}
    for seed, (variant, mean) in enumerate(means.items()):
        add_duration(make, FIRST_PROMPT, variant, *durations(2_000, mean, seed))
        make.count(variant, 2_000)
    report = report_of(make, make.facts(FIRST_PROMPT, plan=Plan(horizon_units=2_000)))
    metric = report.metric("first_prompt")
    fixed = metric.comparisons[-1]
    truth = {key: mean * (1 - np.exp(-60.0 / mean)) for key, mean in means.items()}
    assert fixed.method == "restricted_mean"
    assert fixed.effect == pytest.approx(truth["summary"] - truth["chat"], abs=3 * fixed.se)
    assert [arm.value for arm in metric.arms] == pytest.approx(list(truth.values()), rel=0.05)
    notes = {note.code: note for note in metric.notes}
    assert notes["note_median"].args["median"] == pytest.approx(20.0 * np.log(2), rel=0.1)
    assert notes["note_log_rank"].args["p"] < 1e-6
    assert notes["note_censored"].args["n"] > 0
    assert all(c.beats_control for c in metric.comparisons)
    assert report.verdict == "ship"
    assert report.headline.text.startswith("Summary button: -")
    assert " s on time to first prompt" in report.headline.text


def test_a_median_that_was_not_reached_is_said(make):
    for seed, variant in enumerate(("chat", "summary")):
        add_duration(make, FIRST_PROMPT, variant, *durations(300, 500.0, seed))
        make.count(variant, 300)
    notes = report_of(make, make.facts(FIRST_PROMPT)).metric("first_prompt").notes
    assert [note.code for note in notes].count("note_median_open") == 2


def test_swapping_the_arms_negates_quantiles_and_durations(make, answer):
    found = []
    for first, second in (("chat", "summary"), ("summary", "chat")):
        make.cells.clear()
        make.counts.clear()
        with_answers(make)
        for seed, variant in enumerate((first, second)):
            add_quantile(make, P95, variant, *calls(400, 1.0 + seed, seed), 400)
            add_duration(make, FIRST_PROMPT, variant, *durations(400, 20.0 + 10 * seed, seed))
        report = report_of(make, make.facts(answer, P95, FIRST_PROMPT))
        found.append([c for key in ("p95", "first_prompt") for c in report.metric(key).comparisons])
    for one, other in zip(*found, strict=True):
        assert one.effect == pytest.approx(-other.effect, rel=1e-12)
        assert one.effect_ci_lower == pytest.approx(-other.effect_ci_upper, rel=1e-12)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-12)
