"""What a failed attempt says about its target: whether another may serve the request, and when this one may again.

The rules are ours, and the same for every OpenAI-compatible provider:

- 429 cools the key, for as long as Retry-After says. `insufficient_quota` (and 402) is no rate limit: nothing but a
  person mends it, so the key is out for long. 401 puts the key out too, 403 the target.
- 5xx, 408, 409, timeouts and broken connections may be over in a moment: the request goes elsewhere.
- A model that the provider does not know may be asked of another model's target, and of no other.
- 400, 404, 413, 422 and what the caller's own parser raises are about the request: they go to the caller. Those of
  another provider or model, asked because the first had failed, say nothing of the request: `REFUSED`.
"""

import datetime as dt
import email.utils
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["REFUSED", "Effect", "Verdict", "retry_after_seconds", "verdict_of", "verdict_of_event"]

Effect = Literal["cool_key", "key_out", "target_out", "falter", "other_model", "none"]
"""What becomes of the target. `falter` counts towards opening its circuit; `other_model`, `none` leave it as it was."""


class Verdict(NamedTuple):
    """Why an attempt failed and what follows.

    Attributes:
        code: a stable word for status and fallback reason.
        effect: what becomes of the target.
        retry_after_seconds: what the provider asked for; None when it named nothing usable.
        final_here: this request is not to be tried at the same target again.
    """

    code: str
    effect: Effect
    retry_after_seconds: float | None = None
    final_here: bool = False


REFUSED = Verdict("refused", "none", final_here=True)
"""A fallback does not take the request as it was written for the first target."""

_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_RATE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "429"})
_MODEL_CODES = frozenset({"model_not_found", "DeploymentNotFound"})
_TOO_MANY, _SERVER_ERRORS_FROM = 429, 500
_BY_STATUS: Mapping[int, tuple[str, Effect]] = {
    401: ("unauthorized", "key_out"),
    402: ("quota", "key_out"),
    403: ("forbidden", "target_out"),
    408: ("http_408", "falter"),
    409: ("http_409", "falter"),
    429: ("rate_limited", "cool_key"),
}
_TRANSIENT_CODES = frozenset(
    {"server_error", "internal_error", "internal_server_error", "overloaded", "overloaded_error", "api_error"}
    | {"service_unavailable", "timeout", "vector_store_timeout", *map(str, range(500, 600))}
)


def verdict_of(error: BaseException, now: dt.datetime) -> Verdict | None:
    """Judges what a request raised.

    Args:
        error: as openai raised it.
        now: aware; for a Retry-After that is a date.

    Returns:
        The verdict, or `None` when the error is the caller's to see and no other target's business.
    """
    import openai

    if isinstance(error, openai.APITimeoutError):
        return Verdict("timeout", "falter")
    if isinstance(error, openai.APIConnectionError):
        return Verdict("connection", "falter")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, error.response.headers, now)
    if type(error) is openai.APIError:
        # An error inside the body of a stream.
        return verdict_of_event(error.code, error.type)
    return None


def _of_status(error: Any, headers: Mapping[str, str], now: dt.datetime) -> Verdict | None:
    status, words = error.status_code, {error.code, error.type}
    code, effect = _BY_STATUS.get(status, ("", None))
    if status >= _SERVER_ERRORS_FROM:
        code, effect = "server_error", "falter"
    elif status == _TOO_MANY and words & _QUOTA_CODES:
        code, effect = "quota", "key_out"
    elif words & _MODEL_CODES and effect is None:
        code, effect = "model_not_found", "other_model"
    elif effect is None and headers.get("x-should-retry") == "true":
        code, effect = f"http_{status}", "falter"
    if effect is None or (effect == "target_out" and _blames_content(error.body)):
        return None
    return Verdict(code, effect, retry_after_seconds(headers, now), headers.get("x-should-retry") == "false")


def verdict_of_event(code: str | None, kind: str | None = None) -> Verdict | None:
    """Judges an error that came inside a stream, before any of the answer did.

    Args:
        code: the error's code.
        kind: the error's type.
    """
    words = {code, kind}
    if words & _QUOTA_CODES:
        return Verdict("quota", "key_out")
    if words & _RATE_CODES:
        return Verdict("rate_limited", "cool_key")
    if words & _TRANSIENT_CODES or not any(words):
        return Verdict("server_error", "falter")
    return None


def _blames_content(body: object) -> bool:
    """Some providers answer 403 to what a person wrote: no reason to put a key out, or anybody could."""
    if not isinstance(body, Mapping):
        return False
    if any(word in str(body.get("code", "")) for word in ("content", "moderation")):
        return True
    metadata = body.get("metadata")
    return isinstance(metadata, Mapping) and "flagged_input" in metadata


def retry_after_seconds(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """What a response's `retry-after-ms` or `retry-after` asks for; `None` when it is absent, past or no time."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        return seconds if 0 < seconds < math.inf else None
    try:
        at = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or dt.UTC) - now).total_seconds()
    return seconds if seconds > 0 else None
