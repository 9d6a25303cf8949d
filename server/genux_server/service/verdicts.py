"""Each event of a batch judged by itself: one bad event never fails its neighbours."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from genux.wire import Alias, Call, Event, Exposure, Rejection, Track

__all__ = ["MAX_DEPTH", "MAX_EVENT_BYTES", "judge", "without_text"]

MAX_EVENT_BYTES = 256 * 2**10
MAX_DEPTH = 32
OLDEST = dt.timedelta(days=30)
NEWEST = dt.timedelta(days=1)
CLOCK_TOLERANCE = dt.timedelta(minutes=2)

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode
_PLACE = re.compile(r"^(?P<message>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)


def judge(
    events: Sequence[msgspec.Raw], sent_at: dt.datetime, received_at: dt.datetime, *, keeps_text: bool = False
) -> tuple[list[bytes], list[Rejection]]:
    """Split a batch into what is kept and what is refused.

    Times are judged on the sender's own clock: `sent_at` is when it sent, so a week-old outbox is welcome, and a clock
    that is wrong is wrong for both. Such a clock is put right: when `sent_at` and `received_at` lie further apart than
    a request can take, every `at` moves by that difference.

    Args:
        events: raw JSON of each.
        sent_at: the sender's clock at the last try.
        received_at: the service's clock.
        keeps_text: whether calls keep the text of prompt and answer, if they have any.

    Returns:
        The accepted events' JSON, in order, and the refusals.
    """
    earliest, latest = sent_at - OLDEST, sent_at + NEWEST
    skew = received_at - sent_at
    skewed = abs(skew) > CLOCK_TOLERANCE
    accepted: list[bytes] = []
    rejected: list[Rejection] = []
    for index, raw in enumerate(events):
        data = bytes(raw)
        try:
            event: Event = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            rejected.append(_unreadable(error).of(index))
            continue
        if not keeps_text and type(event) is Call and event.text is not None:
            event = msgspec.structs.replace(event, text=None)
            data = _encode(event)
        # Nearly every event passes here, so what could offend is only looked at more closely when it might.
        is_plain = (
            earliest <= event.at <= latest
            and event.unit_id
            and len(data) <= MAX_EVENT_BYTES
            and b"\\u0000" not in data
            and data.count(b"{") + data.count(b"[") <= MAX_DEPTH
        )
        refusal = None if is_plain else _check(event, data, earliest, latest)
        if refusal is not None:
            rejected.append(refusal.of(index))
        elif skewed:
            accepted.append(_encode(msgspec.structs.replace(event, at=event.at + skew)))
        else:
            accepted.append(data)
    return accepted, rejected


def without_text(data: bytes) -> bytes:
    """A refused event without the text that it may hold; nothing when it cannot be told where that is."""
    try:
        event = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b"" if b"call" in data else data
    if not isinstance(event, dict) or "text" not in event:
        return data
    return _encode({name: value for name, value in event.items() if name != "text"})


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    path: str
    message: str

    def of(self, index: int) -> Rejection:
        return Rejection(index=index, code=self.code, path=self.path, message=self.message)


def _unreadable(error: Exception) -> _Refusal:
    if isinstance(error, msgspec.ValidationError):
        found = _PLACE.match(str(error))
        if found is None:
            return _Refusal("schema", "$", str(error))
        return _Refusal("schema", found["path"], found["message"])
    if isinstance(error, RecursionError):
        return _too_deep("$")
    return _Refusal("malformed", "$", str(error))


def _check(event: Event, data: bytes, earliest: dt.datetime, latest: dt.datetime) -> _Refusal | None:
    if len(data) > MAX_EVENT_BYTES:
        return _Refusal("too_large", "$", f"An event may have {MAX_EVENT_BYTES} bytes, this one has {len(data)}.")
    if event.at < earliest:
        return _Refusal("too_old", "$.at", f"It happened more than {OLDEST.days} days before it was sent.")
    if event.at > latest:
        return _Refusal("in_future", "$.at", f"It happens more than {NEWEST.days} day after it was sent.")
    if not event.unit_id:
        nameless = isinstance(event, Track) and not event.call_id and not event.exposure_id
        if nameless or isinstance(event, Exposure | Alias):
            return _Refusal("unit_required", "$.unit_id", "Name the unit, or the call or exposure that it answers.")
    return _walk(msgspec.to_builtins(event), "$", 1)


def _walk(value: Any, path: str, depth: int) -> _Refusal | None:
    if depth > MAX_DEPTH:
        return _too_deep(path)
    if isinstance(value, str):
        return _Refusal("nul", path, "Text may not hold the character NUL.") if "\0" in value else None
    if isinstance(value, dict):
        for key, child in value.items():
            if "\0" in key:
                return _Refusal("nul", path, "A name may not hold the character NUL.")
            found = _walk(child, f"{path}.{key}", depth + 1)
            if found is not None:
                return found
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found = _walk(child, f"{path}[{index}]", depth + 1)
            if found is not None:
                return found
    return None


def _too_deep(path: str) -> _Refusal:
    return _Refusal("depth", path, f"An event may be nested {MAX_DEPTH} deep.")
