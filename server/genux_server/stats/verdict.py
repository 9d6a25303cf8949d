"""What to do: one verdict per treatment, the best of them for the experiment, with reasons and what would change it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from scipy import special

from genux_server.model import Check, Comparison, Message, Money, Verdict
from genux_server.stats.compare import Decided
from genux_server.stats.frame import Frame, label_of, scale_of
from genux_server.stats.messages import joined, message
from genux_server.stats.metric_report import Analysed

__all__ = ["Judgement", "judge"]

_PREFERENCE: Sequence[Verdict] = ("ship", "discuss", "extend", "collecting", "do_not_ship")
"""With several treatments the experiment's verdict is that of the one with most to offer."""

Args = dict[str, str | float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict in words."""

    verdict: Verdict
    headline: Message
    reasons: list[Message]
    change_mind: list[Message]


@dataclasses.dataclass(frozen=True, slots=True)
class _Case:
    """What is known of one treatment: its deciding comparison, the guardrails beside it, and how far the data goes."""

    treatment: str
    decided: Decided
    guardrails: list[tuple[Analysed, Decided]]
    money: Money | None
    final: bool
    running: bool
    beside: Sequence[Decided] = ()

    def guardrails_in(self, state: str) -> list[tuple[Analysed, Decided]]:
        return [(item, d) for item, d in self.guardrails if d.comparison.guardrail == state]


def judge(frame: Frame, analysed: Sequence[Analysed], checks: Sequence[Check], money: Sequence[Money]) -> Judgement:
    """The experiment's verdict.

    Order: nothing to read; unsound (invalid); then each treatment by itself, the one with most to offer leading.
    """
    status = {check.code: check for check in checks}
    n_units = sum(frame.units.values())
    if n_units == 0:
        return Judgement("collecting", message("headline_nothing"), [], [])
    if status["srm"].status == "fail":
        headline = message("headline_invalid_split", counts=str(status["srm"].message.args["counts"]))
        reasons = [message("reason_split_broken"), status["srm"].message]
        return Judgement("invalid", headline, reasons, [message("change_split")])
    if status["multi_variant"].status == "fail":
        headline = message("headline_invalid_mixed", share=status["multi_variant"].value)
        return Judgement("invalid", headline, [status["multi_variant"].message], [message("multi_advice")])
    if not analysed:
        return Judgement("collecting", message("headline_no_metric", n=n_units), [], [])
    primary, by_variant = analysed[0], {entry.variant: entry for entry in money}
    cases = [_case(frame, analysed, treatment, by_variant) for treatment in frame.treatments]
    judged = [(case, _judge_one(frame, primary, case, status)) for case in cases]
    judged.sort(key=lambda pair: (_PREFERENCE.index(pair[1].verdict), -_gain(primary, pair[0])))
    best_case, best = judged[0]
    reasons = [reason for case, _ in judged for reason in _reasons(frame, primary, case)]
    reasons += _shared_reasons(frame, primary, best_case, status)
    extras = _extras(frame, primary, best_case) if best.verdict in {"ship", "discuss", "do_not_ship"} else []
    return Judgement(best.verdict, joined(best.headline, extras), reasons, best.change_mind)


def _case(frame: Frame, analysed: Sequence[Analysed], treatment: str, money: Mapping[str, Money]) -> _Case:
    decided = analysed[0].decided[treatment][0]
    plan = frame.facts.experiment.plan
    matured = _matured(frame, analysed[0])
    if decided.comparison.validity == "fixed":
        final = plan.horizon_units > 0 and matured >= plan.horizon_units
    else:
        final = decided.look is not None and decided.look.fraction >= 1.0
    return _Case(
        treatment,
        decided,
        [(item, item.decided[treatment][0]) for item in analysed if item.report.role == "guardrail"],
        money.get(treatment),
        final,
        running=not frame.facts.one_look and plan.horizon_units > 0 and not final,
        beside=analysed[0].decided[treatment][1:],
    )


def _matured(frame: Frame, primary: Analysed) -> int:
    return sum(cell.moments.n for cell in frame.cells(primary.metric.key))


def _gain(primary: Analysed, case: _Case) -> float:
    effect = case.decided.comparison.effect or 0.0
    return effect if primary.metric.direction == "increase" else -effect


def _result(frame: Frame, primary: Analysed, treatment: str, comparison: Comparison) -> Args:
    return {
        "label": frame.labels[treatment],
        "metric": label_of(primary.metric),
        "effect": comparison.effect,
        "lower": comparison.effect_ci_lower,
        "upper": comparison.effect_ci_upper,
        "confidence": comparison.level,
        "p": comparison.p_value,
    }


def _judge_one(frame: Frame, primary: Analysed, case: _Case, status: Mapping[str, Check]) -> Judgement:
    comparison = case.decided.comparison
    scale = scale_of(primary.metric)
    args = _result(frame, primary, case.treatment, comparison)

    def say(verdict: Verdict, code: str, change: list[Message]) -> Judgement:
        return Judgement(verdict, message(code, args, scale=scale), [], change)

    if harmed := case.guardrails_in("harmed"):
        item, d = harmed[0]
        headline = message("headline_guardrail", _harm(frame, item, d, case.treatment), scale=scale_of(item.metric))
        return Judgement("do_not_ship", headline, [], [])
    if comparison.not_computable is not None:
        return _no_result(frame, primary, case, comparison.not_computable)
    more = _more_units(frame, primary, case)
    if status["little_data"].status != "ok":
        smallest = status["little_data"].value
        headline = message("headline_collecting_few", metric=label_of(primary.metric), smallest=smallest)
        return Judgement("collecting", headline, [], more)
    if comparison.beats_control is False:
        return say(
            "do_not_ship", "headline_worse", [message("change_always_valid")] if not frame.facts.one_look else []
        )
    if comparison.beats_control and (comparison.p_adjusted or 0.0) < frame.alpha:
        if status["srm"].status == "warn":
            return say("discuss", "headline_discuss_split", [message("change_split")])
        if open_guardrails := case.guardrails_in("unclear"):
            item = open_guardrails[0][0]
            args["guardrail"] = label_of(item.metric)
            verdict: Verdict = "discuss" if case.final or frame.facts.one_look else "extend"
            return say(verdict, "headline_discuss_guardrail", more)
        return say("ship", "headline_ship", [_tolerance(item) for item, _ in case.guardrails])
    if case.running:
        return _collecting_plan(frame, primary, case, args)
    if case.final:
        if case.money and case.money.saving_per_1000_ci_lower is not None and case.money.saving_per_1000_ci_lower > 0:
            return say("discuss", "headline_discuss_cheaper", [])
        return say("do_not_ship", "headline_no_gain", [])
    return say("extend", "headline_extend", more)


def _harm(frame: Frame, item: Analysed, decided: Decided, treatment: str) -> Args:
    c = decided.comparison
    return {
        "label": frame.labels[treatment],
        "guardrail": label_of(item.metric),
        "harm": c.effect,
        "harm_lower": c.effect_ci_lower,
        "harm_upper": c.effect_ci_upper,
        "confidence": c.level,
    }


def _no_result(frame: Frame, primary: Analysed, case: _Case, why: Message) -> Judgement:
    if why.code == "before_first_look":
        always = next((d.comparison for d in case.beside if d.comparison.effect is not None), None)
        if always is not None:
            return _collecting_plan(frame, primary, case, _result(frame, primary, case.treatment, always))
    headline = message(
        "headline_not_computable", metric=label_of(primary.metric), label=frame.labels[case.treatment], why=why.text
    )
    return Judgement("collecting", headline, [], [])


def _collecting_plan(frame: Frame, primary: Analysed, case: _Case, args: Args) -> Judgement:
    horizon = frame.facts.experiment.plan.horizon_units
    headline = message(
        "headline_collecting_plan",
        {name: args[name] for name in ("label", "effect", "metric")},
        scale=scale_of(primary.metric),
        matured=_matured(frame, primary),
        horizon=horizon,
    )
    return Judgement("collecting", headline, [], [message("change_plan", horizon=horizon)])


def _tolerance(item: Analysed) -> Message:
    return message("change_guardrail", guardrail=label_of(item.metric), margin=_margin(item))


def _margin(item: Analysed) -> str:
    metric = item.metric
    if metric.margin is None:
        return "nothing"
    from genux_server.stats.wording import scaled

    return (
        f"{100.0 * metric.margin:.3g} %"
        if metric.margin_relative
        else scaled(metric.margin, scale_of(metric), bare=True)
    )


def _more_units(frame: Frame, primary: Analysed, case: _Case) -> list[Message]:
    """How many more units would settle the smallest effect that matters (the plan's, else the one seen so far)."""
    contrast = case.decided.contrast
    plan = frame.facts.experiment.plan
    if contrast is None or contrast.se == 0.0:
        return []
    target = plan.minimum_effect or abs(contrast.effect)
    if target == 0.0:
        return []
    n = _matured(frame, primary)
    reach = (contrast.critical + float(special.ndtri(plan.power))) * contrast.se
    needed = n * (reach / target) ** 2 - n
    if not 0.0 < needed < 1e12:
        return []
    units = float(f"{math.ceil(needed):.2g}")
    return [message("change_more_units", scale=scale_of(primary.metric), units=units, effect=target)]


def _reasons(frame: Frame, primary: Analysed, case: _Case) -> list[Message]:
    comparison = case.decided.comparison
    scale = scale_of(primary.metric)
    label = frame.labels[case.treatment]
    if comparison.not_computable is not None:
        why = comparison.not_computable.text
        reasons = [message("reason_not_computable", metric=label_of(primary.metric), label=label, why=why)]
    else:
        code = {True: "reason_better", False: "reason_worse", None: "reason_unclear"}[comparison.beats_control]
        reasons = [message(code, _result(frame, primary, case.treatment, comparison), scale=scale)]
    if comparison.p_adjusted is not None:
        n = len(frame.treatments)
        reasons.append(message("reason_adjusted", comparisons=n, p=comparison.p_adjusted, label=label))
    for item, decided in case.guardrails:
        args: Args = {"guardrail": label_of(item.metric), "label": label}
        match decided.comparison.guardrail:
            case "safe":
                reasons.append(message("reason_guardrail_safe", args, margin=_margin(item)))
            case "harmed":
                harm = _harm(frame, item, decided, case.treatment)
                reasons.append(message("reason_guardrail_harmed", harm, scale=scale_of(item.metric)))
            case "quiet":
                reasons.append(message("reason_guardrail_quiet", args))
            case _:
                reasons.append(message("reason_guardrail_unclear", args, margin=_margin(item)))
    return reasons


def _shared_reasons(frame: Frame, primary: Analysed, case: _Case, status: Mapping[str, Check]) -> list[Message]:
    reasons = []
    if status["srm"].status == "warn":
        reasons.append(message("reason_split_odd"))
    if status["little_data"].status != "ok":
        reasons.append(status["little_data"].message)
    if case.running:
        horizon, matured = frame.facts.experiment.plan.horizon_units, _matured(frame, primary)
        reasons.append(
            message("reason_plan_open", horizon=horizon, matured=matured, fraction=min(1.0, matured / horizon))
        )
    return reasons


def _extras(frame: Frame, primary: Analysed, case: _Case) -> list[Message]:
    """Cost and latency, the two questions that follow every verdict."""
    parts = []
    money = case.money
    if money is not None and money.cost_per_unit_usd is not None:
        event = event_of(primary)
        better = case.decided.comparison.beats_control
        if better and money.cost_per_incremental_ci_lower is not None and (money.cost_difference_ci_lower or 0.0) > 0.0:
            parts.append(
                message(
                    "part_cost",
                    value=money.cost_per_incremental_usd,
                    lower=money.cost_per_incremental_ci_lower,
                    upper=money.cost_per_incremental_ci_upper,
                    event=event,
                )
            )
        elif money.saving_per_1000_ci_lower is not None and money.saving_per_1000_ci_lower > 0.0:
            parts.append(
                message(
                    "part_saving",
                    value=money.saving_per_1000_usd,
                    lower=money.saving_per_1000_ci_lower,
                    upper=money.saving_per_1000_ci_upper,
                )
            )
    calls = {entry.variant: entry.latency_seconds.p95 for entry in frame.facts.calls}
    treatment, control = calls.get(case.treatment), calls.get(frame.control)
    if treatment is not None and control is not None:
        parts.append(message("part_latency", treatment=treatment, control=control))
    return parts


def event_of(primary: Analysed) -> str:
    """What one more of the primary metric is called."""
    if primary.metric.kind in {"proportion", "retention"}:
        return "conversion"
    return primary.metric.unit or label_of(primary.metric)
