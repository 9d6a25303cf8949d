"""One request of an OpenAI client: what is read from its options before, and from its response after."""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from genux.llm._deferred import account
from genux.llm._facts import operation_of, provider_of
from genux.llm._probe import Probe, status_of
from genux.llm._recorder import Recorder
from genux.llm._reported import name_of
from genux.llm._streams import AsyncWatched, Watched, on_close
from genux.llm._text import answer_of, prompt_of

if TYPE_CHECKING:
    from genux.llm._routing import Routing

__all__ = ["Exchange", "Meter"]

_RAW_HEADER = "X-Stainless-Raw-Response"
_MAX_BODY_BYTES = 16 * 1024 * 1024
_STREAM_USAGE_OPERATIONS = ("chat", "completions")
# They report a stream's usage only when asked. Others may do so unasked (openrouter does, and servers in openai's own
# tests), and the chunk that is hidden there would be one that the caller counts on.
_REPORTING_WHEN_ASKED = frozenset({"azure", "openai"})
_REFUSALS = (400, 422)
# Whatever these give back is what the request was for, and paid for with it.
_SETTLED_AT_ONCE = frozenset(
    {"audio.speech", "audio.transcriptions", "audio.translations", "chat", "completions", "embeddings", "images"}
)


class _Body(msgspec.Struct):
    """The parts of a response body that are facts about the call; everything else is skipped unread."""

    id: Any = None
    object: Any = None
    created_at: Any = None
    background: Any = None
    model: str | None = None
    service_tier: str | None = None
    status: Any = None
    error: Any = None
    usage: Any = None
    data: msgspec.Raw = msgspec.Raw()


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_images = msgspec.json.Decoder(list[msgspec.Raw]).decode


# Base URLs that have answered a stream which was asked for usage, or only without. Deployments are few; were they many,
# forgetting would cost one more try.
_accepting = {"https://api.openai.com/v1/"}
_refusing: set[str] = set()
_MAX_BASES = 1_000


class Meter:
    """What the measured clients of one `wrap` share."""

    __slots__ = (
        "_base",
        "_base_url",
        "_provider",
        "asynchronous",
        "provider",
        "recorder",
        "routing",
        "stream_type",
        "stream_usage",
    )

    def __init__(self, recorder: Recorder, *, provider: str, stream_usage: bool | None, stream_type: type) -> None:
        self.recorder = recorder
        self.provider = provider
        self.stream_type = stream_type
        self.asynchronous = hasattr(stream_type, "__anext__")
        self.stream_usage = stream_usage
        self.routing: Routing | None = None
        self._base_url: Any = None
        self._base = self._provider = ""

    def copy(self) -> "Meter":
        """The meter of a client's copy, which may have another base URL."""
        twin = Meter(
            self.recorder, provider=self.provider, stream_usage=self.stream_usage, stream_type=self.stream_type
        )
        twin.routing = self.routing and self.routing.copy()
        return twin

    def locate(self, client: Any) -> tuple[str, str]:
        """Base URL and provider of a client; rendering a URL costs 2 us, so it is remembered."""
        # The property imports a module each time; what it answers is this.
        base_url = vars(client).get("_base_url") or client.base_url
        if base_url is not self._base_url:
            self._base = str(base_url)
            self._provider = self.provider or provider_of(urlsplit(self._base).hostname or "")
            self._base_url = base_url
        return self._base, self._provider

    def may_ask_for_usage(self, base: str, provider: str) -> bool:
        """Whether a stream from this base URL may be asked to report its usage."""
        if base in _refusing or self.stream_usage is False:
            return False
        return self.stream_usage is True or provider in _REPORTING_WHEN_ASKED


