"""What people configure: experiments and metrics, in YAML, on the page or over the API.

The same structs check a local `genux.yaml` read by the SDK and the bodies of the service's API.
"""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "CALL_FIELDS",
    "SCORE_PREFIX",
    "AssignmentRules",
    "Condition",
    "ConfigFile",
    "ExperimentSpec",
    "HoldoutSpec",
    "LayerPart",
    "LayerSpec",
    "Measure",
    "MetricSpec",
    "Plan",
    "Prerequisite",
    "PriceRule",
    "Scheme",
    "Surface",
    "TokenKey",
    "VariantSpec",
]

Surface = Literal["chat", "action", "inline", "none"]
"""How a variant offers the model: an empty box, a one-click action, inline text, or nothing."""

Scheme = Literal["genux-1", "growthbook-1", "growthbook-2"]
"""How a unit becomes a number, and the number a variant; docs/assignment.md has the formulas."""

CALL_FIELDS = (
    "value",
    "cost_usd",
    "latency_seconds",
    "ttft_seconds",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "images",
    "audio_seconds",
    "characters",
    "retrieval_k",
    "retrieval_used",
    "retrieval_min",
    "retrieval_mean",
    "retrieval_max",
    "errors",
    "fallbacks",
)
"""What a measure may fold of a call; `value` is 1, `retrieval_k` counts the chunks handed over, `retrieval_min` to
`retrieval_max` are of their scores. `score:<name>` is what an evaluator of that name gave it."""

SCORE_PREFIX = "score:"

Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, msgspec.Meta(max_length=2_048)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A misspelt field in something a person wrote is an error, not a silence."""


class PriceRule(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """What one model, or a family of them, costs from a date on. Every rate is in US dollars, at least 0.

    Attributes:
        model: regular expression that the whole model name must match, upper and lower case alike.
        provider: exact provider id; empty matches any.
        since: first day (UTC) on which the rule holds.
        input_usd_per_million: per million input tokens.
        cached_usd_per_million: per million of them read from a cache; as other input when not given.
        cache_write_usd_per_million: per million of them written to a cache; as other input when not given.
        input_audio_usd_per_million: per million of them that are audio; as other input when not given.
        input_image_usd_per_million: per million of them that are images; as other input when not given.
        output_usd_per_million: per million output tokens, reasoning included.
        output_audio_usd_per_million: per million of them that are audio; as other output when not given.
        output_image_usd_per_million: per million of them that are images; as other output when not given.
        usd_per_image: per image made.
        usd_per_audio_minute: per minute of audio transcribed.
        usd_per_million_characters: per million characters turned into speech.
        usd_per_second: per second of latency, for a model that is paid by the machine (GPU-seconds).
        tier_multipliers: what the sum is multiplied by under a service tier, such as `{batch: 0.5}`. A call in a tier
            that is neither standard nor named here has no known cost.
    """

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    provider: Text = ""
    since: dt.date = dt.date.min
    input_usd_per_million: Decimal | None = None
    cached_usd_per_million: Decimal | None = None
    cache_write_usd_per_million: Decimal | None = None
    input_audio_usd_per_million: Decimal | None = None
    input_image_usd_per_million: Decimal | None = None
    output_usd_per_million: Decimal | None = None
    output_audio_usd_per_million: Decimal | None = None
    output_image_usd_per_million: Decimal | None = None
    usd_per_image: Decimal | None = None
    usd_per_audio_minute: Decimal | None = None
    usd_per_million_characters: Decimal | None = None
    usd_per_second: Decimal | None = None
    tier_multipliers: dict[Name, Decimal] = msgspec.field(default_factory=dict)


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that signs resume tokens, and the short id by which a token names it."""

    id: str
    secret: str


