"""Difference and lift of two estimates with unequal variances: Welch's test, and Fieller at its critical value."""

import math

from scipy import special

from genux_server.stats.contrast import Contrast, fieller, outside
from genux_server.stats.estimates import Estimate

__all__ = ["satterthwaite", "standardised_contrast", "welch"]


def satterthwaite(control: Estimate, treatment: Estimate) -> float:
    """Welch-Satterthwaite degrees of freedom of the difference; infinite when neither arm varies."""
    # Scaled by the larger variance, so that neither 1e-200 nor 1e200 leaves the range of floats when squared.
    scale = max(control.variance, treatment.variance)
    if scale == 0.0:
        return math.inf
    c, t = control.variance / scale, treatment.variance / scale
    return (c + t) ** 2 / (c**2 / control.df + t**2 / treatment.df)


def welch(control: Estimate, treatment: Estimate, alpha: float = 0.05) -> Contrast | None:
    """Welch's two-sided test of equal means with its interval, and the lift by Fieller at the same critical value.

    Args:
        control: control's estimate.
        treatment: treatment's estimate.
        alpha: error rate, 0 to 1.

    Returns:
        The contrast, or None when neither arm varies (nothing can be said about chance then).
    """
    df = satterthwaite(control, treatment)
    if not math.isfinite(df):
        return None
    se = math.sqrt(control.variance + treatment.variance)
    statistic = (treatment.value - control.value) / se
    p_value = 2.0 * float(special.stdtr(df, -abs(statistic)))
    critical = float(-special.stdtrit(df, alpha / 2.0))
    return standardised_contrast(control, treatment, critical, p_value, alpha, df=df)


def standardised_contrast(
    control: Estimate, treatment: Estimate, critical: float, p_value: float, alpha: float, *, df: float = math.inf
) -> Contrast:
    """The effect and the lift at a given multiplier of the standard error.

    The lift is relative to the size of control's figure, so that it has the sign of the effect. It excludes 0 exactly
    when the effect's interval does: Fieller's set holds R = 1 when |effect| is at most `critical` standard errors.

    Args:
        control: control's estimate.
        treatment: treatment's estimate.
        critical: multiplier of the standard error.
        p_value: two-sided p-value of the test that `critical` belongs to.
        alpha: its level.
        df: degrees of freedom, for the record.
    """
    effect = treatment.value - control.value
    se = math.sqrt(control.variance + treatment.variance)
    significant = p_value < alpha
    lower, upper = outside(effect - critical * se, effect + critical * se, effect, significant=significant)
    lift, lift_lower, lift_upper = _lift(control, treatment, critical, effect, significant=significant)
    return Contrast(
        effect=effect,
        se=se,
        lower=lower,
        upper=upper,
        lift=lift,
        lift_lower=lift_lower,
        lift_upper=lift_upper,
        statistic=effect / se if se else 0.0,
        p_value=p_value,
        significant=significant,
        critical=critical,
        df=df,
    )


def _lift(
    control: Estimate, treatment: Estimate, critical: float, effect: float, *, significant: bool
) -> tuple[float | None, float | None, float | None]:
    if control.value == 0.0:
        return None, None, None
    low, high = fieller(treatment.value, treatment.variance, control.value, control.variance, critical)
    lift = effect / abs(control.value)
    if not all(bound is None or math.isfinite(bound) for bound in (low, high)) or not math.isfinite(lift):
        return None, None, None
    lower = None if low is None else low - 1.0
    upper = None if high is None else high - 1.0
    if control.value < 0.0:
        lower, upper = (None if upper is None else -upper), (None if lower is None else -lower)
    if not significant and (lower is None or upper is None):
        return lift, None, None
    bounded = outside(
        -math.inf if lower is None else lower, math.inf if upper is None else upper, lift, significant=significant
    )
    lower, upper = (bound if math.isfinite(bound) else None for bound in bounded)
    return lift, lower, upper
