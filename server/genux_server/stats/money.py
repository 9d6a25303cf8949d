"""What a treatment costs, and what its gain costs: cost per extra conversion, saving, net benefit."""

import dataclasses
import math

from genux_server.stats.contrast import fieller
from genux_server.stats.estimates import Estimate

__all__ = ["CostEffect", "NetBenefit", "cost_effect", "net_benefit"]


@dataclasses.dataclass(frozen=True, slots=True)
class CostEffect:
    """Cost and effect of a treatment against control, US dollars per unit.

    Attributes:
        cost: difference of the mean cost per unit.
        cost_lower, cost_upper: its interval.
        ratio: extra cost per extra unit of effect; None when the effect is 0.
        ratio_lower, ratio_upper: Fieller's interval; both None when the effect cannot be told from 0.
    """

    cost: float
    cost_lower: float
    cost_upper: float
    ratio: float | None
    ratio_lower: float | None
    ratio_upper: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class NetBenefit:
    """Value of the effect minus its cost, US dollars per unit, with its interval."""

    value: float
    lower: float
    upper: float


def cost_effect(control: Estimate, treatment: Estimate, critical: float, *, sign: float = 1.0) -> CostEffect | None:
    """Difference in cost, and cost per incremental effect, at one critical value.

    The interval of the ratio is Fieller's, with the covariance of cost and effect within each arm: people who convert
    also cost more, and leaving that out misstates the interval.

    Args:
        control: control's estimate, with its cost.
        treatment: treatment's estimate, with its cost.
        critical: multiplier of the standard error.
        sign: -1 for a metric where less is better: the cost is then per unit less.

    Returns:
        The result, or None when an arm has no cost.

    References:
        Willan and O'Brien (1996), Confidence intervals for cost-effectiveness ratios. Health Economics 5.
    """
    if control.cost is None or treatment.cost is None:
        return None
    cost = treatment.cost - control.cost
    variance = treatment.cost_variance + control.cost_variance
    reach = critical * math.sqrt(variance)
    effect = sign * (treatment.value - control.value)
    effect_variance = treatment.variance + control.variance
    lower: float | None = None
    upper: float | None = None
    if abs(effect) > critical * math.sqrt(effect_variance):
        lower, upper = fieller(
            cost,
            variance,
            effect,
            effect_variance,
            critical,
            covariance=sign * (treatment.cost_covariance + control.cost_covariance),
        )
    return CostEffect(cost, cost - reach, cost + reach, cost / effect if effect else None, lower, upper)


def net_benefit(
    control: Estimate, treatment: Estimate, value_usd: float, critical: float, *, sign: float = 1.0
) -> NetBenefit | None:
    """Net benefit per unit at a stated value of one unit of effect: value x effect - cost.

    Unlike the cost per incremental conversion it is always bounded.

    Args:
        control: control's estimate, with its cost.
        treatment: treatment's estimate, with its cost.
        value_usd: what one unit of effect (one conversion) is worth, US dollars.
        critical: multiplier of the standard error.
        sign: -1 for a metric where less is better.
    """
    if control.cost is None or treatment.cost is None:
        return None
    worth = sign * value_usd
    benefit = worth * (treatment.value - control.value) - (treatment.cost - control.cost)
    variance = math.fsum(
        worth**2 * arm.variance + arm.cost_variance - 2.0 * worth * arm.cost_covariance for arm in (control, treatment)
    )
    reach = critical * math.sqrt(max(0.0, variance))
    return NetBenefit(benefit, benefit - reach, benefit + reach)
