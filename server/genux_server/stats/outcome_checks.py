"""Health of the outcomes: enough data, no single unit that drives a mean, nothing too good, no fading effect."""

import math
from collections.abc import Sequence

from genux.specs import MetricSpec
from genux_server.model import Check
from genux_server.stats.combine import pair_up
from genux_server.stats.compare import SHARE_KINDS
from genux_server.stats.distributions import DISTRIBUTION_KINDS
from genux_server.stats.frame import Frame, label_of, merge_cells, scale_of
from genux_server.stats.messages import message
from genux_server.stats.metric_report import Analysed
from genux_server.stats.moments import comoment, mean_of, merge, total_of

__all__ = ["MIN_CONVERSIONS", "MIN_UNITS", "little_data", "novelty", "outliers", "twyman"]

MIN_UNITS = 50
MIN_CONVERSIONS = 5
_LEVERAGE = 0.5
"""One unit that moves its arm's mean by half a standard error does more than honest data of thousands does."""
_SMALL_ARM, _SMALL_ARM_SHARE, _LARGE_ARM_SHARE = 1000, 0.10, 0.01
"""In a small arm any unit has leverage; there it must also hold a tenth of the arm's total."""
_TWYMAN_LIFT = 0.5
_NOVELTY_DAYS, _NOVELTY_Z = 7, 3.5


def little_data(frame: Frame, metric: MetricSpec) -> Check:
    """Whether the smallest arm has enough units and, for a share, enough conversions."""
    by_epoch = frame.moments(metric.key)
    arms = {key: merge(a[key] for a in by_epoch.values() if key in a) for key in frame.variants}
    smallest = min(m.n for m in arms.values())
    args: dict[str, str | float | None] = {"smallest": smallest, "metric": label_of(metric), "units": MIN_UNITS}
    counts = metric.kind in SHARE_KINDS
    conversions = min((total_of(m, "y") for m in arms.values()), default=0.0) if counts else math.inf
    if smallest >= MIN_UNITS and conversions >= MIN_CONVERSIONS:
        return Check(
            code="little_data", status="ok", value=smallest, threshold=MIN_UNITS, message=message("little_data_ok")
        )
    text = (
        message("little_data", args, conversions=conversions, needed=MIN_CONVERSIONS)
        if counts
        else message("little_data_mean", args)
    )
    return Check(
        code="little_data",
        status="warn",
        value=smallest,
        threshold=MIN_UNITS,
        message=text,
        advice=message("little_data_advice"),
    )


def outliers(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """Whether one unit drives a mean: its pull on the difference, beside the difference's standard error."""
    found = []
    for item in analysed:
        metric = item.metric
        if metric.kind not in {"mean", "count"}:
            continue
        driver = _driver(frame, item)
        found.append(
            driver
            or Check(code=f"outlier_{metric.key}", status="ok", message=message("outlier_ok", metric=label_of(metric)))
        )
    return found


def _driver(frame: Frame, item: Analysed) -> Check | None:
    metric = item.metric
    by_epoch = frame.moments(metric.key)
    worst: Check | None = None
    for outlier in frame.facts.outliers:
        if outlier.metric != metric.key or outlier.variant not in frame.labels:
            continue
        arm = merge(a[outlier.variant] for a in by_epoch.values() if outlier.variant in a)
        if arm.n < 3:
            continue
        distance = outlier.value - mean_of(arm, "y")
        pull = distance / (arm.n - 1)
        se = math.sqrt(max(0.0, comoment(arm, "y", "y") / (arm.n - 1) / arm.n))
        leverage = abs(pull) / se if se else 0.0
        if (
            leverage < 0.5
            or outlier.share < (0.1 if arm.n < 1000 else 0.01)
            or (worst and leverage <= (worst.value or 0))
        ):
            continue
        effect = _effect_for(frame, item, outlier.variant)
        if effect is None:
            continue
        shift = -pull if outlier.variant == frame.control else pull
        worst = Check(
            code=f"outlier_{metric.key}",
            status="warn",
            value=leverage,
            threshold=_LEVERAGE,
            message=message(
                "outlier_driver",
                scale=scale_of(metric),
                unit=outlier.unit_id,
                label=frame.labels[outlier.variant],
                value=outlier.value,
                metric=label_of(metric),
                share=outlier.share,
                shift=shift,
                effect=effect,
                without=effect - shift,
            ),
            advice=message("outlier_advice"),
        )
    return worst


def _effect_for(frame: Frame, item: Analysed, variant: str) -> float | None:
    treatment = frame.treatments[0] if variant == frame.control else variant
    return item.decided[treatment][-1].comparison.effect


def twyman(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """Twyman's law: any figure that looks interesting is usually wrong."""
    for item in analysed:
        for treatment, comparisons in item.decided.items():
            first = comparisons[0]
            lift, contrast = first.comparison.lift, first.contrast
            if contrast is None or lift is None or not contrast.significant or abs(lift) <= _TWYMAN_LIFT:
                continue
            text = message("twyman", metric=label_of(item.metric), lift=lift, label=frame.labels[treatment])
            return [
                Check(
                    code="twyman",
                    status="warn",
                    value=lift,
                    threshold=_TWYMAN_LIFT,
                    message=text,
                    advice=message("twyman_advice"),
                )
            ]
    return [Check(code="twyman", status="ok", threshold=_TWYMAN_LIFT, message=message("twyman_ok"))]


def novelty(frame: Frame, primary: Analysed) -> Check | None:
    """Weighted least-squares slope of the daily effects against the day of first exposure, over at least seven days."""
    # Of quantiles and durations a day's units are too few for a figure of their own.
    if frame.facts.one_look or primary.metric.kind in DISTRIBUTION_KINDS:
        return None
    for treatment in frame.treatments:
        points = _daily_effects(frame, primary.metric, treatment)
        if len(points) < _NOVELTY_DAYS:
            continue
        weights = [1.0 / variance for _, _, variance in points]
        whole = math.fsum(weights)
        centre = math.fsum(w * day for w, (day, _, _) in zip(weights, points, strict=True)) / whole
        spread = math.fsum(w * (day - centre) ** 2 for w, (day, _, _) in zip(weights, points, strict=True))
        slope = math.fsum(w * (day - centre) * e for w, (day, e, _) in zip(weights, points, strict=True)) / spread
        z = slope * math.sqrt(spread)
        if abs(z) > _NOVELTY_Z:
            text = message("novelty_trend", scale=scale_of(primary.metric), slope=slope)
            return Check(
                code="novelty",
                status="warn",
                value=z,
                threshold=_NOVELTY_Z,
                message=text,
                advice=message("novelty_advice"),
            )
    return Check(code="novelty", status="ok", threshold=_NOVELTY_Z, message=message("novelty_ok"))


def _daily_effects(frame: Frame, metric: MetricSpec, treatment: str) -> list[tuple[int, float, float]]:
    points = []
    for day in frame.days(metric.key):
        pair = pair_up(merge_cells(frame.cells(metric.key, day)), frame.control, treatment)
        c, t = pair.control, pair.treatment
        if c is None or t is None or min(c.n, t.n) < MIN_UNITS or c.variance + t.variance == 0.0:
            continue
        points.append((day.toordinal(), t.value - c.value, c.variance + t.variance))
    return points
