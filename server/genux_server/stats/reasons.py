"""Why a verdict: the evidence in sentences, the units still needed, and what it costs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from scipy import special

from genux.specs import MetricSpec
from genux_server.model import Check, Comparison, Message, Money
from genux_server.stats.compare import SHARE_KINDS, Decided
from genux_server.stats.frame import Frame, label_of, scale_of
from genux_server.stats.guardrails import none_seen_bound
from genux_server.stats.messages import message
from genux_server.stats.metric_report import Analysed
from genux_server.stats.wording import scaled

__all__ = [
    "Case",
    "MessageArgs",
    "event_of",
    "extras",
    "harm_args",
    "is_latency",
    "margin_text",
    "more_units",
    "reasons",
    "result_args",
    "shared_reasons",
]

MessageArgs = dict[str, str | float | None]

_LATENCY = "latency_seconds"
_FAR = 50.0
"""Beyond this many times the units at hand, "so many more units" is no advice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What is known of one treatment.

    Attributes:
        treatment: its key.
        decided: the comparison on the primary metric that decides.
        beside: the other comparisons on the primary metric.
        guardrails: each guardrail with its deciding comparison.
        latency: the metric, other than the primary, that says whether calls became slower; None without one.
        money: what it costs, where known.
        matured: units, over all arms, whose conversion window on the primary metric has closed.
        final: the planned units are in and the last look has been taken.
    """

    treatment: str
    decided: Decided
    beside: Sequence[Decided]
    guardrails: Sequence[tuple[Analysed, Decided]]
    latency: tuple[Analysed, Decided] | None
    money: Money | None
    matured: int
    final: bool

    def guardrails_in(self, state: str) -> list[tuple[Analysed, Decided]]:
        """Guardrails in one state."""
        return [(item, decided) for item, decided in self.guardrails if decided.comparison.guardrail == state]


def result_args(frame: Frame, primary: Analysed, comparison: Comparison) -> MessageArgs:
    """Arguments of a sentence about a treatment's result on the primary metric."""
    return {
        "label": frame.labels[comparison.variant],
        "metric": label_of(primary.metric),
        "effect": comparison.effect,
        "lower": comparison.effect_ci_lower,
        "upper": comparison.effect_ci_upper,
        "confidence": comparison.level,
        "p": comparison.p_value,
    }


def harm_args(frame: Frame, item: Analysed, comparison: Comparison) -> MessageArgs:
    """Arguments of a sentence about harm to a guardrail."""
    return {
        "label": frame.labels[comparison.variant],
        "guardrail": label_of(item.metric),
        "harm": comparison.effect,
        "harm_lower": comparison.effect_ci_lower,
        "harm_upper": comparison.effect_ci_upper,
        "confidence": comparison.level,
    }


def margin_text(metric: MetricSpec) -> str:
    """A guardrail's margin as people wrote it; empty without one."""
    if metric.margin is None:
        return ""
    if metric.margin_relative:
        return f"{100.0 * metric.margin:.3g} %"
    if scale_of(metric) == "number":
        return f"{metric.margin:,.10g}"
    # A margin of a share is a distance: points, not percent.
    points = " points" if metric.kind in SHARE_KINDS else ""
    return scaled(metric.margin, scale_of(metric), bare=bool(points)) + points


def reasons(frame: Frame, primary: Analysed, case: Case) -> list[Message]:
    """The evidence on one treatment: primary metric, correction for several treatments, guardrails."""
    comparison = case.decided.comparison
    label = frame.labels[case.treatment]
    if comparison.not_computable is not None:
        why = comparison.not_computable.text
        found = [message("reason_not_computable", metric=label_of(primary.metric), label=label, why=why)]
    else:
        code = {True: "reason_better", False: "reason_worse", None: "reason_unclear"}[comparison.beats_control]
        found = [message(code, result_args(frame, primary, comparison), scale=scale_of(primary.metric))]
    if comparison.p_adjusted is not None:
        n = len(frame.treatments)
        found.append(message("reason_adjusted", comparisons=n, p=comparison.p_adjusted, label=label))
    return found + [_guardrail_reason(frame, item, decided.comparison) for item, decided in case.guardrails]


