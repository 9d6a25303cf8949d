"""What to do: one verdict per treatment, the best of them for the experiment, with reasons and what would change it."""

import dataclasses
from collections.abc import Mapping, Sequence

from genux_server.model import Check, Message, Money, Verdict
from genux_server.stats.frame import Frame, label_of, scale_of
from genux_server.stats.messages import joined, message
from genux_server.stats.metric_report import Analysed
from genux_server.stats.reasons import (
    Case,
    MessageArgs,
    extras,
    harm_args,
    is_latency,
    margin_text,
    more_units,
    reasons,
    result_args,
    shared_reasons,
)

__all__ = ["Judgement", "judge"]

_PREFERENCE: Sequence[Verdict] = ("ship", "discuss", "extend", "collecting", "do_not_ship")
"""With several treatments the experiment's verdict is that of the one with most to offer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict in words."""

    verdict: Verdict
    headline: Message
    reasons: list[Message]
    change_mind: list[Message]


def judge(frame: Frame, analysed: Sequence[Analysed], checks: Sequence[Check], money: Sequence[Money]) -> Judgement:
    """The experiment's verdict.

    Nothing to read comes first, then an unsound experiment (invalid), then each treatment by itself. An odd but not
    broken split forbids `ship` and leaves `do_not_ship`: keeping what runs today needs less proof than changing it.
    """
    status = {check.code: check for check in checks}
    unreadable = _unreadable(frame, analysed, status)
    if unreadable is not None:
        return unreadable
    primary, by_variant = analysed[0], {entry.variant: entry for entry in money}
    cases = [_case(frame, analysed, treatment, by_variant.get(treatment)) for treatment in frame.treatments]
    judged = [(case, _Judge(frame, primary, case, status).verdict()) for case in cases]
    judged.sort(key=lambda pair: (_PREFERENCE.index(pair[1].verdict), -_gain(primary, pair[0])))
    best_case, best = judged[0]
    evidence = [reason for case, _ in judged for reason in reasons(frame, primary, case)]
    evidence += shared_reasons(frame, status, best_case, collecting=best.verdict in {"collecting", "extend"})
    parts = extras(frame, primary, best_case) if best.verdict in {"ship", "discuss", "do_not_ship"} else []
    if status["srm"].status == "warn" and best.verdict == "do_not_ship":
        parts.insert(0, message("part_split"))
    return Judgement(best.verdict, joined(best.headline, parts), evidence, best.change_mind)


def _unreadable(frame: Frame, analysed: Sequence[Analysed], status: Mapping[str, Check]) -> Judgement | None:
    n_units = sum(frame.units.values())
    split, mixed = status["srm"], status["multi_variant"]
    if n_units == 0:
        return Judgement("collecting", message("headline_nothing"), [], [])
    if split.status == "fail":
        headline = message("headline_invalid_split", counts=str(split.message.args["counts"]))
        return Judgement(
            "invalid", headline, [message("reason_split_broken"), split.message], [message("change_split")]
        )
    if mixed.status == "fail":
        headline = message("headline_invalid_mixed", share=mixed.value)
        return Judgement("invalid", headline, [mixed.message], [message("multi_advice")])
    if not analysed:
        return Judgement("collecting", message("headline_no_metric", n=n_units), [], [])
    return None


def _case(frame: Frame, analysed: Sequence[Analysed], treatment: str, money: Money | None) -> Case:
    decided, *beside = analysed[0].decided[treatment]
    horizon = frame.facts.experiment.plan.horizon_units
    matured = sum(cell.moments.n for cell in frame.cells(analysed[0].metric.key))
    if frame.facts.one_look:
        final = 0 < horizon <= matured
    else:
        final = decided.look is not None and decided.look.fraction >= 1.0
    guardrails = [(item, item.decided[treatment][0]) for item in analysed if item.report.role == "guardrail"]
    latency = next(((i, i.decided[treatment][0]) for i in analysed[1:] if is_latency(i.metric)), None)
    return Case(treatment, decided, beside, guardrails, latency, money, matured, final)


def _gain(primary: Analysed, case: Case) -> float:
    effect = case.decided.comparison.effect or 0.0
    return effect if primary.metric.direction == "increase" else -effect


