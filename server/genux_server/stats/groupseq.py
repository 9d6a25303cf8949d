"""Group-sequential tests: alpha spending at unequal information, boundaries by recursive integration.

References:
    Lan and DeMets (1983), Biometrika 70; Armitage, McPherson and Rowe (1969), JRSS A 132, for the recursion;
    Jennison and Turnbull (2000), Group Sequential Methods, chapters 7 and 19; Kim and DeMets (1987), Biometrika 74,
    for the power family.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from genux_server.stats.contrast import Contrast
from genux_server.stats.estimates import Estimate
from genux_server.stats.means import standardised_contrast

__all__ = [
    "Spending",
    "boundaries",
    "classical_boundaries",
    "crossing_probabilities",
    "planned",
    "repeated_p_value",
    "spent",
]

Spending = Literal["obrien_fleming", "pocock", "power"]

_NEVER = 40.0
"""A boundary, in standard errors, that stands for "no alpha to spend yet"."""
_REACH = 9.0
"""Standard deviations beyond which the density counts for nothing (1e-19)."""

Floats = npt.NDArray[np.float64]


def spent(fraction: float, alpha: float, spending: Spending = "obrien_fleming", rho: float = 2.0) -> float:
    """Error rate spent by the time a fraction of the information is in, on one side.

    O'Brien-Fleming: 2 (1 - Phi(z_{alpha/2} / sqrt t)); Pocock: alpha ln(1 + (e - 1) t); power: alpha t^rho.

    Args:
        fraction: information fraction, over 0; from 1 on everything is spent.
        alpha: error rate of this side (half the level of a two-sided test).
        spending: family.
        rho: exponent of the power family.
    """
    if fraction >= 1.0:
        return alpha
    if spending == "obrien_fleming":
        return 2.0 * float(special.ndtr(special.ndtri(alpha / 2.0) / math.sqrt(fraction)))
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1.0) * fraction)
    return float(alpha * fraction**rho)


@dataclasses.dataclass(frozen=True, slots=True)
class _Density:
    """Sub-density of the score process at a look, over paths that have not crossed before."""

    nodes: Floats
    weights: Floats
    fraction: float


def _first() -> _Density:
    return _Density(np.zeros(1), np.ones(1), 0.0)


def _crossing(before: _Density, fraction: float, bound: float, drift: float, sides: int) -> tuple[float, float]:
    """Probabilities of crossing the upper and lower boundary at this look."""
    step = fraction - before.fraction
    at = bound * math.sqrt(fraction)
    upper = float(before.weights @ special.ndtr((before.nodes + drift * step - at) / math.sqrt(step)))
    if sides == 1:
        return upper, 0.0
    return upper, float(before.weights @ special.ndtr((-at - before.nodes - drift * step) / math.sqrt(step)))


def _advance(before: _Density, fraction: float, bound: float, drift: float, sides: int, next_step: float) -> _Density:
    """Carry the density of paths still between the boundaries to this look (Gauss-Legendre)."""
    step = fraction - before.fraction
    reach = _REACH * math.sqrt(fraction)
    at, middle = bound * math.sqrt(fraction), drift * fraction
    low = middle - reach if sides == 1 else max(-at, middle - reach)
    high = min(at, middle + reach)
    # Both this look's kernel and the next one's must be resolved.
    narrow = math.sqrt(min(step, next_step))
    # In steps of 32, so that searches over boundaries meet the same rules again.
    points, weights = _legendre(32 * min(38, 2 + int(5.0 * (high - low) / narrow / 32)))
    nodes = 0.5 * (high - low) * points + 0.5 * (high + low)
    z = (nodes[:, None] - before.nodes[None, :] - drift * step) / math.sqrt(step)
    density = np.exp(-0.5 * z * z) @ before.weights / math.sqrt(2.0 * math.pi * step)
    return _Density(nodes, 0.5 * (high - low) * weights * density, fraction)


@functools.lru_cache(maxsize=64)
def _legendre(n: int) -> tuple[Floats, Floats]:
    points, weights = np.polynomial.legendre.leggauss(n)
    return points, weights


def _steps_after(fractions: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(fractions)] + [math.inf]


def _checked(fractions: Sequence[float]) -> None:
    if not fractions or fractions[0] <= 0.0 or any(b <= a for a, b in itertools.pairwise(fractions)):
        raise ValueError("information fractions must be positive and rise")


@functools.lru_cache(maxsize=4096)
def boundaries(
    fractions: tuple[float, ...],
    alpha: float = 0.05,
    spending: Spending = "obrien_fleming",
    rho: float = 2.0,
    sides: int = 2,
) -> tuple[float, ...]:
    """Critical values, in standard errors, at looks with the given information fractions.

    Each look spends what the spending function allows beyond the looks before. At fraction 1 or more all is spent.

    Args:
        fractions: rising information fractions of the looks so far; later looks need not be known.
        alpha: level of the test over all looks; a two-sided test spends half on each side.
        spending: spending function.
        rho: exponent of the power family.
        sides: 1 or 2.

    Raises:
        ValueError: fractions not positive and rising.
    """
    _checked(fractions)
    per_side = alpha / sides
    before, already, bounds = _first(), 0.0, []
    for fraction, next_step in zip(fractions, _steps_after(fractions), strict=True):
        allowed = spent(fraction, per_side, spending, rho) - already
        bound = _bound_for(before, fraction, allowed)
        bounds.append(bound)
        already += max(allowed, 0.0)
        if math.isfinite(next_step):
            before = _advance(before, fraction, bound, 0.0, sides, next_step)
    return tuple(bounds)


def _bound_for(before: _Density, fraction: float, allowed: float) -> float:
    if before.fraction == 0.0:
        return _NEVER if allowed <= 0.0 else min(_NEVER, float(-special.ndtri(allowed)))
    # Quadrature is good to about 1e-14: less than that cannot be told from nothing.
    if allowed < 1e-13:
        return _NEVER

    def excess(bound: float) -> float:
        return _crossing(before, fraction, bound, 0.0, 1)[0] - allowed

    if excess(0.0) <= 0.0:
        return 0.0
    root: float = optimize.brentq(excess, 0.0, _NEVER, xtol=1e-11)
    return root


def crossing_probabilities(
    fractions: Sequence[float], bounds: Sequence[float], drift: float = 0.0, sides: int = 2
) -> list[tuple[float, float]]:
    """Probability of first crossing the upper and the lower boundary at each look.

    Args:
        fractions: rising information fractions.
        bounds: critical values in standard errors, one per look.
        drift: expected z at fraction 1.
        sides: 1 or 2.
    """
    _checked(fractions)
    before, out = _first(), []
    for fraction, bound, next_step in zip(fractions, bounds, _steps_after(fractions), strict=True):
        out.append(_crossing(before, fraction, bound, drift, sides))
        if math.isfinite(next_step):
            before = _advance(before, fraction, bound, drift, sides, next_step)
    return out


def classical_boundaries(
    looks: int, family: Literal["obrien_fleming", "pocock"], alpha: float = 0.05
) -> tuple[float, ...]:
    """The original two-sided boundaries for equally spaced looks: constant (Pocock), or constant / sqrt t."""
    fractions = [(k + 1) / looks for k in range(looks)]
    shape = [1.0 if family == "pocock" else 1.0 / math.sqrt(t) for t in fractions]

    def excess(constant: float) -> float:
        crossing = crossing_probabilities(fractions, [constant * s for s in shape])
        return math.fsum(up + down for up, down in crossing) - alpha

    constant: float = optimize.brentq(excess, 0.5, 8.0, xtol=1e-10)
    return tuple(constant * s for s in shape)


def repeated_p_value(
    z: float, fractions: tuple[float, ...], alpha: float, spending: Spending = "obrien_fleming", rho: float = 2.0
) -> float:
    """The smallest two-sided level at which the last of these looks would have crossed (Jennison and Turnbull, ch. 9).

    It is under `alpha` exactly when |z| is over the boundary at `alpha`; 1 where no level up to 0.999 would do.

    Args:
        z: statistic at the last look.
        fractions: information fractions of the looks so far.
        alpha: the level that decides, matched exactly.
        spending: spending function.
        rho: exponent of the power family.
    """
    size = abs(z)

    def beyond(log_level: float) -> float:
        return size - boundaries(fractions, math.exp(log_level), spending, rho)[-1]

    at_alpha = math.log(alpha)
    crossed = beyond(at_alpha) > 0.0
    low, high = (-690.0, at_alpha) if crossed else (at_alpha, math.log(0.999))
    if beyond(low) >= 0.0:
        return math.exp(low)
    if beyond(high) <= 0.0:
        return 1.0
    p_value = math.exp(optimize.brentq(beyond, low, high, xtol=1e-7, rtol=1e-9))
    return min(p_value, math.nextafter(alpha, 0.0)) if crossed else max(p_value, alpha)


def planned(
    control: Estimate,
    treatment: Estimate,
    fractions: tuple[float, ...],
    alpha: float = 0.05,
    spending: Spending = "obrien_fleming",
) -> Contrast | None:
    """Treatment against control at the last of the planned looks, at the boundary's critical value.

    The interval is a repeated confidence interval: all looks together hold with the level.

    Returns:
        The contrast, or None when neither arm varies.
    """
    se = math.sqrt(control.variance + treatment.variance)
    if se == 0.0:
        return None
    critical = boundaries(fractions, alpha, spending)[-1]
    p_value = repeated_p_value((treatment.value - control.value) / se, fractions, alpha, spending)
    return standardised_contrast(control, treatment, critical, p_value, alpha)
