"""From facts to the report: the one entrance to this package for the service, the command line and rollouts."""

import datetime as dt
import importlib.metadata
from collections.abc import Sequence

import msgspec

from genux_server.model import ArmReport, CallFacts, Facts, FunnelStep, Message, Money, Report
from genux_server.stats.checks import health_checks
from genux_server.stats.distributions import DISTRIBUTION_KINDS
from genux_server.stats.frame import Frame
from genux_server.stats.guardrails import guardrail_state
from genux_server.stats.messages import message
from genux_server.stats.metric_report import Analysed, analyse_metric
from genux_server.stats.money import cost_effect
from genux_server.stats.reasons import event_of
from genux_server.stats.verdict import judge

__all__ = ["build_report"]


def build_report(facts: Facts, *, generated_at: dt.datetime) -> Report:
    """Everything genux says about one experiment.

    Pure: the same facts and moment give the same report. Nothing in it is NaN or infinite; what cannot be computed
    carries a code and a sentence.

    Args:
        facts: what was observed, from the engine or a file.
        generated_at: the moment of the report, aware.
    """
    frame = Frame(facts)
    analysed = _with_families([analyse_metric(frame, metric) for metric in frame.metrics], frame)
    checks = health_checks(frame, analysed)
    money = _money(frame, analysed[0]) if analysed else []
    judgement = judge(frame, analysed, checks, money)
    days = [row.day for row in facts.arm_counts if row.n_units]
    return Report(
        experiment=facts.experiment.key,
        question=facts.experiment.question,
        control=frame.control,
        generated_at=generated_at,
        lake_version=facts.lake_version,
        code_version=importlib.metadata.version("genux"),
        source=facts.source,
        simulated=facts.experiment.simulated,
        first_exposure_day=min(days, default=None),
        last_exposure_day=max(days, default=None),
        n_units=sum(frame.units.values()),
        verdict=judgement.verdict,
        headline=judgement.headline,
        reasons=judgement.reasons,
        change_mind=judgement.change_mind,
        checks=checks,
        arms=[_arm(frame, key) for key in frame.variants],
        metrics=[item.report for item in analysed],
        money=money,
        funnel=_funnel(frame),
        methods=_methods(frame, analysed),
    )


def _with_families(analysed: Sequence[Analysed], frame: Frame) -> list[Analysed]:
    """p-values corrected within their family (primary: treatments; secondaries: all of them), guardrails judged."""
    adjusted: dict[tuple[str, str], float | None] = {}
    for role in ("primary", "secondary"):
        family = [
            (item.metric.key, treatment, item.decided[treatment][0].comparison.p_value)
            for item in analysed
            if item.report.role == role
            for treatment in frame.treatments
        ]
        if len(family) > 1:
            # statsmodels takes a second to import: only reports that need it pay.
            from genux_server.stats.multiplicity import adjust_p_values

            result = adjust_p_values([p for _, _, p in family], alpha=frame.alpha)
            for (metric, treatment, _), entry in zip(family, result.secondaries, strict=True):
                adjusted[metric, treatment] = entry.p_adjusted
    return [_annotated(frame, item, adjusted) for item in analysed]


def _annotated(frame: Frame, item: Analysed, adjusted: dict[tuple[str, str], float | None]) -> Analysed:
    decided = {}
    for treatment, comparisons in item.decided.items():
        first = comparisons[0]
        comparison = msgspec.structs.replace(
            first.comparison,
            p_adjusted=adjusted.get((item.metric.key, treatment)),
            guardrail=guardrail_state(frame, item.metric, first) if item.report.role == "guardrail" else "",
        )
        decided[treatment] = [first.with_comparison(comparison), *comparisons[1:]]
    flat = [d.comparison for row in decided.values() for d in row]
    return Analysed(item.metric, msgspec.structs.replace(item.report, comparisons=flat), decided)


