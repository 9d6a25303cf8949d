import pytest
from hypothesis import given
from hypothesis import strategies as st

from genux_server.pages.axis import interval_axis, interval_mark, nice_axis

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(finite, finite)
def test_an_axis_covers_what_it_was_asked_to_and_has_few_ticks(a, b):
    low, high = min(a, b), max(a, b)
    axis = nice_axis(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert axis.low <= low + slack
    assert axis.high >= high - slack
    assert 2 <= len(axis.ticks) <= 12


@given(st.lists(st.tuples(finite, st.floats(1e-3, 1e3)), min_size=1, max_size=20))
def test_positions_are_percentages_in_order_and_only_what_lies_outside_has_no_dot(rows):
    axis = interval_axis([(x, x - half, x + half) for x, half in rows])
    assert axis is not None
    assert 0 <= axis.percent(0.0) <= 100
    for x, half in rows:
        mark = interval_mark(axis, x, x - half, x + half, good=None)
        assert 0 <= mark.left <= mark.right <= 100
        if mark.center is None:
            assert mark.opens_left or mark.opens_right
        else:
            assert mark.left - 1e-3 <= mark.center <= mark.right + 1e-3


def test_one_huge_interval_does_not_squash_the_others():
    rows = [(0.1, 0.05, 0.15), (0.2, 0.1, 0.3), (-0.1, -0.2, 0.0), (1.9, 1.5, 2.3)]
    axis = interval_axis(rows)
    assert axis.high < 0.5
    beyond = interval_mark(axis, *rows[3], good=False)
    assert (beyond.beyond, beyond.center, beyond.tone) == ("right", None, "bad")


def test_an_unbounded_interval_is_open_at_the_edge():
    axis = interval_axis([(0.1, None, 0.2), (0.1, 0.0, 0.2)])
    mark = interval_mark(axis, 0.1, None, 0.2, good=None)
    assert (mark.left, mark.opens_left, mark.opens_right, mark.beyond) == (0.0, True, False, "")


@pytest.mark.parametrize("rows", [[], [(None, None, None)], [(None, 0.1, 0.2)]])
def test_without_an_estimate_there_is_no_axis(rows):
    assert interval_axis(rows) is None


def test_an_effect_of_exactly_zero_still_has_an_axis():
    axis = interval_axis([(0.0, 0.0, 0.0)])
    assert axis.low < 0 < axis.high
