"""The sentences of a report, in English. Another language is another mapping with the same keys.

Numbers are written by these format names: `effect` (signed, on the metric's scale, with its word), `bound` (the same
without the word), `level` (unsigned figure on the scale), `percent`, `lift` (signed percentage), `usd`, `count`,
`number`, `once` (a probability as "once in N"), `p` (a p-value with its sign). None reads "no bound".
"""

from collections.abc import Mapping

__all__ = ["TEMPLATES"]

TEMPLATES: Mapping[str, str] = {
    # What a PM reads first.
    "headline_ship": (
        "{label}: {effect:effect} on {metric} ({confidence:percent} interval {lower:bound} to {upper:bound}). Ship it."
    ),
    "headline_worse": (
        "{label}: {effect:effect} on {metric} ({confidence:percent} interval {lower:bound} to {upper:bound}). Do "
        "not ship it."
    ),
    "headline_guardrail": (
        "{label} harms {guardrail} by {harm:effect} ({confidence:percent} interval {harm_lower:bound} to "
        "{harm_upper:bound}). Do not ship it."
    ),
    "headline_no_gain": (
        "{label}: no gain on {metric} was shown, and the plan is complete: {effect:effect} ({confidence:percent} "
        "interval {lower:bound} to {upper:bound}). Do not ship it for that."
    ),
    "headline_extend": (
        "No clear difference on {metric} yet. {label}: {effect:effect} ({confidence:percent} interval "
        "{lower:bound} to {upper:bound})."
    ),
    "headline_collecting_plan": (
        "Still collecting: {matured:count} of {horizon:count} planned units are in. So far {label}: "
        "{effect:effect} on {metric}, not to be judged before the planned look."
    ),
    "headline_collecting_few": (
        "Still collecting: too little data to say anything about {metric} ({smallest:count} units in the smallest arm)."
    ),
    "headline_discuss_split": (
        "{label}: {effect:effect} on {metric} ({confidence:percent} interval {lower:bound} to {upper:bound}). "
        "Discuss before acting: the split between the variants is odd."
    ),
    "headline_discuss_guardrail": (
        "{label}: {effect:effect} on {metric} ({confidence:percent} interval {lower:bound} to {upper:bound}). "
        "Discuss before shipping: {guardrail} was not shown to be unharmed."
    ),
    "headline_discuss_cheaper": (
        "{label}: no difference on {metric} was shown ({confidence:percent} interval {lower:bound} to "
        "{upper:bound}), but it costs less. Discuss."
    ),
    "headline_invalid_split": "Do not read the results: the split between the variants is broken ({counts}).",
    "headline_invalid_mixed": "Do not read the results: {share:percent} of the units met more than one variant.",
    "headline_nothing": "Nothing to report yet: no unit has been exposed.",
    "headline_no_metric": (
        "{n:count} units were exposed, but the experiment has no primary metric that can be computed."
    ),
    "headline_not_computable": "No result on {metric} for {label}: {why}",
    "headline_extend_guardrail": (
        "{label}: {effect:effect} on {metric} ({confidence:percent} interval {lower:bound} to {upper:bound}). "
        "Keep collecting before shipping: {guardrail} is not yet shown to be unharmed."
    ),
    # Said after the headline.
    "part_cost": "Costs {value:usd} per extra {event} [{lower:usd}, {upper:usd}].",
    "part_split": "But the split between the variants is odd: treat this with care and find out why.",
    "part_saving": "Saves {value:usd} per 1,000 units [{lower:usd}, {upper:usd}].",
    "part_latency": "p95 latency {treatment:number} s against {control:number} s.",
    "part_latency_changed": (
        "{metric} changed: {effect:effect} ({confidence:percent} interval {lower:bound} to {upper:bound})."
    ),
    "part_latency_held": (
        "{metric} stays within the tolerated {margin}: {effect:effect} ({confidence:percent} interval {lower:bound} "
        "to {upper:bound})."
    ),
    "part_latency_open": (
        "Whether {metric} changed is open: {effect:effect} ({confidence:percent} interval {lower:bound} to "
        "{upper:bound})."
    ),
    # Why.
    "reason_better": (
        "{metric} is better with {label}: {effect:effect} ({confidence:percent} interval {lower:bound} to "
        "{upper:bound}), p {p:p}."
    ),
    "reason_worse": (
        "{metric} is worse with {label}: {effect:effect} ({confidence:percent} interval {lower:bound} to "
        "{upper:bound}), p {p:p}."
    ),
    "reason_unclear": (
        "{metric} cannot be told apart from control with {label}: {effect:effect} ({confidence:percent} interval "
        "{lower:bound} to {upper:bound}), p {p:p}."
    ),
    "reason_not_computable": "{metric} with {label}: {why}",
    "reason_guardrail_safe": "{guardrail} is not harmed by {label} beyond the tolerated {margin}.",
    "reason_guardrail_harmed": (
        "{guardrail} is harmed by {label}: {harm:effect} ({confidence:percent} interval {harm_lower:bound} to "
        "{harm_upper:bound})."
    ),
    "reason_guardrail_unclear": "Whether {label} harms {guardrail} beyond the tolerated {margin} is still open.",
    "reason_guardrail_none": (
        "{guardrail}: none at all in either arm, so with {label} it is at most {bound:percent} ({confidence:percent} "
        "bound, one-sided), within the tolerated {margin}."
    ),
    "reason_guardrail_none_open": (
        "{guardrail}: none at all in either arm, so with {label} it is at most {bound:percent} ({confidence:percent} "
        "bound, one-sided); that alone does not rule out harm beyond the tolerated {margin}."
    ),
    "reason_guardrail_none_quiet": (
        "{guardrail}: none at all in either arm, so with {label} it is at most {bound:percent} ({confidence:percent} "
        "bound, one-sided)."
    ),
    "reason_guardrail_quiet": (
        "No harm to {guardrail} is visible with {label}; no margin was set, so this proves nothing."
    ),
    "reason_split_odd": "The split between the variants is odd, which can make a difference where there is none.",
    "reason_split_broken": (
        "The split between the variants cannot be chance, so the arms do not hold comparable people."
    ),
    "reason_plan_open": "The plan asks for {horizon:count} units; {matured:count} are in ({fraction:percent}).",
    "reason_adjusted": "{comparisons:count} variants were tried; after correction (Holm) p {p:p} for {label}.",
    # What would change the verdict.
    "change_more_units": "About {units:count} more units would settle a true difference of {target:effect}.",
    "change_plan": "The planned look at {horizon:count} units.",
    "change_guardrail": "{guardrail} turning out worse than the tolerated {margin}.",
    "change_guardrail_settled": (
        "{guardrail} being shown to stay within its margin, or people deciding to accept the risk."
    ),
    "change_split": "Finding out why the split is odd, and mending or ruling out its cause.",
    "change_name_effect": (
        "At the difference seen so far no reachable number of units would settle it: name the smallest difference "
        "that matters (plan.minimum_effect)."
    ),
    "change_new_evidence": "Nothing short of new evidence: the result already holds however often it is looked at.",
    # Why there is no number.
    "too_few_units": (
        "at least two units with a closed conversion window are needed in each arm; there are {control:count} in "
        "control and {treatment:count} in the variant."
    ),
    "no_variation": "every unit has the same value, so chance cannot be judged.",
    "no_conversions": "no unit converted in either arm, so chance cannot be judged.",
    "all_converted": "every unit converted in both arms, so chance cannot be judged.",
    "no_denominator": "the denominator is zero in an arm.",
    "not_finite": "the values are too large, or the denominators too small, to compute with.",
    "no_common_epoch": "the two arms never ran in the same epoch.",
    "before_first_look": "the first planned look comes at {units:count} units; {matured:count} are in.",
    "too_few_events": (
        "events of at least two units are needed in each arm; there are {control:count} events in control and "
        "{treatment:count} in the variant."
    ),
    "tail_too_thin": "{n:count} events in the smaller arm are too few for the {quantile:number} % quantile.",
    "quantile_flat": "the values around the quantile do not vary, so chance cannot be judged.",
    "follow_up_short": "in an arm no unit still without the event has been followed to the end of its window.",
    "no_cost": "no cost of calls is known.",
    "cost_no_price": "the metric counts nothing that one more of could have a price.",
    "cost_unbounded": "the extra {event} cannot be told from zero, so the cost of one has no bound.",
    # Beside a metric.
    "note_pending": "{n:count} units are left out until their conversion window closes.",
    "note_censored": "{n:count} units are still within their window; they are followed up to now (censored).",
    "note_capped": "{n:count} values ({share:percent}) were cut to the cap.",
    "note_fixed": "The `fixed` result is right only if the data is looked at once, at the planned end.",
    "note_epochs": (
        "The shares changed {changes:count} time(s): effects are estimated within each epoch and combined with "
        "fixed weights, never pooled."
    ),
    "note_epoch_dropped": "{n:count} epoch(s) had fewer than two units in an arm and are left out for {label}.",
    "note_cuped": "Adjusted by behaviour before the exposure (CUPED): variance {reduction:percent} lower.",
    "note_restricted": (
        "The figure is the mean time up to the end of the window (restricted mean survival time): who never got there "
        "counts with the whole window."
    ),
    "note_median": "Half of the units got there within {median:level} with {label}.",
    "note_median_open": "Fewer than half got there with {label} ({reached:percent}), so the median is not reached.",
    "note_log_rank": "Log-rank test of the whole curves beside it, which decides nothing: p {p:p} for {label}.",
    "note_pooling": (
        "Pooling the epochs would have shown {pooled:effect} instead of {effect:effect} (Simpson's paradox)."
    ),
    "note_boschloo": "Boschloo's exact test beside it, for small numbers: p {p:p} for {label}.",
    "note_look": "The planned result stands at look {look:count} of {looks:count}, on units first exposed up to {day}.",
    "note_lift_open": "Control's figure cannot be told from zero, so the lift of {label} has no bound.",
    # How it was computed.
    "method_score": (
        "Shares: pooled z test with the intervals that invert it (Mee for the difference, Koopman for the lift)."
    ),
    "method_welch_fieller": "Means: Welch's test; lift by Fieller at the same critical value.",
    "method_delta_fieller": "Ratios: delta method at the unit, Welch's degrees of freedom; lift by Fieller.",
    "method_clustered_quantile": (
        "Quantiles: order statistics with the error between units (Deng, Knoblich and Lu 2018); Welch's degrees of "
        "freedom, lift by Fieller."
    ),
    "method_restricted_mean": (
        "Durations: restricted mean survival time under the Kaplan-Meier curve; Welch's degrees of freedom, lift by "
        "Fieller."
    ),
    "method_confidence_sequence": (
        "Always valid: asymptotic confidence sequence on the absolute scale, tuned to {units:count} units; lift "
        "by Fieller at the same multiplier."
    ),
    "method_group_sequential": (
        "Planned: group-sequential test, O'Brien-Fleming alpha spending, {looks:count} look(s) up to "
        "{horizon:count} units; repeated confidence intervals."
    ),
    "method_matured": "A unit counts once its conversion window has closed.",
    "method_holm": "p-values of {family} are corrected for their number by Holm's method.",
    # Health checks.
    "srm_ok": "The split between the variants is as planned ({counts}).",
    "srm_odd": (
        "The split itself is odd: {counts}, where {expected} were expected. A sound experiment would be this "
        "uneven only {p:once}."
    ),
    "srm_broken": (
        "The split is broken: {counts}, where {expected} were expected. A sound experiment would be this uneven "
        "only {p:once}."
    ),
    "srm_advice": (
        "Treat the result with care and find out why: one variant may lose users before they are counted "
        "(redirect, crash, slow start), bots may be filtered unevenly, or the assignment may have changed under "
        "way."
    ),
    "srm_segment": "The odd split is strongest among {segment}: {counts}, which chance would do only {p:once}.",
    "srm_segment_advice": "Look there first: what treats these units differently in one variant?",
    "srm_unknown": "The split cannot be checked: there are no counts of exposed units.",
    "multi_none": "No unit met more than one variant.",
    "multi_ok": "{n:count} units ({share:percent}) met more than one variant and are left out.",
    "multi_many": "{n:count} units ({share:percent}) met more than one variant and are left out.",
    "multi_uneven": (
        "Units that met more than one variant are left out, and they are not evenly spread: {counts}, which "
        "chance would do only {p:once}."
    ),
    "multi_advice": (
        "Look for a unit id that changes (log-in, shared device), or two places that assign with different salts."
    ),
    "unexposed_ok": "{n:count} units were told their variant and never met it ({counts}).",
    "unexposed_uneven": (
        "{n:count} units were told their variant and never met it, and they are not evenly spread: {counts}, which "
        "chance would do only {p:once}."
    ),
    "unexposed_advice": (
        "Between `peek` and `expose` the arms lose units unequally, and who is left is no longer comparable: expose "
        "every unit at the same step, before anything that the variant itself changes."
    ),
    "drift_ok": "The shares of the variants are the same on all days.",
    "drift_odd": "The shares of the variants differ between days more than chance would have it (only {p:once}).",
    "drift_advice": (
        "Look at the daily counts: a deploy, an outage or a changed targeting rule may have hit one variant only."
    ),
    "gap_ok": "Every day from the first to the last has exposures.",
    "gap_found": "{n:count} day(s) have no exposure at all, the first on {day}.",
    "gap_advice": "Check whether the app or the delivery of events stood still then.",
    "outlier_ok": "No single unit drives {metric}.",
    "outlier_driver": (
        "One unit ({unit}, in {label}) with {value:level} drives {metric}: it alone holds {share:percent} of its "
        "arm's total and moves the difference by {shift:effect}; without it the difference is {without:effect} "
        "instead of {effect:effect}."
    ),
    "outlier_advice": (
        "Check whether that unit is real, and set a cap for the metric (cap_quantile: 0.999) before judging it."
    ),
    "twyman": "{metric} changed by {lift:lift} with {label}. Effects of that size are usually a fault in the data.",
    "twyman_ok": "No effect is too good to be true.",
    "twyman_advice": "Check how the metric is counted in both variants before celebrating.",
    "little_data": (
        "Too little data to judge: {smallest:count} units and {conversions:count} conversions of {metric} in the "
        "smallest arm; at least {units:count} and {needed:count} are needed."
    ),
    "little_data_mean": (
        "Too little data to judge {metric}: {smallest:count} units in the smallest arm; at least {units:count} "
        "are needed."
    ),
    "little_data_ok": "Enough units and conversions in each arm to judge.",
    "little_data_advice": "Wait for more units, or raise the coverage.",
    "novelty_ok": "The effect does not fade or grow with the day of first exposure.",
    "novelty_trend": (
        "The effect changes with the day of first exposure ({slope:effect} a day): people may be getting used to it."
    ),
    "novelty_advice": "Let the experiment run until the effect of the later days is stable, and judge by those.",
    "lost_none": "No event was given up by an SDK or refused by the service.",
    "lost_some": (
        "While the experiment ran, SDKs gave up {given_up:count} events before they arrived, and the service refused "
        "{refused:count} ({reasons})."
    ),
    "lost_advice": (
        "Run `genux doctor` where the app runs; if one surface tracks more than another, losses do not hit the arms "
        "alike."
    ),
    "excluded_ok": (
        "{forced:count} forced exposures, {unknown:count} of unknown variants, {other_kind:count} of another kind of "
        "unit and {duplicates:count} duplicate events were left out."
    ),
}
