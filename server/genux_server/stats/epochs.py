"""Epochs: when shares changed, compare within each epoch and combine; never pool across.

If treatment's share rises while the metric drifts, the pooled difference mixes the drift into the effect (Simpson's
paradox). Within an epoch shares are constant, so each epoch's difference is unbiased, and so is any combination with
weights that do not look at the outcome.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import StratifiedTable

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_counts, finite, log_two_sided, refuse, two_sided, z_tail
from genux_server.stats.estimates import Estimate, combine
from genux_server.stats.means import welch
from genux_server.stats.proportions import restricted_by_difference

__all__ = ["EpochEffect", "EpochMeans", "EpochRates", "combine_means", "combine_rates"]


class EpochMeans(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One epoch of a mean: units, mean and sample variance of the units, per arm."""

    n_control: int
    mean_control: float
    variance_control: float
    n_treatment: int
    mean_treatment: float
    variance_treatment: float


class EpochRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One epoch of a proportion: successes and units, per arm."""

    x_control: int
    n_control: int
    x_treatment: int
    n_treatment: int


class EpochEffect(msgspec.Struct, frozen=True, kw_only=True):
    """The effect within epochs, combined, beside what pooling would have said.

    Attributes:
        n_epochs, n_epochs_used: epochs given, and those with enough units in both arms.
        weights: of the epochs used; they sum to 1 and depend on units only.
        effects: the difference within each epoch used.
        effect, se, ci_lower, ci_upper, statistic, df, p_value, log_p_value: of the combination.
        lift, lift_ci_lower, lift_ci_upper: relative to control, by Fieller; for means only.
        odds_ratio: Mantel and Haenszel's, for rates only.
        pooled_effect: what pooling over epochs would give: shown, never used.
        simpson: `reversed` when pooling changes the sign, `distorted` when the pooled effect lies outside the
            combined interval, else `none`.
        heterogeneity_p_value: that the effect is the same in all epochs (Cochran's Q; Breslow and Day for rates).
    """

    method: str
    level: float
    n_epochs: int
    n_epochs_used: int = 0
    weights: list[float] = msgspec.field(default_factory=list)
    effects: list[float] = msgspec.field(default_factory=list)
    effect: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    lift: float | None = None
    lift_ci_lower: float | None = None
    lift_ci_upper: float | None = None
    odds_ratio: float | None = None
    pooled_effect: float | None = None
    simpson: str = "none"
    heterogeneity_p_value: float | None = None
    not_computable: Message | None = None


def combine_means(epochs: Sequence[EpochMeans], *, alpha: float = 0.05) -> EpochEffect:
    """Combines the epochs' mean differences, each weighted by its share of all units.

    The combination estimates the effect on the people who came, as they came. Inverse-variance weights would look at
    the outcome (a rare event's variance follows its mean) and bias the result, so they are not used.

    Args:
        epochs: per epoch n, mean and sample variance (divisor n - 1) in either arm. Epochs with fewer than 2 units in
            an arm are left out and counted.
        alpha: one minus the level of the intervals.

    Returns:
        The combined effect with Welch-Satterthwaite degrees of freedom, lift by Fieller, and the Simpson check.
        Coded `too_few_units` without a usable epoch, `zero_variance` when nothing varies.

    References:
        Deng, Xu, Kohavi and Walker (2013), section on stratification, for fixed weights.
    """
    check_alpha(alpha)
    for e in epochs:
        if min(e.n_control, e.n_treatment) < 0 or min(e.variance_control, e.variance_treatment) < 0:
            raise ValueError("counts and variances must not be negative")
    used = [e for e in epochs if e.n_control >= 2 and e.n_treatment >= 2]
    known = EpochEffect(method="epoch_means", level=1 - alpha, n_epochs=len(epochs), n_epochs_used=len(used))
    if not used:
        return msgspec.structs.replace(known, not_computable=_no_epoch())
    units = [e.n_control + e.n_treatment for e in used]
    weights = [n / sum(units) for n in units]
    controls = [Estimate(e.n_control, e.mean_control, e.variance_control / e.n_control, e.n_control - 1) for e in used]
    treatments = [
        Estimate(e.n_treatment, e.mean_treatment, e.variance_treatment / e.n_treatment, e.n_treatment - 1) for e in used
    ]
    result = welch(
        combine(list(zip(weights, controls, strict=True))), combine(list(zip(weights, treatments, strict=True))), alpha
    )
    effects = [t.value - c.value for c, t in zip(controls, treatments, strict=True)]
    n_c, n_t = sum(e.n_control for e in used), sum(e.n_treatment for e in used)
    pooled = (
        sum(e.n_treatment * e.mean_treatment for e in used) / n_t
        - sum(e.n_control * e.mean_control for e in used) / n_c
    )
    known = msgspec.structs.replace(known, weights=weights, effects=effects, pooled_effect=pooled)
    if result is None:
        reason = refuse("zero_variance", "The values do not vary, so there is nothing to judge the effect by.")
        effect = math.fsum(w * d for w, d in zip(weights, effects, strict=True))
        return msgspec.structs.replace(known, effect=effect, not_computable=reason)
    variances = [c.variance + t.variance for c, t in zip(controls, treatments, strict=True)]
    return msgspec.structs.replace(
        known,
        effect=result.effect,
        se=result.se,
        ci_lower=result.lower,
        ci_upper=result.upper,
        statistic=result.statistic,
        df=result.df,
        p_value=result.p_value,
        log_p_value=finite(log_two_sided(result.statistic, result.df)),
        lift=result.lift,
        lift_ci_lower=result.lift_lower,
        lift_ci_upper=result.lift_upper,
        simpson=_simpson(pooled, result.effect, result.lower, result.upper),
        heterogeneity_p_value=_cochran(effects, variances),
    )


def combine_rates(epochs: Sequence[EpochRates], *, alpha: float = 0.05) -> EpochEffect:
    """Combines the epochs' risk differences by Mantel-Haenszel weights and tests them by Cochran-Mantel-Haenszel.

    The interval is the stratified score interval of Miettinen and Nurminen with the same weights n_t n_c / n. At a
    difference of 0 its statistic is the (uncorrected) CMH statistic itself, so test and interval cannot disagree.

    Args:
        epochs: per epoch successes and units in either arm. Epochs with an empty arm are left out and counted.
        alpha: one minus the level of the interval.

    Returns:
        The common difference, its test and interval, the Mantel-Haenszel odds ratio, and the Simpson check. Coded
        `too_few_units` without a usable epoch, `zero_variance` when no epoch has both successes and failures.

    References:
        Cochran (1954); Mantel and Haenszel (1959); Miettinen and Nurminen (1985). CMH, odds ratio and Breslow-Day by
        statsmodels `StratifiedTable`.
    """
    check_alpha(alpha)
    for e in epochs:
        check_counts(e.x_control, max(e.n_control, 1), "control")
        check_counts(e.x_treatment, max(e.n_treatment, 1), "treatment")
    used = [e for e in epochs if e.n_control > 0 and e.n_treatment > 0]
    known = EpochEffect(method="cmh", level=1 - alpha, n_epochs=len(epochs), n_epochs_used=len(used))
    if not used:
        return msgspec.structs.replace(known, not_computable=_no_epoch())
    raw = [e.n_control * e.n_treatment / (e.n_control + e.n_treatment) for e in used]
    weights = [w / math.fsum(raw) for w in raw]
    effects = [e.x_treatment / e.n_treatment - e.x_control / e.n_control for e in used]
    effect = math.fsum(w * d for w, d in zip(weights, effects, strict=True))
    pooled = sum(e.x_treatment for e in used) / sum(e.n_treatment for e in used) - sum(e.x_control for e in used) / sum(
        e.n_control for e in used
    )
    known = msgspec.structs.replace(known, weights=weights, effects=effects, effect=effect, pooled_effect=pooled)
    spread = math.sqrt(_score_variance(used, weights, 0.0))
    if spread == 0:
        reason = refuse("zero_variance", "No epoch has both successes and failures, so there is nothing to judge by.")
        return msgspec.structs.replace(known, not_computable=reason)
    tables = StratifiedTable(
        [
            np.array(
                [[e.x_treatment, e.n_treatment - e.x_treatment], [e.x_control, e.n_control - e.x_control]], dtype=float
            )
            for e in used
            if 0 < e.x_treatment + e.x_control < e.n_treatment + e.n_control
        ]
    )
    z = math.copysign(math.sqrt(float(tables.test_null_odds(correction=False).statistic)), effect)
    critical = z_tail(alpha / 2)
    lower, upper = (_bound(used, weights, effect, sign * critical) for sign in (1, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = float(tables.oddsratio_pooled)
        breslow_day = float(tables.test_equal_odds().pvalue) if len(used) > 1 and 0 < odds < math.inf else math.nan
    return msgspec.structs.replace(
        known,
        se=spread,
        ci_lower=lower,
        ci_upper=upper,
        statistic=z,
        p_value=two_sided(z),
        log_p_value=log_two_sided(z),
        odds_ratio=finite(odds),
        simpson=_simpson(pooled, effect, lower, upper),
        heterogeneity_p_value=finite(breslow_day),
    )


def _score_variance(epochs: Sequence[EpochRates], weights: Sequence[float], difference: float) -> float:
    total = 0.0
    for e, w in zip(epochs, weights, strict=True):
        share_t, share_c = restricted_by_difference(
            e.x_treatment / e.n_treatment, e.n_treatment, e.x_control / e.n_control, e.n_control, difference
        )
        n = e.n_control + e.n_treatment
        inflation = n / (n - 1)
        total += w * w * inflation * (share_t * (1 - share_t) / e.n_treatment + share_c * (1 - share_c) / e.n_control)
    return total


def _bound(epochs: Sequence[EpochRates], weights: Sequence[float], effect: float, critical: float) -> float:
    """The common difference at which the stratified score statistic equals `critical`."""

    def excess(difference: float) -> float:
        return effect - difference - critical * math.sqrt(_score_variance(epochs, weights, difference))

    outer = -1.0 if critical > 0 else 1.0
    if excess(outer) * outer >= 0:
        return outer
    near = effect - math.copysign(1e-13, critical)
    if excess(near) * outer <= 0:
        return effect
    return float(optimize.brentq(excess, outer, near, xtol=1e-15))


def _cochran(effects: Sequence[float], variances: Sequence[float]) -> float | None:
    if len(effects) < 2 or min(variances) <= 0:
        return None
    inverse = [1 / v for v in variances]
    centre = math.fsum(i * d for i, d in zip(inverse, effects, strict=True)) / math.fsum(inverse)
    q = math.fsum(i * (d - centre) ** 2 for i, d in zip(inverse, effects, strict=True))
    return finite(float(stats.chi2.sf(q, len(effects) - 1)))


def _simpson(pooled: float, effect: float, lower: float, upper: float) -> str:
    if pooled * effect < 0:
        return "reversed"
    return "none" if lower <= pooled <= upper else "distorted"


def _no_epoch() -> Message:
    return refuse("too_few_units", "No epoch has enough units in both arms.")
