from genux_server.model import ArmReport
from genux_server.pages.unpriced import why_unpriced


def arm(**reasons):
    return ArmReport(variant="v", label="", surface="none", n_units=1, cost_unknown_reasons=reasons)


def test_the_most_frequent_reason_comes_first_over_all_arms():
    arms = [arm(no_usage=1_000, unknown_model=2), arm(unknown_model=2_000), arm()]
    assert why_unpriced(arms) == "2,002 of a model that no price list has, 1,000 whose usage was not reported"


def test_a_reason_that_a_newer_sdk_gives_is_shown_as_it_came():
    assert why_unpriced([arm(made_up=1), ArmReport(variant="w", label="", surface="none", n_units=1)]) == "1 made_up"
    assert why_unpriced(
        [ArmReport(variant="w", label="", surface="none", n_units=1, cost_unknown_reasons={"": 3})]
    ) == ("3 for no stated reason")
