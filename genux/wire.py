"""The one definition of what travels between SDK and service: events, batches, replies, snapshots.

JSON, bodies optionally gzip or zstd. Times are RFC 3339 with an offset; money is a decimal string in US dollars;
durations are seconds. Unknown fields are ignored, so that an older reader survives a newer writer; missing required
fields, wrong types and values out of range are refused event by event (`Rejection`), never batch by batch.

`genux.specs` holds what people configure (experiments, metrics).
"""

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec

from genux._wire_snapshot import Band, Holdout, Layer, Snapshot, SnapshotExperiment
from genux.specs import Surface

__all__ = [
    "ASSIGNED_EVENT",
    "OWN_EVENTS",
    "SURFACE_EVENTS",
    "Alias",
    "Amounts",
    "AssignmentRef",
    "Attempt",
    "Band",
    "Batch",
    "BatchReply",
    "Call",
    "CallText",
    "Event",
    "Exposure",
    "Holdout",
    "Layer",
    "Reason",
    "Rejection",
    "Retrieval",
    "Sdk",
    "Snapshot",
    "SnapshotExperiment",
    "Tokens",
    "Track",
]

MAX_ID_LENGTH = 256
MAX_NAME_LENGTH = 128
MAX_TEXT_LENGTH = 2_048
MAX_UNITS = 16
MAX_SCORES = 64
MAX_CAPTURED_LENGTH = 16_384
MAX_USED_CHUNKS = 100

OWN_EVENTS = "genux_"
"""How the names of events begin by which genux keeps its own books; no metric counts them."""

ASSIGNED_EVENT = "genux_assigned"
"""Reserved event name: a unit was told its variant by `peek`, which is no exposure. Its properties are `experiment`,
`variant` and `epoch`; a report tells by arm how many such units never met their variant."""

SURFACE_EVENTS = (
    "surface_shown",
    "surface_focused",
    "input_started",
    "prompt_sent",
    "answer_started",
    "answer_seen",
    "answer_accepted",
    "answer_copied",
    "answer_regenerated",
    "answer_rejected",
    "feedback",
)
"""Reserved event names of the surface funnel, in the order a visitor meets them."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_LENGTH)]
Uuid = Annotated[str, msgspec.Meta(min_length=32, max_length=36)]
Time = Annotated[dt.datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Usd = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,12}(\.\d{1,18})?$")]
Value = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Units = Annotated[dict[Name, Id], msgspec.Meta(max_length=MAX_UNITS)]
Properties = dict[Name, Any]

Reason = Literal[
    "ASSIGNED",
    "FORCED",
    "HOLDOUT",
    "NOT_TARGETED",
    "NOT_IN_COVERAGE",
    "EXCLUDED",
    "PREREQUISITE",
    "SHIPPED",
    "STOPPED",
    "NO_SNAPSHOT",
    "UNKNOWN_EXPERIMENT",
    "NO_UNIT",
    "ERROR",
]
"""Why a unit has its variant. Only `ASSIGNED` (and `FORCED`, flagged and left out of analysis) are exposures."""


class _Common(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every event carries. `unit_id` may be empty only on a resumed outcome, whose call names the unit.

    `units` holds the ids of the units of other kinds that it happened in, by kind: the user around a document, say.
    An experiment on one kind of unit takes `unit_id` where `unit_kind` is that kind, else that kind's id in `units`.
    """

    event_id: Uuid
    at: Time
    unit_id: Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)] = ""
    unit_kind: Name = "user"
    units: Units = msgspec.field(default_factory=dict)
    properties: Properties = msgspec.field(default_factory=dict)


class AssignmentRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The variant in force when something happened."""

    experiment: Name
    variant: Name
    epoch: Count = 1
    forced: bool = False


class Exposure(_Common, frozen=True, kw_only=True, omit_defaults=True, tag="exposure"):
    """The unit actually met the variant. Analysis starts here."""

    experiment: Name
    variant: Name
    epoch: Count = 1
    scheme: Name = "genux-1"
    reason: Reason = "ASSIGNED"
    forced: bool = False
    surface: Surface = "none"
    attributes: Properties = msgspec.field(default_factory=dict)


class Track(_Common, frozen=True, kw_only=True, omit_defaults=True, tag="event"):
    """Something the unit did. A resumed outcome names the call or exposure that it belongs to instead of the unit."""

    name: Name
    value: Value = 1.0
    call_id: Annotated[str, msgspec.Meta(max_length=36)] = ""
    exposure_id: Annotated[str, msgspec.Meta(max_length=36)] = ""


class Alias(_Common, frozen=True, kw_only=True, omit_defaults=True, tag="alias"):
    """An anonymous unit (`unit_id`) turned out to be `known_id`. Both are analysed as the first seen."""

    known_id: Id


class Tokens(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Usage of a call, in tokens.

    Parts are included in their whole: `cached` and `cache_write` in `input`, `reasoning` in `output`, audio and images
    in both.
    """

    input: Count = 0
    cached: Count = 0
    cache_write: Count = 0
    output: Count = 0
    reasoning: Count = 0
    input_audio: Count = 0
    output_audio: Count = 0
    input_image: Count = 0
    output_image: Count = 0


