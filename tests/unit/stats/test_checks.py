import numpy as np
import pytest

from genux.specs import Measure, MetricSpec
from genux_server.model import Outlier
from genux_server.stats import build_report


def checks(make, facts):
    return {check.code: check for check in build_report(facts, generated_at=make.now).checks}


def fill(make, days=1, n=1_000, rates=(0.3, 0.3)):
    for day in range(days):
        for variant, rate in zip(("chat", "summary"), rates, strict=True):
            make.share("answer", variant, round(rate * n), n, day=day)


def test_a_sound_experiment_is_all_quiet(make, answer):
    fill(make, days=3)
    found = checks(make, make.facts(answer))
    assert {code: check.status for code, check in found.items()} == dict.fromkeys(found, "ok")
    assert set(found) == {
        "srm",
        "multi_variant",
        "exposure_drift",
        "data_gap",
        "little_data",
        "twyman",
        "novelty",
        "lost_events",
        "excluded",
    }


@pytest.mark.parametrize(
    ("mixed", "status"),
    [
        ({"chat": 5, "summary": 5}, "ok"),
        ({"chat": 20, "summary": 22}, "warn"),
        ({"chat": 19, "summary": 0}, "ok"),
        ({"chat": 30, "summary": 1}, "warn"),
        ({"chat": 150, "summary": 150}, "fail"),
    ],
)
def test_units_in_two_variants_are_judged_by_share_and_by_balance(make, answer, mixed, status):
    fill(make)
    found = checks(make, make.facts(answer, multi_variant_units=mixed))["multi_variant"]
    assert found.status == status
    assert (found.advice is None) == (status == "ok")


@pytest.mark.parametrize(
    ("missed", "status"),
    [({"chat": 5, "summary": 30}, "warn"), ({"chat": 40, "summary": 45}, "ok"), ({"chat": 0, "summary": 12}, "ok")],
)
def test_units_that_never_met_their_variant_are_told_by_arm(make, answer, missed, status):
    fill(make)
    found = checks(make, make.facts(answer, assigned_not_exposed=missed))["unexposed"]
    assert found.status == status
    assert f"{sum(missed.values())} units were told their variant and never met it" in found.message.text
    assert f"Ask box {missed['chat']} and Summary button {missed['summary']}" in found.message.text
    assert (found.advice is None) == (status == "ok")


def test_a_day_without_exposures_is_named(make, answer):
    fill(make)
    for variant in ("chat", "summary"):
        make.share("answer", variant, 300, 1_000, day=3)
    found = checks(make, make.facts(answer))["data_gap"]
    assert (found.status, found.value) == ("warn", 2.0)
    assert "2026-11-02" in found.message.text


def test_shares_that_move_from_day_to_day_are_found_where_the_total_hides_it(make, answer):
    for day, (chat, summary) in enumerate([(600, 400), (400, 600)]):
        make.share("answer", "chat", 100, chat, day=day)
        make.share("answer", "summary", 100, summary, day=day)
    found = checks(make, make.facts(answer))
    assert found["srm"].status == "ok"
    assert found["exposure_drift"].status == "warn"


def test_an_effect_too_good_to_be_true_is_doubted(make, answer):
    fill(make, rates=(0.1, 0.3))
    assert checks(make, make.facts(answer))["twyman"].status == "warn"


def test_an_effect_that_fades_is_found(make, answer):
    for day in range(10):
        make.share("answer", "chat", 300, 1_000, day=day)
        make.share("answer", "summary", 450 - 15 * day, 1_000, day=day)
    found = checks(make, make.facts(answer))["novelty"]
    assert found.status == "warn"
    assert found.message.args["slope"] == pytest.approx(-0.015, abs=0.002)


def test_an_ordinary_largest_unit_drives_nothing(make):
    metric = MetricSpec(key="rounds", kind="mean", numerator=Measure(event="round"))
    rng = np.random.default_rng(1)
    values = {variant: rng.gamma(2, 5, 2_000) for variant in ("chat", "summary")}
    outliers = []
    for variant, column in values.items():
        make.cell("rounds", variant, column)
        share = float(column.max() / column.sum())
        outliers.append(Outlier(metric="rounds", variant=variant, unit_id="u", value=float(column.max()), share=share))
    assert checks(make, make.facts(metric, outliers=outliers))["outlier_rounds"].status == "ok"


def test_the_split_is_judged_by_the_shares_of_its_own_epoch(make, answer):
    make.share("answer", "chat", 300, 900, epoch=1)
    make.share("answer", "summary", 30, 100, epoch=1)
    make.share("answer", "chat", 150, 500, epoch=2)
    make.share("answer", "summary", 150, 500, epoch=2)
    found = checks(make, make.facts(answer, epochs=[(0.9, 0.1), (0.5, 0.5)]))
    assert [found[code].status for code in ("srm", "srm_epoch_1", "srm_epoch_2")] == ["ok", "ok", "ok"]
    found = checks(make, make.facts(answer, epochs=[(0.5, 0.5), (0.5, 0.5)]))
    assert [found[code].status for code in ("srm", "srm_epoch_1", "srm_epoch_2")] == ["fail", "fail", "ok"]


def test_a_broken_split_is_traced_to_the_segment_that_breaks_it(make, answer):
    make.share("answer", "chat", 1_500, 5_000)
    make.share("answer", "summary", 1_300, 4_300)
    for segment, chat, summary in (("country=KR", 2_500, 1_800), ("country=DE", 2_500, 2_500)):
        make.count("chat", chat, segment=segment)
        make.count("summary", summary, segment=segment)
    found = checks(make, make.facts(answer))
    assert found["srm"].status == "fail"
    assert found["srm_segment"].message.args["segment"] == "country=KR"
    assert "Ask box 2,500 and Summary button 1,800" in found["srm_segment"].message.text
