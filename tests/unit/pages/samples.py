"""Reports built by hand, one per state of the page; the browser tests read them too."""

import datetime as dt
import math

import msgspec

from genux_server.model import (
    ArmReport,
    ArmResult,
    Check,
    Comparison,
    FunnelStep,
    Message,
    MetricReport,
    Money,
    Report,
    SeriesPoint,
)

NOW = dt.datetime(2026, 11, 22, 9, 30, tzinfo=dt.UTC)
FIRST, LAST = dt.date(2026, 11, 2), dt.date(2026, 11, 22)
STEPS = {
    "surface_shown": (1.0, 1.0),
    "surface_focused": (0.412, 0.688),
    "input_started": (0.287, 0.671),
    "prompt_sent": (0.231, 0.664),
    "answer_started": (0.229, 0.659),
    "answer_seen": (0.214, 0.602),
    "answer_accepted": (0.174, 0.215),
}


def say(text: str, code: str = "sample") -> Message:
    return Message(code=code, text=text)


def proportion(variant: str, n: int, total: int, pending: int = 0) -> ArmResult:
    p = total / n
    se = math.sqrt(p * (1 - p) / n)
    return ArmResult(
        variant=variant,
        n_units=n,
        total=total,
        value=p,
        se=se,
        ci_lower=p - 1.96 * se,
        ci_upper=p + 1.96 * se,
        pending=pending,
    )


def compare(c: ArmResult, t: ArmResult, validity: str = "always", width: float = 2.7, *, up: bool = True) -> Comparison:
    effect = t.value - c.value
    se = math.hypot(c.se, t.se)
    low, high = effect - width * se, effect + width * se
    decided = (low > 0) == up if low > 0 or high < 0 else None
    return Comparison(
        variant=t.variant,
        control=c.variant,
        validity=validity,
        method={"always": "confidence_sequence", "planned": "group_sequential", "fixed": "score"}[validity],
        effect=effect,
        se=se,
        effect_ci_lower=low,
        effect_ci_upper=high,
        lift=effect / c.value,
        lift_ci_lower=low / c.value * 0.98,
        lift_ci_upper=high / c.value * 1.03,
        p_value=math.erfc(abs(effect / se) / math.sqrt(2)),
        beats_control=decided,
    )


def mean_metric(key, label, role, direction, unit, control, treatment, se, *, kind="mean") -> MetricReport:
    arms = [
        ArmResult(
            variant=v,
            n_units=6_200,
            total=6_200 * x,
            value=x,
            se=se,
            ci_lower=x - 1.96 * se,
            ci_upper=x + 1.96 * se,
        )
        for v, x in (("chat", control), ("summary", treatment))
    ]
    return MetricReport(
        key=key,
        label=label,
        kind=kind,
        role=role,
        direction=direction,
        unit=unit,
        window_seconds=259_200.0,
        arms=arms,
        comparisons=[compare(*arms, up=direction == "increase")],
    )


def series(variant: str, effect: float, n: int) -> list[SeriesPoint]:
    days = (LAST - FIRST).days + 1
    points = []
    for i in range(days):
        units = round(n * (i + 1) / days)
        half = 2.9 * 0.52 / math.sqrt(units) * 1.9
        wobble = effect + half * 0.45 * math.sin(1.7 * i) * math.exp(-i / 7)
        points.append(
            SeriesPoint(
                variant=variant,
                day=FIRST + dt.timedelta(days=i),
                n_units=units,
                effect=wobble,
                effect_ci_lower=wobble - half,
                effect_ci_upper=wobble + half,
            )
        )
    return points


