"""How a request looks at a target: through which client, with which model, timeout and idempotency key."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from genux.llm._circuit import Spot
from genux.llm._target import Target

__all__ = ["Lanes", "Parcel", "refusal", "seconds_of", "within"]

_IDEMPOTENCY_HEADER = "idempotency-key"
# openai and Azure let these decide over the client's key.
_CREDENTIALS = frozenset({"api-key", "authorization"})


class Lanes:
    """The clients through which one calling client reaches its targets: copies that share its HTTP connections.

    Args:
        copy: makes a measured copy of a client, with these options and for this provider.
    """

    def __init__(self, copy: Callable[[Any, dict[str, Any], str], Any]) -> None:
        self._copy = copy
        self._twins: dict[Spot, tuple[tuple[object, ...], Any]] = {}

    def client(self, caller: Any, spot: Spot, key: str | None, caller_provider: str) -> Any:
        """The client for a target; the caller's own where the target changes nothing about it."""
        target = spot.target
        elsewhere = target.client is not None or bool(target.base_url)
        if not elsewhere and key is None and not target.provider:
            return caller
        source = caller if target.client is None else target.client
        # A copy costs 15 us, so it is kept until one of the settings that it was made from is replaced.
        stamp = (
            key,
            source.api_key,
            source._base_url,  # noqa: SLF001 - the property renders a URL
            source.timeout,
            source.organization,
            source._custom_headers,  # noqa: SLF001 - the public property merges them with the platform's
            source._custom_query,  # noqa: SLF001 - as above
        )
        kept = self._twins.get(spot)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        options: dict[str, Any] = {}
        if key is not None:
            options["api_key"] = key
            if any(map(_is_credential, source._custom_headers)):  # noqa: SLF001 - as above
                options["set_default_headers"] = _without_credentials(source._custom_headers)  # noqa: SLF001 - as above
        if target.base_url:
            options["base_url"] = target.base_url
        twin = self._copy(source, options, target.provider or ("" if elsewhere else caller_provider))
        self._twins[spot] = (stamp, twin)
        return twin


class Parcel:
    """A request that may be sent more than once.

    Args:
        options: as the caller's resource made them; never changed.
    """

    __slots__ = ("_idempotency_keys", "_options", "model", "stays")

    def __init__(self, options: Any) -> None:
        self._options = options
        self._idempotency_keys: dict[tuple[int, str, str], str] = {}
        # `getattr` of what a pydantic model lacks costs 2 us.
        extra = vars(options).get("extra_json")
        body = {**_mapping(options.json_data), **extra} if extra else _mapping(options.json_data)
        model = body.get("model")
        self.model = model if isinstance(model, str) else ""
        # What refers to something kept at the provider means nothing anywhere else.
        self.stays = bool(body.get("previous_response_id") or body.get("conversation") or body.get("background"))

    @property
    def may_be_sent_again(self) -> bool:
        """Whether its content can be read a second time, unlike a pipe."""
        content = getattr(self._options, "content", None)
        return (content is None or isinstance(content, bytes)) and all(
            map(_can_be_read_again, _files(self._options.files))
        )

    def to_model(self, target: Target) -> Any:
        """The caller's options, or a copy of them with the target's model."""
        if not target.model or target.model == self.model:
            return self._options
        options = _copied(self._options)
        options.json_data = {**_mapping(options.json_data), "model": target.model}
        if "model" in _mapping(getattr(options, "extra_json", None)):
            options.extra_json = {**options.extra_json, "model": target.model}
        return options

    def address(self, options: Any, target: Target, timeout: Any, call_id: str) -> None:
        """Makes options those of one attempt.

        Args:
            options: a copy of what `to_model` gave for this target; changed.
            target: where it goes.
            timeout: of the attempt; `None` leaves the caller's.
            call_id: of this request and no other.
        """
        options.max_retries = 0
        if timeout is not None:
            options.timeout = timeout
        place = (id(target.client), target.base_url, target.model or self.model)
        keys = self._idempotency_keys
        key = keys.get(place)
        if key is None:
            key = keys[place] = (None if keys else options.idempotency_key) or f"genux-{call_id}-{len(keys)}"
        options.idempotency_key = key
        headers = _mapping(options.headers)
        if not headers:
            return
        if (target.key is not None or target.client is not None) and any(map(_is_credential, headers)):
            # The caller's own, for the caller's own address.
            options.headers = headers = _without_credentials(headers)
        if place != next(iter(keys)) and any(map(_is_idempotency, headers)):
            options.headers = {name: key if _is_idempotency(name) else value for name, value in headers.items()}


def seconds_of(timeout: Any) -> float:
    """How long a single attempt may take by the caller's own timeout; infinity for no limit."""
    if timeout is None:
        return float("inf")
    if isinstance(timeout, int | float):
        return float(timeout)
    read = getattr(timeout, "read", None)
    return float("inf") if read is None else float(read)


def within(timeout: Any, seconds: float) -> Any:
    """The caller's timeout, no part of it longer than `seconds`."""
    if timeout is None or isinstance(timeout, int | float):
        return seconds if timeout is None else min(timeout, seconds)
    parts = {name: getattr(timeout, name) for name in ("connect", "read", "write", "pool")}
    return type(timeout)(**{name: seconds if part is None else min(part, seconds) for name, part in parts.items()})


_STATUSES = {"forbidden": 403, "quota": 429, "rate_limited": 429, "server_error": 503, "unauthorized": 401}


def refusal(client: Any, options: Any, code: str, message: str, retry_after_seconds: float) -> Exception:
    """The openai exception for a request that was not sent, because no target may be asked in time.

    Args:
        client: that would have sent it.
        options: of the request.
        code: why the nearest target is not asked.
        message: what the app reads.
        retry_after_seconds: until it is; 0 when that is not known.
    """
    import openai

    request = client._build_request(_copied(options))  # noqa: SLF001 - nothing else makes one
    status = _STATUSES.get(code)
    if status is None:
        return openai.APITimeoutError(request)
    http: Any = sys.modules[type(request).__module__.partition(".")[0]]
    response = http.Response(
        status,
        headers={"retry-after": f"{math.ceil(retry_after_seconds)}"} if retry_after_seconds else {},
        json={"error": {"message": message, "type": "genux_route", "param": None, "code": code}},
        request=request,
    )
    error: Exception = client._make_status_error_from_response(response)  # noqa: SLF001 - picks the right class
    return error


def _can_be_read_again(part: Any) -> bool:
    """The HTTP library rewinds a file before it sends it, where it can."""
    if not hasattr(part, "read"):
        return part is None or isinstance(part, str | bytes | bytearray)
    try:
        return bool(part.seekable())
    except (AttributeError, OSError, ValueError):
        return False


def _files(files: Any) -> Iterator[Any]:
    for each in files.values() if isinstance(files, Mapping) else (pair[1] for pair in files or ()):
        # httpx: a file, or a tuple of name, file and more
        yield each[1] if isinstance(each, tuple) else each


def _is_idempotency(name: str) -> bool:
    return name.lower() == _IDEMPOTENCY_HEADER


def _is_credential(name: str) -> bool:
    return name.lower() in _CREDENTIALS


def _without_credentials(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if not _is_credential(name)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _copied(options: Any) -> Any:
    copy = getattr(options, "model_copy", None)
    return copy() if copy is not None else options.copy()
