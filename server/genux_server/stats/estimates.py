"""One arm's estimate with its variance, from moments: mean, ratio, either of them adjusted by a covariate."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from genux_server.model import Moments
from genux_server.stats.moments import covariance, mean_of

__all__ = ["Estimate", "arm_estimates", "combine", "in_range", "linear_weights"]


_LARGEST = 1e100


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """An arm's figure.

    Attributes:
        n: units behind it.
        value: the mean, share or ratio.
        variance: of the estimate (squared standard error), not of the units.
        df: degrees of freedom of the variance.
        cost_covariance: covariance of the estimate with the mean cost per unit; 0 without a cost.
        cost: mean cost per unit, US dollars; None without one.
        cost_variance: of `cost`.
    """

    n: int
    value: float
    variance: float
    df: float
    cost: float | None = None
    cost_variance: float = 0.0
    cost_covariance: float = 0.0

    @property
    def se(self) -> float:
        """Standard error of the value."""
        return math.sqrt(self.variance)


def linear_weights(moments: Moments) -> dict[str, float]:
    """Weights that turn a unit's components into its linearised value.

    A mean is linear already. A ratio `sum y / sum d` is, to first order, the mean of `(y - r d) / dbar` (delta method
    at the unit; Deng, Knoblich and Lu 2018, section 3).
    """
    if "d" not in moments.components:
        return {"y": 1.0}
    denominator = mean_of(moments, "d")
    if denominator == 0.0:
        return {}
    return {"y": 1.0 / denominator, "d": -mean_of(moments, "y") / denominator / denominator}


def arm_estimates(arms: Mapping[str, Moments], *, adjust: bool = True) -> dict[str, Estimate]:
    """Estimates of arms that met at the same time; arms with fewer than two units or a zero denominator are left out.

    With a covariate `x` (and `w` for ratios) in the moments each arm is adjusted by CUPED (Deng, Xu, Kohavi and Walker
    2013): one theta, pooled over the arms, times the distance of the arm's covariate from that of all arms. A ratio's
    two periods are both linearised first.

    Args:
        arms: variant to its moments.
        adjust: use the covariate where there is one.

    Returns:
        Variant to estimate.
    """
    usable = {key: m for key, m in arms.items() if m.n >= 2 and in_range(linear_weights(m).values())}
    theta, covariate = _cuped(list(usable.values())) if adjust else (0.0, {})
    estimates = {key: _estimate(m, theta, covariate) for key, m in usable.items()}
    return {key: e for key, e in estimates.items() if in_range((e.value, e.variance))}


def in_range(values: Iterable[float]) -> bool:
    """Whether there are values and all can be squared and divided without leaving the range of floats."""
    sizes = [abs(value) for value in values]
    return bool(sizes) and all(size < _LARGEST for size in sizes)


def _cuped(arms: Sequence[Moments]) -> tuple[float, dict[str, float]]:
    """Theta and the weights of the linearised covariate; ({}, 0) where there is none or it does not vary."""
    if not arms or "x" not in arms[0].components:
        return 0.0, {}
    n = sum(m.n for m in arms)
    x_mean = math.fsum(m.n * mean_of(m, "x") for m in arms) / n
    covariate = {"x": 1.0}
    if "w" in arms[0].components:
        w_mean = math.fsum(m.n * mean_of(m, "w") for m in arms) / n
        if w_mean == 0.0:
            return 0.0, {}
        covariate = {"x": 1.0 / w_mean, "w": -x_mean / w_mean / w_mean}
        if not in_range(covariate.values()):
            return 0.0, {}
    cross = math.fsum((m.n - 1) * _bilinear(m, linear_weights(m), covariate) for m in arms)
    spread = math.fsum((m.n - 1) * _bilinear(m, covariate, covariate) for m in arms)
    if spread <= 0.0 or not math.isfinite(cross / spread):
        return 0.0, {}
    centre = math.fsum(m.n * _linear(m, covariate) for m in arms) / n
    return cross / spread, {**covariate, "": -centre}


def _estimate(m: Moments, theta: float, covariate: Mapping[str, float]) -> Estimate:
    outcome = linear_weights(m)
    value = mean_of(m, "y") / mean_of(m, "d") if "d" in m.components else mean_of(m, "y")
    weights = dict(outcome)
    if theta:
        value -= theta * _linear(m, covariate)
        weights |= {name: -theta * weight for name, weight in covariate.items() if name}
    variance = max(0.0, _bilinear(m, weights, weights)) / m.n
    if "c" not in m.components:
        return Estimate(m.n, value, variance, m.n - 1)
    return Estimate(
        m.n,
        value,
        variance,
        m.n - 1,
        cost=mean_of(m, "c"),
        cost_variance=max(0.0, covariance(m, "c", "c")) / m.n,
        cost_covariance=_bilinear(m, weights, {"c": 1.0}) / m.n,
    )


def _linear(m: Moments, weights: Mapping[str, float]) -> float:
    return math.fsum(weight * (mean_of(m, name) if name else 1.0) for name, weight in weights.items())


def _bilinear(m: Moments, first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Covariance per unit of two linear combinations of components."""
    return math.fsum(u * v * covariance(m, i, j) for i, u in first.items() if i for j, v in second.items() if j)


def combine(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Weighted sum of independent estimates of one arm, one per epoch, with fixed weights that sum to 1.

    Degrees of freedom by Satterthwaite over the parts.
    """
    if len(parts) == 1:
        return parts[0][1]
    variances = [weight**2 * e.variance for weight, e in parts]
    variance = math.fsum(variances)
    spread = math.fsum(v**2 / e.df for v, (_, e) in zip(variances, parts, strict=True))
    costs = [e.cost for _, e in parts]
    has_cost = all(cost is not None for cost in costs)
    return Estimate(
        n=sum(e.n for _, e in parts),
        value=math.fsum(weight * e.value for weight, e in parts),
        variance=variance,
        df=variance**2 / spread if spread > 0.0 else float(sum(e.df for _, e in parts)),
        cost=math.fsum(weight * (e.cost or 0.0) for weight, e in parts) if has_cost else None,
        cost_variance=math.fsum(weight**2 * e.cost_variance for weight, e in parts),
        cost_covariance=math.fsum(weight**2 * e.cost_covariance for weight, e in parts),
    )
