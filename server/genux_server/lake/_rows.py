"""From the inbox's JSON to Arrow tables with the columns of `genux_server.model.tables`.

The service has validated every event before it was accepted, so that decoding here is lean: the structs below name the
fields of `genux.wire` without their limits, and keep free JSON as the bytes it came in. Measured against decoding into
the wire structs: 0.7 instead of 3.2 microseconds an event.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from genux.wire import Amounts, CallText, Tokens
from genux_server.model import TABLES, IngestedBatch

__all__ = ["IsErased", "arrow_schema", "arrow_tables"]

IsErased = Callable[[IngestedBatch, dt.datetime, list[tuple[str, str]]], bool]
"""Whether an event is dropped: by its batch, when it happened, and kind and id of each unit that it names."""

_ARROW_TYPES = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "date32": pa.date32(),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "decimal128(30, 12)": pa.decimal128(30, 12),
}
_UNIX_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_COST_STEP_USD = Decimal("1e-12")
_POSITION_BITS = 32

_EMPTY_OBJECT = Raw(b"{}")
_EMPTY_ARRAY = Raw(b"[]")
_NOTHING = Raw(b"null")
_SAYS_NOTHING = frozenset({b"null", b"{}"})


class _Common(msgspec.Struct, kw_only=True, tag_field="type", gc=False):
    event_id: str
    at: dt.datetime
    unit_id: str = ""
    unit_kind: str = "user"
    units: Raw = _EMPTY_OBJECT
    properties: Raw = _EMPTY_OBJECT


class _Exposure(_Common, kw_only=True, tag="exposure", gc=False):
    experiment: str
    variant: str
    epoch: int = 1
    scheme: str = "genux-1"
    reason: str = "ASSIGNED"
    forced: bool = False
    surface: str = "none"
    attributes: Raw = _EMPTY_OBJECT


class _Track(_Common, kw_only=True, tag="event", gc=False):
    known_id: ClassVar[str] = ""
    name: str
    value: float = 1.0
    call_id: str = ""
    exposure_id: str = ""


class _Alias(_Common, kw_only=True, tag="alias", gc=False):
    name: ClassVar[str] = "genux_alias"
    value: ClassVar[float | None] = None
    call_id: ClassVar[str] = ""
    exposure_id: ClassVar[str] = ""
    known_id: str


class _Attempt(msgspec.Struct, gc=False):
    error_type: str = ""


class _Call(_Common, kw_only=True, tag="call", gc=False):
    call_id: str
    feature: str = ""
    operation: str = "chat"
    provider: str = ""
    requested_model: str = ""
    served_model: str = ""
    service_tier: str = ""
    streaming: bool = False
    status: str = "ok"
    error_type: str = ""
    http_status: int = 0
    latency_seconds: float
    ttfb_seconds: float | None = None
    ttft_seconds: float | None = None
    chunks: int = 0
    tokens: Tokens | None = None
    amounts: Amounts | None = None
    usage_reason: str = ""
    cost_usd: str | None = None
    cost_reason: str = ""
    price_version: str = ""
    prompt: str = ""
    prompt_version: str = ""
    text: CallText | None = None
    attempts: Raw = _EMPTY_ARRAY
    fallback: bool = False
    fallback_reason: str = ""
    retrieval: Raw = _NOTHING
    scores: Raw = _EMPTY_OBJECT
    assignments: Raw = _EMPTY_ARRAY


_decode_events = msgspec.json.Decoder(list[_Exposure | _Track | _Alias | _Call]).decode
_decode_attempts = msgspec.json.Decoder(list[_Attempt]).decode
_decode_units = msgspec.json.Decoder(dict[str, str]).decode

_TABLE_OF: Mapping[type, int] = {_Exposure: 0, _Track: 1, _Alias: 1, _Call: 2}
_IN_NO_TABLE = -1
_RATE_LIMITED = frozenset({"RateLimitError", "rate_limit", "429"})
_HTTP_TOO_MANY_REQUESTS = 429


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of one of the lake's tables."""
    return pa.schema([pa.field(name, _ARROW_TYPES[kind]) for name, kind in TABLES[table].items()])


def arrow_tables(
    chunk: int, batches: Sequence[IngestedBatch], is_erased: IsErased | None = None
) -> dict[str, pa.Table]:
    """The rows of a chunk by table; a table without rows is left out.

    Args:
        chunk: the chunk's number, which with an event's position in the chunk makes its `seq`.
        batches: the batches of the chunk, in their order.
        is_erased: tells the events that are left out; the others keep their positions, and so their `seq`.

    Raises:
        msgspec.DecodeError: a batch is not the JSON that the service accepted.
    """
    per_batch = [_decode_events(batch.events) for batch in batches]
    events = [event for decoded in per_batch for event in decoded]
    batch_of = np.repeat(np.arange(len(batches)), [len(decoded) for decoded in per_batch])
    table_of = np.fromiter(map(_TABLE_OF.__getitem__, map(type, events)), np.int8, len(events))
    if is_erased is not None:
        for position, event in enumerate(events):
            if is_erased(batches[batch_of[position]], event.at, _units_of(event)):
                table_of[position] = _IN_NO_TABLE
    tables = {}
    for number, name in enumerate(TABLES):
        positions = np.flatnonzero(table_of == number)
        if len(positions):
            columns = _batch_columns(batches, pa.array(batch_of[positions]))
            columns["seq"] = pa.array((chunk << _POSITION_BITS) | positions)
            tables[name] = _table(name, [events[i] for i in positions], columns)
    return tables