def arm(variant: str, label: str, surface: str, n: int, *, calls: int, per_call_usd: float, slow: float) -> ArmReport:
    return ArmReport(
        variant=variant,
        label=label,
        surface=surface,
        n_units=n,
        share=0.5,
        expected_share=0.5,
        n_calls=calls,
        calls_per_unit=calls / n,
        cost_usd=calls * per_call_usd,
        cost_per_unit_usd=calls * per_call_usd / n,
        error_rate=0.0041 * slow,
        rate_limited_rate=0.0122,
        fallback_rate=0.0093,
        cache_hit_rate=0.312 / slow,
        input_tokens=calls * 1_840,
        output_tokens=calls * 212,
        latency_p50_seconds=0.94 * slow,
        latency_p95_seconds=2.41 * slow,
        latency_p99_seconds=5.2 * slow,
        ttft_p50_seconds=0.31 * slow,
        ttft_p95_seconds=0.88 * slow,
        served_models={"gpt-5-mini-2026-08-01": calls - 37, "gpt-5-nano-2026-08-01": 37},
    )


def checks() -> list[Check]:
    return [
        Check(
            code="srm",
            status="ok",
            value=0.62,
            message=say("6,231 to 6,249 units against 50:50 promised: as expected."),
        ),
        Check(code="multi_variant", status="ok", message=say("No unit saw two variants.")),
        Check(
            code="data_gaps",
            status="warn",
            message=say("No exposures arrived between 02:00 and 05:00 UTC on 14 Nov."),
            advice=say(
                "Look for a deployment or an outage then; the estimate leaves those hours out of neither variant."
            ),
        ),
        Check(code="exposure_drift", status="ok", message=say("Both variants received units at the same pace.")),
        Check(code="forced", status="ok", message=say("14 forced exposures were left out.")),
        Check(code="too_good", status="ok", message=say("The effect is of a plausible size.")),
        Check(code="outliers", status="ok", message=say("No single unit drives a mean.")),
    ]


def full() -> Report:
    """Two variants, all parts present, a clear winner."""
    chat, summary = proportion("chat", 6_231, 1_084, 412), proportion("summary", 6_249, 1_344, 398)
    primary = MetricReport(
        key="answer_accepted",
        label="Accepted an answer",
        kind="proportion",
        role="primary",
        direction="increase",
        window_seconds=259_200.0,
        arms=[chat, summary],
        comparisons=[
            compare(chat, summary, "fixed", 1.96),
            compare(chat, summary, "always", 2.9),
            compare(chat, summary, "planned", 2.1),
        ],
        series=series("summary", summary.value - chat.value, 12_480),
    )
    back = [proportion("chat", 6_231, 2_404), proportion("summary", 6_249, 2_431)]
    metrics = [
        primary,
        MetricReport(
            key="came_back",
            label="Came back within a week",
            kind="retention",
            role="secondary",
            direction="increase",
            window_seconds=604_800.0,
            arms=back,
            comparisons=[compare(*back)],
        ),
        mean_metric("minutes", "Reading time", "secondary", "increase", "minutes", 4.12, 4.31, 0.061),
        mean_metric("latency", "Answer latency, p95", "guardrail", "decrease", "s", 2.41, 2.38, 0.055, kind="quantile"),
        mean_metric("cost", "Model cost per unit", "guardrail", "decrease", "usd", 0.00071, 0.00204, 0.00006),
        mean_metric("tickets", "Support tickets", "guardrail", "decrease", "", 0.0112, 0.0109, 0.0014, kind="count"),
    ]
    return Report(
        experiment="ai-entry",
        question="Does a one-click Summary get more readers an answer than a chat box?",
        control="chat",
        generated_at=NOW,
        lake_version="c218-e211-v218-k190",
        code_version="0.1.0",
        first_exposure_day=FIRST,
        last_exposure_day=LAST,
        n_units=12_480,
        verdict="ship",
        headline=say(
            "One-click summary: +4.1 points more people accepted an answer (95% interval +2.7 to +5.6). "
            "It costs $0.032 per extra person helped; answers are no slower."
        ),
        reasons=[
            say("The primary metric beats control at a planned look, p < 0.001."),
            say("No guardrail is breached: answer latency is within its margin of 5%."),
            say("All blocking checks pass."),
        ],
        change_mind=[
            say("Model cost rising above $0.19 per extra person helped, the value you stated."),
            say("A return rate that falls by more than 2 points once the last week has matured."),
        ],
        checks=checks(),
        arms=[
            arm("chat", "Chat box", "chat", 6_231, calls=1_702, per_call_usd=0.0026, slow=1.04),
            arm("summary", "One-click summary", "action", 6_249, calls=5_105, per_call_usd=0.0025, slow=1.0),
        ],
        metrics=metrics,
        money=[
            Money(
                variant="summary",
                control="chat",
                cost_per_unit_usd=0.00204,
                cost_per_unit_difference_usd=0.00133,
                cost_difference_ci_lower=0.00121,
                cost_difference_ci_upper=0.00146,
                cost_per_incremental_usd=0.0322,
                cost_per_incremental_ci_lower=0.0229,
                cost_per_incremental_ci_upper=0.0497,
            )
        ],
        funnel=[
            FunnelStep(variant=v, step=step, n_units=round(n * shares[i]), share=shares[i])
            for i, (v, n) in enumerate((("chat", 6_231), ("summary", 6_249)))
            for step, shares in STEPS.items()
        ],
        methods=[
            say(
                "Proportions: score test with pooled variance, Mee interval for the difference, Koopman for the ratio."
            ),
            say("Every-look intervals: asymptotic confidence sequence tuned to the plan of 12,000 units."),
            say("Units count once their conversion window of 3 days has closed."),
        ],
    )


