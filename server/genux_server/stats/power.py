"""The chance to find an effect: for every kind of metric, at one look and sequentially.

Power is that of the test which will decide, on the absolute scale; a lift is the same effect divided by the baseline,
since the lift's interval excludes 0 exactly when the effect's does.
"""

import math
from typing import Literal

import msgspec
from scipy import special, stats

from genux_server.stats.common import check_alpha, check_share, z_tail
from genux_server.stats.groupseq import boundaries, crossing_probabilities
from genux_server.stats.sequential import multiplier, tuning

__all__ = ["Baseline", "Design", "Power", "achieved_power", "method_of", "unit_variances"]

_MOST_LOOKS = 60
"""The integration's cost grows with the square of the looks and more."""
_LARGE_DF = 1e5
"""From here on the noncentral t is the normal to six digits, and slower and less stable to compute."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a metric before the experiment.

    Attributes:
        kind: `proportion` (pooled z), `mean` (Welch's t), `ratio` (delta method, normal), `count` (score test).
        mean: control's share, mean, ratio, or events per unit.
        sd: standard deviation per unit: of the values (`mean`), or of (N - r D) / mean D (`ratio`). Not used otherwise.
        dispersion: variance over mean of the events per unit, for `count`; 1 is Poisson.
        sd_grows: whether treatment's standard deviation grows with its mean (`mean` and `ratio`), as money does.
    """

    kind: Literal["proportion", "mean", "ratio", "count"] = "proportion"
    mean: float
    sd: float | None = None
    dispersion: float = 1.0
    sd_grows: bool = False