def _units_of(event: Any) -> list[tuple[str, str]]:
    """Kind and id of every unit that an event names."""
    units = [(event.unit_kind, event.unit_id)] if event.unit_id else []
    if type(event) is _Alias:
        units.append((event.unit_kind, event.known_id))
    if bytes(event.units) not in _SAYS_NOTHING:
        units += _decode_units(event.units).items()
    return units


def _batch_columns(batches: Sequence[IngestedBatch], batch_of_row: pa.Array) -> dict[str, pa.Array]:
    received = [batch.received_at.astimezone(dt.UTC) for batch in batches]
    per_batch = {
        "project_id": pa.array([batch.project_id for batch in batches], pa.int64()),
        "environment_id": pa.array([batch.environment_id for batch in batches], pa.int64()),
        "batch_id": pa.array([batch.batch_id for batch in batches], pa.string()),
        "received_at": pa.array(received, pa.timestamp("us", "UTC")),
        "received_date": pa.array([at.date() for at in received], pa.date32()),
        "trust": pa.array([batch.trust for batch in batches], pa.string()),
        "sdk": pa.array([batch.sdk for batch in batches], pa.string()),
    }
    return {name: values.take(batch_of_row) for name, values in per_batch.items()}


def _table(name: str, rows: list[Any], columns: dict[str, pa.Array]) -> pa.Table:
    if name == "calls":
        columns |= _token_columns(rows) | _amount_columns(rows) | _text_columns(rows) | _attempt_columns(rows)
    schema = arrow_schema(name)
    for field in schema:
        if field.name not in columns:
            values = map(attrgetter(field.name), rows)
            columns[field.name] = _CONVERT.get(field.name, _plain)(values, field.type)
    return pa.table([columns[field.name] for field in schema], schema=schema)


def _plain(values: Iterable[Any], arrow_type: pa.DataType) -> pa.Array:
    return pa.array(list(values), arrow_type)


def _times(values: Iterable[dt.datetime], arrow_type: pa.DataType) -> pa.Array:
    # Four times as fast as handing Arrow aware datetimes, whose offset it asks for one by one.
    return pa.array([at - _UNIX_EPOCH for at in values], pa.duration("us")).cast(pa.int64()).cast(arrow_type)


def _json(values: Iterable[Raw], arrow_type: pa.DataType) -> pa.Array:
    return pa.array(list(map(bytes, values)), pa.binary()).cast(arrow_type)


def _json_or_null(values: Iterable[Raw], arrow_type: pa.DataType) -> pa.Array:
    texts = map(bytes, values)
    return pa.array([None if text in _SAYS_NOTHING else text for text in texts], pa.binary()).cast(arrow_type)


def _money(values: Iterable[str | None], arrow_type: pa.DataType) -> pa.Array:
    exact = [None if text is None else Decimal(text).quantize(_COST_STEP_USD) for text in values]
    return pa.array(exact, arrow_type)


_CONVERT: Mapping[str, Callable[[Iterable[Any], pa.DataType], pa.Array]] = {
    "at": _times,
    "units": _json_or_null,
    "properties": _json,
    "attributes": _json,
    "attempts": _json,
    "retrieval": _json_or_null,
    "scores": _json_or_null,
    "assignments": _json,
    "cost_usd": _money,
}


def _token_columns(calls: list[_Call]) -> dict[str, pa.Array]:
    return {
        f"{part}_tokens": pa.array(
            [None if call.tokens is None else getattr(call.tokens, part) for call in calls], pa.int64()
        )
        for part in ("input", "cached", "cache_write", "output", "reasoning")
    }


def _amount_columns(calls: list[_Call]) -> dict[str, pa.Array]:
    """What was used beside tokens; nothing of a kind is unknown, as zero images would have been no call for images."""
    return {
        name: pa.array([(call.amounts and getattr(call.amounts, name)) or None for call in calls], arrow_type)
        for name, arrow_type in (("images", pa.int64()), ("audio_seconds", pa.float64()), ("characters", pa.int64()))
    }


def _text_columns(calls: list[_Call]) -> dict[str, pa.Array]:
    return {
        f"{part}_text": pa.array([(call.text and getattr(call.text, part)) or None for call in calls], pa.string())
        for part in ("prompt", "answer")
    }


def _attempt_columns(calls: list[_Call]) -> dict[str, pa.Array]:
    """A call that lists no attempts made one, with the call's own outcome."""
    n_attempts = []
    n_rate_limited = []
    for call in calls:
        attempts = _decode_attempts(call.attempts)
        n_attempts.append(len(attempts) or 1)
        limited = sum(attempt.error_type in _RATE_LIMITED for attempt in attempts)
        n_rate_limited.append(limited or int(call.http_status == _HTTP_TOO_MANY_REQUESTS))
    return {"n_attempts": pa.array(n_attempts, pa.int64()), "n_rate_limited": pa.array(n_rate_limited, pa.int64())}
