"""One request of an OpenAI client: what is read from its options before, and from its response after."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec

from genux.llm._facts import operation_of, provider_of
from genux.llm._probe import Probe, status_of
from genux.llm._recorder import Recorder
from genux.llm._streams import AsyncWatched, Watched, on_close

__all__ = ["Exchange", "Meter"]

_RAW_HEADER = "X-Stainless-Raw-Response"
_MAX_BODY_BYTES = 16 * 1024 * 1024
_STREAM_USAGE_OPERATIONS = ("chat", "completions")
_STREAM_USAGE_HOSTS = frozenset({"api.openai.com"})


class _Body(msgspec.Struct):
    """The parts of a response body that are facts about the call; everything else is skipped unread."""

    model: str | None = None
    service_tier: str | None = None
    status: Any = None
    error: Any = None
    usage: Any = None


_decode_body = msgspec.json.Decoder(_Body).decode


class Meter:
    """What the measured clients of one `wrap` share."""

    __slots__ = (
        "_base_url",
        "_host",
        "_provider",
        "_refusing",
        "_stream_usage",
        "asynchronous",
        "provider",
        "recorder",
        "stream_type",
    )

    def __init__(self, recorder: Recorder, *, provider: str, stream_usage: bool | None, stream_type: type) -> None:
        self.recorder = recorder
        self.provider = provider
        self.stream_type = stream_type
        self.asynchronous = hasattr(stream_type, "__anext__")
        self._stream_usage = stream_usage
        self._refusing: set[str] = set()
        self._base_url: Any = None
        self._host = self._provider = ""

    def copy(self) -> "Meter":
        """The meter of a client's copy, which may have another base URL; what servers refuse is known to both."""
        twin = Meter(
            self.recorder, provider=self.provider, stream_usage=self._stream_usage, stream_type=self.stream_type
        )
        twin._refusing = self._refusing
        return twin

    def locate(self, client: Any) -> tuple[str, str]:
        """Host and provider of the client's base URL; rendering a URL costs 2 us, so it is remembered."""
        base_url = client.base_url
        if base_url is not self._base_url:
            self._host = urlsplit(str(base_url)).hostname or ""
            self._provider = self.provider or provider_of(self._host)
            self._base_url = base_url
        return self._host, self._provider

    def may_ask_for_usage(self, host: str) -> bool:
        """Whether a stream from this host may be asked to report its usage."""
        if host in self._refusing or self._stream_usage is False:
            return False
        return self._stream_usage is True or host in _STREAM_USAGE_HOSTS

    def refuses(self, host: str) -> None:
        """The host answered that it does not know how to report the usage of a stream."""
        self._refusing.add(host)


