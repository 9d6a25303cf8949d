"""Conversion judged at any time from success counts alone.

The test looks only at which arm the next success comes from, so it is valid while the conversion rate itself swings
with the hour, the day or a campaign.
"""

import math

import msgspec
import numpy as np
from scipy import optimize, special

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_share, refuse
from genux_server.stats.srm import srm_sequential

__all__ = ["ConversionSequence", "sequential_conversion"]

_FAR = 700.0
"""A log odds beyond every likely one, that exp still bears."""


class ConversionSequence(msgspec.Struct, frozen=True, kw_only=True):
    """Success counts of two arms, judged at any time.

    Attributes:
        ratio: conversion rate of treatment over control, with the interval that inverts the test; a bound of None is
            unbounded. It assumes that the ratio, not the rate, is constant over time.
    """

    method: str = "sequential_conversion"
    level: float
    n_successes: int
    share_treatment: float
    concentration: float
    log_e_value: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    ratio: float | None = None
    ratio_ci_lower: float | None = None
    ratio_ci_upper: float | None = None
    not_computable: Message | None = None


def sequential_conversion(
    successes_control: int,
    successes_treatment: int,
    *,
    share_treatment: float = 0.5,
    concentration: float = 1000.0,
    alpha: float = 0.05,
) -> ConversionSequence:
    """Tests equal conversion rates from success counts alone, at any time, under rates that change over time.

    If both arms convert alike at every moment, each success belongs to treatment with the assignment probability. The
    Bayes factor against a Beta alternative centred there is B(k theta + c) / B(k theta) / prod theta^c; p = 1 / BF.

    Args:
        successes_control: conversions in control, at least 0.
        successes_treatment: conversions in treatment.
        share_treatment: probability that a unit of the two arms is assigned to treatment; constant over the counts.
        concentration: k of the alternative; larger looks for smaller differences.
        alpha: error over all looks together.

    Returns:
        The test and the ratio of rates. Coded `no_events` without any success.

    References:
        Lindon and Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS, section 4.
    """
    check_alpha(alpha)
    check_share("share_treatment", share_treatment)
    if min(successes_control, successes_treatment) < 0 or not 0 < concentration <= 1e9:
        raise ValueError("counts must not be negative and the concentration must lie over 0 and up to 1e9")
    n = successes_control + successes_treatment
    known = ConversionSequence(
        level=1 - alpha, n_successes=n, share_treatment=share_treatment, concentration=concentration
    )
    evidence = srm_sequential(
        [((successes_control, successes_treatment), (1 - share_treatment, share_treatment))], concentration
    )
    if evidence is None:
        reason = refuse("no_events", "Neither arm has a conversion yet.")
        return msgspec.structs.replace(known, not_computable=reason)
    log_e = evidence.statistic
    a, b = concentration * share_treatment, concentration * (1 - share_treatment)
    log_marginal = float(special.betaln(a + successes_treatment, b + successes_control) - special.betaln(a, b))
    limit = -math.log(alpha)

    def excess(log_odds: float) -> float:
        """Evidence against this log odds of "the next success is treatment's", over the limit."""
        log_share, log_rest = -float(np.logaddexp(0, -log_odds)), -float(np.logaddexp(0, log_odds))
        return log_marginal - successes_treatment * log_share - successes_control * log_rest - limit

    base = math.log(share_treatment) - math.log1p(-share_treatment)
    # The most likely value is always inside: the marginal is a mean of likelihoods. A bound beyond the range of
    # doubles (or of an arm without successes) is none.
    both = successes_treatment > 0 and successes_control > 0
    inside = math.log(successes_treatment / successes_control) if both else math.copysign(_FAR, successes_treatment - 1)
    low = float(optimize.brentq(excess, -_FAR, inside)) if excess(-_FAR) > 0 else None
    high = float(optimize.brentq(excess, inside, _FAR)) if excess(_FAR) > 0 else None
    ratio = successes_treatment / successes_control * math.exp(-base) if successes_control else None
    return msgspec.structs.replace(
        known,
        log_e_value=log_e,
        p_value=evidence.p_value,
        log_p_value=min(0.0, -log_e),
        ratio=ratio,
        ratio_ci_lower=0.0 if low is None else math.exp(low - base),
        ratio_ci_upper=None if high is None else math.exp(high - base),
    )
