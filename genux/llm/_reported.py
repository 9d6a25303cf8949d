"""What a host or a server says of a call, made fit for the wire: one bad value must not cost the whole record."""

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genux.errors import UsageError
from genux.wire import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    from genux.llm._probe import Probe

__all__ = ["count_of", "name_of", "report_usage", "status_code_of"]

_MAX_COUNT = 2**53
_MAX_SECONDS = 1e9
_MAX_STATUS = 999


def count_of(what: str, value: Any) -> int:
    """A count, 0 where the provider reported none.

    Raises:
        UsageError: `bad_usage`, it is no whole number from 0 to 2**53.
    """
    if value is None:
        return 0
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if not 0 <= number <= _MAX_COUNT:
        raise UsageError("bad_usage", f"{what} must be a whole number from 0 up, got {value!r:.50}")
    return number


def report_usage(
    probe: "Probe", usage: Any, tokens: Mapping[str, Any], images: Any, audio_seconds: Any, characters: Any
) -> None:
    """Takes a report as a whole or not at all: a part of it would be priced as though it were everything.

    Args:
        probe: the call.
        usage: an OpenAI-shaped usage, which replaces `tokens`.
        tokens: by argument of `ManualCall.usage`; nothing is known of them unless input or output was given.
        images: made.
        audio_seconds: transcribed.
        characters: turned into speech.

    Raises:
        UsageError: `bad_usage`, something is no number from 0 up.
    """
    if usage is None and not (tokens["input_tokens"] is None and tokens["output_tokens"] is None):
        counts = {name: count_of(name, value) for name, value in tokens.items()}
        usage = {
            "input_tokens": counts["input_tokens"],
            "input_tokens_details": {name: counts[name] for name in ("cached_tokens", "cache_write_tokens")},
            "output_tokens": counts["output_tokens"],
            "output_tokens_details": {"reasoning_tokens": counts["reasoning_tokens"]},
        }
    n_images, n_characters = count_of("images", images), count_of("characters", characters)
    probe.audio_seconds = _seconds("audio_seconds", audio_seconds)
    probe.images, probe.characters = n_images, n_characters
    if usage is not None:
        probe.usage = usage


def status_code_of(value: Any) -> int:
    """An HTTP status, 0 for none.

    Raises:
        UsageError: `bad_usage`, it is none.
    """
    number = count_of("http_status", value)
    if number > _MAX_STATUS:
        raise UsageError("bad_usage", f"http_status must be at most {_MAX_STATUS}, got {number}")
    return number


def name_of(value: Any, max_length: int = MAX_TEXT_LENGTH) -> str:
    """A name as the wire can carry it: empty for None, an exception's class, cut, and valid Unicode."""
    if value is None:
        return ""
    if type(value) is str and len(value) <= max_length and value.isascii():
        return value
    text = type(value).__name__ if isinstance(value, BaseException) else str(value)
    return text[:max_length].encode(errors="replace").decode()


def _seconds(what: str, value: Any) -> float:
    """A duration in seconds, 0 where none was reported."""
    try:
        number = 0.0 if value is None else math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= _MAX_SECONDS:
        raise UsageError("bad_usage", f"{what} must be a number of seconds from 0 up, got {value!r:.50}")
    return number
