"""Every sentence of a report: a code, its arguments and an English template, so that another language needs no new code.

Templates write numbers by these format names: `effect` (signed, on the metric's scale, with its word), `bound` (the same
without the word), `level` (unsigned figure on the scale), `percent`, `lift` (signed percentage), `usd`, `count`, `number`,
`once` (a probability as "once in N"), `p` (a p-value). None reads "no bound".
"""

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any

from genux_server.model import Message
from genux_server.stats.wording import number, scaled, usd

__all__ = ["TEMPLATES", "joined", "message"]

_INTERVAL = "({confidence:percent} interval {lower:bound} to {upper:bound})"
_RESULT = "{label}: {effect:effect} on {metric} " + _INTERVAL

TEMPLATES: Mapping[str, str] = {
    # headlines
    "headline_ship": _RESULT + ". Ship it.",
    "headline_worse": _RESULT + ". Do not ship it.",
    "headline_guardrail": "{label} harms {guardrail} by {harm:effect} ({confidence:percent} interval {harm_lower:bound} to "
    "{harm_upper:bound}). Do not ship it.",
    "headline_no_gain": "{label}: no gain on {metric} was shown, and the plan is complete: {effect:effect} "
    + _INTERVAL
    + ". Do not ship it for that.",
    "headline_extend": "No clear difference on {metric} yet. {label}: {effect:effect} " + _INTERVAL + ".",
    "headline_collecting_plan": "Still collecting: {matured:count} of {horizon:count} planned units are in. So far {label}: "
    "{effect:effect} on {metric}, not to be judged before the planned look.",
    "headline_collecting_few": "Still collecting: too little data to say anything about {metric} ({smallest:count} units in the "
    "smallest arm).",
    "headline_discuss_split": _RESULT + ". Discuss before acting: the split between the variants is odd.",
    "headline_discuss_guardrail": _RESULT + ". Discuss before shipping: {guardrail} is not yet shown to be unharmed.",
    "headline_discuss_cheaper": "{label}: no difference on {metric} was shown "
    + _INTERVAL
    + ", but it costs less. Discuss.",
    "headline_invalid_split": "Do not read the results: the split between the variants is broken ({counts}).",
    "headline_invalid_mixed": "Do not read the results: {share:percent} of the units met more than one variant.",
    "headline_nothing": "Nothing to report yet: no unit has been exposed.",
    "headline_no_metric": "{n:count} units were exposed, but the experiment has no primary metric that can be computed.",
    "headline_not_computable": "No result on {metric} for {label}: {why}",
    "part_cost": "Costs {value:usd} per extra {event} [{lower:usd}, {upper:usd}].",
    "part_cost_open": "The cost per extra {event} has no bound yet.",
    "part_saving": "Saves {value:usd} per 1,000 units [{lower:usd}, {upper:usd}].",
    "part_latency": "p95 latency {treatment:number} s against {control:number} s.",
    # reasons
    "reason_better": "{metric} is better with {label}: {effect:effect} " + _INTERVAL + ", p = {p:p}.",
    "reason_worse": "{metric} is worse with {label}: {effect:effect} " + _INTERVAL + ", p = {p:p}.",
    "reason_unclear": "{metric} cannot be told apart from control with {label}: {effect:effect} "
    + _INTERVAL
    + ", p = {p:p}.",
    "reason_not_computable": "{metric} with {label}: {why}",
    "reason_guardrail_safe": "{guardrail} is not harmed by {label} beyond the tolerated {margin}.",
    "reason_guardrail_harmed": "{guardrail} is harmed by {label}: {harm:effect} ({confidence:percent} interval "
    "{harm_lower:bound} to {harm_upper:bound}).",
    "reason_guardrail_unclear": "Whether {label} harms {guardrail} beyond the tolerated {margin} is still open.",
    "reason_guardrail_quiet": "No harm to {guardrail} is visible with {label}; no margin was set, so this proves nothing.",
    "reason_split_odd": "The split between the variants is odd, which can make a difference where there is none.",
    "reason_split_broken": "The split between the variants cannot be chance, so the arms do not hold comparable people.",
    "reason_plan_open": "The plan asks for {horizon:count} units; {matured:count} are in ({fraction:percent}).",
    "reason_adjusted": "{comparisons:count} variants were tried; after correction (Holm) p = {p:p} for {label}.",
    "reason_few": "Fewer than {units:count} units or {conversions:count} conversions in an arm.",
    # what would change the verdict
    "change_more_units": "About {units:count} more units would settle a true difference of {effect:effect}.",
    "change_plan": "The planned look at {horizon:count} units.",
    "change_guardrail": "{guardrail} turning out worse than the tolerated {margin}.",
    "change_split": "Finding out why the split is odd, and mending or ruling out its cause.",
    "change_always_valid": "Nothing short of new evidence: the interval already holds at every look.",
    # not computable
    "too_few_units": "at least two units with a closed conversion window are needed in each arm; there are {control:count} in "
    "control and {treatment:count} in the variant.",
    "no_variation": "every unit has the same value, so chance cannot be judged.",
    "no_conversions": "no unit converted in either arm, so chance cannot be judged.",
    "all_converted": "every unit converted in both arms, so chance cannot be judged.",
    "no_denominator": "the denominator is zero in an arm.",
    "no_common_epoch": "the two arms never ran in the same epoch.",
    "before_first_look": "the first planned look comes at {units:count} units; {matured:count} are in.",
    "kind_unsupported": "a {kind} needs finer facts than these moments.",
    "no_cost": "no cost of calls is known.",
    "cost_unbounded": "the extra {event} cannot be told from zero, so the cost of one has no bound.",
    "not_finite": "the values are too large to compute with.",
    # notes on a metric
    "note_pending": "{n:count} units are left out until their conversion window closes.",
    "note_capped": "{n:count} values ({share:percent}) were cut to the cap.",
    "note_fixed": "The `fixed` result is right only if the data is looked at once, at the planned end.",
    "note_epochs": "The shares changed {changes:count} time(s): effects are estimated within each epoch and combined with "
    "fixed weights, never pooled.",
    "note_epoch_dropped": "{n:count} epoch(s) had fewer than two units in an arm and are left out for {label}.",
    "note_cuped": "Adjusted by behaviour before the exposure (CUPED): variance {reduction:percent} lower.",
    "note_pooling": "Pooling the epochs would have shown {pooled:effect} instead of {effect:effect} (Simpson's paradox).",
    "note_boschloo": "Boschloo's exact test beside it, for small numbers: p = {p:p} for {label}.",
    "note_look": "The planned result stands at look {look:count} of {looks:count}, on units first exposed up to {day}.",
    "note_lift_open": "Control's figure cannot be told from zero, so the lift of {label} has no bound.",
    # methods
    "method_score": "Shares: pooled z test with the intervals that invert it (Mee for the difference, Koopman for the lift).",
    "method_welch_fieller": "Means: Welch's test; lift by Fieller at the same critical value.",
    "method_delta_fieller": "Ratios: delta method at the unit, Welch's degrees of freedom; lift by Fieller.",
    "method_confidence_sequence": "Always valid: asymptotic confidence sequence on the absolute scale, tuned to {units:count} "
    "units; lift by Fieller at the same multiplier.",
    "method_group_sequential": "Planned: group-sequential test, O'Brien-Fleming alpha spending, {looks:count} look(s) up to "
    "{horizon:count} units; repeated confidence intervals.",
    "method_matured": "A unit counts once its conversion window has closed.",
    "method_holm": "p-values of {family} are corrected for their number by Holm's method.",
    # checks
    "srm_ok": "The split between the variants is as planned ({counts}).",
    "srm_odd": "The split itself is odd: {counts}, where {expected} were expected. A sound experiment would be this uneven only "
    "{p:once}.",
    "srm_broken": "The split is broken: {counts}, where {expected} were expected. A sound experiment would be this uneven only "
    "{p:once}.",
    "srm_advice": "Treat the result with care and find out why: one variant may lose users before they are counted (redirect, "
    "crash, slow start), bots may be filtered unevenly, or the assignment may have changed under way.",
    "srm_unknown": "The split cannot be checked: there are no counts of exposed units.",
    "multi_ok": "{n:count} units ({share:percent}) met more than one variant and are left out.",
    "multi_many": "{n:count} units ({share:percent}) met more than one variant and are left out.",
    "multi_uneven": "Units that met more than one variant are left out, and they are not evenly spread: {counts}, which chance "
    "would do only {p:once}.",
    "multi_advice": "Look for a unit id that changes (log-in, shared device), or two places that assign with different salts.",
    "drift_ok": "The shares of the variants are the same on all days.",
    "drift_odd": "The shares of the variants differ between days more than chance would have it (only {p:once}).",
    "drift_advice": "Look at the daily counts: a deploy, an outage or a changed targeting rule may have hit one variant only.",
    "gap_ok": "Every day from the first to the last has exposures.",
    "gap_found": "{n:count} day(s) have no exposure at all, the first on {day}.",
    "gap_advice": "Check whether the app or the delivery of events stood still then.",
    "outlier_ok": "No single unit drives {metric}.",
    "outlier_driver": "One unit ({unit}, in {label}) with {value:level} drives {metric}: it alone holds {share:percent} of its "
    "arm's total and moves the difference by {shift:effect}; without it the difference is {without:effect} instead of "
    "{effect:effect}.",
    "outlier_advice": "Check whether that unit is real, and set a cap for the metric (cap_quantile: 0.999) before judging it.",
    "twyman": "{metric} changed by {lift:lift} with {label}. Effects of that size are usually a fault in the data.",
    "twyman_ok": "No effect is too good to be true.",
    "twyman_advice": "Check how the metric is counted in both variants before celebrating.",
    "little_data": "Too little data to judge: {smallest:count} units and {conversions:count} conversions of {metric} in the "
    "smallest arm; at least {units:count} and {needed:count} are needed.",
    "little_data_mean": "Too little data to judge {metric}: {smallest:count} units in the smallest arm; at least {units:count} "
    "are needed.",
    "little_data_ok": "Enough units and conversions in each arm to judge.",
    "little_data_advice": "Wait for more units, or raise the coverage.",
    "novelty_ok": "The effect does not fade or grow with the day of first exposure.",
    "novelty_trend": "The effect changes with the day of first exposure ({slope:effect} a day): people may be getting used to it.",
    "novelty_advice": "Let the experiment run until the effect of the later days is stable, and judge by those.",
    "excluded_ok": "{forced:count} forced and {unknown:count} unknown exposures and {duplicates:count} duplicate events were "
    "left out.",
}