def _money(frame: Frame, primary: Analysed) -> list[Money]:
    sign = 1.0 if primary.metric.direction == "increase" else -1.0
    out = []
    for treatment in frame.treatments:
        # The comparison that decides; before the first planned look, the always-valid one beside it.
        decided = next((d for d in primary.decided[treatment] if d.contrast is not None), None)
        pair = decided.pair if decided else None
        result = None
        if decided and decided.contrast and pair and pair.control and pair.treatment:
            result = cost_effect(pair.control, pair.treatment, decided.contrast.critical, sign=sign)
        if result is None or pair is None or pair.treatment is None:
            out.append(Money(variant=treatment, control=frame.control, not_computable=message("no_cost")))
            continue
        # Without the covariance of cost and effect the cost of one has no interval, and a figure alone misleads.
        priced = primary.metric.kind not in DISTRIBUTION_KINDS
        bounded = priced and result.ratio_lower is not None and result.ratio_upper is not None
        why = message("cost_unbounded", event=event_of(primary.metric)) if priced else message("cost_no_price")
        out.append(
            Money(
                variant=treatment,
                control=frame.control,
                cost_per_unit_usd=pair.treatment.cost,
                cost_per_unit_difference_usd=result.cost,
                cost_difference_ci_lower=result.cost_lower,
                cost_difference_ci_upper=result.cost_upper,
                cost_per_incremental_usd=result.ratio if priced else None,
                cost_per_incremental_ci_lower=result.ratio_lower if priced else None,
                cost_per_incremental_ci_upper=result.ratio_upper if priced else None,
                saving_per_1000_usd=-1000.0 * result.cost,
                saving_per_1000_ci_lower=-1000.0 * result.cost_upper,
                saving_per_1000_ci_upper=-1000.0 * result.cost_lower,
                not_computable=None if bounded else why,
            )
        )
    return out


def _arm(frame: Frame, key: str) -> ArmReport:
    spec = next(variant for variant in frame.facts.experiment.variants if variant.key == key)
    calls = next((entry for entry in frame.facts.calls if entry.variant == key), CallFacts(variant=key))
    n_units, whole = frame.units[key], sum(frame.units.values())
    n_calls = calls.n_calls
    expected = sum(
        sum(frame.counts[e].values()) * frame.epoch_shares().get(e, frame.spec_shares)[key] for e in frame.counts
    )
    return ArmReport(
        variant=key,
        label=frame.labels[key],
        surface=spec.surface,
        n_units=n_units,
        share=_rate(n_units, whole),
        expected_share=expected / whole if whole else frame.shares[key],
        n_calls=n_calls,
        calls_per_unit=_rate(n_calls, n_units),
        cost_usd=calls.cost_usd if n_calls else None,
        cost_per_unit_usd=_rate(calls.cost_usd, n_units) if n_calls else None,
        n_cost_unknown=calls.n_cost_unknown,
        cost_unknown_reasons=dict(calls.cost_unknown_reasons),
        error_rate=_rate(calls.n_errors, n_calls),
        rate_limited_rate=_rate(calls.n_rate_limited, n_calls),
        fallback_rate=_rate(calls.n_fallbacks, n_calls),
        cache_hit_rate=_rate(calls.cached_tokens, calls.input_tokens),
        input_tokens=calls.input_tokens,
        output_tokens=calls.output_tokens,
        latency_p50_seconds=calls.latency_seconds.p50,
        latency_p95_seconds=calls.latency_seconds.p95,
        latency_p99_seconds=calls.latency_seconds.p99,
        ttft_p50_seconds=calls.ttft_seconds.p50,
        ttft_p95_seconds=calls.ttft_seconds.p95,
        served_models=dict(calls.served_models),
    )


def _rate(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _funnel(frame: Frame) -> list[FunnelStep]:
    return [
        FunnelStep(
            variant=step.variant,
            step=step.step,
            n_units=step.n_units,
            share=_rate(step.n_units, frame.units[step.variant]),
        )
        for step in frame.facts.funnel
        if step.variant in frame.units
    ]


def _methods(frame: Frame, analysed: Sequence[Analysed]) -> list[Message]:
    plan = frame.facts.experiment.plan
    used = dict.fromkeys(c.method for item in analysed for c in item.report.comparisons if c.not_computable is None)
    args: dict[str, dict[str, str | float | None]] = {
        "confidence_sequence": {"units": max((frame.tuned_units(t) for t in frame.treatments), default=0.0)},
        "group_sequential": {"looks": plan.looks, "horizon": plan.horizon_units},
    }
    methods = [message(f"method_{method}", args.get(method)) for method in used]
    if not frame.facts.one_look:
        methods.append(message("method_matured"))
    roles = {"primary": "the variants on the primary metric", "secondary": "the secondary metrics"}
    for role, family in roles.items():
        if any(c.p_adjusted is not None for i in analysed if i.report.role == role for c in i.report.comparisons):
            methods.append(message("method_holm", family=family))
    return methods
