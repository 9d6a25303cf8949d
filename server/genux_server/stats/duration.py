"""Durations with censoring: time to the first prompt, to the answer, to coming back.

A unit that has not done it yet is censored, not missing: dropping it, or waiting for it, biases the mean towards the
quick ones. Everything here works on risk tables, which merge by addition.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from genux_server.model import Message, RiskTable
from genux_server.stats.common import FloatArray, array, check_alpha, finite, log_two_sided, refuse, two_sided, z_tail

__all__ = [
    "LogRank",
    "RiskTable",
    "Survival",
    "SurvivalPoint",
    "kaplan_meier",
    "log_rank",
    "merge_risk_tables",
    "risk_table",
]


class SurvivalPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The share still without the event just after `time`, with a pointwise log(-log) interval."""

    time: float
    n_at_risk: int
    n_events: int
    survival: float
    se: float
    ci_lower: float | None = None
    ci_upper: float | None = None


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """A Kaplan-Meier curve and a quantile of the time to the event.

    `quantile_time` is None while fewer than that share of units have had the event; a bound of None is not reached.
    """

    method: str = "kaplan_meier"
    level: float
    n_units: int
    n_events: int
    quantile: float
    quantile_time: float | None = None
    quantile_ci_lower: float | None = None
    quantile_ci_upper: float | None = None
    curve: list[SurvivalPoint] = msgspec.field(default_factory=list)
    assumptions: str = "Censoring tells nothing about the time to the event; units are independent."
    not_computable: Message | None = None


class LogRank(msgspec.Struct, frozen=True, kw_only=True):
    """Two survival curves compared over their whole length.

    Attributes:
        observed_treatment, expected_treatment: events in the treatment arm, and those expected if hazards were equal.
        hazard_ratio: Peto's one-step estimate exp((O - E) / V), treatment over control; over 1 is sooner.
        statistic: (O - E) / sqrt(V); its square is the log-rank chi-square with one degree of freedom.
    """

    method: str = "log_rank"
    level: float
    n_treatment: int
    n_control: int
    observed_treatment: int
    expected_treatment: float
    variance: float
    statistic: float | None = None
    chi_square: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    hazard_ratio: float | None = None
    hazard_ratio_ci_lower: float | None = None
    hazard_ratio_ci_upper: float | None = None
    assumptions: str = "Censoring tells nothing about the time to the event; hazards are proportional for full power."
    not_computable: Message | None = None


def risk_table(durations: Sequence[float], observed: Sequence[bool]) -> RiskTable:
    """A risk table from one duration per unit.

    Args:
        durations: `(n_units,)` time to the event, or to the last moment seen without it; at least 0.
        observed: `(n_units,)` True where the event happened.

    Raises:
        ValueError: lengths differ, or a duration is negative.
    """
    time = array(durations, "durations")
    event = np.asarray(observed, dtype=bool)
    if time.shape != event.shape:
        raise ValueError("durations and observed must have the same length")
    if (time < 0).any():
        raise ValueError("durations must not be negative")
    distinct, where = np.unique(time, return_inverse=True)
    return RiskTable(
        times=distinct.tolist(),
        events=np.bincount(where, weights=event, minlength=distinct.size).astype(int).tolist(),
        censored=np.bincount(where, weights=~event, minlength=distinct.size).astype(int).tolist(),
    )


def merge_risk_tables(first: RiskTable, second: RiskTable) -> RiskTable:
    """The risk table of two disjoint groups of units together.

    Args:
        first: risk table of one group.
        second: of the other.
    """
    times, where = np.unique([*first.times, *second.times], return_inverse=True)
    events, censored = (
        np.bincount(where, weights=counts, minlength=times.size).astype(int).tolist()
        for counts in ([*first.events, *second.events], [*first.censored, *second.censored])
    )
    return RiskTable(times=times.tolist(), events=events, censored=censored)


def kaplan_meier(table: RiskTable, *, quantile: float = 0.5, alpha: float = 0.05) -> Survival:
    """The Kaplan-Meier curve with Greenwood's variance, and a quantile of the time to the event.

    Args:
        table: one arm's risk table.
        quantile: which quantile of the time to the event, 0 to 1; 0.5 is the median.
        alpha: one minus the level of the intervals.

    Returns:
        The curve at the event times; the quantile with the interval of Brookmeyer and Crowley on the log(-log) scale.
        No event at all is coded `no_events`; a quantile not yet reached is `quantile_not_reached`.

    Raises:
        ValueError: the table is not one.

    References:
        Kaplan and Meier (1958); Greenwood (1926); Brookmeyer and Crowley (1982). By hand, because the standard
        error of statsmodels' `SurvfuncRight` with `freq_weights` (0.15) is not Greenwood's.
    """
    check_alpha(alpha)
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie strictly between 0 and 1, not {quantile:g}")
    times, events, censored = _columns(table)
    known = Survival(
        level=1 - alpha, n_units=int(events.sum() + censored.sum()), n_events=int(events.sum()), quantile=quantile
    )
    if events.sum() == 0:
        return msgspec.structs.replace(
            known, not_computable=refuse("no_events", "No unit has had the event yet, so there is no curve.")
        )
    leaving = events + censored
    at_risk = leaving.sum() - np.concatenate([[0.0], np.cumsum(leaving)[:-1]])
    here = events > 0
    at, n, e = times[here], at_risk[here], events[here]
    survival = np.cumprod(1 - e / n)
    with np.errstate(divide="ignore"):  # the last unit of all leaves no variance: its point carries no interval
        spread = np.sqrt(np.cumsum(np.where(n > e, e / (n * (n - e)), np.inf)))
    z = z_tail(alpha / 2)
    curve = [_point(*row, z) for row in zip(at, n, e, survival, spread, strict=True)]
    reached = survival <= 1 - quantile + 1e-12
    lower = next((p.time for p in curve if p.survival == 0 or (p.ci_lower or 1.0) <= 1 - quantile), None)
    upper = next((p.time for p in curve if p.survival == 0 or (p.ci_upper or 1.0) < 1 - quantile), None)
    return msgspec.structs.replace(
        known,
        quantile_time=float(at[np.argmax(reached)]) if reached.any() else None,
        quantile_ci_lower=lower,
        quantile_ci_upper=upper,
        curve=curve,
        not_computable=None
        if reached.any()
        else refuse(
            "quantile_not_reached",
            f"Only {1 - float(survival[-1]):.1%} of the units have had the event so far, fewer than {quantile:.0%}.",
            reached=1 - float(survival[-1]),
            quantile=quantile,
        ),
    )


