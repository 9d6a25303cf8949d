"""What was observed, in mergeable pieces: the engine's output and the statistics' only input."""

import datetime as dt

import msgspec

from genux.specs import ExperimentSpec, MetricSpec
from genux_server.model.report import Message

__all__ = [
    "ArmCount",
    "CallFacts",
    "Cell",
    "Epoch",
    "Facts",
    "FunnelCount",
    "Moments",
    "Outlier",
    "QuantileSummary",
    "Quantiles",
    "RiskTable",
]


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Mergeable moments of `n` units' vectors of named components.

    Attributes:
        n: number of units.
        components: what the vector holds, in order, always starting with `y` (the metric's value, or numerator of a
            ratio); then any of `d` (denominator), `x` (pre-exposure covariate of `y`), `w` (pre-exposure covariate of
            `d`), `c` (cost of the unit's LLM calls in US dollars).
        mean: `(k,)` component means.
        comoments: upper triangle, row by row, of the `(k, k)` matrix sum_i (v_i - mean)(v_i - mean)^T: never raw sums
            of squares, so that an offset of 1e9 costs no precision.
        minimum, maximum: of `y`; 0 when `n` is 0.
    """

    n: int
    components: tuple[str, ...] = ("y",)
    mean: tuple[float, ...] = (0.0,)
    comoments: tuple[float, ...] = (0.0,)
    minimum: float = 0.0
    maximum: float = 0.0


class QuantileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A mergeable summary of event-level values of disjoint units: a histogram that knows how units spread over it.

    With J_i(b) the events of unit i in buckets up to b and N_i all its events, the between-unit variance of the share
    below b needs the sums over units of J_i(b)^2 and J_i(b) N_i. Both grow only at buckets where the unit has an event:
    its j-th event (in order of value) adds 2 j - 1 to the first and N_i to the second. These increments are kept, so
    that the variance is at hand at whatever quantile the merged data turn out to have.

    Attributes:
        relative_width: of a bucket; values within it are taken as log-evenly spread, so this bounds the relative error.
        n_units: units with at least one event; units must not be split over summaries that are merged.
        sum_squared_events: sum of N_i^2.
        buckets: rising indices. Bucket b > 0 holds values in (w^(b-1), w^b] * 1e-9 with w = 1 + relative_width, bucket
            -b their negatives, bucket 0 everything within 1e-9 of zero.
        counts, squares, crosses: per bucket its events and the two increments.
        minimum, maximum: of the values.
        lows, highs: least and greatest value per bucket, between which its events are taken as evenly spread, so that
            values that repeat (a count, a rating) stay what they are. Empty where nobody kept them: then the bucket's
            edges.
    """

    relative_width: float
    n_units: int
    sum_squared_events: int
    buckets: list[int]
    counts: list[int]
    squares: list[int]
    crosses: list[int]
    minimum: float
    maximum: float
    lows: list[float] = msgspec.field(default_factory=list)
    highs: list[float] = msgspec.field(default_factory=list)


class RiskTable(msgspec.Struct, frozen=True, kw_only=True):
    """What one arm's durations come down to: at each distinct time, how many events and how many censored.

    Attributes:
        times: strictly increasing, seconds (or any unit), at least 0.
        events: units whose event came at that time.
        censored: units last seen without the event at that time; by convention still at risk at it.
    """

    times: list[float]
    events: list[int]
    censored: list[int]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Moments of one metric over the matured units of one variant, epoch, segment and day of first exposure.

    Of a `quantile` the moments hold the number of events that have a value, of a `duration` whether the unit got there.

    Attributes:
        segment: `""` for everyone, else `attribute=value`. Only `""` cells add up to the whole.
        day: UTC day of first exposure.
        moments: over units whose conversion window has closed.
        pending: units whose window is still open; not in `moments`.
        capped: units whose value was cut to the cap.
        values: for a `quantile` over everyone: the values of the matured units' events.
        durations: for a `duration` over everyone: seconds from the first exposure to the event, of all units; those
            without it are censored at the end of their window, or at `as_of` where that comes first.
    """

    metric: str
    variant: str
    epoch: int = 1
    segment: str = ""
    day: dt.date
    moments: Moments
    pending: int = 0
    capped: int = 0
    values: QuantileSummary | None = None
    durations: RiskTable | None = None


class ArmCount(msgspec.Struct, frozen=True, kw_only=True):
    """Units first exposed to a variant, by epoch, segment and UTC day; units seen in two variants are left out."""

    variant: str
    epoch: int = 1
    segment: str = ""
    day: dt.date
    n_units: int


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """The units admitted by one allocation (shares in the variants' order, sum 1): no unit is in two epochs.

    `coverage_from` is the experiment's coverage when it began, 0 for the first; units of earlier epochs go on coming.
    """

    number: int
    allocation: tuple[float, ...]
    coverage_from: float = 0.0
    started_at: dt.datetime
    ended_at: dt.datetime | None = None


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of per-call values, in seconds; None where no call has the value."""

    n: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """LLM calls made under one variant by exposed units, after their first exposure. Costs in US dollars."""

    variant: str
    n_calls: int = 0
    n_units: int = 0
    n_errors: int = 0
    n_rate_limited: int = 0
    n_fallbacks: int = 0
    n_cost_unknown: int = 0
    cost_unknown_reasons: dict[str, int] = msgspec.field(default_factory=dict)
    n_usage_unknown: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    latency_seconds: Quantiles = msgspec.field(default_factory=Quantiles)
    ttft_seconds: Quantiles = msgspec.field(default_factory=Quantiles)
    served_models: dict[str, int] = msgspec.field(default_factory=dict)


class FunnelCount(msgspec.Struct, frozen=True, kw_only=True):
    """Exposed units of a variant that reached a step of the surface funnel at least once."""

    variant: str
    step: str
    n_units: int


class Outlier(msgspec.Struct, frozen=True, kw_only=True):
    """The unit with the largest value of a metric, and its share of the variant's sum (0 to 1)."""

    metric: str
    variant: str
    unit_id: str
    value: float
    share: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the statistics may know of one experiment.

    Attributes:
        source: where the facts come from: `lake` or `file`.
        as_of: the moment against which conversion windows were judged.
        lake_version: version of the lake that was read, or a file's digest.
        multi_variant_units: units seen in two or more variants: excluded, counted, by the variant first seen.
        forced_exposures, unknown_variant_exposures, duplicate_events: left out, counted.
        other_kind_exposures: of another kind of unit than the experiment's: left out, counted.
        given_up_events: events of this environment that SDKs had to give up while the experiment ran, by reason.
        refused_events: those that the service refused, by code.
        assigned_not_exposed: units that were told their variant and never met it, by variant.
        remarks: what else a reader must know of the data, such as values that were missing.
        one_look: True where the data is looked at once (`genux analyze`), so that a plain test is valid.
    """

    experiment: ExperimentSpec
    metrics: list[MetricSpec]
    epochs: list[Epoch]
    source: str = "lake"
    as_of: dt.datetime
    lake_version: str = ""
    arm_counts: list[ArmCount] = msgspec.field(default_factory=list)
    cells: list[Cell] = msgspec.field(default_factory=list)
    multi_variant_units: dict[str, int] = msgspec.field(default_factory=dict)
    assigned_not_exposed: dict[str, int] = msgspec.field(default_factory=dict)
    forced_exposures: int = 0
    unknown_variant_exposures: int = 0
    other_kind_exposures: int = 0
    duplicate_events: int = 0
    given_up_events: dict[str, int] = msgspec.field(default_factory=dict)
    refused_events: dict[str, int] = msgspec.field(default_factory=dict)
    calls: list[CallFacts] = msgspec.field(default_factory=list)
    funnel: list[FunnelCount] = msgspec.field(default_factory=list)
    outliers: list[Outlier] = msgspec.field(default_factory=list)
    remarks: list[Message] = msgspec.field(default_factory=list)
    one_look: bool = False
