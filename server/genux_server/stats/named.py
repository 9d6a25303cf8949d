"""The core's comparisons over plain named numbers, for the command line, other languages, and conformance vectors."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from genux_server.model import Message, Moments
from genux_server.stats.common import array, check_alpha, check_moments, finite, refuse, z_tail
from genux_server.stats.contrast import Contrast, fieller
from genux_server.stats.estimates import Estimate, arm_estimates
from genux_server.stats.means import welch
from genux_server.stats.moments import merge, moments_from_arrays
from genux_server.stats.money import cost_effect, net_benefit

__all__ = [
    "CostOfGain",
    "Interval",
    "TwoArms",
    "compare_moments",
    "compare_summaries",
    "compare_values",
    "cost_of_gain",
    "fieller_interval",
    "merge_moments",
]


class TwoArms(msgspec.Struct, frozen=True, kw_only=True):
    """Treatment against control: effect, lift by Fieller at the same critical value, one test.

    A bound of None is unbounded. `value_control` and `value_treatment` are the arms' figures, after adjustment if any.
    """

    method: str
    level: float
    value_control: float | None = None
    value_treatment: float | None = None
    effect: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    lift: float | None = None
    lift_ci_lower: float | None = None
    lift_ci_upper: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    not_computable: Message | None = None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its interval; a bound of None is unbounded."""

    estimate: float | None
    ci_lower: float | None
    ci_upper: float | None


class CostOfGain(msgspec.Struct, frozen=True, kw_only=True):
    """What a gain costs, US dollars: per unit, per extra unit of effect, and net at a stated value.

    `ratio_ci_*` are None when the effect cannot be told from 0: the cost per extra conversion is then unbounded.
    """

    level: float
    effect: float | None = None
    cost_usd: float | None = None
    cost_ci_lower: float | None = None
    cost_ci_upper: float | None = None
    ratio_usd: float | None = None
    ratio_ci_lower: float | None = None
    ratio_ci_upper: float | None = None
    net_benefit_usd: float | None = None
    net_benefit_ci_lower: float | None = None
    net_benefit_ci_upper: float | None = None
    not_computable: Message | None = None


def compare_summaries(
    *,
    mean_control: float,
    sd_control: float,
    n_control: int,
    mean_treatment: float,
    sd_treatment: float,
    n_treatment: int,
    alpha: float = 0.05,
) -> TwoArms:
    """Two means by Welch's test from mean, standard deviation and units per arm; lift by Fieller.

    Args:
        mean_control: control's mean.
        sd_control: standard deviation of control's units (divisor n - 1).
        n_control: units in control.
        mean_treatment: treatment's mean.
        sd_treatment: standard deviation of treatment's units.
        n_treatment: units in treatment.
        alpha: one minus the level.
    """
    if min(sd_control, sd_treatment) < 0 or min(n_control, n_treatment) < 0:
        raise ValueError("standard deviations and counts must not be negative")
    arms = {
        "control": _moments(mean_control, sd_control, n_control),
        "treatment": _moments(mean_treatment, sd_treatment, n_treatment),
    }
    return compare_moments(arms["control"], arms["treatment"], alpha=alpha)


def compare_values(  # noqa: PLR0913  two arms with a denominator and covariates; all by name
    *,
    control: Sequence[float],
    treatment: Sequence[float],
    control_denominator: Sequence[float] = (),
    treatment_denominator: Sequence[float] = (),
    control_covariate: Sequence[float] = (),
    treatment_covariate: Sequence[float] = (),
    control_denominator_covariate: Sequence[float] = (),
    treatment_denominator_covariate: Sequence[float] = (),
    alpha: float = 0.05,
) -> TwoArms:
    """Two arms from one value per unit: means, ratios (with denominators), either adjusted by CUPED (with covariates).

    Args:
        control: `(n_control,)` values, or numerators of a ratio.
        treatment: `(n_treatment,)` values.
        control_denominator: denominators of a ratio of sums, delta method at the unit.
        treatment_denominator: likewise.
        control_covariate: the same measure before exposure.
        treatment_covariate: likewise.
        control_denominator_covariate: the denominator before exposure, for a ratio.
        treatment_denominator_covariate: likewise.
        alpha: one minus the level.
    """
    arms = []
    for name, y, d, x, w in (
        ("control", control, control_denominator, control_covariate, control_denominator_covariate),
        ("treatment", treatment, treatment_denominator, treatment_covariate, treatment_denominator_covariate),
    ):
        columns = {"y": y, "d": d, "x": x, "w": w}
        arms.append(moments_from_arrays({k: array(v, f"{name} {k}") for k, v in columns.items() if len(v) or k == "y"}))
    return compare_moments(arms[0], arms[1], alpha=alpha)


