"""Poisson rates: events per unit of exposure (units, hours, calls) in two arms.

For counts that cluster in units (clicks per person) use the mean of the per-unit count instead: a Poisson variance is
too small for them. This is for events that come one by one: errors per hour, incidents per thousand calls.
"""

import math

import msgspec
from scipy import optimize, stats

from genux_server.model import Message
from genux_server.stats.common import check_alpha, finite, log_two_sided, refuse, two_sided, z_tail

__all__ = ["RateComparison", "compare_rates"]


class RateComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two Poisson rates. One score test; the intervals of difference and ratio are its inversions.

    Attributes:
        rate_treatment, rate_control: events per unit of exposure.
        effect: difference of rates, with `effect_ci_lower` and `effect_ci_upper`.
        ratio: treatment over control; its bounds are None where unbounded.
        statistic, p_value, log_p_value: score test of equal rates, two-sided.
        p_value_exact: conditional binomial test beside it (Przyborowski and Wilenski 1940), for small counts.
    """

    method: str = "poisson_score"
    level: float
    rate_treatment: float
    rate_control: float
    effect: float
    effect_ci_lower: float | None = None
    effect_ci_upper: float | None = None
    ratio: float | None = None
    ratio_ci_lower: float | None = None
    ratio_ci_upper: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    p_value_exact: float | None = None
    assumptions: str = "Events are independent and come at a constant rate per unit of exposure within an arm."
    not_computable: Message | None = None


def compare_rates(
    events_control: int,
    exposure_control: float,
    events_treatment: int,
    exposure_treatment: float,
    *,
    alpha: float = 0.05,
) -> RateComparison:
    """Compares two Poisson rates by the score test and its inversions.

    Under rate_t = R rate_c the score statistic is (e_t - k e_c) / sqrt(k (e_t + e_c)) with k = R T_t / T_c, and at
    R = 1 it is the same number as the score statistic of the difference 0. So p < alpha exactly when the interval of
    the difference excludes 0 and when that of the ratio excludes 1.

    Args:
        events_control: events in the control arm, at least 0.
        exposure_control: its exposure (units, hours, calls), over 0.
        events_treatment: events in the treatment arm, at least 0.
        exposure_treatment: its exposure, over 0.
        alpha: two-sided error, 0 to 1.

    Returns:
        Rates, difference, ratio, tests. No events at all is coded `no_events`.

    Raises:
        ValueError: a negative count or an exposure that is not positive.

    References:
        Ng and Tang (2005), Testing the equality of two Poisson means using the rate ratio, test W2A; Gu et al. (2008).
    """
    check_alpha(alpha)
    if events_treatment < 0 or events_control < 0:
        raise ValueError("event counts must not be negative")
    if not (math.isfinite(exposure_treatment) and math.isfinite(exposure_control)):
        raise ValueError("exposures must be finite")
    if exposure_treatment <= 0 or exposure_control <= 0:
        raise ValueError("exposures must be over 0")
    e_t, t_t, e_c, t_c = float(events_treatment), exposure_treatment, float(events_control), exposure_control
    known = RateComparison(
        level=1 - alpha, rate_treatment=e_t / t_t, rate_control=e_c / t_c, effect=e_t / t_t - e_c / t_c
    )
    total = e_t + e_c
    if total == 0:
        return msgspec.structs.replace(
            known, not_computable=refuse("no_events", "Neither arm has an event yet, so the rates cannot be compared.")
        )
    z = (e_t * t_c - e_c * t_t) / math.sqrt(total * t_t * t_c)
    critical = z_tail(alpha / 2)
    lower, upper = (_invert_difference(e_t, t_t, e_c, t_c, sign * critical) for sign in (1, -1))
    # (e_t - k e_c)^2 = z^2 k (e_t + e_c) in k: k^2 e_c^2 - k (2 e_t e_c + z^2 total) + e_t^2 = 0
    half = e_t * e_c + critical**2 * total / 2
    root = math.sqrt(max(half**2 - (e_t * e_c) ** 2, 0.0))
    scale = t_c / t_t
    return msgspec.structs.replace(
        known,
        effect_ci_lower=lower,
        effect_ci_upper=upper,
        ratio=finite(e_t / e_c * scale) if e_c else None,
        ratio_ci_lower=scale * e_t**2 / (half + root),
        ratio_ci_upper=finite(scale * (half + root) / e_c**2) if e_c else None,
        statistic=z,
        p_value=two_sided(z),
        log_p_value=log_two_sided(z),
        p_value_exact=float(stats.binomtest(events_treatment, int(total), t_t / (t_t + t_c)).pvalue),
    )


def _invert_difference(e_t: float, t_t: float, e_c: float, t_c: float, target: float) -> float:
    """The difference of rates at which the score statistic equals `target`."""
    total_time = t_t + t_c

    def statistic(delta: float) -> float:
        # Restricted maximum likelihood of the control rate: T r^2 + (T delta - e) r - e_c delta = 0.
        b = total_time * delta - e_t - e_c
        discriminant = math.sqrt(max(b * b + 4 * total_time * e_c * delta, 0.0))
        rate = (discriminant - b) / (2 * total_time) if b <= 0 else 2 * e_c * delta / (discriminant + b)
        rate = max(rate, 0.0, -delta)
        variance = max(rate + delta, 0.0) / t_t + rate / t_c
        gap = e_t / t_t - e_c / t_c - delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    centre = e_t / t_t - e_c / t_c
    step = math.sqrt(e_t / t_t**2 + e_c / t_c**2)
    direction = -1.0 if target > 0 else 1.0
    reach = centre
    for _ in range(200):
        reach += direction * step
        step *= 1.6
        if (statistic(reach) - target) * direction < 0:
            break
    low, high = sorted((centre, reach))
    # At the estimate itself the statistic is 0 unless an arm has no events, where it is 0 by continuity.
    return float(optimize.brentq(lambda d: (0.0 if d == centre else statistic(d)) - target, low, high, xtol=1e-15))
