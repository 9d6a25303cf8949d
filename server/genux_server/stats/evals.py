"""Prompt evaluation: is it better, is it better in general, or is it a patch?

The unit is the case, not the trial: ten answers to one question tell about one question. Comparisons are paired by
case, which removes how hard a case is.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import stats

from genux_server.model import Message
from genux_server.stats.common import FloatArray, array, check_alpha, check_share, make_difference, refuse, z_tail

__all__ = [
    "CasesNeeded",
    "PairedCases",
    "ScoreMean",
    "VarianceSplit",
    "cases_needed",
    "compare_cases",
    "score_mean",
    "variance_split",
]

Trials = Sequence[Sequence[float]]


class ScoreMean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean score, with the error if trials were independent and the one that respects clusters.

    Attributes:
        se_naive: sqrt(p (1 - p) / n) for 0/1 scores: too small when trials share a case.
        se_clustered: sqrt(G / (G - 1) sum_c (sum_{i in c} (s_i - mean))^2) / n over G clusters; with as many trials in
            each this is the standard deviation of the cluster means over sqrt(G).
        ci_lower, ci_upper: from the clustered error, t on G - 1 degrees of freedom.
    """

    n: int
    n_clusters: int
    level: float
    mean: float
    se_naive: float
    se_clustered: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    not_computable: Message | None = None


class VarianceSplit(msgspec.Struct, frozen=True, kw_only=True):
    """Where a score's variance comes from.

    Attributes:
        within: between trials of one case (mean square within); None with one trial per case.
        between: between cases, unbiased, hence possibly under 0; None where `within` is.
        share_between: of the variance of a single trial, 0 to 1 (the intraclass correlation).
        trials_per_case: effective number, equal to the number of trials when all cases have the same.
    """

    n_cases: int
    n_trials: int
    mean: float
    trials_per_case: float
    within: float | None = None
    between: float | None = None
    share_between: float | None = None
    not_computable: Message | None = None


class PairedCases(msgspec.Struct, frozen=True, kw_only=True):
    """Two prompts on the same cases.

    Attributes:
        effect: mean over cases of the difference of case means; `df` is clusters - 1.
        wins, losses, ties: cases on which treatment's mean is higher, lower, equal.
        noise: variance of a case's difference that is only trials, so that more trials would lower it; None with one
            trial each. The rest, `variance - noise`, only more cases lower.
    """

    method: str
    level: float
    n_cases: int
    n_clusters: int
    mean_control: float
    mean_treatment: float
    wins: int
    losses: int
    ties: int
    effect: float
    variance: float | None = None
    noise: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    not_computable: Message | None = None


class CasesNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """How many cases find an effect, and how many calls of both prompts together that costs."""

    n_cases: int
    n_calls: int
    exact: float


def score_mean(scores: Sequence[float], clusters: Sequence[int | str], *, alpha: float = 0.05) -> ScoreMean:
    """A mean score and its error when scores come in clusters (trials of a case, cases of a document).

    Args:
        scores: `(n,)` one per trial.
        clusters: `(n,)` which case each belongs to.
        alpha: one minus the level.

    Returns:
        Mean, both errors, interval; coded `too_few_units` with one cluster.

    References:
        Miller (2024), Adding error bars to evals, arXiv 2411.00640, section 2.2; times sqrt(G / (G - 1)).
    """
    check_alpha(alpha)
    s = array(scores, "scores")
    ids = np.asarray(clusters)
    if ids.shape != s.shape or s.size == 0:
        raise ValueError("scores and clusters must have the same length, at least 1")
    _, where = np.unique(ids, return_inverse=True)
    mean = float(s.mean())
    sums = np.bincount(where, weights=s - mean)
    known = ScoreMean(
        n=s.size, n_clusters=sums.size, level=1 - alpha, mean=mean, se_naive=math.sqrt(float(s.var()) / s.size)
    )
    if sums.size < 2:
        return msgspec.structs.replace(known, not_computable=_one_case())
    clustered = math.sqrt(float((sums**2).sum()) * sums.size / (sums.size - 1)) / s.size
    half = float(stats.t.isf(alpha / 2, sums.size - 1)) * clustered
    return msgspec.structs.replace(known, se_clustered=clustered, ci_lower=mean - half, ci_upper=mean + half)


def variance_split(scores: Trials) -> VarianceSplit:
    """Splits a score's variance into trials within a case and cases, by one-way analysis of variance.

    within = MSW; between = (MSB - MSW) / K0, where K0 is the number of trials per case, or for unequal numbers
    (n - sum k_i^2 / n) / (cases - 1).

    Args:
        scores: per case the scores of its trials.

    References:
        Searle, Casella and McCulloch (1992), Variance components, section 3.6.
    """
    cases = _cases(scores, "scores")
    k = np.array([c.size for c in cases], dtype=float)
    n, means = float(k.sum()), np.array([c.mean() for c in cases])
    grand = float((k * means).sum() / n)
    effective = (n - float((k**2).sum()) / n) / (k.size - 1) if k.size > 1 else float(k[0])
    known = VarianceSplit(n_cases=k.size, n_trials=int(n), mean=grand, trials_per_case=effective)
    if k.size < 2:
        return msgspec.structs.replace(known, not_computable=_one_case())
    if n == k.size:
        reason = refuse("one_trial", "With one trial per case, chance within a case cannot be told from the case.")
        return msgspec.structs.replace(known, not_computable=reason)
    within = sum(float(((c - c.mean()) ** 2).sum()) for c in cases) / (n - k.size)
    between = (float((k * (means - grand) ** 2).sum()) / (k.size - 1) - within) / effective
    total = within + max(between, 0.0)
    return msgspec.structs.replace(
        known, within=within, between=between, share_between=max(between, 0.0) / total if total else None
    )