class Exchange(Probe):
    """A call made by an OpenAI client. It is also the `post_parser` of its own options.

    That is where openai hands over everything it parsed, a `Stream` included, for plain, raw and streamed responses
    alike, and before the caller's own parser (`.parse`) may refuse the answer.
    """

    covers_streams = True

    __slots__ = ("_ended_at", "_host", "_meter", "_open", "_parser", "_plain_options", "options")

    def __init__(self, meter: Meter, client: Any, options: Any, *, streaming: bool) -> None:
        host, provider = meter.locate(client)
        body = options.json_data if isinstance(options.json_data, Mapping) else {}
        extra = getattr(options, "extra_json", None)
        asked = {**body, **extra} if isinstance(extra, Mapping) else body
        model = asked.get("model")
        super().__init__(
            meter.recorder,
            operation=operation_of(options.method.lower(), options.url),
            provider=provider,
            model=model if isinstance(model, str) else "",
        )
        prompt = asked.get("prompt")
        if self.operation == "responses" and isinstance(prompt, Mapping):
            self.prompt = str(prompt.get("id") or "")
            self.prompt_version = str(prompt.get("version") or "")
        self.streaming = streaming
        self._meter = meter
        self._host = host
        self._open = False
        self._ended_at = 0.0
        self._plain_options = options
        self._parser = options.post_parser
        self.options = _copied(options)
        self.options.post_parser = self
        if streaming and self.operation in _STREAM_USAGE_OPERATIONS:
            self._ask_for_usage(asked, body, options.headers)

    def _ask_for_usage(self, asked: Mapping[str, Any], body: Mapping[str, Any], headers: Any) -> None:
        wanted = asked.get("stream_options") or {}
        if not isinstance(wanted, Mapping) or wanted.get("include_usage"):
            return
        self.usage_reason = "not_requested"
        # A raw response shows the bytes: the usage chunk could not be hidden there.
        raw = isinstance(headers, Mapping) and headers.get(_RAW_HEADER)
        if raw or "include_usage" in wanted or asked is not body or not self._meter.may_ask_for_usage(self._host):
            return
        self.options.json_data = {**body, "stream_options": {**wanted, "include_usage": True}}
        self.hide_usage = True
        self.usage_reason = "not_reported"

    def try_again_plain(self, error: BaseException) -> bool:
        """Whether the server refused what only we had asked for; the options are then the caller's again."""
        if not self.hide_usage or getattr(error, "status_code", 0) not in (400, 422):
            return False
        complaint = str(error)
        if "stream_options" not in complaint and "include_usage" not in complaint:
            return False
        self.hide_usage = False
        self.usage_reason = "not_requested"
        self.options.json_data = self._plain_options.json_data
        self._meter.refuses(self._host)
        return True

    def __call__(self, parsed: Any) -> Any:
        """Looks at what openai parsed, then lets the caller's parser have it."""
        if not self.finished:
            self.guarded("parse", self._parsed, parsed)
        return self._parser(parsed) if callable(self._parser) else parsed

    def _parsed(self, parsed: Any) -> None:
        if isinstance(parsed, self._meter.stream_type):
            watched = AsyncWatched if self._meter.asynchronous else Watched
            stream: Any = parsed
            stream._iterator = watched(stream._iterator, self)  # noqa: SLF001 - what `next(stream)` delegates to
            self.streaming = self.seen = True
            if not self._open:
                self._hear_close(stream.response)
            return
        self.note(parsed)
        self.seen = True
        if self._ended_at:
            self.finish("ok", self._ended_at)

    def arrived(self, response: Any) -> None:
        """The response's head is here, its body perhaps not yet."""
        self.guarded("response", self._arrived, response)

    def _arrived(self, response: Any) -> None:
        self.http_status = int(response.status_code)
        if not response.is_closed:
            self._hear_close(response)

    def _hear_close(self, response: Any) -> None:
        self._open = True
        on_close(response, "aclose" if self._meter.asynchronous else "close", self)

    def returned(self, result: Any) -> None:
        """The request is back at the caller's; an open body goes on being watched."""
        now = perf_counter()
        self.leave()
        if not self._open:
            self.guarded("call", self._complete, getattr(result, "http_response", result), now)

    def _complete(self, response: Any, now: float) -> None:
        if not self.seen:
            self._read_body(response)
        self.finish("ok", now)

    def _read_body(self, response: Any) -> None:
        # Already read by openai or the caller, so this never touches the network.
        try:
            content = getattr(response, "content", None)
        except Exception:  # noqa: BLE001 - a body that was streamed past is gone; each HTTP library says so differently
            return
        if isinstance(content, bytes) and content.lstrip()[:1] == b"{" and len(content) <= _MAX_BODY_BYTES:
            try:
                body = _decode_body(content)
            except msgspec.MsgspecError:
                return
            self.note(msgspec.structs.asdict(body))

    def closing(self, response: Any, error: BaseException | None, *, by_itself: bool) -> bool:
        """The open body is about to be closed, by its end or by the app."""
        if self.finished or self.reading:
            return True
        return self.guarded("close", self._closing, response, error, by_itself) is not False

    def _closing(self, response: Any, error: BaseException | None, by_itself: bool) -> bool:  # noqa: FBT001 - guarded
        if self._ended_at:
            # The second close, by the `with` block: whatever the caller read is there now.
            self._complete(response, self._ended_at)
        elif not by_itself:
            self.left(error)
        elif error is not None:
            self.finish(status_of(error), perf_counter(), type(error).__name__)
        else:
            # A raw body came to its end, before the caller could parse it.
            self._ended_at = perf_counter()
        return self.finished

    def left(self, error: BaseException | None) -> None:
        """As for any stream, but a raw body that was read to its end is complete."""
        if self._ended_at:
            self.finish("ok", self._ended_at)
        else:
            super().left(error)


def _copied(options: Any) -> Any:
    copy = getattr(options, "model_copy", None)
    return copy() if copy is not None else options.copy()
