"""The core's sequential methods and split tests over plain named numbers."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from genux_server.model import Message
from genux_server.stats.common import check_alpha, refuse
from genux_server.stats.groupseq import (
    boundaries,
    classical_boundaries,
    crossing_probabilities,
    repeated_p_value,
    spent,
)
from genux_server.stats.sequential import (
    anytime_p_value,
    multiplier,
    one_sided_multiplier,
    tuning,
    tuning_approximate,
)
from genux_server.stats.srm import srm_chi_square, srm_sequential

__all__ = [
    "AlwaysValid",
    "Boundaries",
    "Crossing",
    "Multiplier",
    "RepeatedP",
    "Split",
    "classical_bounds",
    "confidence_sequence",
    "group_sequential_bounds",
    "group_sequential_crossing",
    "group_sequential_p_value",
    "sequence_multiplier",
    "split_anytime",
    "split_once",
]

_MOST_LOOKS = 200


class Multiplier(msgspec.Struct, frozen=True, kw_only=True):
    """How many standard errors a confidence sequence reaches, and the mixture variance behind it."""

    multiplier: float
    rho2: float


class AlwaysValid(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with an interval and a p-value that hold at every look."""

    level: float
    effect: float
    multiplier: float
    ci_lower: float
    ci_upper: float
    p_value: float
    log_p_value: float


class Boundaries(msgspec.Struct, frozen=True, kw_only=True):
    """Critical values in standard errors, and the error spent on each side by each look."""

    fractions: list[float]
    bounds: list[float]
    spent_per_side: list[float]


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """Chance of first crossing at each look, by side; in all; and the expected fraction of the information used."""

    upper: list[float]
    lower: list[float]
    total: float
    expected_fraction: float