class _Judge:
    """One treatment's verdict."""

    def __init__(self, frame: Frame, primary: Analysed, case: Case, status: Mapping[str, Check]) -> None:
        self._frame = frame
        self._primary = primary
        self._case = case
        self._status = status
        self._comparison = case.decided.comparison

    def verdict(self) -> Judgement:
        comparison = self._comparison
        if comparison.not_computable is not None:
            return self._no_result(comparison.not_computable)
        if self._status["little_data"].status != "ok":
            args: MessageArgs = {
                "metric": label_of(self._primary.metric),
                "smallest": self._status["little_data"].value,
            }
            return Judgement("collecting", message("headline_collecting_few", args), [], self._more())
        if harmed := self._case.guardrails_in("harmed"):
            item, decided = harmed[0]
            args = harm_args(self._frame, item, decided.comparison)
            return Judgement("do_not_ship", message("headline_guardrail", args, scale=scale_of(item.metric)), [], [])
        if comparison.beats_control is False:
            sure = [] if comparison.validity == "fixed" else [message("change_new_evidence")]
            return self._say("do_not_ship", "headline_worse", sure)
        if comparison.beats_control and (comparison.p_adjusted or 0.0) < self._frame.alpha:
            return self._better()
        return self._undecided()

    def _say(self, verdict: Verdict, code: str, change: list[Message], **more: str) -> Judgement:
        args = result_args(self._frame, self._primary, self._comparison)
        return Judgement(verdict, message(code, args, scale=scale_of(self._primary.metric), **more), [], change)

    def _more(self) -> list[Message]:
        return more_units(self._frame, self._primary, self._case)

    def _better(self) -> Judgement:
        if self._status["srm"].status == "warn":
            return self._say("discuss", "headline_discuss_split", [message("change_split")])
        if unclear := self._case.guardrails_in("unclear"):
            item, decided = unclear[0]
            guardrail = label_of(item.metric)
            # More units settle an open margin; they do not make a guardrail computable, nor a finished plan longer.
            ended = self._case.final or self._frame.facts.one_look or decided.comparison.not_computable is not None
            change = [message("change_guardrail_settled", guardrail=guardrail)]
            if ended:
                return self._say("discuss", "headline_discuss_guardrail", change, guardrail=guardrail)
            return self._say("extend", "headline_extend_guardrail", change, guardrail=guardrail)
        change = [
            message("change_guardrail", guardrail=label_of(item.metric), margin=margin_text(item.metric))
            for item, _ in self._case.guardrails_in("safe")
        ]
        return self._say("ship", "headline_ship", change)

    def _undecided(self) -> Judgement:
        planned = self._frame.facts.experiment.plan.horizon_units > 0
        money = self._case.money
        if self._case.final:
            if money and money.saving_per_1000_ci_lower is not None and money.saving_per_1000_ci_lower > 0.0:
                return self._say("discuss", "headline_discuss_cheaper", [])
            return self._say("do_not_ship", "headline_no_gain", [])
        if planned and not self._frame.facts.one_look:
            return self._collecting(self._comparison.effect)
        return self._say("extend", "headline_extend", self._more())

    def _no_result(self, why: Message) -> Judgement:
        seen = next((d.comparison.effect for d in self._case.beside if d.comparison.effect is not None), None)
        if why.code == "before_first_look" and seen is not None:
            return self._collecting(seen)
        args: MessageArgs = {"metric": label_of(self._primary.metric), "why": why.text}
        headline = message("headline_not_computable", args, label=self._frame.labels[self._case.treatment])
        return Judgement("collecting", headline, [], [])

    def _collecting(self, effect: float | None) -> Judgement:
        horizon = self._frame.facts.experiment.plan.horizon_units
        args: MessageArgs = {
            "label": self._frame.labels[self._case.treatment],
            "metric": label_of(self._primary.metric),
            "effect": effect,
            "matured": self._case.matured,
            "horizon": horizon,
        }
        headline = message("headline_collecting_plan", args, scale=scale_of(self._primary.metric))
        return Judgement("collecting", headline, [], [message("change_plan", horizon=horizon)])
