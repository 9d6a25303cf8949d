import datetime as dt

import pytest

from genux_server.pages import format as fmt

POINTS = fmt.quantity("proportion", "")
DOLLARS = fmt.quantity("mean", "usd")
SECONDS = fmt.quantity("quantile", "s")
PLAIN = fmt.quantity("mean", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (12_480, "12,480"), (9_999_999, "9,999,999"), (10**9, "1.00 bn"), (2.5e13, "25.0 tn")],
)
def test_counts_have_separators_and_become_short_when_nobody_reads_the_digits(value, text):
    assert fmt.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0.0, "$0.00"),
        (0.00071, "$0.00071"),
        (0.0322, "$0.032"),
        (1.5, "$1.50"),
        (12.345, "$12.35"),
        (2_500.4, "$2,500"),
        (2.5e9, "$2.50 bn"),
        (-0.031, "\u2212$0.031"),
    ],
)
def test_money_is_never_zero_for_unknown_and_keeps_two_digits(value, text):
    assert fmt.usd(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\u2013"), (0.31, "310 ms"), (0.0042, "4.2 ms"), (2.414, "2.41 s"), (61.24, "61.2 s")],
)
def test_latency_is_read_in_milliseconds_below_a_second(value, text):
    assert fmt.seconds(value) == text


@pytest.mark.parametrize(
    ("x", "low", "high", "text", "interval"),
    [
        (0.0412, 0.028, 0.054, "+4.1 points", "+2.8 to +5.4 points"),
        (-0.0082, -0.0133, -0.0031, "\u22120.8 points", "\u22121.3 to \u22120.3 points"),
        (0.3, -0.2, 0.8, "+30.0 points", "\u221220.0 to +80.0 points"),
        (0.053, 0.0003, 0.107, "+5.30 points", "+0.03 to +10.70 points"),
        (0.00012, 0.00008, 0.00016, "+0.0120 points", "+0.0080 to +0.0160 points"),
        (0.01, 0.002, None, "+1.00 points", "over +0.20 points, unbounded"),
        (0.01, None, 0.05, "+1.0 points", "under +5.0 points, unbounded"),
        (0.01, None, None, "+1.00 points", "unbounded both ways"),
    ],
)
def test_an_effect_has_the_digits_its_interval_deserves_and_says_when_it_is_unbounded(x, low, high, text, interval):
    assert POINTS.effect(x, low, high) == (text, interval)


def test_an_effect_that_rounds_to_zero_has_no_sign():
    assert PLAIN.effect(-0.0003, -0.0055, 0.0049)[0] == "0.000"


def test_values_carry_the_unit_of_their_metric():
    assert POINTS.value(0.1740, 0.1646, 0.1834) == "17.4\u202f%"
    assert DOLLARS.value(0.00204) == "$0.0020"
    assert SECONDS.value(2.414) == "2.41 s"
    assert fmt.quantity("mean", "minutes").value(4.1234) == "4.12 minutes"
    assert POINTS.value(None) == "not known"


def test_the_total_of_a_share_is_a_count_and_of_money_is_money():
    assert POINTS.total(1_344.0) == "1,344"
    assert DOLLARS.total(12.345) == "$12.35"


def test_axis_labels_have_the_decimals_that_their_step_needs():
    assert [POINTS.tick(x, 0.025) for x in (0.0, 0.025, 0.05)] == ["0.0", "+2.5", "+5.0"]
    assert [POINTS.tick(x, 0.02) for x in (-0.02, 0.0, 0.02)] == ["\u22122", "0", "+2"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "not known"),
        (0.0, "0\u202f%"),
        (1.0, "100\u202f%"),
        (0.412, "41.2\u202f%"),
        (0.0041, "0.41\u202f%"),
    ],
)
def test_rates_have_a_tenth_or_two_digits(share, text):
    assert fmt.rate(share) == text


@pytest.mark.parametrize(
    ("p", "text"), [(None, ""), (0.0001, "p < 0.001"), (0.0234, "p = 0.023"), (0.5, "p = 0.50"), (0.0, "p < 0.001")]
)
def test_p_values_stop_at_a_thousandth(p, text):
    assert fmt.p_value(p) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (1, "1 second"),
        (59, "59 seconds"),
        (3_600, "1 hour"),
        (86_400, "1 day"),
        (90_000, "25 hours"),
        (259_200, "3 days"),
    ],
)
def test_durations_take_their_largest_fitting_unit(length, text):
    assert fmt.duration(length) == text


def test_moments_are_said_in_utc_whatever_zone_they_came_in():
    seoul = dt.timezone(dt.timedelta(hours=9))
    assert fmt.moment(dt.datetime(2026, 11, 23, 6, 5, tzinfo=seoul)) == "22 Nov 2026, 21:05 UTC"


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e9, -1e15, 1e300, 123_456.789])
def test_any_finite_number_can_be_written(x):
    for write in (POINTS, DOLLARS, SECONDS, PLAIN):
        for text in (write.value(x), *write.effect(x, x - 1, x + 1), *write.effect(x, x, None), write.total(x)):
            assert text
            assert "nan" not in text
            assert len(text) < 60