class _Formatter(string.Formatter):
    """Writes numbers by the names listed in the module's docstring."""

    def __init__(self, scale: str) -> None:
        self._scale = scale

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, str):
            return value
        if value is None:
            return "no bound"
        match format_spec:
            case "effect" | "bound":
                return scaled(value, self._scale, signed=True, bare=format_spec == "bound")
            case "level":
                return scaled(value, self._scale)
            case "percent":
                return f"{_trimmed(100.0 * value)} %"
            case "lift":
                return f"{100.0 * value:+,.0f} %"
            case "usd":
                return usd(value)
            case "count":
                return f"{round(value):,}"
            case "once":
                return f"once in {_rounded(1.0 / value):,}" if value > 1e-9 else "once in over a thousand million"
            case "p":
                return "< 0.000001" if value < 1e-6 else f"{value:.2g}"
            case _:
                return number(value)


def _trimmed(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 1.0 or value == 0.0 else f"{value:.2g}"


def _rounded(value: float) -> int:
    """Three significant digits, as a whole number."""
    return round(value, 2 - math.floor(math.log10(value))) if value >= 1000 else round(value)  # type: ignore[return-value]  # whole


def message(
    code: str,
    args: Mapping[str, str | float | None] | None = None,
    /,
    *,
    scale: str = "number",
    **more: str | float | None,
) -> Message:
    """A sentence by its code.

    Args:
        code: key of `TEMPLATES`.
        args: the template's arguments; a number that is not finite becomes None.
        scale: how figures of the metric in question are written, one of `wording.SCALES`.
        **more: further arguments.
    """
    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in {**(args or {}), **more}.items()
    }
    return Message(code=code, args=dict(clean), text=_Formatter(scale).vformat(TEMPLATES[code], (), clean))


def joined(first: Message, rest: Sequence[Message]) -> Message:
    """Several sentences as one message: the first one's code, everyone's arguments (`<code>.<name>` for the others)."""
    args = dict(first.args)
    for part in rest:
        args |= {f"{part.code}.{name}": value for name, value in part.args.items()}
    return Message(code=first.code, args=args, text=" ".join(part.text for part in (first, *rest)))
