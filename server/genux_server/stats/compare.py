"""One treatment against control on one metric, in every validity that applies."""

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from typing import Literal

from genux.specs import MetricSpec
from genux_server.model import Comparison, Message
from genux_server.stats.combine import EstimatesByEpoch, Pair, is_binary, pair_up
from genux_server.stats.contrast import Contrast
from genux_server.stats.distributions import DISTRIBUTION_KINDS, distribution_estimates, why_no_distribution
from genux_server.stats.estimates import Estimate
from genux_server.stats.frame import Frame
from genux_server.stats.groupseq import boundaries, planned
from genux_server.stats.looks import DayCount, Look, looks_so_far
from genux_server.stats.means import welch
from genux_server.stats.messages import message
from genux_server.stats.moments import mean_of, total_of
from genux_server.stats.proportions import score_contrast
from genux_server.stats.sequential import always_valid, tuning

__all__ = [
    "SHARE_KINDS",
    "Decided",
    "always_comparison",
    "compare",
    "estimates_of",
    "within_range",
]

SHARE_KINDS = frozenset({"proportion", "retention"})
"""Kinds whose figure is a share of units."""

_FIXED_METHODS: Mapping[str, str] = {
    "ratio": "delta_fieller",
    "quantile": "clustered_quantile",
    "duration": "restricted_mean",
}

Validity = Literal["fixed", "always", "planned"]


@dataclasses.dataclass(frozen=True, slots=True)
class Decided:
    """A comparison with the contrast it was written from; the first of a list is the one that decides."""

    comparison: Comparison
    contrast: Contrast | None
    pair: Pair
    look: Look | None = None
    look_number: int = 0

    def with_comparison(self, comparison: Comparison) -> "Decided":
        """The same, with the comparison said anew."""
        return dataclasses.replace(self, comparison=comparison)


def compare(frame: Frame, metric: MetricSpec, treatment: str) -> list[Decided]:
    """All comparisons of a treatment with control, the one that decides first.

    One look: the fixed test alone. Else the planned test (primary with a horizon), the confidence sequence, and the
    fixed test beside them.
    """
    pair = _pair(frame, metric, treatment)
    fixed = _fixed(frame, metric, treatment, pair)
    if frame.facts.one_look:
        return [fixed]
    always = _always(frame, metric, treatment, pair)
    if metric is frame.primary and frame.facts.experiment.plan.horizon_units:
        return [_planned(frame, metric, treatment), always, fixed]
    return [always, fixed]


def estimates_of(frame: Frame, metric: MetricSpec, until: dt.date | None = None) -> EstimatesByEpoch | None:
    """Each arm's figure by epoch where the moments do not give it; else None.

    Args:
        frame: the experiment.
        metric: whose figures.
        until: last day of first exposure that counts; None for all.
    """
    if metric.kind not in DISTRIBUTION_KINDS:
        return None
    return distribution_estimates(metric, frame.cells_until(metric.key, until), frame.moments(metric.key, until))


def _pair(frame: Frame, metric: MetricSpec, treatment: str, until: dt.date | None = None) -> Pair:
    return pair_up(frame.moments(metric.key, until), frame.control, treatment, estimates_of(frame, metric, until))


def _fixed(frame: Frame, metric: MetricSpec, treatment: str, pair: Pair) -> Decided:
    c, t = pair.raw_control, pair.raw_treatment
    if c is not None and t is not None and metric.kind in SHARE_KINDS and is_binary(c) and is_binary(t):
        contrast = score_contrast(total_of(c, "y"), c.n, total_of(t, "y"), t.n, frame.alpha)
        return _decided(frame, metric, treatment, "fixed", "score", contrast, pair)
    method = _FIXED_METHODS.get(metric.kind, "welch_fieller")
    contrast = welch(pair.control, pair.treatment, frame.alpha) if pair.control and pair.treatment else None
    return _decided(frame, metric, treatment, "fixed", method, contrast, pair)


def always_comparison(frame: Frame, treatment: str, control: Estimate, arm: Estimate) -> Contrast | None:
    """Two arms by the confidence sequence tuned to the experiment's plan."""
    rho2 = tuning(frame.tuned_units(treatment), frame.alpha)
    return always_valid(control, arm, rho2, frame.alpha)


def _always(frame: Frame, metric: MetricSpec, treatment: str, pair: Pair) -> Decided:
    contrast = (
        always_comparison(frame, treatment, pair.control, pair.treatment) if pair.control and pair.treatment else None
    )
    return _decided(frame, metric, treatment, "always", "confidence_sequence", contrast, pair)


def _planned_looks(frame: Frame, metric: MetricSpec) -> list[Look]:
    """The looks of the plan that have taken place, from the metric's own days."""
    plan = frame.facts.experiment.plan
    if frame.facts.one_look or not plan.horizon_units:
        return []
    days = [
        DayCount(
            day,
            sum(cell.moments.n for cell in frame.cells(metric.key, day)),
            sum(cell.pending for cell in frame.cells(metric.key, day)),
        )
        for day in frame.days(metric.key)
    ]
    today = frame.facts.as_of.astimezone(dt.UTC).date()
    return looks_so_far(days, plan.horizon_units, plan.looks, today)


