"""A guardrail that nobody violated is not an open question for ever."""

import msgspec
import numpy as np
import pytest

from genux.specs import Measure, MetricSpec
from genux_server.stats import build_report

FAILED = MetricSpec(
    key="failed",
    label="failed calls",
    kind="ratio",
    numerator=Measure(source="call", field="errors", aggregate="sum"),
    denominator=Measure(source="call", aggregate="count"),
    direction="decrease",
    margin=0.02,
    margin_relative=False,
)


def report_with(make, answer, metric, n_units, calls_per_unit=2.0):
    for variant, conversions in (("chat", 0.3), ("summary", 0.6)):
        make.share("answer", variant, int(conversions * n_units), n_units)
        components = {"d": np.full(n_units, calls_per_unit)} if metric.kind == "ratio" else {}
        make.cell(metric.key, variant, np.zeros(n_units), count=False, **components)
    return build_report(make.facts(answer, metric, guardrails=[metric.key]), generated_at=make.now)


def reason(report, code):
    return next(entry for entry in report.reasons if entry.code == code)


def test_a_guardrail_that_nobody_met_lets_a_better_variant_ship_and_says_how_rare_it_must_be(make, answer):
    report = report_with(make, answer, FAILED, 400)
    assert report.verdict == "ship"
    assert report.metric("failed").comparisons[0].guardrail == "safe"
    assert reason(report, "reason_guardrail_none").args["bound"] == pytest.approx(1 - 0.05 ** (1 / 400), rel=1e-12)
    assert reason(report, "reason_guardrail_none").text == (
        "failed calls: none at all in either arm, so with Summary button it is at most 0.75 % (95 % bound, one-sided), "
        "within the tolerated 0.02."
    )


@pytest.mark.parametrize(
    ("n_units", "change", "state"),
    [
        (400, {"kind": "proportion", "denominator": None}, "safe"),
        (99, {}, "unclear"),
        (120, {}, "unclear"),  # at most 2.5 %, and 2 are tolerated
        (400, {"margin": None}, "quiet"),
        (400, {"margin_relative": True}, "quiet"),
        (400, {"direction": "increase"}, "unclear"),
    ],
)
def test_what_was_never_seen_is_judged_by_its_bound(make, answer, n_units, change, state):
    report = report_with(make, answer, msgspec.structs.replace(FAILED, **change), n_units)
    assert report.metric("failed").comparisons[0].guardrail == state
    assert (report.verdict == "ship") == (state != "unclear")


def test_units_without_calls_prove_nothing_about_calls(make, answer):
    for variant in ("chat", "summary"):
        make.share("answer", variant, 300, 1_000)
        make.cell("failed", variant, np.zeros(1_000), count=False, d=np.repeat([3.0, 0.0], [200, 800]))
    report = build_report(make.facts(answer, FAILED, guardrails=["failed"]), generated_at=make.now)
    assert reason(report, "reason_guardrail_none").args["bound"] == pytest.approx(1 - 0.05 ** (1 / 200), rel=1e-12)


@pytest.mark.parametrize(("share", "looks"), [(0.004, 60), (0.02, 60)])
def test_the_bound_holds_however_often_one_looks(share, looks):
    """Whoever meets a harm of this rate is found below it in at most 5 % of experiments, over all looks together."""
    rng = np.random.default_rng(5)
    first_seen = rng.geometric(share, 4_000)
    sizes = np.arange(1, looks + 1) * 50
    bounds = 1 - 0.05 ** (1 / sizes)
    wrong = ((bounds[None, :] < share) & (sizes[None, :] < first_seen[:, None])).any(axis=1).mean()
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 4_000) ** 0.5


def test_one_violation_ends_the_argument(make, answer):
    make.share("answer", "chat", 300, 1_000)
    make.share("answer", "summary", 300, 1_000)
    make.cell("failed", "chat", np.zeros(1_000), count=False, d=np.ones(1_000))
    make.cell("failed", "summary", np.append(np.zeros(999), 1.0), count=False, d=np.ones(1_000))
    report = build_report(make.facts(answer, FAILED, guardrails=["failed"]), generated_at=make.now)
    assert report.metric("failed").comparisons[0].guardrail == "safe"
    assert reason(report, "reason_guardrail_safe")


def test_units_in_one_variant_only_are_said_without_a_zero(make, answer):
    make.share("answer", "chat", 300, 1_000)
    make.share("answer", "summary", 300, 1_000)
    report = build_report(make.facts(answer), generated_at=make.now)
    mixed = next(check for check in report.checks if check.code == "multi_variant")
    assert mixed.message.text == "No unit met more than one variant."