def simulated() -> Report:
    return msgspec.structs.replace(
        full(),
        simulated="Their behaviour was drawn at random with a planted effect of +4.0 points; the calls are real.",
    )


def discuss() -> Report:
    """The primary wins and a guardrail is harmed; part of the cost is unknown."""
    report = full()
    chat, summary = report.arms
    return msgspec.structs.replace(
        report,
        verdict="discuss",
        headline=say("More people accepted an answer (+4.1 points), and answers became slower (+0.4 s at p95)."),
        arms=[
            chat,
            msgspec.structs.replace(
                summary,
                cost_usd=None,
                cost_per_unit_usd=None,
                n_cost_unknown=5_105,
                cost_unknown_reasons={"unknown_model": 5_000, "no_usage": 105},
                latency_p95_seconds=2.8,
            ),
        ],
        money=[
            Money(
                variant="summary",
                control="chat",
                not_computable=say("No call of this variant has a known price; add it to the project's price table."),
            )
        ],
    )


def invalid() -> Report:
    report = full()
    failing = Check(
        code="srm",
        status="fail",
        value=1e-9,
        threshold=0.01,
        message=say("6,731 to 5,749 units against 50:50 promised: this split is not chance (p < 0.001)."),
        advice=say(
            "Look for a redirect, a crash or a bot filter that touches one variant only. Do not use the effect."
        ),
    )
    return msgspec.structs.replace(
        report,
        verdict="invalid",
        headline=say("The variants did not receive the units they were promised, so no effect can be believed."),
        checks=[*report.checks[1:], failing],
        change_mind=[say("Finding and mending the cause, then starting again in a new epoch.")],
    )


def collecting() -> Report:
    """Too little data: a table without effects."""
    few = [proportion("chat", 31, 3, 22), proportion("summary", 28, 4, 25)]
    not_yet = Comparison(
        variant="summary",
        control="chat",
        validity="always",
        method="confidence_sequence",
        not_computable=say("Fewer than 50 matured units in a variant: too little to estimate an effect."),
    )
    report = full()
    return msgspec.structs.replace(
        report,
        verdict="collecting",
        n_units=106,
        last_exposure_day=FIRST,
        headline=say("59 of 12,000 planned units have matured; the first estimate comes at 50 per variant."),
        reasons=[],
        change_mind=[say("About 5 more days at today's pace of 21 units a day.")],
        checks=[Check(code="srm", status="unknown", message=say("Too few units to judge the split."))],
        metrics=[msgspec.structs.replace(report.metrics[0], arms=few, comparisons=[not_yet], series=[])],
        arms=[msgspec.structs.replace(a, n_units=n, n_calls=0) for a, n in zip(report.arms, (53, 53), strict=True)],
        money=[],
        funnel=[],
    )


