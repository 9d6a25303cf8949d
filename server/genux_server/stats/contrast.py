"""Treatment against control at one critical value: effect, lift by Fieller, and the p-value that goes with both."""

import dataclasses
import math

__all__ = ["Contrast", "fieller", "outside"]


@dataclasses.dataclass(frozen=True, slots=True)
class Contrast:
    """A treatment against control at one level.

    A bound of None is unbounded on that side. The lift and its bounds are all None where the control's figure is zero.

    Attributes:
        effect: treatment minus control.
        se: standard error of the effect.
        lower, upper: interval of the effect.
        lift: effect relative to the size of control's figure (0.05 is +5 %).
        lift_lower, lift_upper: its interval, from the same critical value.
        statistic: effect over standard error, as the method standardises it.
        p_value: two-sided, against no effect.
        significant: `p_value < alpha`; true exactly when either interval excludes 0.
        critical: the multiplier of the standard error.
        df: degrees of freedom, infinite for a normal reference.
    """

    effect: float
    se: float
    lower: float
    upper: float
    lift: float | None
    lift_lower: float | None
    lift_upper: float | None
    statistic: float
    p_value: float
    significant: bool
    critical: float
    df: float = math.inf


def outside(lower: float, upper: float, effect: float, *, significant: bool) -> tuple[float, float]:
    """The interval, moved by at most a rounding error so that it excludes 0 exactly when the test rejects.

    Root and p-value are found by different arithmetic; without this, tables within 1e-13 of the boundary contradict.
    """
    tiny = math.ulp(effect) if effect else 0.0
    if significant:
        return (max(lower, tiny), upper) if effect > 0 else (lower, min(upper, -tiny))
    return min(lower, 0.0), max(upper, 0.0)


def fieller(
    numerator: float,
    numerator_variance: float,
    denominator: float,
    denominator_variance: float,
    critical: float,
    *,
    covariance: float = 0.0,
) -> tuple[float | None, float | None]:
    """Fieller's interval of a ratio: every R with |numerator - R denominator| within `critical` standard errors.

    Where the denominator cannot be told from zero the set is unbounded. It is then the whole line, or, when the
    numerator is far from zero, two rays; of these the one that holds the estimate is returned.

    Args:
        numerator: estimate above the line.
        numerator_variance: its squared standard error.
        denominator: estimate below the line.
        denominator_variance: its squared standard error.
        critical: multiplier of the standard error.
        covariance: of the two estimates.

    Returns:
        Lower and upper bound; None where there is none.

    References:
        Fieller, E. C. (1954). Some problems in interval estimation. JRSS B 16 (2).
    """
    square = critical**2
    a = denominator**2 - square * denominator_variance
    half_b = numerator * denominator - square * covariance
    c = numerator**2 - square * numerator_variance
    discriminant = half_b**2 - a * c
    if a > 0.0:
        root = math.sqrt(max(discriminant, 0.0))
        # The root of larger size first, then the other through their product: no cancellation.
        q = half_b + math.copysign(root, half_b)
        if q == 0.0:
            return 0.0, 0.0
        return min(q / a, c / q), max(q / a, c / q)
    if discriminant <= 0.0 or a == 0.0 or denominator == 0.0:
        return None, None
    root = math.sqrt(discriminant)
    low, high = sorted(((half_b - root) / a, (half_b + root) / a))
    estimate = numerator / denominator
    if estimate >= high:
        return high, None
    if estimate <= low:
        return None, low
    return None, None
