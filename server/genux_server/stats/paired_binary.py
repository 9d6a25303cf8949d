"""Pass or fail on the same cases: McNemar's test for one trial each, a marginal logit for repeated trials."""

import math
import warnings
from collections.abc import Sequence

import msgspec
import numpy as np
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from genux_server.model import Message
from genux_server.stats.common import check_alpha, finite, log_two_sided, refuse, two_sided, z_tail

__all__ = ["MarginalLogit", "McNemar", "marginal_logit", "mcnemar"]


class McNemar(msgspec.Struct, frozen=True, kw_only=True):
    """Paired pass/fail outcomes of two prompts.

    Attributes:
        only_control, only_treatment: cases that only one of the two passes; the others say nothing.
        p_value_exact: binomial, two-sided, never liberal.
        p_value_mid: its mid-p, which keeps its level almost everywhere and finds more.
        effect: difference of pass rates, when the number of cases is known.
    """

    only_control: int
    only_treatment: int
    n_cases: int | None = None
    p_value_exact: float | None = None
    p_value_mid: float | None = None
    effect: float | None = None
    not_computable: Message | None = None


class MarginalLogit(msgspec.Struct, frozen=True, kw_only=True):
    """Odds of passing, treatment against control, averaged over cases.

    Attributes:
        log_odds_ratio, se: from generalised estimating equations with exchangeable trials and robust errors.
        correlation: working correlation of two trials of one case.
    """

    level: float
    n_trials: int
    n_cases: int
    log_odds_ratio: float | None = None
    se: float | None = None
    odds_ratio: float | None = None
    odds_ratio_ci_lower: float | None = None
    odds_ratio_ci_upper: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    correlation: float | None = None
    assumptions: str = "Cases are independent and there are at least some forty of them."
    not_computable: Message | None = None


def mcnemar(only_control: int, only_treatment: int, *, n_cases: int | None = None) -> McNemar:
    """McNemar's test of equal pass rates on the same cases, one trial each.

    Args:
        only_control: cases that control passes and treatment fails.
        only_treatment: cases that treatment passes and control fails.
        n_cases: all cases, for the effect.

    Returns:
        Exact and mid p-values; coded `no_discordant` when both prompts pass the same cases.

    References:
        McNemar (1947); Fagerland, Lydersen and Laake (2013) for the mid-p. Exact p by statsmodels.
    """
    if min(only_control, only_treatment) < 0:
        raise ValueError("counts must not be negative")
    n = only_control + only_treatment
    if n_cases is not None and n_cases < n:
        raise ValueError("there cannot be fewer cases than discordant ones")
    effect = (only_treatment - only_control) / n_cases if n_cases else None
    known = McNemar(only_control=only_control, only_treatment=only_treatment, n_cases=n_cases, effect=effect)
    if n == 0:
        reason = refuse("no_discordant", "Both prompts pass and fail the same cases, so nothing tells them apart.")
        return msgspec.structs.replace(known, not_computable=reason)
    exact = float(statsmodels_mcnemar([[0, only_control], [only_treatment, 0]], exact=True).pvalue)
    # The point probability of the smaller count belongs half to either side; at a tie the whole is symmetric.
    point = float(stats.binom.pmf(only_control, n, 0.5))
    mid = exact - point if only_control != only_treatment else 1.0 - point
    return msgspec.structs.replace(known, p_value_exact=min(1.0, exact), p_value_mid=min(1.0, mid))


def marginal_logit(
    passed: Sequence[bool], treated: Sequence[bool], cases: Sequence[int | str], *, alpha: float = 0.05
) -> MarginalLogit:
    """Odds of passing under two prompts with repeated, unequal or missing trials per case.

    Args:
        passed: `(n_trials,)` outcomes.
        treated: `(n_trials,)` True for treatment.
        cases: `(n_trials,)` which case.
        alpha: one minus the level.

    Returns:
        The odds ratio; coded `too_few_units` under 2 cases, `separated` when one prompt always passes or always
        fails, `not_converged`.

    References:
        Liang and Zeger (1986); fitted by statsmodels `GEE`, bias-reduced sandwich (Mancl and DeRouen 2001).
    """
    check_alpha(alpha)
    y, t = np.asarray(passed, dtype=float), np.asarray(treated, dtype=float)
    ids = np.asarray(cases)
    if not y.shape == t.shape == ids.shape:
        raise ValueError("passed, treated and cases must have the same length")
    _, where = np.unique(ids, return_inverse=True)
    n_cases = int(where.max()) + 1 if y.size else 0
    known = MarginalLogit(level=1 - alpha, n_trials=y.size, n_cases=n_cases)
    if n_cases < 2 or not 0 < t.sum() < t.size:
        reason = refuse("too_few_units", "Two cases and both prompts are needed at least.")
        return msgspec.structs.replace(known, not_computable=reason)
    if any(rate in {0.0, 1.0} for rate in (y[t == 1].mean(), y[t == 0].mean())):
        reason = refuse("separated", "One prompt always passes or always fails, so the odds ratio is infinite or 0.")
        return msgspec.structs.replace(known, not_computable=reason)
    order = np.argsort(where, kind="stable")
    dependence = sm.cov_struct.Exchangeable()
    model = sm.GEE(
        y[order], sm.add_constant(t[order]), groups=where[order], family=sm.families.Binomial(), cov_struct=dependence
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # non-convergence is read from the result, and coded
        fit = model.fit(cov_type="bias_reduced")
    estimate, se = float(fit.params[1]), float(fit.bse[1])
    if not (fit.converged and math.isfinite(estimate) and 0 < se < math.inf):
        reason = refuse("not_converged", "The estimating equations did not converge.")
        return msgspec.structs.replace(known, not_computable=reason)
    half = z_tail(alpha / 2) * se
    return msgspec.structs.replace(
        known,
        log_odds_ratio=estimate,
        se=se,
        odds_ratio=math.exp(estimate),
        odds_ratio_ci_lower=finite(math.exp(min(estimate - half, 700.0))),
        odds_ratio_ci_upper=finite(math.exp(min(estimate + half, 700.0))),
        statistic=estimate / se,
        p_value=two_sided(estimate / se),
        log_p_value=log_two_sided(estimate / se),
        correlation=float(dependence.dep_params),
    )
