"""Variance reduction and outliers: regression on covariates, post-stratification, one cap for both arms.

Regression needs one row per unit. CUPED, its one-covariate case, works from moments and stands with the estimates.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import statsmodels.api as sm

from genux_server.model import Message
from genux_server.stats.common import Difference, array, check_alpha, make_difference, refuse

__all__ = ["Capped", "Stratum", "cap_outliers", "post_stratify", "regression_adjusted"]


class Stratum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stratum: units, mean and sample variance per arm, and its share of the population when that is known."""

    n_control: int
    mean_control: float
    variance_control: float
    n_treatment: int
    mean_treatment: float
    variance_treatment: float
    share: float | None = None


class Capped(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms after one cap.

    Attributes:
        cap: the value above which everything counts as the cap; None when there is nothing to cap.
        capped_control, capped_treatment: units cut.
        share_capped: of all units, 0 to 1.
        mean_control, variance_control: after the cap, variance with divisor n - 1; likewise treatment.
        mean_control_raw, mean_treatment_raw: before it.
    """

    cap: float | None
    n_control: int
    n_treatment: int
    capped_control: int = 0
    capped_treatment: int = 0
    share_capped: float = 0.0
    mean_control: float | None = None
    variance_control: float | None = None
    mean_treatment: float | None = None
    variance_treatment: float | None = None
    mean_control_raw: float | None = None
    mean_treatment_raw: float | None = None
    not_computable: Message | None = None


def regression_adjusted(
    outcome: Sequence[float],
    treated: Sequence[bool],
    covariates: Sequence[Sequence[float]] = (),
    *,
    hc: Literal["HC2", "HC3"] = "HC2",
    alpha: float = 0.05,
) -> Difference:
    """The average effect by regression with treatment-covariate interactions, never less precise in large samples.

    y on t, x - xbar and t (x - xbar); the coefficient of t is the effect. The sandwich error is right without a linear
    model, equal variances or equal shares.

    Args:
        outcome: `(n_units,)` values.
        treated: `(n_units,)` True in treatment.
        covariates: `(n_covariates, n_units)` pre-exposure values, one list per covariate. Constant ones are refused.
        hc: HC2 (unbiased under equal variances) or HC3 (for few units or high leverage).
        alpha: one minus the level of the interval.

    Returns:
        The effect with t on n - k degrees of freedom. Coded `too_few_units` when an arm has fewer units than
        coefficients of its own line plus one, `collinear` when covariates explain each other or treatment.

    Raises:
        ValueError: lengths differ or values are not finite.

    References:
        Lin (2013), Agnostic notes on regression adjustments to experimental data, Annals of Applied Statistics 7;
        MacKinnon and White (1985). Fitted by statsmodels `OLS`.
    """
    check_alpha(alpha)
    y = array(outcome, "outcome")
    t = np.asarray(treated, dtype=bool)
    x = [array(column, "covariates") for column in covariates]
    if t.shape != y.shape or any(column.shape != y.shape for column in x):
        raise ValueError("outcome, treated and every covariate must have the same length")
    n_t = int(t.sum())
    n_c = y.size - n_t
    empty = Difference(
        method=f"regression_{hc.lower()}",
        level=1 - alpha,
        n_treatment=n_t,
        n_control=n_c,
        assumptions="Covariates were measured before exposure; units are independent.",
    )
    if min(n_t, n_c) < len(x) + 2:
        reason = refuse("too_few_units", "An arm has too few units for this many covariates.")
        return msgspec.structs.replace(empty, not_computable=reason)
    # Scaled as well as centred, so that a covariate in bytes and one in years are equally well conditioned.
    spreads = [float(column.std()) for column in x]
    if any(s == 0 or not math.isfinite(s) for s in spreads):
        reason = refuse("collinear", "A covariate is the same for every unit.")
        return msgspec.structs.replace(empty, not_computable=reason)
    centred = [(column - column.mean()) / s for column, s in zip(x, spreads, strict=True)]
    design = np.column_stack([np.ones_like(y), t.astype(float), *centred, *(t * c for c in centred)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        reason = refuse("collinear", "The covariates explain each other or treatment.")
        return msgspec.structs.replace(empty, not_computable=reason)
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = sm.OLS(y, design).fit(cov_type=hc, use_t=True)
        se = float(fit.bse[1])
    return make_difference(
        empty.method,
        float(fit.params[1]),
        se,
        alpha=alpha,
        n_treatment=n_t,
        n_control=n_c,
        df=float(fit.df_resid),
        assumptions=empty.assumptions,
    )


def post_stratify(strata: Sequence[Stratum], *, alpha: float = 0.05) -> Difference:
    """The effect weighted by stratum, so that chance imbalance between the arms' mixes cancels.

    effect = sum_h W_h (m_t,h - m_c,h) with W_h the stratum's share of the population, or of both arms together when
    unknown; its variance given the strata's sizes is sum_h W_h^2 (s_t,h^2 / n_t,h + s_c,h^2 / n_c,h).

    Args:
        strata: of an attribute known before exposure. A stratum with fewer than 2 units in an arm makes the result
            not computable: merge it with another; leaving it out would change whom the effect is about.
        alpha: one minus the level of the interval.

    Returns:
        The effect, normal reference. Coded `thin_stratum` or `zero_variance`.

    Raises:
        ValueError: shares that are given for some strata only, or do not sum to 1.

    References:
        Miratrix, Sekhon and Yu (2013), JRSS B 75; Xie and Aurisset (2016).
    """
    check_alpha(alpha)
    n_t, n_c = sum(s.n_treatment for s in strata), sum(s.n_control for s in strata)
    given = [s.share for s in strata if s.share is not None]
    if given and (len(given) < len(strata) or abs(math.fsum(given) - 1) > 1e-9):
        raise ValueError("shares must be given for every stratum and sum to 1")
    if any(s.n_treatment < 2 or s.n_control < 2 for s in strata) or not strata:
        reason = refuse("thin_stratum", "A stratum has fewer than two units in an arm; merge it with another.")
        return Difference(
            method="post_stratification", level=1 - alpha, n_treatment=n_t, n_control=n_c, not_computable=reason
        )
    weights = given or [(s.n_control + s.n_treatment) / (n_t + n_c) for s in strata]
    pairs = list(zip(weights, strata, strict=True))
    variance = math.fsum(
        w * w * (s.variance_treatment / s.n_treatment + s.variance_control / s.n_control) for w, s in pairs
    )
    return make_difference(
        "post_stratification",
        math.fsum(w * (s.mean_treatment - s.mean_control) for w, s in pairs),
        math.sqrt(max(0.0, variance)),
        alpha=alpha,
        n_treatment=n_t,
        n_control=n_c,
        assumptions="The stratum was known before exposure; the variance is given the strata's sizes.",
    )


def cap_outliers(control: Sequence[float], treatment: Sequence[float], *, quantile: float = 0.99) -> Capped:
    """Caps both arms at one quantile of all values together.

    One cap for both arms: a cap per arm would cut the better arm's best customers more than the other's.

    Args:
        control: `(n_control,)` values.
        treatment: `(n_treatment,)` values.
        quantile: of both arms together, 0.5 to 1, linearly interpolated (type 7); 1 caps nothing.

    Returns:
        The cap, how many it cut, and the arms' moments before and after. Coded `too_few_units` under 2 per arm.

    References:
        Hyndman and Fan (1996), type 7 (numpy's default).
    """
    if not 0.5 < quantile <= 1:
        raise ValueError(f"quantile must lie over 0.5 and at most be 1, not {quantile:g}")
    c, t = array(control, "control"), array(treatment, "treatment")
    if min(c.size, t.size) < 2:
        reason = refuse("too_few_units", "Each arm needs at least two units.")
        return Capped(cap=None, n_control=c.size, n_treatment=t.size, not_computable=reason)
    cap = float(np.quantile(np.concatenate([c, t]), quantile))
    cut_c, cut_t = np.minimum(c, cap), np.minimum(t, cap)
    n_cut_c, n_cut_t = int((c > cap).sum()), int((t > cap).sum())
    return Capped(
        cap=cap,
        n_control=c.size,
        n_treatment=t.size,
        capped_control=n_cut_c,
        capped_treatment=n_cut_t,
        share_capped=(n_cut_c + n_cut_t) / (c.size + t.size),
        mean_control=float(cut_c.mean()),
        variance_control=float(cut_c.var(ddof=1)),
        mean_treatment=float(cut_t.mean()),
        variance_treatment=float(cut_t.var(ddof=1)),
        mean_control_raw=float(c.mean()),
        mean_treatment_raw=float(t.mean()),
    )
