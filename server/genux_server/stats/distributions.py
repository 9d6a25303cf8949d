"""Quantiles and durations: one arm's figure and its error, from what cells hold beside moments."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from genux.specs import MetricSpec
from genux_server.model import Cell, Message, Moments, QuantileSummary, RiskTable
from genux_server.stats.combine import ByEpoch
from genux_server.stats.duration import kaplan_meier, log_rank, merge_risk_tables
from genux_server.stats.estimates import Estimate, in_range
from genux_server.stats.messages import message
from genux_server.stats.moments import covariance, mean_of
from genux_server.stats.quantile_summary import merge_quantile_summaries, quantile_from_summary
from genux_server.stats.restricted_mean import restricted_mean

__all__ = [
    "DISTRIBUTION_KINDS",
    "distribution_estimates",
    "duration_notes",
    "n_events",
    "why_no_distribution",
]

DISTRIBUTION_KINDS = frozenset({"quantile", "duration"})
"""Kinds of metric whose figure comes from histograms or risk tables."""

_HALF = 0.5


def distribution_estimates(
    metric: MetricSpec, cells: Sequence[Cell], by_epoch: ByEpoch
) -> dict[int, dict[str, Estimate]]:
    """Each arm's quantile, or mean time up to the window's end, by epoch; arms without one are left out.

    The cost of a unit is that of its matured moments, and its covariance with the figure is not known.

    Args:
        metric: a quantile or a duration.
        cells: its cells of everyone.
        by_epoch: their moments, merged.
    """
    groups: dict[int, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        groups[cell.epoch][cell.variant].append(cell)
    found: dict[int, dict[str, Estimate]] = {}
    for epoch, arms in groups.items():
        estimates = {key: _estimate(metric, arm, by_epoch[epoch][key]) for key, arm in arms.items()}
        found[epoch] = {key: estimate for key, estimate in estimates.items() if estimate is not None}
    return found


def _estimate(metric: MetricSpec, cells: Sequence[Cell], moments: Moments) -> Estimate | None:
    if moments.n < 2:
        return None
    if metric.kind == "quantile":
        summary = _values(cells)
        estimate = quantile_from_summary(summary, quantile=metric.quantile) if summary else None
        if summary is None or estimate is None or estimate.value is None or estimate.se is None:
            return None
        variance = estimate.se * estimate.se
        if not in_range((estimate.value, variance)):
            return None
        return _with_cost(moments.n, estimate.value, variance, summary.n_units - 1, moments)
    table = _durations(cells)
    figure = restricted_mean(table, metric.window_seconds) if table else None
    if table is None or figure is None:
        return None
    n = sum(table.events) + sum(table.censored)
    return _with_cost(n, *figure, n - 1, moments)


def _with_cost(n: int, value: float, variance: float, df: float, moments: Moments) -> Estimate:
    if "c" not in moments.components:
        return Estimate(n, value, variance, df)
    cost_variance = max(0.0, covariance(moments, "c", "c")) / moments.n
    return Estimate(n, value, variance, df, cost=mean_of(moments, "c"), cost_variance=cost_variance)


def _values(cells: Iterable[Cell]) -> QuantileSummary | None:
    parts = [cell.values for cell in cells if cell.values is not None]
    return functools.reduce(merge_quantile_summaries, parts) if parts else None


def _durations(cells: Iterable[Cell]) -> RiskTable | None:
    parts = [cell.durations for cell in cells if cell.durations is not None]
    return functools.reduce(merge_risk_tables, parts) if parts else None


def n_events(metric: MetricSpec, cells: Sequence[Cell]) -> int:
    """Events with a value that a quantile is of; of a duration, units that had the event."""
    if metric.kind == "quantile":
        return sum(sum(cell.values.counts) for cell in cells if cell.values)
    return sum(sum(cell.durations.events) for cell in cells if cell.durations)


def why_no_distribution(metric: MetricSpec, arms: Sequence[Sequence[Cell]]) -> Message:
    """Why two arms, each with at least two matured units, cannot be compared.

    Args:
        metric: a quantile or a duration.
        arms: control's cells, then the treatment's.
    """
    if metric.kind == "duration":
        return message("follow_up_short")
    events = [n_events(metric, arm) for arm in arms]
    estimates = [quantile_from_summary(summary, quantile=metric.quantile) for arm in arms if (summary := _values(arm))]
    reasons = [estimate.not_computable for estimate in estimates if estimate.not_computable]
    if len(estimates) < len(arms) or any(reason.code == "too_few_units" for reason in reasons):
        return message("too_few_events", control=events[0], treatment=events[1])
    if any(reason.code == "zero_variance" for reason in reasons):
        return message("quantile_flat")
    if not all(in_range((estimate.se or 0.0,)) for estimate in estimates):
        return message("not_finite")
    # Of all events together, or, where those suffice, of an epoch's.
    return message("tail_too_thin", quantile=100.0 * metric.quantile, n=min(events))


def duration_notes(cells: Sequence[Cell], labels: dict[str, str], control: str, *, one_epoch: bool) -> list[Message]:
    """Each arm's median time, and the log-rank test of the whole curves, which decides nothing.

    Args:
        cells: the duration's cells of everyone.
        labels: of the variants, in their order.
        control: its key.
        one_epoch: whether all cells are of one epoch; the test is not stratified, so else it is left out.
    """
    tables = {key: _durations(cell for cell in cells if cell.variant == key) for key in labels}
    notes = []
    for key, table in tables.items():
        curve = kaplan_meier(table, quantile=_HALF) if table else None
        if curve is None or curve.n_events == 0:
            continue
        if curve.quantile_time is None:
            reached = 1.0 - curve.curve[-1].survival
            notes.append(message("note_median_open", label=labels[key], reached=reached))
        else:
            notes.append(message("note_median", scale="seconds", label=labels[key], median=curve.quantile_time))
    reference = tables[control]
    for key, table in tables.items():
        if key == control or table is None or reference is None or not one_epoch:
            continue
        test = log_rank(reference, table)
        if test.p_value is not None:
            notes.append(message("note_log_rank", label=labels[key], p=test.p_value))
    return notes