def _guardrail_reason(frame: Frame, item: Analysed, comparison: Comparison) -> Message:
    if comparison.guardrail == "harmed":
        return message("reason_guardrail_harmed", harm_args(frame, item, comparison), scale=scale_of(item.metric))
    args: MessageArgs = {"guardrail": label_of(item.metric), "label": frame.labels[comparison.variant]}
    bound = none_seen_bound(frame, item.metric, comparison.variant)
    if bound is not None:
        code = {"safe": "reason_guardrail_none", "unclear": "reason_guardrail_none_open"}.get(
            comparison.guardrail, "reason_guardrail_none_quiet"
        )
        return message(code, args, bound=bound, confidence=1.0 - frame.alpha, margin=margin_text(item.metric))
    if comparison.not_computable is not None:
        args = {"metric": args["guardrail"], "label": args["label"], "why": comparison.not_computable.text}
        return message("reason_not_computable", args)
    return message(f"reason_guardrail_{comparison.guardrail}", args, margin=margin_text(item.metric))


def shared_reasons(frame: Frame, status: Mapping[str, Check], case: Case, *, collecting: bool) -> list[Message]:
    """What holds for the experiment as a whole."""
    found = []
    if status["srm"].status == "warn":
        found.append(message("reason_split_odd"))
    if status["little_data"].status != "ok":
        found.append(status["little_data"].message)
    horizon = frame.facts.experiment.plan.horizon_units
    if collecting and horizon:
        fraction = min(1.0, case.matured / horizon)
        found.append(message("reason_plan_open", horizon=horizon, matured=case.matured, fraction=fraction))
    return found


def more_units(frame: Frame, primary: Analysed, case: Case) -> list[Message]:
    """How many more units would settle the smallest effect that matters (the plan's, else the one seen so far)."""
    contrast, plan = case.decided.contrast, frame.facts.experiment.plan
    if contrast is None or contrast.se == 0.0:
        return []
    target = plan.minimum_effect or abs(contrast.effect)
    reach = (contrast.critical + float(special.ndtri(plan.power))) * contrast.se
    factor = (reach / target) ** 2 - 1.0 if target else math.inf
    if factor <= 0.0:
        return []
    if factor > _FAR and not plan.minimum_effect:
        return [message("change_name_effect")]
    units = float(f"{case.matured * factor:.2g}")
    return [message("change_more_units", scale=scale_of(primary.metric), units=units, target=target)]


def extras(frame: Frame, primary: Analysed, case: Case) -> list[Message]:
    """Cost and latency, the two questions that follow every verdict.

    Only a metric of latency says whether it changed; without one the two figures stand side by side.
    """
    parts = _cost(primary, case)
    if case.latency is not None and case.latency[1].contrast is not None:
        return [*parts, _latency(frame, *case.latency)]
    p95 = {entry.variant: entry.latency_seconds.p95 for entry in frame.facts.calls}
    treatment, control = p95.get(case.treatment), p95.get(frame.control)
    if treatment is not None and control is not None:
        parts.append(message("part_latency", treatment=treatment, control=control))
    return parts


def is_latency(metric: MetricSpec) -> bool:
    """Whether the metric is a quantile of the calls' latency."""
    return metric.kind == "quantile" and metric.numerator.source == "call" and metric.numerator.field == _LATENCY


def _latency(frame: Frame, item: Analysed, decided: Decided) -> Message:
    comparison = decided.comparison
    code = "part_latency_open"
    if comparison.beats_control is not None:
        code = "part_latency_changed"
    elif comparison.guardrail == "safe":
        code = "part_latency_held"
    args = result_args(frame, item, comparison)
    return message(code, args, scale=scale_of(item.metric), margin=margin_text(item.metric))


def _cost(primary: Analysed, case: Case) -> list[Message]:
    money = case.money
    if money is None:
        return []
    low, high = money.cost_per_incremental_ci_lower, money.cost_per_incremental_ci_upper
    dearer = money.cost_difference_ci_lower is not None and money.cost_difference_ci_lower > 0.0
    if case.decided.comparison.beats_control and dearer and low is not None and high is not None:
        value = money.cost_per_incremental_usd
        return [message("part_cost", value=value, lower=low, upper=high, event=event_of(primary.metric))]
    if money.saving_per_1000_ci_lower is not None and money.saving_per_1000_ci_lower > 0.0:
        bounds = {"lower": money.saving_per_1000_ci_lower, "upper": money.saving_per_1000_ci_upper}
        return [message("part_saving", bounds, value=money.saving_per_1000_usd)]
    return []


def event_of(metric: MetricSpec) -> str:
    """What one more of the primary metric is called."""
    return "conversion" if metric.kind in SHARE_KINDS else metric.unit or label_of(metric)
