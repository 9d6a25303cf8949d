import pytest

from genux_server.model import Message
from genux_server.pages import text


@pytest.mark.parametrize(
    ("raw", "printed"),
    [
        ("-0.8 points (95 % interval -1.3 to -0.3)", "\u22120.8 points (95\u202f% interval \u22121.3 to \u22120.3)"),
        ("On 2026-11-22 in gate-40", "On 2026-11-22 in gate-40"),
        ("Costs -$0.03", "Costs \u2212$0.03"),
        ("accepted answers is better", "Accepted answers is better"),
        ("retention_7 is worse", "retention_7 is worse"),
        ("Better, p < 0.001.", "Better, p\u00a0<\u00a00.001."),
    ],
)
def test_sentences_are_set_as_in_print_and_leave_dates_and_keys_alone(raw, printed):
    assert text.sentence(Message(code="x", text=raw)) == printed


def test_a_message_without_text_still_says_something():
    assert text.sentence(Message(code="srm_ok")) == "srm_ok"


def test_plural_forms_follow_the_number():
    assert text.ngettext("%(num)s day", "%(num)s days", 1) == "1 day"
    assert text.ngettext("%(num)s day", "%(num)s days", 0) == "0 days"


def test_unknown_codes_read_as_words():
    assert text.check_name("clock_skew") == "Clock skew"
    assert text.check_name("srm_epoch_2") == "Split in epoch 2"
    assert text.step_name("custom_step") == "custom_step"


def test_headings_begin_with_a_capital_unless_they_are_keys():
    assert text.title("accepted answers", "accepted") == "Accepted answers"
    assert text.title("retention_7", "retention_7") == "retention_7"
    assert text.title("", "retention_7") == "retention_7"
