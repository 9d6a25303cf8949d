"""One metric's part of the report: each arm's figure, the comparisons, the daily series and the notes."""

import dataclasses
import math
from collections.abc import Sequence

from scipy import special

from genux.specs import MetricSpec
from genux_server.model import ArmResult, Message, MetricReport, SeriesPoint
from genux_server.stats.combine import is_binary, pair_up, standardised_arms
from genux_server.stats.compare import SHARE_KINDS, Decided, always_comparison, compare, estimates_of, within_range
from genux_server.stats.distributions import DISTRIBUTION_KINDS, duration_notes, n_events
from genux_server.stats.estimates import Estimate, arm_estimates
from genux_server.stats.frame import ByEpoch, Frame, add, label_of, merge_cells, scale_of
from genux_server.stats.messages import message
from genux_server.stats.moments import merge, total_of
from genux_server.stats.proportions import boschloo_p_value, wilson_interval

__all__ = ["Analysed", "analyse_metric"]

_BOSCHLOO_UNITS = 200
"""Beyond this many units in both arms together Boschloo's test takes seconds and agrees with the score test."""


@dataclasses.dataclass(frozen=True, slots=True)
class Analysed:
    """A metric's report, and per treatment the comparisons it was written from (the deciding one first)."""

    metric: MetricSpec
    report: MetricReport
    decided: dict[str, list[Decided]]


def analyse_metric(frame: Frame, metric: MetricSpec) -> Analysed:
    """Everything the report says about one metric."""
    decided = {treatment: compare(frame, metric, treatment) for treatment in frame.treatments}
    has_series = metric.kind not in DISTRIBUTION_KINDS and not frame.facts.one_look
    report = MetricReport(
        key=metric.key,
        label=label_of(metric),
        kind=metric.kind,
        role=frame.role(metric),
        direction=metric.direction,
        unit=metric.unit,
        window_seconds=None if frame.facts.source == "file" else metric.window_seconds,
        arms=_arms(frame, metric),
        comparisons=[d.comparison for comparisons in decided.values() for d in comparisons],
        series=_series(frame, metric) if has_series else [],
        notes=_notes(frame, metric, decided),
    )
    return Analysed(metric, report, decided)


def _arms(frame: Frame, metric: MetricSpec) -> list[ArmResult]:
    by_epoch = frame.moments(metric.key)
    estimates = standardised_arms(by_epoch, estimates_of(frame, metric))
    pending, capped = frame.pending(metric.key), frame.capped(metric.key)
    results = []
    for key in frame.variants:
        whole = merge(arms[key] for arms in by_epoch.values() if key in arms)
        estimate = estimates.get(key)
        lower, upper = _arm_interval(metric, estimate, frame.alpha)
        if estimate is not None and len(by_epoch) == 1 and metric.kind in SHARE_KINDS and is_binary(whole):
            lower, upper = wilson_interval(total_of(whole, "y"), whole.n, frame.alpha)
        total = total_of(whole, "y")
        if metric.kind in DISTRIBUTION_KINDS:
            total = n_events(metric, [cell for cell in frame.cells(metric.key) if cell.variant == key])
        results.append(
            ArmResult(
                variant=key,
                n_units=whole.n,
                total=total,
                denominator_total=total_of(whole, "d") if "d" in whole.components else None,
                value=estimate.value if estimate else None,
                se=estimate.se if estimate else None,
                ci_lower=lower,
                ci_upper=upper,
                capped=capped[key],
                pending=pending[key],
            )
        )
    return results


def _arm_interval(metric: MetricSpec, estimate: Estimate | None, alpha: float) -> tuple[float | None, float | None]:
    if estimate is None or estimate.variance == 0.0:
        return None, None
    reach = float(-special.stdtrit(estimate.df, alpha / 2.0)) * estimate.se
    lower, upper = estimate.value - reach, estimate.value + reach
    if metric.kind in SHARE_KINDS:
        return max(0.0, lower), min(1.0, upper)
    if metric.kind == "duration":
        return max(0.0, lower), min(metric.window_seconds, upper)
    return lower, upper