def compare_moments(control: Moments, treatment: Moments, *, adjust: bool = True, alpha: float = 0.05) -> TwoArms:
    """Two arms from mergeable moments: a ratio when they hold `d`, CUPED when they hold `x` (and `w`).

    Args:
        control: moments over control's units.
        treatment: moments over treatment's units, of the same components.
        adjust: use the covariate where there is one.
        alpha: one minus the level.

    Returns:
        The comparison; coded `too_few_units` (under 2 units or a zero denominator) or `zero_variance`.
    """
    check_alpha(alpha)
    check_moments(control)
    check_moments(treatment)
    if control.components != treatment.components:
        raise ValueError("both arms' moments must hold the same components")
    kind = "delta_fieller" if "d" in control.components else "welch_fieller"
    method = f"cuped_{kind}" if adjust and "x" in control.components else kind
    known = TwoArms(method=method, level=1 - alpha)
    estimates = arm_estimates({"control": control, "treatment": treatment}, adjust=adjust)
    if len(estimates) < 2:
        reason = refuse("too_few_units", "An arm has fewer than two units, or a denominator of zero.")
        return msgspec.structs.replace(known, not_computable=reason)
    c, t = estimates["control"], estimates["treatment"]
    return _two_arms(known, c, t, welch(c, t, alpha))


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Moments of disjoint batches together: associative, order-independent, exact sums.

    Args:
        parts: moments of the batches, of the same components.
    """
    for part in parts:
        check_moments(part)
    return merge(parts)


def fieller_interval(
    *,
    numerator: float,
    numerator_se: float,
    denominator: float,
    denominator_se: float,
    covariance: float = 0.0,
    alpha: float = 0.05,
) -> Interval:
    """Fieller's interval of a ratio of two normal estimates; unbounded when the denominator cannot be told from 0.

    Args:
        numerator: estimate above the line.
        numerator_se: its standard error.
        denominator: estimate below the line.
        denominator_se: its standard error.
        covariance: of the two estimates.
        alpha: one minus the level.
    """
    check_alpha(alpha)
    lower, upper = fieller(
        numerator, numerator_se**2, denominator, denominator_se**2, z_tail(alpha / 2), covariance=covariance
    )
    ratio = finite(numerator / denominator) if denominator else None
    return Interval(estimate=ratio, ci_lower=lower, ci_upper=upper)


def cost_of_gain(
    control: Moments,
    treatment: Moments,
    *,
    value_usd: float = 0.0,
    direction: Literal["increase", "decrease"] = "increase",
    alpha: float = 0.05,
) -> CostOfGain:
    """Cost per incremental effect by Fieller with the within-arm covariance of cost and effect, and net benefit.

    Args:
        control: moments of `y` (the effect's metric) and `c` (cost per unit, US dollars), or with `d`, `x`, `w`.
        treatment: the same for treatment.
        value_usd: what one unit of effect is worth.
        direction: which way the metric is better; with `decrease` the cost is per unit less.
        alpha: one minus the level.
    """
    check_alpha(alpha)
    check_moments(control)
    check_moments(treatment)
    known = CostOfGain(level=1 - alpha)
    if any("c" not in m.components for m in (control, treatment)):
        raise ValueError("the moments need the component c, the cost per unit")
    estimates = arm_estimates({"control": control, "treatment": treatment})
    if len(estimates) < 2:
        reason = refuse("too_few_units", "An arm has fewer than two units, or a denominator of zero.")
        return msgspec.structs.replace(known, not_computable=reason)
    c, t = estimates["control"], estimates["treatment"]
    sign, critical = (1.0 if direction == "increase" else -1.0), z_tail(alpha / 2)
    cost, net = cost_effect(c, t, critical, sign=sign), net_benefit(c, t, value_usd, critical, sign=sign)
    if cost is None or net is None:
        return msgspec.structs.replace(known, not_computable=refuse("no_cost", "An arm has no cost."))
    return CostOfGain(
        level=1 - alpha,
        effect=t.value - c.value,
        cost_usd=cost.cost,
        cost_ci_lower=cost.cost_lower,
        cost_ci_upper=cost.cost_upper,
        ratio_usd=cost.ratio,
        ratio_ci_lower=cost.ratio_lower,
        ratio_ci_upper=cost.ratio_upper,
        net_benefit_usd=net.value,
        net_benefit_ci_lower=net.lower,
        net_benefit_ci_upper=net.upper,
    )


def _moments(mean: float, sd: float, n: int) -> Moments:
    return Moments(n=n, mean=(mean,), comoments=(sd * sd * max(n - 1, 0),), minimum=mean, maximum=mean)


def _two_arms(known: TwoArms, control: Estimate, treatment: Estimate, result: Contrast | None) -> TwoArms:
    known = msgspec.structs.replace(known, value_control=control.value, value_treatment=treatment.value)
    if result is None:
        reason = refuse("zero_variance", "The values do not vary, so there is nothing to judge the effect by.")
        return msgspec.structs.replace(known, effect=treatment.value - control.value, not_computable=reason)
    return msgspec.structs.replace(
        known,
        effect=result.effect,
        se=result.se,
        ci_lower=finite(result.lower),
        ci_upper=finite(result.upper),
        lift=result.lift,
        lift_ci_lower=result.lift_lower,
        lift_ci_upper=result.lift_upper,
        statistic=finite(result.statistic),
        df=result.df if math.isfinite(result.df) else None,
        p_value=result.p_value,
    )