class Amounts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call used that is not counted in tokens: images made, audio transcribed, text turned into speech."""

    images: Count = 0
    audio_seconds: Seconds = 0.0
    characters: Count = 0


class CallText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked and answered, where host and project both opted in; redacted and cut by the host."""

    prompt: Annotated[str, msgspec.Meta(max_length=MAX_CAPTURED_LENGTH)] = ""
    answer: Annotated[str, msgspec.Meta(max_length=MAX_CAPTURED_LENGTH)] = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try of a call at one key and model. `key_id` is a hash, never the key.

    `target` names the route's target. `waited_seconds` is idle time: along a route, before the attempt; in the client's
    own retries, after it.
    """

    target: Text = ""
    model: Text = ""
    key_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    provider: Text = ""
    status: Literal["ok", "error", "cancelled", "abandoned"] = "ok"
    error_type: Text = ""
    http_status: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    latency_seconds: Seconds = 0.0
    waited_seconds: Seconds = 0.0
    tokens: Tokens | None = None
    cost_usd: Usd | None = None
    cost_reason: Text = ""


class Retrieval(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a retrieval step handed to the model: how many chunks, and how their scores were spread.

    `histogram` divides `score_min` to `score_max` into equal parts. `used` names the chunks that the answer drew on,
    the first of `n_used`; null where nobody looked.
    """

    source: Text = ""
    k: Count = 0
    n_used: Count | None = None
    used: Annotated[list[Name], msgspec.Meta(max_length=MAX_USED_CHUNKS)] = msgspec.field(default_factory=list)
    score_min: Value | None = None
    score_mean: Value | None = None
    score_max: Value | None = None
    histogram: list[Count] = msgspec.field(default_factory=list)


class Call(_Common, frozen=True, kw_only=True, omit_defaults=True, tag="call"):
    """One LLM request as the app sees it. `at` is when it began. Holds no `text` unless host and project opted in.

    `status`: `ok`, `error` (the provider or the network failed), `cancelled` (the app cancelled it) or `abandoned`
    (a stream the app stopped reading). `latency_seconds` runs from the request to the last byte the app read and
    excludes genux's own time; `ttft_seconds` is the time to the first content token of a stream. `cost_usd` is null
    with `cost_reason` when it is not known, never 0.
    """

    call_id: Uuid
    feature: Text = ""
    operation: Name = "chat"
    provider: Text = ""
    requested_model: Text = ""
    served_model: Text = ""
    service_tier: Text = ""
    streaming: bool = False
    status: Literal["ok", "error", "cancelled", "abandoned"] = "ok"
    error_type: Text = ""
    http_status: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    latency_seconds: Seconds
    ttfb_seconds: Seconds | None = None
    ttft_seconds: Seconds | None = None
    chunks: Count = 0
    tokens: Tokens | None = None
    amounts: Amounts | None = None
    usage_reason: Text = ""
    cost_usd: Usd | None = None
    cost_reason: Text = ""
    price_version: Text = ""
    prompt: Text = ""
    prompt_version: Text = ""
    text: CallText | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    fallback: bool = False
    fallback_reason: Text = ""
    retrieval: Retrieval | None = None
    scores: Annotated[dict[Name, Value], msgspec.Meta(max_length=MAX_SCORES)] = msgspec.field(default_factory=dict)
    assignments: list[AssignmentRef] = msgspec.field(default_factory=list)


Event = Exposure | Track | Alias | Call


class Sdk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a batch."""

    name: Name = "genux-python"
    version: Text = ""
    runtime: Text = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v1/events`. `batch_id` and `events` never change once sent; `sent_at` is the last try's.

    `dropped` counts events that the sender had to give up since its last batch, by reason: nothing is lost silently.
    """

    batch_id: Uuid
    sent_at: Time
    events: list[msgspec.Raw]
    sdk: Sdk = msgspec.field(default_factory=Sdk)
    dropped: dict[str, Count] = msgspec.field(default_factory=dict)


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why one event of a batch was refused. `path` is a JSON path inside that event, such as `$.value`."""

    index: int
    code: str
    path: str
    message: str


class BatchReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch. `retry` means: nothing was kept, send the same batch again later."""

    status: Literal["ok", "duplicate", "retry"]
    accepted: int = 0
    rejected: list[Rejection] = msgspec.field(default_factory=list)