def compare_cases(
    control: Trials, treatment: Trials, *, clusters: Sequence[int | str] = (), alpha: float = 0.05
) -> PairedCases:
    """Two prompts on the same cases: the mean of paired differences of case means.

    Args:
        control: per case the scores of its trials, at least one.
        treatment: the same for the other prompt; cases in the same order.
        clusters: which group each case belongs to (a document, a conversation); every case its own when not given.
        alpha: one minus the level.

    Returns:
        The effect with t on clusters - 1; coded `too_few_units` or `zero_variance`.

    Raises:
        ValueError: different numbers of cases, or a case without a trial.

    References:
        Miller (2024), sections 2.2 and 4.2. With clusters the error is the cluster-robust one times sqrt(G / (G - 1)).
    """
    check_alpha(alpha)
    a, b = _cases(control, "control"), _cases(treatment, "treatment")
    if len(a) != len(b):
        raise ValueError(f"control has {len(a)} cases and treatment {len(b)}")
    ids = np.asarray(clusters) if len(clusters) else np.arange(len(a))
    if ids.size != len(a):
        raise ValueError("clusters must name a group for every case")
    means_a, means_b = np.array([c.mean() for c in a]), np.array([c.mean() for c in b])
    d = means_b - means_a
    _, where = np.unique(ids, return_inverse=True)
    sums = np.bincount(where, weights=d - d.mean())
    g = sums.size
    se = math.sqrt(float((sums**2).sum()) * g / (g - 1)) / d.size if g > 1 else 0.0
    result = make_difference(
        "paired_cases", float(d.mean()), se, alpha=alpha, n_treatment=d.size, n_control=d.size, df=g - 1
    )
    repeated = [c for c in (*a, *b) if c.size > 1]
    noise = [float(c.var(ddof=1)) / c.size for c in repeated]
    return PairedCases(
        method="paired_cases" if g == d.size else "paired_cases_clustered",
        level=1 - alpha,
        n_cases=d.size,
        n_clusters=g,
        mean_control=float(means_a.mean()),
        mean_treatment=float(means_b.mean()),
        wins=int((d > 0).sum()),
        losses=int((d < 0).sum()),
        ties=int((d == 0).sum()),
        effect=float(d.mean()),
        variance=float(d.var(ddof=1)) if d.size > 1 else None,
        noise=math.fsum(noise) / d.size if len(repeated) == 2 * d.size else None,
        se=result.se,
        ci_lower=result.ci_lower,
        ci_upper=result.ci_upper,
        statistic=result.statistic,
        df=result.df,
        p_value=result.p_value,
        not_computable=result.not_computable,
    )


def cases_needed(
    effect: float,
    between: float,
    *,
    within_control: float = 0.0,
    within_treatment: float = 0.0,
    trials_control: int = 1,
    trials_treatment: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> CasesNeeded:
    """Cases needed to find an effect in a paired comparison.

    N = (z_{1 - alpha/2} + z_power)^2 (omega^2 + s_A^2 / K_A + s_B^2 / K_B) / effect^2.

    Args:
        effect: difference to find, not 0.
        between: omega^2, variance over cases of the true difference.
        within_control: variance of one trial of control within a case.
        within_treatment: the same for treatment.
        trials_control: trials per case, at least 1.
        trials_treatment: the same for treatment.
        power: chance to find it.
        alpha: two-sided error.

    References:
        Miller (2024), section 5.
    """
    check_alpha(alpha)
    check_share("power", power)
    if effect == 0 or min(between, within_control, within_treatment) < 0 or min(trials_control, trials_treatment) < 1:
        raise ValueError("the effect must not be 0, variances not negative and trials at least 1")
    variance = between + within_control / trials_control + within_treatment / trials_treatment
    exact = (z_tail(alpha / 2) + z_tail(1 - power)) ** 2 * variance / effect**2
    n = max(2, math.ceil(exact - 1e-9))
    return CasesNeeded(n_cases=n, n_calls=n * (trials_control + trials_treatment), exact=exact)


def _cases(scores: Trials, name: str) -> list[FloatArray]:
    cases = [array(trials, name) for trials in scores]
    if not cases or any(c.size == 0 for c in cases):
        raise ValueError(f"{name} needs at least one case, and every case a trial")
    return cases


def _one_case() -> Message:
    return refuse("too_few_units", "One case says nothing about how cases differ.")
