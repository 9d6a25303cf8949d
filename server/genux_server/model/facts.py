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
    "Quantiles",
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


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Moments of one metric over the matured units of one variant, epoch, segment and day of first exposure.

    Attributes:
        segment: `""` for everyone, else `attribute=value`. Only `""` cells add up to the whole.
        day: UTC day of first exposure.
        moments: over units whose conversion window has closed.
        pending: units whose window is still open; not in `moments`.
        capped: units whose value was cut to the cap.
    """

    metric: str
    variant: str
    epoch: int = 1
    segment: str = ""
    day: dt.date
    moments: Moments
    pending: int = 0
    capped: int = 0


class ArmCount(msgspec.Struct, frozen=True, kw_only=True):
    """Units first exposed to a variant, by epoch, segment and UTC day; units seen in two variants are left out."""

    variant: str
    epoch: int = 1
    segment: str = ""
    day: dt.date
    n_units: int


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time with one salt and one allocation (shares in the variants' order, sum 1)."""

    number: int
    allocation: tuple[float, ...]
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
        assigned_not_exposed: by variant, where the SDK reported it.
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
    forced_exposures: int = 0
    unknown_variant_exposures: int = 0
    other_kind_exposures: int = 0
    duplicate_events: int = 0
    calls: list[CallFacts] = msgspec.field(default_factory=list)
    funnel: list[FunnelCount] = msgspec.field(default_factory=list)
    outliers: list[Outlier] = msgspec.field(default_factory=list)
    remarks: list[Message] = msgspec.field(default_factory=list)
    one_look: bool = False