def log_rank(control: RiskTable, treatment: RiskTable, *, alpha: float = 0.05) -> LogRank:
    """The log-rank test with Peto's one-step hazard ratio, whose interval is the inversion of the test.

    At each event time t the treatment arm expects e_t n_t / n of the e events, with the hypergeometric variance
    e (n - e) n_t n_c / (n^2 (n - 1)); O - E and V are summed over times.

    Args:
        control: risk table of the control arm.
        treatment: risk table of the treatment arm.
        alpha: one minus the level of the interval.

    Returns:
        Observed and expected events, test, hazard ratio. No events while both arms are at risk is coded `no_events`.

    References:
        Mantel (1966); Peto et al. (1977). Agrees with statsmodels `survdiff`, which needs one row per unit.
    """
    check_alpha(alpha)
    columns = [_columns(treatment), _columns(control)]
    grid = np.unique(np.concatenate([c[0] for c in columns]))
    at_risk, events = [], []
    for times, e, c in columns:
        leaving = np.zeros(grid.size)
        happened = np.zeros(grid.size)
        where = np.searchsorted(grid, times)
        leaving[where], happened[where] = e + c, e
        at_risk.append(leaving.sum() - np.concatenate([[0.0], np.cumsum(leaving)[:-1]]))
        events.append(happened)
    n_t, n_c = at_risk
    n, e_all = n_t + n_c, events[0] + events[1]
    expected = np.where(n > 0, e_all * n_t / np.maximum(n, 1), 0.0).sum()
    variance = float(
        np.where(n > 1, e_all * (n - e_all) * n_t * n_c / (np.maximum(n, 2) ** 2 * np.maximum(n - 1, 1)), 0).sum()
    )
    observed = int(events[0].sum())
    known = LogRank(
        level=1 - alpha,
        n_treatment=int(columns[0][1].sum() + columns[0][2].sum()),
        n_control=int(columns[1][1].sum() + columns[1][2].sum()),
        observed_treatment=observed,
        expected_treatment=float(expected),
        variance=variance,
    )
    if variance <= 0:
        return msgspec.structs.replace(
            known, not_computable=refuse("no_events", "No event came while both arms had units at risk.")
        )
    gap = observed - float(expected)
    z = gap / math.sqrt(variance)
    half = z_tail(alpha / 2) / math.sqrt(variance)
    return msgspec.structs.replace(
        known,
        statistic=z,
        chi_square=z * z,
        p_value=two_sided(z),
        log_p_value=log_two_sided(z),
        hazard_ratio=finite(_exp(gap / variance)),
        hazard_ratio_ci_lower=finite(_exp(gap / variance - half)),
        hazard_ratio_ci_upper=finite(_exp(gap / variance + half)),
    )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _columns(table: RiskTable) -> tuple[FloatArray, FloatArray, FloatArray]:
    times = array(table.times, "times")
    events, censored = array(table.events, "events"), array(table.censored, "censored")
    if not times.size == events.size == censored.size:
        raise ValueError("a risk table needs as many events and censored counts as times")
    if (np.diff(times) <= 0).any() or (times < 0).any():
        raise ValueError("times must increase strictly and not be negative")
    if (events < 0).any() or (censored < 0).any():
        raise ValueError("counts must not be negative")
    return times, events, censored


def _point(time: float, n_risk: float, n_events: float, survival: float, spread: float, z: float) -> SurvivalPoint:
    """One point; `spread` is the standard error of log S. At S = 0 there is none, and so no interval."""
    lower = upper = None
    if survival > 0:
        width = z * spread / abs(math.log(survival))
        lower, upper = (float(survival ** math.exp(sign * min(width, 700.0))) for sign in (1, -1))
    return SurvivalPoint(
        time=float(time),
        n_at_risk=round(n_risk),
        n_events=round(n_events),
        survival=float(survival),
        se=float(survival * spread) if survival > 0 else 0.0,
        ci_lower=lower,
        ci_upper=upper,
    )