def empty() -> Report:
    """Running, and nothing has arrived."""
    return Report(
        experiment="ai-entry",
        question=full().question,
        control="chat",
        generated_at=NOW,
        n_units=0,
        verdict="collecting",
        headline=say("No unit has been exposed yet."),
        arms=[
            ArmReport(variant="chat", label="Chat box", surface="chat", n_units=0),
            ArmReport(variant="summary", label="One-click summary", surface="action", n_units=0),
        ],
        metrics=[
            MetricReport(
                key="answer_accepted",
                label="Accepted an answer",
                kind="proportion",
                role="primary",
                direction="increase",
            )
        ],
    )


def crowded() -> Report:
    """Eight variants with long names, unbounded intervals, 0 and 10^9, no calls in some."""
    labels = [
        "Chat box",
        "One-click summary with a very long label that product marketing insisted on keeping as it was",
        "summary-v2",
        "Donaudampfschifffahrtsgesellschaftskapitänsmützenzusammenfassung",
        "인라인 요약 버튼",
        "action-short",
        "action-long-context-with-citations",
        "none",
    ]
    keys = [f"v{i}" for i in range(8)]
    totals = [0, 3, 160, 171, 150, 1_890, 99, 162]
    results = [
        proportion(k, 1_000_000_000 if i == 0 else 2_000, t) for i, (k, t) in enumerate(zip(keys, totals, strict=True))
    ]
    results[0] = msgspec.structs.replace(
        results[0], n_units=1_000_000_000, total=80_000_000.0, value=0.08, se=1e-5, ci_lower=0.07998, ci_upper=0.08002
    )
    comparisons = [compare(results[0], r) for r in results[1:]]
    comparisons[2] = msgspec.structs.replace(comparisons[2], lift_ci_upper=None, effect_ci_upper=None)
    comparisons[3] = msgspec.structs.replace(comparisons[3], lift_ci_lower=None, lift_ci_upper=None)
    comparisons[5] = msgspec.structs.replace(comparisons[5], lift=None, lift_ci_lower=None, lift_ci_upper=None)
    report = full()
    base = report.arms[1]
    return msgspec.structs.replace(
        report,
        experiment="entry-point-multivariate-2026-q4-" + "x" * 30,
        control="v0",
        verdict="extend",
        n_units=1_000_014_000,
        headline=say("Nothing is decided yet: the promised number of units is reached in about 9 days."),
        arms=[
            msgspec.structs.replace(
                base,
                variant=k,
                label=label,
                n_units=r.n_units,
                n_calls=0 if k == "v7" else 10**9 if k == "v0" else 4_000,
                n_cost_unknown=31 if k == "v2" else 0,
                cost_unknown_reasons={"unsupported_modality": 31} if k == "v2" else {},
                cost_per_unit_usd=None if k == "v3" else base.cost_per_unit_usd,
                cost_usd=None if k == "v3" else 2.5e6 if k == "v0" else base.cost_usd,
            )
            for k, label, r in zip(keys, labels, results, strict=True)
        ],
        metrics=[
            msgspec.structs.replace(
                report.metrics[0],
                arms=results,
                comparisons=comparisons,
                series=[p for i, k in enumerate(keys[1:]) for p in series(k, 0.01 * i - 0.02, 4_000)],
            )
        ],
        money=[
            Money(
                variant=k,
                control="v0",
                cost_per_unit_difference_usd=0.001 * (i - 2),
                cost_difference_ci_lower=0.001 * (i - 2) - 0.0004,
                cost_difference_ci_upper=0.001 * (i - 2) + 0.0004,
                cost_per_incremental_usd=0.031 * (i + 1),
                cost_per_incremental_ci_lower=None if i == 2 else 0.02 * (i + 1),
                cost_per_incremental_ci_upper=None if i in {1, 2} else 0.05 * (i + 1),
            )
            for i, k in enumerate(keys[1:])
        ],
        funnel=[
            FunnelStep(variant=k, step=step, n_units=round(2_000 * shares[i % 2]), share=shares[i % 2])
            for i, k in enumerate(keys)
            for step, shares in STEPS.items()
        ],
    )


STATES = {
    "full": full,
    "simulated": simulated,
    "discuss": discuss,
    "invalid": invalid,
    "collecting": collecting,
    "empty": empty,
    "crowded": crowded,
}