def _planned(frame: Frame, metric: MetricSpec, treatment: str) -> Decided:
    """The latest look at which the boundary is crossed, else the latest look.

    Repeated confidence intervals hold at all looks together, so a later look may sharpen an earlier crossing, and none
    can undo it.
    """
    plan = frame.facts.experiment.plan
    looks = _planned_looks(frame, metric)
    if not looks:
        matured = sum(cell.moments.n for cell in frame.cells(metric.key))
        reason = message("before_first_look", units=-(-plan.horizon_units // plan.looks), matured=matured)
        return _refused(frame, treatment, "planned", "group_sequential", reason, Pair(None, None, 0))
    fractions = tuple(look.fraction for look in looks)
    chosen = len(looks)
    for number, bound in reversed(list(enumerate(boundaries(fractions, frame.alpha), 1))):
        if _crossed(_pair(frame, metric, treatment, looks[number - 1].day), bound):
            chosen = number
            break
    look = looks[chosen - 1]
    pair = _pair(frame, metric, treatment, look.day)
    contrast = None
    if pair.control and pair.treatment:
        contrast = planned(pair.control, pair.treatment, fractions[:chosen], frame.alpha)
    decided = _decided(frame, metric, treatment, "planned", "group_sequential", contrast, pair)
    return dataclasses.replace(decided, look=look, look_number=chosen)


def _crossed(pair: Pair, bound: float) -> bool:
    if pair.control is None or pair.treatment is None:
        return False
    reach = bound * math.sqrt(pair.control.variance + pair.treatment.variance)
    return reach > 0.0 and abs(pair.treatment.value - pair.control.value) > reach


def within_range(metric: MetricSpec, lower: float, upper: float) -> tuple[float, float]:
    """An interval of a difference of shares, cut to -1 and 1, beyond which there is nothing."""
    if metric.kind in SHARE_KINDS:
        return max(-1.0, lower), min(1.0, upper)
    return lower, upper


def _decided(
    frame: Frame,
    metric: MetricSpec,
    treatment: str,
    validity: Validity,
    method: str,
    contrast: Contrast | None,
    pair: Pair,
) -> Decided:
    if contrast is None:
        return _refused(frame, treatment, validity, method, _why(frame, metric, treatment, pair), pair)
    lower, upper = within_range(metric, contrast.lower, contrast.upper)
    better = (contrast.effect > 0) == (metric.direction == "increase")
    comparison = Comparison(
        variant=treatment,
        control=frame.control,
        validity=validity,
        method=method,
        level=1.0 - frame.alpha,
        effect=contrast.effect,
        se=contrast.se,
        effect_ci_lower=lower,
        effect_ci_upper=upper,
        lift=contrast.lift,
        lift_ci_lower=contrast.lift_lower,
        lift_ci_upper=contrast.lift_upper,
        statistic=contrast.statistic,
        p_value=contrast.p_value,
        beats_control=better if contrast.significant else None,
    )
    return Decided(comparison, contrast, pair)


def _refused(frame: Frame, treatment: str, validity: Validity, method: str, reason: Message, pair: Pair) -> Decided:
    comparison = Comparison(
        variant=treatment,
        control=frame.control,
        validity=validity,
        method=method,
        level=1.0 - frame.alpha,
        not_computable=reason,
    )
    return Decided(comparison, None, pair)


def _why(frame: Frame, metric: MetricSpec, treatment: str, pair: Pair) -> Message:
    if pair.control is None or pair.treatment is None:
        return _why_no_estimate(frame, metric, treatment)
    if metric.kind in SHARE_KINDS and pair.control.value == pair.treatment.value:
        return message("all_converted" if pair.control.value else "no_conversions")
    if metric.kind == "duration" and pair.control.value == pair.treatment.value == metric.window_seconds:
        return message("no_conversions")
    return message("no_variation")


def _why_no_estimate(frame: Frame, metric: MetricSpec, treatment: str) -> Message:
    by_epoch = frame.moments(metric.key).values()
    both = [[arms[key] for key in (frame.control, treatment) if key in arms] for arms in by_epoch]
    shared = [pair for pair in both if len(pair) == 2 and min(arm.n for arm in pair) >= 2]
    if not shared:
        n_control, n_treatment = (sum(arms[k].n for arms in by_epoch if k in arms) for k in (frame.control, treatment))
        if min(n_control, n_treatment) < 2:
            return message("too_few_units", control=n_control, treatment=n_treatment)
        return message("no_common_epoch")
    if metric.kind in DISTRIBUTION_KINDS:
        arms = [[c for c in frame.cells(metric.key) if c.variant == key] for key in (frame.control, treatment)]
        return why_no_distribution(metric, arms)
    if any("d" in arm.components and mean_of(arm, "d") == 0.0 for pair in shared for arm in pair):
        return message("no_denominator")
    return message("not_finite")
