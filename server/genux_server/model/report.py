"""What the statistics say: one frozen `Report`, the same object behind page, JSON, terminal and PDF."""

import datetime as dt
from typing import Any, Literal

import msgspec

__all__ = [
    "ArmReport",
    "ArmResult",
    "Check",
    "Comparison",
    "FunnelStep",
    "Message",
    "MetricReport",
    "Money",
    "Report",
    "SeriesPoint",
    "Verdict",
]

Verdict = Literal["ship", "extend", "discuss", "do_not_ship", "invalid", "collecting"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence as a code and its arguments, so that it can be translated, and as English text."""

    code: str
    args: dict[str, str | float | int | None] = msgspec.field(default_factory=dict)
    text: str = ""


class ArmResult(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's own figure for one metric.

    `total` is the sum of the numerator (conversions, for a proportion); `value` the share, mean, ratio or quantile,
    None when it cannot be computed.
    """

    variant: str
    n_units: int
    total: float
    denominator_total: float | None = None
    value: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    capped: int = 0
    pending: int = 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A treatment against control. Effect on the metric's own scale; lift is relative (0.05 is +5 %).

    A bound of None is unbounded on that side; `not_computable` says why when there is no estimate at all.

    Attributes:
        validity: `fixed` (one look), `always` (valid at every look), or `planned` (group-sequential).
        method: code of the method, such as `score`, `welch_fieller`, `delta_fieller`, `confidence_sequence`.
        p_value: two-sided against no effect, at the validity named.
        p_adjusted: `p_value` corrected by Holm for the other comparisons of its family.
        beats_control: True or False when the interval decides in the metric's good or bad direction, else None.
        guardrail: for the deciding comparison of a guardrail: `safe` (harm beyond the margin is ruled out), `harmed`,
            `unclear` (margin still open), or `quiet` (no margin was set and no harm shows).
    """

    variant: str
    control: str
    validity: Literal["fixed", "always", "planned"]
    method: str
    level: float = 0.95
    effect: float | None = None
    se: float | None = None
    effect_ci_lower: float | None = None
    effect_ci_upper: float | None = None
    lift: float | None = None
    lift_ci_lower: float | None = None
    lift_ci_upper: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    beats_control: bool | None = None
    guardrail: Literal["", "safe", "harmed", "unclear", "quiet"] = ""
    not_computable: Message | None = None


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cumulative effect up to and including the units first exposed on `day`, with its always-valid band."""

    variant: str
    day: dt.date
    n_units: int
    effect: float | None = None
    effect_ci_lower: float | None = None
    effect_ci_upper: float | None = None


class MetricReport(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: each variant's figure, and each treatment against control in every validity that applies."""

    key: str
    label: str
    kind: str
    role: Literal["primary", "secondary", "guardrail"]
    direction: Literal["increase", "decrease"]
    unit: str = ""
    window_seconds: float | None = None
    arms: list[ArmResult] = msgspec.field(default_factory=list)
    comparisons: list[Comparison] = msgspec.field(default_factory=list)
    series: list[SeriesPoint] = msgspec.field(default_factory=list)
    notes: list[Message] = msgspec.field(default_factory=list)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One health check: what was measured, what it means, what to do."""

    code: str
    status: Literal["ok", "warn", "fail", "unknown"]
    value: float | None = None
    threshold: float | None = None
    message: Message
    advice: Message | None = None


class FunnelStep(msgspec.Struct, frozen=True, kw_only=True):
    """Units of a variant that reached a step of the surface funnel, and their share of the exposed units."""

    variant: str
    step: str
    n_units: int
    share: float | None = None


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant's LLM calls cost against control, in US dollars.

    `cost_per_incremental_usd` is the extra cost per extra conversion of the primary metric; a bound of None is
    unbounded. `saving_per_1000_usd` is what 1,000 units cost less than under control (negative: more).
    `not_computable` says why there is no cost at all, or why the cost per conversion has no bound.
    """

    variant: str
    control: str
    cost_per_unit_usd: float | None = None
    cost_per_unit_difference_usd: float | None = None
    cost_difference_ci_lower: float | None = None
    cost_difference_ci_upper: float | None = None
    cost_per_incremental_usd: float | None = None
    cost_per_incremental_ci_lower: float | None = None
    cost_per_incremental_ci_upper: float | None = None
    saving_per_1000_usd: float | None = None
    saving_per_1000_ci_lower: float | None = None
    saving_per_1000_ci_upper: float | None = None
    not_computable: Message | None = None


class ArmReport(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as a whole: how many units, how its LLM calls went."""

    variant: str
    label: str
    surface: str
    n_units: int
    share: float | None = None
    expected_share: float | None = None
    n_calls: int = 0
    calls_per_unit: float | None = None
    cost_usd: float | None = None
    cost_per_unit_usd: float | None = None
    n_cost_unknown: int = 0
    cost_unknown_reasons: dict[str, int] = msgspec.field(default_factory=dict)
    error_rate: float | None = None
    rate_limited_rate: float | None = None
    fallback_rate: float | None = None
    cache_hit_rate: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    latency_p50_seconds: float | None = None
    latency_p95_seconds: float | None = None
    latency_p99_seconds: float | None = None
    ttft_p50_seconds: float | None = None
    ttft_p95_seconds: float | None = None
    served_models: dict[str, int] = msgspec.field(default_factory=dict)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything genux says about one experiment at one moment.

    Attributes:
        verdict, headline, reasons: what to do, in one sentence, and why.
        change_mind: what would change the verdict.
        simulated: a sentence when the visitors were simulated, shown wherever the report is.
        code_version: version of genux that computed it.
    """

    experiment: str
    question: str = ""
    control: str
    generated_at: dt.datetime
    lake_version: str = ""
    code_version: str = ""
    source: str = "lake"
    simulated: str = ""
    first_exposure_day: dt.date | None = None
    last_exposure_day: dt.date | None = None
    n_units: int
    verdict: Verdict
    headline: Message
    reasons: list[Message] = msgspec.field(default_factory=list)
    change_mind: list[Message] = msgspec.field(default_factory=list)
    checks: list[Check] = msgspec.field(default_factory=list)
    arms: list[ArmReport] = msgspec.field(default_factory=list)
    metrics: list[MetricReport] = msgspec.field(default_factory=list)
    money: list[Money] = msgspec.field(default_factory=list)
    funnel: list[FunnelStep] = msgspec.field(default_factory=list)
    methods: list[Message] = msgspec.field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types: dates as ISO strings, NaN never occurs."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    def metric(self, key: str) -> MetricReport:
        """The report of one metric.

        Raises:
            KeyError: no such metric.
        """
        for metric in self.metrics:
            if metric.key == key:
                return metric
        raise KeyError(key)
