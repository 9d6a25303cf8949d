import datetime as dt

from genux_server.stats.looks import DayCount, Look, looks_so_far

FIRST = dt.date(2026, 11, 1)


def day(offset):
    return FIRST + dt.timedelta(days=offset)


def counts(*matured, pending=()):
    open_units = dict(pending)
    return [DayCount(day(i), n, open_units.get(i, 0)) for i, n in enumerate(matured)]


def test_a_look_falls_at_the_end_of_the_day_that_reaches_its_share():
    looks = looks_so_far(counts(30, 30, 30, 30), 100, 4, day(9))
    assert looks == [Look(day(0), 0.3), Look(day(1), 0.6), Look(day(2), 0.9), Look(day(3), 1.0)]


def test_a_day_that_passes_several_shares_is_one_look():
    assert looks_so_far(counts(80, 5), 100, 4, day(9)) == [Look(day(0), 0.8)]


def test_neither_a_running_day_nor_one_with_open_windows_is_a_look():
    assert looks_so_far(counts(30, 10), 100, 4, day(0)) == []
    assert looks_so_far(counts(30, 10, pending={0: 1}), 100, 4, day(9)) == [Look(day(1), 0.4)]


def test_the_last_look_waits_for_nobody_and_never_moves():
    assert looks_so_far(counts(120), 100, 5, day(0)) == [Look(day(0), 1.0)]
    assert looks_so_far(counts(120, 400, 400), 100, 5, day(9)) == [Look(day(0), 1.0)]


def test_before_the_first_share_there_is_no_look():
    assert looks_so_far(counts(10, 5), 100, 1, day(9)) == []
    assert looks_so_far([], 100, 3, day(9)) == []
