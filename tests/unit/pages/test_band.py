import datetime as dt

from genux_server.model import SeriesPoint
from genux_server.pages.band import build_bands
from genux_server.pages.format import quantity

POINTS = quantity("proportion", "")
DAY = dt.date(2026, 11, 2)


def point(offset, effect, half, n=1_000):
    bounds = (None, None) if half is None else (effect - half, effect + half)
    return SeriesPoint(
        variant="t",
        day=DAY + dt.timedelta(days=offset),
        n_units=n * (offset + 1),
        effect=effect,
        effect_ci_lower=bounds[0],
        effect_ci_upper=bounds[1],
    )


def test_a_single_day_is_an_interval_without_a_line():
    (chart,) = build_bands([point(0, 0.04, 0.02)], {"t": "T"}, POINTS)
    assert (chart.band, chart.line) == ("", "")
    assert chart.last_text == "+4.0 points"


def test_days_without_an_estimate_are_left_out():
    empty = SeriesPoint(variant="t", day=DAY, n_units=3)
    assert build_bands([empty], {"t": "T"}, POINTS) == []
    (chart,) = build_bands([empty, point(1, 0.04, 0.02), point(2, 0.05, 0.02)], {"t": "T"}, POINTS)
    assert len(chart.rows) == 2


def test_an_unbounded_band_runs_to_the_edges_and_says_so_in_the_table():
    (chart,) = build_bands([point(0, 0.04, None), point(1, 0.04, 0.02)], {"t": "T"}, POINTS)
    assert chart.clipped
    assert chart.rows[-1][3] == "unbounded both ways"
    ys = [float(pair.split()[1]) for pair in chart.band.strip("MZ").split("L")]
    assert min(ys) == 0
    assert max(ys) == chart.height


def test_a_wild_first_day_does_not_set_the_scale():
    early = point(0, 0.5, 3.0, n=10)
    calm = [point(i, 0.04, 0.02) for i in range(1, 20)]
    (chart,) = build_bands([early, *calm], {"t": "T"}, POINTS)
    assert "+50" not in {tick.text for tick in chart.y_ticks}
    assert chart.clipped