def _series(frame: Frame, metric: MetricSpec) -> list[SeriesPoint]:
    """Cumulative effect by day of first exposure, with the always-valid band."""
    points: dict[str, list[SeriesPoint]] = {treatment: [] for treatment in frame.treatments}
    cumulative = merge_cells([])
    for day in frame.days(metric.key):
        cumulative = add(cumulative, merge_cells(frame.cells(metric.key, day)))
        for treatment, series in points.items():
            pair = pair_up(cumulative, frame.control, treatment)
            if pair.control is None or pair.treatment is None:
                continue
            band = always_comparison(frame, treatment, pair.control, pair.treatment)
            lower, upper = within_range(metric, band.lower, band.upper) if band else (None, None)
            series.append(
                SeriesPoint(
                    variant=treatment,
                    day=day,
                    n_units=pair.control.n + pair.treatment.n,
                    effect=pair.treatment.value - pair.control.value,
                    effect_ci_lower=lower,
                    effect_ci_upper=upper,
                )
            )
    return [point for series in points.values() for point in series]


def _notes(frame: Frame, metric: MetricSpec, decided: dict[str, list[Decided]]) -> list[Message]:
    notes = []
    scale = scale_of(metric)
    if pending := sum(frame.pending(metric.key).values()):
        notes.append(message("note_censored" if metric.kind == "duration" else "note_pending", n=pending))
    by_epoch = frame.moments(metric.key)
    n_units = sum(m.n for arms in by_epoch.values() for m in arms.values())
    if capped := sum(frame.capped(metric.key).values()):
        notes.append(message("note_capped", n=capped, share=capped / max(1, n_units)))
    if reduction := _variance_reduction(by_epoch):
        notes.append(message("note_cuped", reduction=reduction))
    if metric.kind == "duration":
        cells = frame.cells(metric.key)
        notes.append(message("note_restricted"))
        notes += duration_notes(cells, frame.labels, frame.control, one_epoch=len(by_epoch) == 1)
    if len(by_epoch) > 1:
        notes.append(message("note_epochs", changes=len(by_epoch) - 1))
    if not frame.facts.one_look and n_units:
        notes.append(message("note_fixed"))
    for treatment, comparisons in decided.items():
        notes += _pair_notes(frame, treatment, comparisons, scale)
    return notes


def _pair_notes(frame: Frame, treatment: str, comparisons: Sequence[Decided], scale: str) -> list[Message]:
    notes = []
    first = comparisons[0]
    label = frame.labels[treatment]
    pair = first.pair
    if first.look:
        looks = frame.facts.experiment.plan.looks
        notes.append(message("note_look", look=first.look_number, looks=looks, day=first.look.day.isoformat()))
    if pair.n_epochs and pair.dropped_epochs:
        notes.append(message("note_epoch_dropped", n=pair.dropped_epochs, label=label))
    contrast = first.contrast
    if contrast is None:
        return notes
    if pair.pooled_effect is not None and pair.pooled_effect * contrast.effect < 0:
        notes.append(message("note_pooling", scale=scale, pooled=pair.pooled_effect, effect=contrast.effect))
    if contrast.lift_lower is None and contrast.lift_upper is None:
        notes.append(message("note_lift_open", label=label))
    if first.comparison.method == "score" and pair.raw_control and pair.raw_treatment:
        c, t = pair.raw_control, pair.raw_treatment
        if c.n + t.n <= _BOSCHLOO_UNITS:
            p = boschloo_p_value(round(total_of(c, "y")), c.n, round(total_of(t, "y")), t.n)
            notes.append(message("note_boschloo", p=p, label=label))
    return notes


def _variance_reduction(by_epoch: ByEpoch) -> float | None:
    """Share of the variance that the covariate took away, over all arms and epochs; None without a covariate."""
    if not any("x" in m.components for arms in by_epoch.values() for m in arms.values()):
        return None
    raw = adjusted = 0.0
    for arms in by_epoch.values():
        before, after = arm_estimates(arms, adjust=False), arm_estimates(arms)
        raw += math.fsum(e.variance for e in before.values())
        adjusted += math.fsum(e.variance for e in after.values())
    return 1.0 - adjusted / raw if raw > adjusted else None