class RepeatedP(msgspec.Struct, frozen=True, kw_only=True):
    """The p-value of the last look that allows for all looks before it."""

    p_value: float
    bound: float
    crossed: bool


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence against the planned split; `statistic` is chi-square, or the logarithm of the Bayes factor."""

    method: str
    p_value: float | None = None
    statistic: float | None = None
    df: int | None = None
    not_computable: Message | None = None


def sequence_multiplier(
    n_units: float,
    planned_units: float,
    *,
    alpha: float = 0.05,
    sides: Literal[1, 2] = 2,
    tuned: Literal["exact", "approximate"] = "exact",
) -> Multiplier:
    """The multiplier of the standard error of an asymptotic confidence sequence.

    Args:
        n_units: units of both arms so far, over 0.
        planned_units: units of both arms at which the sequence is narrowest.
        alpha: error over all looks; a one-sided bound is tuned at 2 alpha.
        sides: 1 or 2.
        tuned: `exact` by Lambert's W, or the closed form GrowthBook and Eppo use.
    """
    check_alpha(alpha)
    if n_units <= 0 or planned_units <= 0:
        raise ValueError("units must be over 0")
    rho2 = (tuning if tuned == "exact" else tuning_approximate)(planned_units, alpha * (3 - sides))
    reach = multiplier(n_units, rho2, alpha) if sides == 2 else one_sided_multiplier(n_units, rho2, alpha)
    return Multiplier(multiplier=reach, rho2=rho2)


def confidence_sequence(
    effect: float, se: float, n_units: float, planned_units: float, *, alpha: float = 0.05
) -> AlwaysValid:
    """An estimated effect with an interval that holds at every look, on the absolute scale.

    Args:
        effect: treatment minus control.
        se: its ordinary standard error, over 0.
        n_units: units of both arms so far.
        planned_units: units of both arms at which the sequence is narrowest; fixed before the data.
        alpha: error over all looks together.
    """
    if not (math.isfinite(effect) and 0 < se < math.inf):
        raise ValueError("the effect must be finite and its standard error over 0")
    reach = sequence_multiplier(n_units, planned_units, alpha=alpha)
    scaled = n_units * reach.rho2
    z = effect / se
    return AlwaysValid(
        level=1 - alpha,
        effect=effect,
        multiplier=reach.multiplier,
        ci_lower=effect - reach.multiplier * se,
        ci_upper=effect + reach.multiplier * se,
        p_value=anytime_p_value(z, n_units, reach.rho2),
        log_p_value=min(0.0, 0.5 * math.log1p(scaled) - 0.5 * z * z * scaled / (scaled + 1)),
    )


def group_sequential_bounds(
    fractions: Sequence[float],
    *,
    alpha: float = 0.05,
    spending: Literal["obrien_fleming", "pocock", "power"] = "obrien_fleming",
    rho: float = 2.0,
    sides: Literal[1, 2] = 2,
) -> Boundaries:
    """Alpha-spending boundaries at any information fractions, by recursive integration.

    Args:
        fractions: rising information fractions of the looks, over 0.
        alpha: error over all looks; a two-sided test spends half on each side.
        spending: Lan-DeMets family.
        rho: exponent of the power family.
        sides: 1 or 2.
    """
    check_alpha(alpha)
    _check_looks(fractions)
    bounds = boundaries(tuple(fractions), alpha, spending, rho, sides)
    return Boundaries(
        fractions=list(fractions),
        bounds=list(bounds),
        spent_per_side=[spent(t, alpha / sides, spending, rho) for t in fractions],
    )


def classical_bounds(
    looks: int, *, family: Literal["obrien_fleming", "pocock"] = "obrien_fleming", alpha: float = 0.05
) -> Boundaries:
    """The original two-sided boundaries at equally spaced looks: Pocock's constant, or O'Brien and Fleming's / sqrt t.

    Args:
        looks: how many, 1 to 60.
        family: shape.
        alpha: two-sided error over all looks.
    """
    check_alpha(alpha)
    if not 1 <= looks <= 60:
        raise ValueError("looks must lie between 1 and 60")
    fractions = [(k + 1) / looks for k in range(looks)]
    bounds = classical_boundaries(looks, family, alpha)
    crossed = crossing_probabilities(fractions, bounds)
    spent_so_far = [math.fsum(up for up, _ in crossed[: k + 1]) for k in range(looks)]
    return Boundaries(fractions=fractions, bounds=list(bounds), spent_per_side=spent_so_far)


def group_sequential_crossing(
    fractions: Sequence[float], bounds: Sequence[float], *, drift: float = 0.0, sides: Literal[1, 2] = 2
) -> Crossing:
    """Chance of crossing given boundaries when the expected z at fraction 1 is `drift`: error at 0, power elsewhere.

    Args:
        fractions: rising information fractions.
        bounds: critical values in standard errors, one per look.
        drift: expected z at fraction 1.
        sides: 1 or 2.
    """
    _check_looks(fractions)
    if len(bounds) != len(fractions):
        raise ValueError("there must be as many bounds as fractions")
    crossed = crossing_probabilities(fractions, bounds, drift, sides)
    total = math.fsum(up + down for up, down in crossed)
    expected = math.fsum((up + down) * t for (up, down), t in zip(crossed, fractions, strict=True))
    return Crossing(
        upper=[up for up, _ in crossed],
        lower=[down for _, down in crossed],
        total=total,
        expected_fraction=expected + max(0.0, 1 - total) * fractions[-1],
    )


def group_sequential_p_value(
    z: float,
    fractions: Sequence[float],
    *,
    alpha: float = 0.05,
    spending: Literal["obrien_fleming", "pocock", "power"] = "obrien_fleming",
    rho: float = 2.0,
) -> RepeatedP:
    """The repeated p-value at the last of these looks: under alpha exactly when its boundary is crossed.

    Args:
        z: statistic at the last look.
        fractions: information fractions of the looks so far.
        alpha: the level that decides.
        spending: Lan-DeMets family.
        rho: exponent of the power family.
    """
    check_alpha(alpha)
    _check_looks(fractions)
    at = tuple(fractions)
    bound = boundaries(at, alpha, spending, rho)[-1]
    return RepeatedP(p_value=repeated_p_value(z, at, alpha, spending, rho), bound=bound, crossed=abs(z) > bound)


def split_once(counts: Sequence[int], shares: Sequence[float]) -> Split:
    """Sample ratio mismatch by Pearson's chi-square, for one look.

    Args:
        counts: units per arm.
        shares: planned shares in the same order; arms with share 0 count neither units nor degrees of freedom.
    """
    _check_split(counts, shares)
    result = srm_chi_square([(counts, shares)])
    if result is None:
        return Split(method="srm_chi_square", not_computable=_no_units())
    return Split(method="srm_chi_square", p_value=result.p_value, statistic=result.statistic, df=result.df)


def split_anytime(counts: Sequence[int], shares: Sequence[float], *, concentration: float = 1000.0) -> Split:
    """Sample ratio mismatch at every look: the sequential multinomial test of Lindon and Malek.

    Args:
        counts: units per arm so far.
        shares: planned shares in the same order.
        concentration: of the Dirichlet alternative around the plan; larger looks for smaller mismatches.
    """
    _check_split(counts, shares)
    if not 0 < concentration <= 1e9:
        raise ValueError("the concentration must lie over 0 and up to 1e9")
    result = srm_sequential([(counts, shares)], concentration)
    if result is None:
        return Split(method="srm_sequential", not_computable=_no_units())
    return Split(method="srm_sequential", p_value=result.p_value, statistic=result.statistic)


def _check_looks(fractions: Sequence[float]) -> None:
    if not 1 <= len(fractions) <= _MOST_LOOKS:
        raise ValueError(f"there must be 1 to {_MOST_LOOKS} looks")


def _check_split(counts: Sequence[int], shares: Sequence[float]) -> None:
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError("there must be as many shares as counts, and at least two")
    if min(counts) < 0 or min(shares) < 0:
        raise ValueError("counts and shares must not be negative")


def _no_units() -> Message:
    return refuse("too_few_units", "No arm has units yet.")
