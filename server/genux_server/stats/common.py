"""What the methods share: tails, checks of arguments, and the flat result of a comparison.

A wrong argument (a level of 2, a negative count) is a `ValueError` with a sentence. Data from which nothing can be
computed (no variance, one unit) is a result whose `not_computable` says why: never NaN, never a made-up zero.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import special, stats

from genux_server.model import Message, Moments

__all__ = [
    "Difference",
    "FloatArray",
    "array",
    "check_alpha",
    "check_counts",
    "check_moments",
    "check_share",
    "finite",
    "log_two_sided",
    "make_difference",
    "refuse",
    "two_sided",
    "z_tail",
]

FloatArray = npt.NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Treatment minus control on the metric's own scale, with the interval that inverts its test.

    Attributes:
        method: code of the method.
        level: of the interval, such as 0.95.
        n_treatment, n_control: units behind it (events, where the method counts events).
        effect: treatment minus control.
        se: its standard error; for score tests the error under the null.
        ci_lower, ci_upper: bounds of the two-sided interval; None is unbounded.
        statistic, df: z when `df` is None, else t.
        p_value: two-sided, by survival functions; 0 only below 1e-308, and `log_p_value` goes on from there.
        assumptions: what has to hold, in one sentence.
        not_computable: why there is no estimate.
    """

    method: str
    level: float
    n_treatment: int
    n_control: int
    effect: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    assumptions: str = ""
    not_computable: Message | None = None


def refuse(code: str, text: str, **args: str | float | None) -> Message:
    """A reason why there is no number, as a code and a sentence."""
    return Message(code=code, args=dict(args), text=text)


def array(values: Sequence[float], name: str) -> FloatArray:
    """`values` as a one-dimensional float array.

    Raises:
        ValueError: not one-dimensional, or not all finite.
    """
    result = np.asarray(values, dtype=np.float64)
    if result.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return result


def check_alpha(alpha: float) -> None:
    """Refuses an error rate that is not strictly between 0 and 1 with a ValueError."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, not {alpha:g}")


def check_moments(moments: Moments) -> None:
    """Refuses with a ValueError moments whose parts do not fit together."""
    k = len(moments.components)
    if len(moments.mean) != k or len(moments.comoments) != k * (k + 1) // 2 or moments.n < 0:
        raise ValueError(f"{k} components need {k} means, {k * (k + 1) // 2} comoments, and n of at least 0")
    if not moments.components or moments.components[0] != "y" or len(set(moments.components)) < k:
        raise ValueError("the components must differ and begin with y")


def check_share(name: str, value: float) -> None:
    """Refuses a share that is not strictly between 0 and 1 with a ValueError."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, not {value:g}")


def check_counts(successes: float, n: float, arm: str) -> None:
    """Refuses with a ValueError what is not 0 <= `successes` <= `n`, `n` at least 1."""
    if not (1 <= n < math.inf and 0 <= successes <= n):
        raise ValueError(f"{arm}: n must be at least 1 and successes lie between 0 and n ({successes:g} of {n:g})")


def finite(value: float) -> float | None:
    """`value` as a plain float, or None when it is infinite or NaN."""
    return float(value) if math.isfinite(value) else None


def z_tail(tail: float) -> float:
    """The normal deviate with probability `tail` above it."""
    return float(special.ndtri(1.0 - tail)) if tail > 0.5 else -float(special.ndtri(tail))


def two_sided(statistic: float, df: float | None = None) -> float:
    """Two-sided p-value of a z (or, with `df`, a t) statistic, by the survival function."""
    tail = stats.norm.sf(abs(statistic)) if df is None else stats.t.sf(abs(statistic), df)
    return float(min(1.0, 2.0 * tail))


def log_two_sided(statistic: float, df: float | None = None) -> float:
    """Natural logarithm of the two-sided p-value, also where the p-value itself underflows.

    For t beyond the range of doubles the tail is its leading asymptotic term, right to O(1/t^2) relatively.
    """
    size = abs(statistic)
    if df is None:
        return min(0.0, math.log(2.0) + float(special.log_ndtr(-size)))
    p = two_sided(size, df)
    if p > 1e-300:
        return math.log(p)
    if math.isinf(size):
        return -math.inf
    log_ratio = math.log1p(size * size / df) if size < 1e100 else 2 * math.log(size) - math.log(df)
    log_density = (
        math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi) - (df + 1) / 2 * log_ratio
    )
    return math.log(2.0) + log_density + log_ratio + math.log(df / (df + 1)) - math.log(size)


def make_difference(
    method: str,
    effect: float,
    se: float,
    *,
    alpha: float,
    n_treatment: int,
    n_control: int,
    df: float | None = None,
    assumptions: str = "",
) -> Difference:
    """A `Difference` from an estimate, its standard error and (for t) its degrees of freedom.

    The result is coded `not_finite`, `zero_variance` or `too_few_units` when there is nothing to infer from.
    """
    empty = Difference(
        method=method, level=1 - alpha, n_treatment=n_treatment, n_control=n_control, assumptions=assumptions
    )
    if not math.isfinite(effect):
        reason = refuse("not_finite", "The estimate is not a finite number.")
        return msgspec.structs.replace(empty, not_computable=reason)
    known = msgspec.structs.replace(empty, effect=float(effect))
    if df is not None and not df > 0:
        reason = refuse("too_few_units", "There are too few units to estimate a variance.")
        return msgspec.structs.replace(known, not_computable=reason)
    if not math.isfinite(se) or se <= 0:
        reason = refuse("zero_variance", "The values do not vary, so there is nothing to judge the effect by.")
        return msgspec.structs.replace(known, not_computable=reason)
    statistic = effect / se
    critical = z_tail(alpha / 2) if df is None else float(stats.t.isf(alpha / 2, df))
    return msgspec.structs.replace(
        known,
        se=float(se),
        ci_lower=finite(effect - critical * se),
        ci_upper=finite(effect + critical * se),
        statistic=finite(statistic),
        df=None if df is None else finite(df),
        p_value=two_sided(statistic, df),
        log_p_value=finite(log_two_sided(statistic, df)),
    )