class Condition(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One test of one attribute of the unit. A missing attribute satisfies only `not_exists`, `ne` and `not_in`."""

    attribute: Name
    op: Literal[
        "eq",
        "ne",
        "in",
        "not_in",
        "gt",
        "gte",
        "lt",
        "lte",
        "contains",
        "starts_with",
        "ends_with",
        "matches",
        "exists",
        "not_exists",
    ] = "eq"
    value: Any = None


class VariantSpec(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One arm: which surface the person meets, and what stands behind it. `payload` is free."""

    key: Key
    surface: Surface = "none"
    label: Text = ""
    model: Text = ""
    prompt: Text = ""
    prompt_version: Text = ""
    payload: dict[str, Any] = msgspec.field(default_factory=dict)


class Measure(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One number per unit, from what it did within the conversion window after its first exposure.

    `source`: `event` takes events called `event`; `call` takes the unit's LLM calls.
    `aggregate`: `any` is 0 or 1; `count` counts; `sum`, `mean`, `max` fold `field`, which for events is `value`
    or the name of a numeric property, and for calls is one of `CALL_FIELDS`, or `score:` and the name of an evaluator.
    `after_seconds`: what happened earlier than this after the first exposure does not count; with `any` and a window
    it asks who came back on a later day.
    """

    source: Literal["event", "call"] = "event"
    event: Text = ""
    field: Name = "value"
    aggregate: Literal["any", "count", "sum", "mean", "max"] = "any"
    after_seconds: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 0.0


class MetricSpec(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A measured quantity.

    `kind`: `proportion` is the share of exposed units with `numerator` > 0; `mean` and `count` the average of
    `numerator` over all exposed units; `ratio` the sum of `numerator` over the sum of `denominator`, with the
    delta method at the unit; `quantile` the quantile `quantile` of the values of all events (or calls, of whatever
    status) in `numerator.field`, clustered by unit; `duration` the time from the first exposure to the first event
    (or call), as a mean up to the window's end, with units censored that are still followed. Of `numerator` the last
    two use no `aggregate`, and they take neither `cap_quantile` nor `covariate_days`.
    `window_seconds`: conversion window after the first exposure; a unit counts once its window has closed.
    `cap_quantile`: values above this quantile of both arms together are capped; 1 caps nothing.
    `covariate_days`: days before the first exposure that give the CUPED covariate; 0 for none.
    `margin`: for a guardrail, how much harm is tolerated; relative to control when `margin_relative`.
    """

    key: Key
    label: Text = ""
    kind: Literal["proportion", "mean", "count", "ratio", "quantile", "duration", "retention"] = "proportion"
    numerator: Measure
    denominator: Measure | None = None
    direction: Literal["increase", "decrease"] = "increase"
    unit: Text = ""
    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    window_seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] = 259_200.0
    cap_quantile: Annotated[float, msgspec.Meta(gt=0.5, le=1)] = 1.0
    covariate_days: Annotated[int, msgspec.Meta(ge=0, le=90)] = 0
    margin: Annotated[float, msgspec.Meta(ge=0)] | None = None
    margin_relative: bool = True


class Plan(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """What was promised before the experiment began. `horizon_units` counts units over all arms; 0 is no horizon."""

    alpha: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    power: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.8
    horizon_units: Annotated[int, msgspec.Meta(ge=0)] = 0
    looks: Annotated[int, msgspec.Meta(ge=1, le=200)] = 1
    minimum_effect: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Prerequisite(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Only units that get one of these variants of another experiment of the same kind of unit take part."""

    experiment: Key
    variants: Annotated[list[Key], msgspec.Meta(min_length=1)]


class LayerSpec(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A way to divide units between experiments that must not meet. `salt` defaults to the key.

    With `scheme` `growthbook-1` it is the GrowthBook namespace called `salt`.
    """

    key: Key
    salt: Text = ""
    scheme: Literal["genux-1", "growthbook-1"] = "genux-1"


class LayerPart(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a layer that an experiment takes: ranges `[start, end)` of 0 to 1."""

    key: Key
    ranges: Annotated[list[tuple[Share, Share]], msgspec.Meta(min_length=1, max_length=100)]


class HoldoutSpec(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A share of the units of one kind that gets control in the experiments named, or in all; shipped ones too.

    `salt` defaults to the key.
    """

    key: Key
    share: Share
    experiments: list[Key] = msgspec.field(default_factory=list)
    unit_kind: Name = "user"
    salt: Text = ""


class AssignmentRules(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """What holds for every experiment of an environment.

    `exclusions` is an OR of ANDs of conditions: a unit that matches takes part in no experiment, such as a bot or a
    colleague.
    """

    layers: list[LayerSpec] = msgspec.field(default_factory=list)
    holdouts: list[HoldoutSpec] = msgspec.field(default_factory=list)
    exclusions: list[list[Condition]] = msgspec.field(default_factory=list)


class ExperimentSpec(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """An experiment as a person writes it.

    `allocation` defaults to equal shares; the first variant is the default control. `targeting` is an OR of ANDs of
    conditions. `salt` seeds the hash; left empty it is the key in a local file and under a GrowthBook scheme, and
    random in the service. `payload_schema` is a JSON Schema that every variant's payload must fit; the service and
    the command line check it, the SDK never does.
    """

    key: Key
    question: Text = ""
    hypothesis: Text = ""
    unit_kind: Name = "user"
    variants: Annotated[list[VariantSpec], msgspec.Meta(min_length=2, max_length=20)]
    control: Text = ""
    allocation: dict[str, Share] = msgspec.field(default_factory=dict)
    coverage: Share = 1.0
    targeting: list[list[Condition]] = msgspec.field(default_factory=list)
    forced_units: dict[str, str] = msgspec.field(default_factory=dict)
    scheme: Scheme = "genux-1"
    salt: Text = ""
    layer: LayerPart | None = None
    prerequisites: Annotated[list[Prerequisite], msgspec.Meta(max_length=10)] = msgspec.field(default_factory=list)
    payload_schema: dict[str, Any] = msgspec.field(default_factory=dict)
    primary: Text = ""
    secondaries: list[Key] = msgspec.field(default_factory=list)
    guardrails: list[Key] = msgspec.field(default_factory=list)
    plan: Plan = msgspec.field(default_factory=Plan)
    simulated: Text = ""


class ConfigFile(AssignmentRules, frozen=True, kw_only=True, omit_defaults=True):
    """A YAML file of experiments, metrics, prices and what holds for all experiments: `genux.yaml` in local mode."""

    metrics: list[MetricSpec] = msgspec.field(default_factory=list)
    experiments: list[ExperimentSpec] = msgspec.field(default_factory=list)
    prices: list[PriceRule] = msgspec.field(default_factory=list)
