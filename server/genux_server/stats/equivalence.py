"""Not worse, and equal enough: one-sided tests against a margin, absolute or relative to control.

A relative margin is a share of a control figure that is itself uncertain. Testing `m_t - (1 - r) m_c` carries that
uncertainty; comparing the effect with `r` times the observed control does not.
"""

import math
from collections.abc import Iterable
from typing import Literal

import msgspec
from scipy import stats

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_counts, refuse
from genux_server.stats.proportions import restricted_by_difference

__all__ = [
    "MarginTest",
    "equivalence",
    "equivalence_proportions",
    "non_inferiority",
    "non_inferiority_proportions",
]

Direction = Literal["increase", "decrease"]


class MarginTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test against a margin.

    Attributes:
        alpha: one-sided error; 0.05 goes with the 90 % interval, 0.025 with the 95 % one.
        effect: treatment minus control.
        margin, margin_relative: as asked: on the metric's scale, or a share of control.
        distance: estimate minus the worst tolerated value, positive on the good side; `distance_lower` its one-sided
            bound. Not inferior exactly when that bound is over 0.
        statistic, df, p_value: of the hypothesis that the harm is at least the margin. For equivalence the larger of
            the two p-values and its statistic.
        passes: p_value < alpha; None when not computable.
    """

    method: str
    alpha: float
    effect: float
    margin: float
    margin_relative: bool
    distance: float | None = None
    distance_lower: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    passes: bool | None = None
    not_computable: Message | None = None


def non_inferiority(  # noqa: PLR0913  two estimates, a margin and how to read it; all by name
    *,
    value_control: float,
    se_control: float,
    value_treatment: float,
    se_treatment: float,
    margin: float,
    relative: bool = False,
    direction: Direction = "increase",
    df_control: float | None = None,
    df_treatment: float | None = None,
    alpha: float = 0.05,
) -> MarginTest:
    """Tests that treatment is not worse than control by the margin or more, for any estimates with standard errors.

    With `increase` the hypothesis refuted is m_t <= m_c - margin, or m_t <= m_c - r |m_c| for a relative margin; with
    `decrease` its mirror image. The statistic is t with Welch-Satterthwaite degrees of freedom when both are given.

    Args:
        value_control: control's mean, ratio or quantile.
        se_control: its standard error.
        value_treatment: treatment's.
        se_treatment: its standard error.
        margin: largest harm tolerated, over 0; a share of control (0.02 is 2 %) when `relative`.
        relative: whether the margin is a share of control.
        direction: which way is better.
        df_control: degrees of freedom of `se_control`, usually n - 1; without it the normal is used.
        df_treatment: those of `se_treatment`.
        alpha: one-sided error, 0 to 1.

    Returns:
        The test; coded `zero_variance` when neither estimate varies, `no_baseline` for a share of a control of 0.

    Raises:
        ValueError: a margin that is not positive, or a negative standard error.

    References:
        Hauschke, Kieser, Diletti and Burke (1999), Sample size determination for
        proving equivalence based on the ratio of two means.
    """
    check_alpha(alpha)
    _check_margin(margin)
    if not all(map(math.isfinite, (value_control, se_control, value_treatment, se_treatment))):
        raise ValueError("values and standard errors must be finite")
    if se_control < 0 or se_treatment < 0:
        raise ValueError("standard errors must not be negative")
    if any(df is not None and df <= 0 for df in (df_control, df_treatment)):
        raise ValueError("degrees of freedom must be over 0")
    sign = 1.0 if direction == "increase" else -1.0
    known = MarginTest(
        method="non_inferiority",
        alpha=alpha,
        effect=value_treatment - value_control,
        margin=margin,
        margin_relative=relative,
    )
    if relative and value_control == 0:
        return msgspec.structs.replace(known, not_computable=_no_baseline())
    # The worst tolerated treatment is slope * m_c - sign * offset.
    slope = 1.0 - sign * margin * math.copysign(1.0, value_control) if relative else 1.0
    offset = 0.0 if relative else margin
    distance = sign * (value_treatment - slope * value_control) + offset
    part_t, part_c = se_treatment**2, (slope * se_control) ** 2
    se = math.sqrt(part_t + part_c)
    if se == 0:
        reason = refuse("zero_variance", "Neither arm varies, so there is nothing to judge the margin by.")
        return msgspec.structs.replace(known, not_computable=reason)
    df = None
    if df_control is not None and df_treatment is not None:
        weight = part_t / (part_t + part_c)
        df = 1.0 / (weight**2 / df_treatment + (1 - weight) ** 2 / df_control)
    reference = stats.norm if df is None else stats.t(df)
    statistic = distance / se
    p_value = float(reference.sf(statistic))
    return msgspec.structs.replace(
        known,
        distance=distance,
        distance_lower=distance - float(reference.isf(alpha)) * se,
        statistic=statistic,
        df=df,
        p_value=p_value,
        passes=p_value < alpha,
    )


def equivalence(  # noqa: PLR0913  two estimates, a margin and how to read it; all by name
    *,
    value_control: float,
    se_control: float,
    value_treatment: float,
    se_treatment: float,
    margin: float,
    relative: bool = False,
    df_control: float | None = None,
    df_treatment: float | None = None,
    alpha: float = 0.05,
) -> MarginTest:
    """Two one-sided tests: treatment is within the margin of control on both sides.

    Args:
        value_control: control's mean, ratio or quantile.
        se_control: its standard error.
        value_treatment: treatment's.
        se_treatment: its standard error.
        margin: half-width of "equal enough", over 0; a share of control when `relative`.
        relative: whether the margin is a share of control.
        df_control: degrees of freedom of `se_control`.
        df_treatment: those of `se_treatment`.
        alpha: error of each one-sided test.

    Returns:
        The weaker of the two tests; both must pass.

    References:
        Schuirmann (1987).
    """
    return _weaker(
        non_inferiority(
            value_control=value_control,
            se_control=se_control,
            value_treatment=value_treatment,
            se_treatment=se_treatment,
            margin=margin,
            relative=relative,
            direction=direction,
            df_control=df_control,
            df_treatment=df_treatment,
            alpha=alpha,
        )
        for direction in ("increase", "decrease")
    )


def non_inferiority_proportions(
    *,
    x_control: int,
    n_control: int,
    x_treatment: int,
    n_treatment: int,
    margin: float,
    relative: bool = False,
    direction: Direction = "increase",
    alpha: float = 0.05,
) -> MarginTest:
    """Non-inferiority of a proportion by the score test whose inversion is the verdict's interval.

    The variance is that of the maximum-likelihood proportions on the margin itself, so that zero cells need no
    patching. A relative margin is a margin on the ratio: p_t > (1 - r) p_c, or p_t < (1 + r) p_c when lower is better.

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
        margin: largest harm tolerated, over 0 and under 1; a share of control when `relative`.
        relative: whether the margin is a share of control.
        direction: which way is better.
        alpha: one-sided error.

    Returns:
        The test; `no_baseline` for a relative margin without successes in control.

    References:
        Farrington and Manning (1990), Statistics in Medicine 9.
    """
    check_alpha(alpha)
    _check_margin(margin)
    check_counts(x_control, n_control, "control")
    check_counts(x_treatment, n_treatment, "treatment")
    if margin >= 1:
        raise ValueError("a margin on a proportion must be under 1")
    p_c, p_t = x_control / n_control, x_treatment / n_treatment
    sign = 1.0 if direction == "increase" else -1.0
    known = MarginTest(
        method="non_inferiority_score", alpha=alpha, effect=p_t - p_c, margin=margin, margin_relative=relative
    )
    if relative and x_control == 0:
        return msgspec.structs.replace(known, not_computable=_no_baseline())
    if relative:
        slope = 1.0 - sign * margin
        share_t, share_c = _restricted_by_ratio(p_t, n_treatment, p_c, n_control, slope)
        distance = sign * (p_t - slope * p_c)
    else:
        slope = 1.0
        share_t, share_c = restricted_by_difference(p_t, n_treatment, p_c, n_control, -sign * margin)
        distance = sign * (p_t - p_c) + margin
    variance = share_t * (1 - share_t) / n_treatment + slope**2 * share_c * (1 - share_c) / n_control
    if variance <= 0:
        reason = refuse("zero_variance", "On the margin the proportions do not vary, so there is nothing to judge by.")
        return msgspec.structs.replace(known, not_computable=reason)
    statistic = distance / math.sqrt(variance)
    p_value = float(stats.norm.sf(statistic))
    return msgspec.structs.replace(
        known, distance=distance, statistic=statistic, p_value=p_value, passes=p_value < alpha
    )


def equivalence_proportions(
    *,
    x_control: int,
    n_control: int,
    x_treatment: int,
    n_treatment: int,
    margin: float,
    relative: bool = False,
    alpha: float = 0.05,
) -> MarginTest:
    """Two one-sided score tests that a proportion is within the margin of control's on both sides.

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
        margin: half-width of "equal enough", over 0 and under 1; a share of control when `relative`.
        relative: whether the margin is a share of control.
        alpha: error of each one-sided test.
    """
    return _weaker(
        non_inferiority_proportions(
            x_control=x_control,
            n_control=n_control,
            x_treatment=x_treatment,
            n_treatment=n_treatment,
            margin=margin,
            relative=relative,
            direction=direction,
            alpha=alpha,
        )
        for direction in ("increase", "decrease")
    )


def _weaker(tests: Iterable[MarginTest]) -> MarginTest:
    weaker = max(tests, key=lambda test: math.inf if test.p_value is None else test.p_value)
    return msgspec.structs.replace(weaker, method=weaker.method.replace("non_inferiority", "equivalence"))


def _restricted_by_ratio(p_t: float, n_t: int, p_c: float, n_c: int, ratio: float) -> tuple[float, float]:
    """Maximum-likelihood proportions under p_t = ratio p_c: the root of a quadratic (Farrington and Manning 1990)."""
    total, successes = n_t + n_c, n_t * p_t + n_c * p_c
    b = n_t * ratio + n_t * p_t + n_c + n_c * p_c * ratio
    share_c = min(1.0, 2.0 * successes / (b + math.sqrt(max(0.0, b * b - 4.0 * total * ratio * successes))))
    return min(1.0, ratio * share_c), share_c


def _check_margin(margin: float) -> None:
    if not 0 < margin < math.inf:
        raise ValueError(f"the margin must be over 0, not {margin:g}")


def _no_baseline() -> Message:
    return refuse("no_baseline", "Control's figure is zero, so a margin relative to it means nothing.")