class Design(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the data is looked at.

    Attributes:
        kind: `fixed` (one look at the end), `group_sequential` (alpha spending), `confidence_sequence` (any look; the
            sequence is tuned to the planned end).
        looks: equally spaced, the last at the end. For the sequence: how often one looks, which only adds power.
        spending: `obrien_fleming`, `pocock` or `power`, with exponent `rho`.
    """

    kind: Literal["fixed", "group_sequential", "confidence_sequence"] = "fixed"
    looks: int = 1
    spending: Literal["obrien_fleming", "pocock", "power"] = "obrien_fleming"
    rho: float = 2.0


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """Chance to find an effect; `expected_share_of_units` is the mean of units used, over the planned ones."""

    method: str
    n_units: float
    effect: float
    power: float
    expected_share_of_units: float = 1.0


def achieved_power(
    baseline: Baseline,
    effect: float,
    n_units: float,
    *,
    share_treatment: float = 0.5,
    design: Design | None = None,
    alpha: float = 0.05,
) -> Power:
    """Chance that the two-sided test rejects when the true effect is `effect`.

    Proportions and counts: Phi((|d| - z se_0) / se_1), with the null error from the pooled figure and the other from
    each arm's own. Means: noncentral t with Satterthwaite degrees of freedom. Sequential designs: recursive integration
    over the looks with drift |d| / se_1 and boundaries scaled by se_0 / se_1.

    Args:
        baseline: the metric in control.
        effect: treatment minus control, on the metric's scale.
        n_units: matured units of the two arms together at the end.
        share_treatment: of these, 0 to 1.
        design: how the data is looked at; one look when not given.
        alpha: two-sided error over all looks.

    Raises:
        ValueError: an impossible baseline, effect or share.

    References:
        Fleiss, Levin and Paik (2003), chapter 4; Jennison and Turnbull (2000), chapter 2 and 19.
    """
    check_alpha(alpha)
    check_share("share_treatment", share_treatment)
    if not n_units > 0:
        raise ValueError("n_units must be over 0")
    plan = design or Design()
    null, own_c, own_t = unit_variances(baseline, effect, share_treatment)
    n_c, n_t = n_units * (1 - share_treatment), n_units * share_treatment
    part_c, part_t = own_c / n_c, own_t / n_t
    se_1 = math.sqrt(part_c + part_t)
    se_0 = math.sqrt(null / n_c + null / n_t) if null is not None else se_1
    if se_1 == 0:
        raise ValueError("the baseline has no variance, so every effect is found at once")
    drift, scale = abs(effect) / se_1, se_0 / se_1
    if plan.kind != "fixed":
        found, share = _sequential(plan, drift, scale, n_units, alpha)
    else:
        df = (part_c + part_t) ** 2 / (part_c**2 / (n_c - 1) + part_t**2 / (n_t - 1)) if min(n_c, n_t) > 1 else 0.0
        exact_t = baseline.kind == "mean" and df < _LARGE_DF
        found, share = _fixed_t(drift, df, alpha) if exact_t else _fixed_z(drift, scale, alpha), 1.0
    return Power(
        method=method_of(baseline, plan), n_units=n_units, effect=effect, power=found, expected_share_of_units=share
    )


def method_of(baseline: Baseline, plan: Design) -> str:
    """Code of the test whose power is meant."""
    return baseline.kind if plan.kind == "fixed" else f"{baseline.kind}_{plan.kind}"


def unit_variances(baseline: Baseline, effect: float, share_treatment: float) -> tuple[float | None, float, float]:
    """Variance per unit under the null (None where the test does not use one), in control and in treatment."""
    mean, other = baseline.mean, baseline.mean + effect
    pooled = mean + share_treatment * effect
    if baseline.kind == "proportion":
        if not (0 < mean < 1 and -1e-12 <= other <= 1 + 1e-12):
            raise ValueError(f"a proportion must stay between 0 and 1 ({mean:g} and {other:g})")
        return pooled * (1 - pooled), mean * (1 - mean), max(0.0, other * (1 - other))
    if baseline.kind == "count":
        if not (mean > 0 and other >= -1e-12 and baseline.dispersion > 0):
            raise ValueError("rates must not be negative, control's rate and the dispersion must be over 0")
        return baseline.dispersion * pooled, baseline.dispersion * mean, baseline.dispersion * max(0.0, other)
    if baseline.sd is None or not baseline.sd > 0:
        raise ValueError(f"a {baseline.kind} needs its standard deviation `sd`, over 0")
    growth = abs(other / mean) if baseline.sd_grows and mean else 1.0
    return None, baseline.sd**2, (baseline.sd * growth) ** 2


def _fixed_z(drift: float, scale: float, alpha: float) -> float:
    bound = z_tail(alpha / 2) * scale
    return float(special.ndtr(drift - bound) + special.ndtr(-drift - bound))


def _fixed_t(drift: float, df: float, alpha: float) -> float:
    if df <= 0:
        return 0.0
    critical = float(stats.t.isf(alpha / 2, df))
    return float(stats.nct.sf(critical, df, drift) + stats.nct.sf(critical, df, -drift))


def _sequential(plan: Design, drift: float, scale: float, n_units: float, alpha: float) -> tuple[float, float]:
    """Power, and the expected share of the planned units used."""
    if not 1 <= plan.looks <= _MOST_LOOKS:
        raise ValueError(f"looks must lie between 1 and {_MOST_LOOKS}; more hardly change the power")
    fractions = tuple((k + 1) / plan.looks for k in range(plan.looks))
    if plan.kind == "group_sequential":
        bounds = boundaries(fractions, alpha, plan.spending, plan.rho)
    else:
        rho2 = tuning(n_units, alpha)
        bounds = tuple(multiplier(n_units * t, rho2, alpha) for t in fractions)
    stops = [up + down for up, down in crossing_probabilities(fractions, [b * scale for b in bounds], drift)]
    found = math.fsum(stops)
    # Without a crossing the experiment runs to its end.
    expected = math.fsum(p * t for p, t in zip(stops, fractions, strict=True)) + max(0.0, 1 - found)
    return min(1.0, found), min(1.0, expected)
