"""Two proportions by the score family: the pooled z test, and the intervals that are its inversions.

Mee's interval for the difference and Koopman's for the ratio exclude "no effect" exactly when the pooled z test
rejects. Newcombe's and Miettinen-Nurminen's intervals and Boschloo's test stand beside them and never decide.
"""

import math
from collections.abc import Callable

from scipy import optimize, special, stats

from genux_server.stats.contrast import Contrast, outside

__all__ = [
    "boschloo_p_value",
    "koopman_interval",
    "newcombe_interval",
    "normal_critical",
    "pooled_z",
    "restricted_by_difference",
    "score_contrast",
    "score_difference_interval",
    "two_sided_p",
    "wilson_interval",
]

_NEAR = 1e-13
"""Relative distance from the estimate at which the search for a bound starts: at the estimate itself the score is 0/0
when both arms have no or only successes."""


def normal_critical(alpha: float) -> float:
    """Two-sided critical value of the standard normal."""
    return float(-special.ndtri(alpha / 2.0))


def wilson_interval(successes: float, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval of one proportion (Wilson 1927)."""
    z2 = normal_critical(alpha) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(max(0.0, share * (1 - share)) / n + z2 / (4 * n * n))
    lower = 0.0 if successes == 0 else max(0.0, centre - half)
    upper = 1.0 if successes == n else min(1.0, centre + half)
    return lower, upper


def pooled_z(x_control: float, n_control: int, x_treatment: float, n_treatment: int) -> tuple[float, float] | None:
    """Pooled z statistic of treatment minus control, and its two-sided p-value.

    Returns:
        (z, p), or None when the arms together have no or only successes: there is no variance to judge by.
    """
    pooled = (x_control + x_treatment) / (n_control + n_treatment)
    variance = pooled * (1.0 - pooled) * (1.0 / n_control + 1.0 / n_treatment)
    if variance <= 0.0:
        return None
    z = (x_treatment / n_treatment - x_control / n_control) / math.sqrt(variance)
    return z, two_sided_p(z)


def two_sided_p(z: float) -> float:
    """Two-sided normal p-value by the tail itself, right to the last digits until it underflows beyond z = 37."""
    return 2.0 * float(special.ndtr(-abs(z)))


def score_difference_interval(
    x_control: float,
    n_control: int,
    x_treatment: float,
    n_treatment: int,
    alpha: float = 0.05,
    *,
    unbiased: bool = False,
) -> tuple[float, float]:
    """Score interval of the difference of two proportions.

    Every difference D for which |d - D| is within the critical number of standard errors, the variance being that of
    the maximum-likelihood proportions under D.

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
        alpha: error rate.
        unbiased: multiply the variance by N / (N - 1): Miettinen and Nurminen's interval; without it, Mee's.

    References:
        Mee (1984), Biometrics 40; Miettinen and Nurminen (1985), Statistics in Medicine 4. statsmodels' `score` with
        `compare="diff"` solves another equation (statsmodels#10269), hence by hand.
    """
    p_t, p_c = x_treatment / n_treatment, x_control / n_control
    total = n_control + n_treatment
    z = normal_critical(alpha) * (math.sqrt(total / (total - 1)) if unbiased else 1.0)
    estimate = p_t - p_c

    def spread(difference: float) -> float:
        share_t, share_c = restricted_by_difference(p_t, n_treatment, p_c, n_control, difference)
        return z * math.sqrt(share_t * (1 - share_t) / n_treatment + share_c * (1 - share_c) / n_control)

    lower = _root(lambda d: estimate - d - spread(d), -1.0, estimate - _NEAR)
    upper = _root(lambda d: d - estimate - spread(d), 1.0, estimate + _NEAR)
    return min(lower, estimate), max(upper, estimate)


def restricted_by_difference(p_t: float, n_t: int, p_c: float, n_c: int, difference: float) -> tuple[float, float]:
    """Maximum-likelihood proportions under p_t - p_c = difference: a cubic's root (Farrington and Manning 1990)."""
    theta = n_c / n_t
    a = 1.0 + theta
    b = -(1.0 + theta + p_t + theta * p_c + difference * (theta + 2.0))
    c = difference**2 + difference * (2.0 * p_t + theta + 1.0) + p_t + theta * p_c
    d = -p_t * difference * (1.0 + difference)
    third = b / (3.0 * a)
    v = third**3 - b * c / (6.0 * a * a) + d / (2.0 * a)
    u = math.copysign(math.sqrt(max(0.0, third**2 - c / (3.0 * a))), v)
    angle = math.acos(min(1.0, max(-1.0, v / u**3))) if u else 0.0
    share_t = 2.0 * u * math.cos((math.pi + angle) / 3.0) - third
    low, high = max(0.0, difference), min(1.0, 1.0 + difference)
    share_t = min(high, max(low, share_t))
    return share_t, min(1.0, max(0.0, share_t - difference))


def koopman_interval(
    x_control: float, n_control: int, x_treatment: float, n_treatment: int, alpha: float = 0.05
) -> tuple[float, float | None]:
    """Koopman's score interval of the ratio p_treatment / p_control.

    Returns:
        Lower and upper bound; the upper is None (unbounded) when control has no successes.

    References:
        Koopman (1984), Biometrics 40, 513-517.
    """
    p_t, p_c = x_treatment / n_treatment, x_control / n_control
    z = normal_critical(alpha)
    total, successes = n_control + n_treatment, x_control + x_treatment

    def spread(ratio: float) -> float:
        b = n_treatment * ratio + x_treatment + n_control + x_control * ratio
        root = math.sqrt(max(0.0, b * b - 4.0 * total * ratio * successes))
        share_c = min(1.0, 2.0 * successes / (b + root))
        share_t = min(1.0, share_c * ratio)
        variance_t, variance_c = share_t * (1 - share_t) / n_treatment, share_c * (1 - share_c) / n_control
        return z * math.sqrt(variance_t + ratio * ratio * variance_c)

    lower: float = 0.0
    upper: float | None = None
    if x_treatment > 0:
        # Without successes in control every large enough ratio is in the set, so the search has an end to find.
        near = p_t / p_c * (1.0 - _NEAR) if x_control else _double(lambda r: p_t - r * p_c - spread(r) < 0.0)
        lower = _root(lambda r: p_t - r * p_c - spread(r), 0.0, near)
    if x_control > 0:
        near = max(p_t / p_c * (1.0 + _NEAR), 1e-300)
        far = _double(lambda r: r * p_c - p_t - spread(r) > 0.0, start=2.0 * near if x_treatment else 1e-12)
        upper = _root(lambda r: r * p_c - p_t - spread(r), far, near)
        lower, upper = min(lower, p_t / p_c), max(upper, p_t / p_c)
    return lower, upper


def _double(reached: Callable[[float], bool], start: float = 1e-12) -> float:
    at = start
    while not reached(at) and at < 1e300:
        at *= 4.0
    return at


def _root(function: Callable[[float], float], outer: float, near: float) -> float:
    """The zero between a point outside the interval, where `function` is positive, and one next to the estimate."""
    if function(outer) <= 0.0:
        return outer
    if function(near) >= 0.0:
        return near
    root: float = optimize.brentq(function, outer, near, xtol=1e-15, rtol=1e-14, maxiter=300)
    return root


def score_contrast(
    x_control: float, n_control: int, x_treatment: float, n_treatment: int, alpha: float = 0.05
) -> Contrast | None:
    """Two proportions by one family: pooled z test, Mee's interval of the difference, Koopman's of the lift.

    Returns:
        The contrast, or None when the arms together have no or only successes.
    """
    test = pooled_z(x_control, n_control, x_treatment, n_treatment)
    if test is None:
        return None
    z, p_value = test
    significant = p_value < alpha
    p_t, p_c = x_treatment / n_treatment, x_control / n_control
    effect = p_t - p_c
    lower, upper = score_difference_interval(x_control, n_control, x_treatment, n_treatment, alpha)
    lower, upper = outside(lower, upper, effect, significant=significant)
    ratio_low, ratio_high = koopman_interval(x_control, n_control, x_treatment, n_treatment, alpha)
    lift_low, lift_high = outside(
        ratio_low - 1.0, math.inf if ratio_high is None else ratio_high - 1.0, effect, significant=significant
    )
    return Contrast(
        effect=effect,
        se=math.sqrt(p_t * (1 - p_t) / n_treatment + p_c * (1 - p_c) / n_control),
        lower=lower,
        upper=upper,
        lift=effect / p_c if p_c else None,
        lift_lower=lift_low if p_c else None,
        lift_upper=lift_high if p_c and ratio_high is not None else None,
        statistic=z,
        p_value=p_value,
        significant=significant,
        critical=normal_critical(alpha),
    )


def newcombe_interval(
    x_control: float, n_control: int, x_treatment: float, n_treatment: int, alpha: float = 0.05
) -> tuple[float, float]:
    """Newcombe's hybrid score interval of the difference (Newcombe 1998, Statistics in Medicine 17, method 10)."""
    p_t, p_c = x_treatment / n_treatment, x_control / n_control
    low_t, high_t = wilson_interval(x_treatment, n_treatment, alpha)
    low_c, high_c = wilson_interval(x_control, n_control, alpha)
    estimate = p_t - p_c
    return estimate - math.hypot(p_t - low_t, high_c - p_c), estimate + math.hypot(high_t - p_t, p_c - low_c)


def boschloo_p_value(x_control: int, n_control: int, x_treatment: int, n_treatment: int) -> float:
    """Boschloo's exact two-sided p-value; slow beyond some hundred units."""
    table = [[x_treatment, x_control], [n_treatment - x_treatment, n_control - x_control]]
    return min(1.0, float(stats.boschloo_exact(table).pvalue))