class Exchange(Probe):
    """A call made by an OpenAI client. It is also the `post_parser` of its own options.

    That is where openai hands over everything it parsed, a `Stream` included, for plain, raw and streamed responses
    alike, and before the caller's own parser (`.parse`) may refuse the answer.
    """

    covers_streams = True

    __slots__ = ("_asked_in_vain", "_base", "_ended_at", "_meter", "_open", "_parser", "_plain_options", "options")

    def __init__(self, meter: Meter, client: Any, options: Any, *, streaming: bool) -> None:
        base, provider = meter.locate(client)
        body = _mapping(options.json_data)
        extra = _mapping(getattr(options, "extra_json", None))
        asked = {**body, **extra} if extra else body
        model = asked.get("model")
        super().__init__(
            meter.recorder,
            operation=operation_of(options.method.lower(), options.url),
            provider=provider,
            model=name_of(model) if isinstance(model, str) else "",
        )
        prompt = asked.get("prompt")
        if self.operation == "responses" and isinstance(prompt, Mapping):
            self.prompt = name_of(prompt.get("id"))
            self.prompt_version = name_of(prompt.get("version"))
        if self.context.keep_text is not None and not streaming:
            self.prompt_text = self.guarded("text", prompt_of, asked) or ""
        spoken = asked.get("input")
        if self.operation == "audio.speech" and isinstance(spoken, str):
            self.characters = len(spoken)
        self.streaming = streaming
        self._meter = meter
        self._base = base
        self._asked_in_vain = False
        self._open = False
        self._ended_at = 0.0
        self._plain_options: Any = options
        self._parser = options.post_parser
        self.options: Any = _copied(options, {"post_parser": self})
        if streaming and self.operation in _STREAM_USAGE_OPERATIONS:
            self._ask_for_usage(asked, body, options.headers)

    def _ask_for_usage(self, asked: Mapping[str, Any], body: Mapping[str, Any], headers: Any) -> None:
        wanted = asked.get("stream_options") or {}
        if not isinstance(wanted, Mapping) or wanted.get("include_usage"):
            return
        self.usage_reason = "not_requested"
        # A raw response shows the bytes: the usage chunk could not be hidden there.
        raw = isinstance(headers, Mapping) and headers.get(_RAW_HEADER)
        if raw or "include_usage" in wanted or asked is not body:
            return
        if not self._meter.may_ask_for_usage(self._base, self.provider):
            return
        self.options.json_data = {**body, "stream_options": {**wanted, "include_usage": True}}
        self.hide_usage = True
        self.usage_reason = "not_reported"

    def try_again_plain(self, error: BaseException) -> bool:
        """Whether the server may have refused what only we had asked for; the options are then the caller's again."""
        if not self.hide_usage or getattr(error, "status_code", 0) not in _REFUSALS:
            return False
        complaint = str(error)
        if self._base in _accepting and "stream_options" not in complaint and "include_usage" not in complaint:
            return False
        self.hide_usage = False
        self._asked_in_vain = True
        self.usage_reason = "not_requested"
        self.options.json_data = self._plain_options.json_data
        # The try that we spoilt is not the caller's, nor is its time.
        self.attempts.clear()
        self.started = self.attempt_at = perf_counter()
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
        if self.prompt_text:
            self.answer_text = answer_of(parsed)
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

    def raised(self, error: BaseException) -> None:
        """The request ended in an exception."""
        super().raised(error)
        self._let_go()

    def _let_go(self) -> None:
        # The options refer to this exchange: a circle that would keep the request's body until the next collection.
        self.options = self._plain_options = None

    def returned(self, result: Any) -> None:
        """The request is back at the caller's; an open body goes on being watched."""
        now = perf_counter()
        self.leave()
        self._let_go()
        if self.hide_usage:
            _remember(_accepting, self._base)
        elif self._asked_in_vain:
            _remember(_refusing, self._base)
        if not self._open:
            self.guarded("call", self._complete, result, now)

    def _complete(self, result: Any, now: float) -> None:
        if not self.seen:
            self._read_body(getattr(result, "http_response", result))
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
            fields = msgspec.structs.asdict(body)
            fields["data"] = _decode_images(body.data) if self.operation == "images" and body.data else None
            self.note(fields)

    def closing(self, response: Any, error: BaseException | None, *, by_itself: bool) -> bool:
        """The open body is about to be closed, by its end or by the app."""
        if self.finished or self.reading:
            return True
        return self.guarded("close", self._closing, response, error, by_itself) is not False

    def _closing(self, response: Any, error: BaseException | None, by_itself: bool) -> bool:  # noqa: FBT001 - guarded
        if self._ended_at:
            # The second close, by the `with` block: whatever the caller read is there now.
            self._complete(response, self._ended_at)
        elif not by_itself and not _broke(response, error):
            self.left(error)
        elif error is not None:
            self.finish(status_of(error), perf_counter(), type(error).__name__)
        else:
            # A raw body came to its end, before the caller could parse it.
            self._ended_at = perf_counter()
        return self.finished

    def account(self) -> None:
        """Whether the usage is this request's, or that of another which began or fetched the same answer."""
        if self.operation not in _SETTLED_AT_ONCE:
            account(self, self.answer)

    def left(self, error: BaseException | None) -> None:
        """As for any stream, but a raw body that was read to its end is complete."""
        if self._ended_at:
            self.finish("ok", self._ended_at)
        else:
            super().left(error)


def _broke(response: Any, error: BaseException | None) -> bool:
    # httpx before 2 leaves a response that failed open, for the caller's `with` block to close.
    request = vars(error).get("_request") if error is not None else None
    return request is not None and request is response.request


def _remember(bases: set[str], base: str) -> None:
    if base not in bases and len(bases) < _MAX_BASES:
        bases.add(base)


def _mapping(value: Any) -> Mapping[str, Any]:
    # A dictionary is known at once; asking an abstract class takes ten times as long.
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def _copied(options: Any, update: dict[str, Any]) -> Any:
    copy = getattr(options, "model_copy", None)  # pydantic 1 has none
    return (copy or options.copy)(update=update)
