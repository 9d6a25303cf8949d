"""Two arms over several epochs: estimate within each, combine with fixed unit weights, never pool (Simpson)."""

import dataclasses
from collections.abc import Mapping

from genux_server.model import Moments
from genux_server.stats.estimates import Estimate, arm_estimates, combine
from genux_server.stats.moments import comoment, mean_of, merge

__all__ = ["ByEpoch", "EstimatesByEpoch", "Pair", "is_binary", "pair_up", "standardised_arms"]

ByEpoch = Mapping[int, Mapping[str, Moments]]
EstimatesByEpoch = Mapping[int, Mapping[str, Estimate]]


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Control and one treatment, made comparable.

    Attributes:
        control, treatment: estimates over the epochs that both arms share; None where there is none.
        n_epochs: epochs used.
        dropped_epochs: epochs with an arm too small to estimate.
        raw_control, raw_treatment: moments of the only epoch, where there is one; else None.
        pooled_effect: the difference one would see without heed of epochs; None with one epoch.
    """

    control: Estimate | None
    treatment: Estimate | None
    n_epochs: int
    dropped_epochs: int = 0
    raw_control: Moments | None = None
    raw_treatment: Moments | None = None
    pooled_effect: float | None = None


def is_binary(moments: Moments) -> bool:
    """Whether `y` is 0 or 1 for every unit: then its comoment is n p (1 - p)."""
    if moments.n == 0 or (moments.components != ("y",) and set(moments.components) - {"y", "c"}):
        return False
    p = mean_of(moments, "y")
    if not 0.0 <= moments.minimum <= moments.maximum <= 1.0:
        return False
    return abs(comoment(moments, "y", "y") - moments.n * p * (1.0 - p)) <= 1e-6 * max(1.0, moments.n * p * (1.0 - p))


def _estimated(by_epoch: ByEpoch) -> dict[int, dict[str, Estimate]]:
    return {epoch: arm_estimates(arms) for epoch, arms in by_epoch.items()}


def _sizes(by_epoch: ByEpoch) -> dict[int, int]:
    """Units of all arms per epoch: the fixed weights, the same whichever arms are compared."""
    return {epoch: sum(m.n for m in arms.values()) for epoch, arms in by_epoch.items()}


def standardised_arms(by_epoch: ByEpoch, estimates: EstimatesByEpoch | None = None) -> dict[str, Estimate]:
    """Each arm over the epochs it was in, weighted by the units of all arms in the epoch.

    Args:
        by_epoch: moments, which give the weights.
        estimates: each arm's figure, where it is not the moments'.
    """
    estimates = estimates if estimates is not None else _estimated(by_epoch)
    sizes = _sizes(by_epoch)
    out: dict[str, Estimate] = {}
    for variant in dict.fromkeys(v for arms in estimates.values() for v in arms):
        epochs = [epoch for epoch, arms in estimates.items() if variant in arms]
        whole = sum(sizes[epoch] for epoch in epochs)
        out[variant] = combine([(sizes[epoch] / whole, estimates[epoch][variant]) for epoch in epochs])
    return out


def pair_up(by_epoch: ByEpoch, control: str, treatment: str, given: EstimatesByEpoch | None = None) -> Pair:
    """Control and treatment over the epochs in which both have an estimate.

    Args:
        by_epoch: moments, which give the weights.
        control: key of the control variant.
        treatment: key of the other.
        given: each arm's figure, where it is not the moments'.
    """
    estimates = given if given is not None else _estimated(by_epoch)
    sizes = _sizes(by_epoch)
    shared = [epoch for epoch, arms in estimates.items() if control in arms and treatment in arms]
    met = [epoch for epoch, arms in by_epoch.items() if any(arms[key].n for key in (control, treatment) if key in arms)]
    if not shared:
        return Pair(None, None, 0, len(met))
    whole = sum(sizes[epoch] for epoch in shared)
    c, t = (combine([(sizes[e] / whole, estimates[e][key]) for e in shared]) for key in (control, treatment))
    if len(shared) == 1:
        only = by_epoch[shared[0]]
        return Pair(c, t, 1, len(met) - 1, only[control], only[treatment])
    if given is not None:
        return Pair(c, t, len(shared), len(met) - len(shared))
    pooled = arm_estimates(
        {key: merge(by_epoch[epoch][key] for epoch in shared) for key in (control, treatment)}, adjust=False
    )
    effect = pooled[treatment].value - pooled[control].value if len(pooled) == 2 else None
    return Pair(c, t, len(shared), len(met) - len(shared), pooled_effect=effect)
