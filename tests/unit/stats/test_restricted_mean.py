import numpy as np
import pytest

from genux_server.stats.duration import risk_table
from genux_server.stats.restricted_mean import restricted_mean


def test_without_censoring_it_is_the_ordinary_mean_of_the_capped_times_and_its_error():
    times = np.random.default_rng(1).exponential(30.0, 400)
    capped = np.minimum(times, 60.0)
    mean, variance = restricted_mean(risk_table(capped, times < 60.0), 60.0)
    assert mean == pytest.approx(capped.mean(), rel=1e-12)
    assert variance == pytest.approx(capped.var(ddof=1) / capped.size, rel=1e-12)


def test_early_censoring_does_not_bias_it_as_dropping_the_censored_would():
    rng = np.random.default_rng(2)
    true_mean = 30.0 * (1 - np.exp(-2.0))
    estimates, covered = [], 0
    for _ in range(300):
        times, seen_for = rng.exponential(30.0, 300), np.minimum(rng.uniform(5.0, 120.0, 300), 60.0)
        mean, variance = restricted_mean(risk_table(np.minimum(times, seen_for), times < seen_for), 60.0)
        estimates.append(mean)
        covered += abs(mean - true_mean) < 1.96 * variance**0.5
    assert np.mean(estimates) == pytest.approx(true_mean, abs=4 * np.std(estimates) / 300**0.5)
    assert 270 <= covered <= 296


@pytest.mark.parametrize(
    ("durations", "observed"),
    [
        ([], []),
        ([5.0], [True]),
        # The one still without the event was followed for 8 of 10 seconds: the end of the curve is not known.
        ([5.0, 8.0], [True, False]),
    ],
)
def test_an_end_that_nobody_was_followed_to_has_no_mean(durations, observed):
    assert restricted_mean(risk_table(durations, observed), 10.0) is None


def test_events_for_everyone_leave_nothing_open():
    assert restricted_mean(risk_table([2.0, 4.0], [True, True]), 10.0) == pytest.approx((3.0, 1.0))
    assert restricted_mean(risk_table([10.0, 10.0], [False, False]), 10.0) == (10.0, 0.0)
