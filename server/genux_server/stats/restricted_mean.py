"""The mean time to an event up to a horizon, from a risk table: in seconds, and not biased by censoring."""

import math

import numpy as np

from genux_server.model import RiskTable
from genux_server.stats.common import array

__all__ = ["restricted_mean"]


def restricted_mean(table: RiskTable, until: float) -> tuple[float, float] | None:
    """Restricted mean survival time: the mean of min(time to the event, `until`), and the variance of that estimate.

    The mean is the area under the Kaplan-Meier curve S up to `until`; with A_i the area from event time t_i on,
    Var = n / (n - 1) sum_i A_i^2 d_i / (n_i (n_i - d_i)). Without censoring before `until` both are those of the
    ordinary mean of min(T, until), which the factor makes exact. Unlike the hazard ratio it needs no proportional
    hazards, and it is in seconds.

    Args:
        table: one arm's risk table.
        until: the horizon, in the table's unit, over 0.

    Returns:
        (mean, variance of the mean); None with fewer than two units, or when everyone still without the event was
        censored before `until`, so that the end of the curve is not known.

    References:
        Irwin (1949); Karrison (1987); Royston and Parmar (2013), BMC Medical Research Methodology 13:152.
    """
    times, events, censored = (array(column, "risk table") for column in (table.times, table.events, table.censored))
    n = float(events.sum() + censored.sum())
    if n < 2.0:
        return None
    leaving = events + censored
    at_risk = n - np.concatenate([[0.0], np.cumsum(leaving)[:-1]])
    here = (events > 0) & (times < until)
    at, d, risk = times[here], events[here], at_risk[here]
    survival = np.concatenate([[1.0], np.cumprod(1.0 - d / risk)])
    if survival[-1] > 0.0 and times[-1] < until:
        return None
    areas = survival * np.diff(np.concatenate([[0.0], at, [until]]))
    # Where the last unit has had the event nothing is left to vary: its area is 0, and so is its term.
    rest = np.cumsum(areas[::-1])[::-1][1:]
    terms = np.where(risk > d, rest**2 * d / (risk * np.maximum(risk - d, 1.0)), 0.0)
    return float(math.fsum(areas)), float(math.fsum(terms)) * n / (n - 1.0)
