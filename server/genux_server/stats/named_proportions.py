"""Proportions over plain named numbers."""

import msgspec

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_counts, refuse
from genux_server.stats.named import Interval
from genux_server.stats.proportions import (
    boschloo_p_value,
    newcombe_interval,
    score_contrast,
    score_difference_interval,
    wilson_interval,
)

__all__ = ["Boschloo", "Proportions", "boschloo", "compare_proportions", "wilson"]

_BOSCHLOO_UNITS = 2000


class Proportions(msgspec.Struct, frozen=True, kw_only=True):
    """Two proportions by the score family, with two intervals beside it that never decide.

    `ci_*` is Mee's interval and `lift_ci_*` Koopman's minus 1, the inversions of the pooled z test.
    """

    level: float
    effect: float
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    lift: float | None = None
    lift_ci_lower: float | None = None
    lift_ci_upper: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    newcombe_ci_lower: float | None = None
    newcombe_ci_upper: float | None = None
    miettinen_nurminen_ci_lower: float | None = None
    miettinen_nurminen_ci_upper: float | None = None
    not_computable: Message | None = None


class Boschloo(msgspec.Struct, frozen=True, kw_only=True):
    """An exact two-sided p-value."""

    p_value: float


def compare_proportions(
    x_control: int, n_control: int, x_treatment: int, n_treatment: int, *, alpha: float = 0.05
) -> Proportions:
    """Two proportions: pooled z, Mee's and Koopman's intervals, Newcombe's and Miettinen-Nurminen's beside them.

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
        alpha: one minus the level.
    """
    check_alpha(alpha)
    check_counts(x_control, n_control, "control")
    check_counts(x_treatment, n_treatment, "treatment")
    known = Proportions(level=1 - alpha, effect=x_treatment / n_treatment - x_control / n_control)
    result = score_contrast(x_control, n_control, x_treatment, n_treatment, alpha)
    if result is None:
        text = "Both arms have only successes or only failures, so there is nothing to judge the effect by."
        return msgspec.structs.replace(known, not_computable=refuse("zero_variance", text))
    newcombe = newcombe_interval(x_control, n_control, x_treatment, n_treatment, alpha)
    mn = score_difference_interval(x_control, n_control, x_treatment, n_treatment, alpha, unbiased=True)
    return msgspec.structs.replace(
        known,
        se=result.se,
        ci_lower=result.lower,
        ci_upper=result.upper,
        lift=result.lift,
        lift_ci_lower=result.lift_lower,
        lift_ci_upper=result.lift_upper,
        statistic=result.statistic,
        p_value=result.p_value,
        newcombe_ci_lower=newcombe[0],
        newcombe_ci_upper=newcombe[1],
        miettinen_nurminen_ci_lower=mn[0],
        miettinen_nurminen_ci_upper=mn[1],
    )


def boschloo(x_control: int, n_control: int, x_treatment: int, n_treatment: int) -> Boschloo:
    """Boschloo's exact test of two proportions, for small samples (up to 2,000 units together).

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
    """
    check_counts(x_control, n_control, "control")
    check_counts(x_treatment, n_treatment, "treatment")
    if n_control + n_treatment > _BOSCHLOO_UNITS:
        raise ValueError(f"the exact test takes minutes beyond {_BOSCHLOO_UNITS} units; use compare_proportions")
    return Boschloo(p_value=boschloo_p_value(x_control, n_control, x_treatment, n_treatment))


def wilson(successes: int, n: int, *, alpha: float = 0.05) -> Interval:
    """Wilson's interval of one proportion.

    Args:
        successes: how many succeeded.
        n: units, at least 1.
        alpha: one minus the level.
    """
    check_alpha(alpha)
    check_counts(successes, n, "sample")
    lower, upper = wilson_interval(successes, n, alpha)
    return Interval(estimate=successes / n, ci_lower=lower, ci_upper=upper)
