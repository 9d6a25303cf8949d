"""The state of one call while it runs, and the one record that it leaves.

A probe is told what happens (`returned`, `raised`, `event`, `stopped`, `closing`) and finishes once, whichever comes
first. Every method that the host's stack runs through is guarded: our faults go to `Recorder.failed`, never up.
"""

import contextvars
import datetime as dt
from collections.abc import Callable
from time import perf_counter
from typing import Any, Literal, Self

from genux._ids import uuid7
from genux.llm._facts import content_began, fields_of, is_terminal, tokens_of
from genux.llm._recorder import CallContext, Recorder
from genux.wire import Attempt, Call, Retrieval, Tokens

__all__ = ["Probe", "Status", "enclosing", "status_of"]

Status = Literal["ok", "error", "cancelled", "abandoned"]

enclosing: contextvars.ContextVar["Probe | None"] = contextvars.ContextVar("genux_enclosing_call", default=None)
"""The call being made in this context. A call made inside another is an attempt of the outer, never a second call."""

# What openai would have raised for the statuses that it tries again.
_STATUS_ERRORS = {
    408: "APIStatusError",
    409: "ConflictError",
    429: "RateLimitError",
    **dict.fromkeys(range(500, 600), "InternalServerError"),
}
_WHY_UNREAD = {"error": "failed", "cancelled": "not_read", "abandoned": "not_read"}


class Probe:
    """One call. Attributes are written by the shells (`_wrap`, `_streams`, `_manual`) and read when it finishes."""

    covers_streams = False
    """Whether a stream begun inside this call is part of it even when it outlives it."""

    __slots__ = (
        "_recorder",
        "_token",
        "at",
        "attempt_at",
        "attempts",
        "call_id",
        "chunks",
        "context",
        "error_type",
        "feature",
        "finished",
        "first_at",
        "first_content_at",
        "hide_usage",
        "http_status",
        "last",
        "last_at",
        "operation",
        "parent",
        "prompt",
        "prompt_version",
        "provider",
        "reading",
        "requested_model",
        "retrieval",
        "seen",
        "served_model",
        "service_tier",
        "started",
        "streaming",
        "tokens",
        "usage",
        "usage_reason",
    )

    def __init__(self, recorder: Recorder, *, operation: str, provider: str, model: str, feature: str = "") -> None:
        self._recorder = recorder
        self.operation = operation
        self.provider = provider
        self.requested_model = model
        self.feature = feature
        self.prompt = self.prompt_version = ""
        self.streaming = False
        self.served_model = self.service_tier = self.error_type = ""
        self.usage_reason = "not_reported"
        self.http_status = 0
        self.usage: Any = None
        self.tokens: Tokens | None = None
        self.retrieval: Retrieval | None = None
        self.attempts: list[Attempt] = []
        self.chunks = 0
        self.first_at = self.first_content_at = self.last_at = 0.0
        self.last: Any = None
        self.hide_usage = False
        self.reading = False
        self.seen = False
        self.finished = False
        self.call_id = uuid7()
        self.parent = enclosing.get()
        self._token: contextvars.Token[Probe | None] | None = None
        self.started = self.attempt_at = 0.0
        # Last: where the recorder fails, the probe knows that it never started.
        self.context: CallContext = recorder.call_started(self.call_id) if self.parent is None else self.parent.context
        self.at = self.context.at or dt.datetime.now(dt.UTC)

    def enter(self) -> None:
        """Becomes the enclosing call and starts the clock; the last thing before the host's request goes out."""
        self._token = enclosing.set(self)
        self.started = self.attempt_at = perf_counter()

    def leave(self) -> None:
        """Stops being the enclosing call."""
        token, self._token = self._token, None
        if token is not None:
            try:
                enclosing.reset(token)
            except ValueError:
                # The coroutine was closed by another context than it ran in (a collected, never awaited request);
                # that context never saw this call as enclosing.
                return

    def guarded(self, where: str, step: Callable[..., Any], *args: Any) -> Any:
        """Runs a step of ours; its failure is the recorder's business and yields `None`."""
        try:
            return step(*args)
        except Exception as error:  # noqa: BLE001 - nothing of ours may reach the host
            self.fail(where, error)
            return None

    def fail(self, where: str, error: BaseException) -> None:
        """Reports a failure of ours."""
        try:
            self._recorder.failed(where, error)
        except Exception:  # noqa: BLE001 - a recorder that cannot even count must still not break the host
            return

    # What happens to the request

    def raised(self, error: BaseException) -> None:
        """The request ended in an exception."""
        now = perf_counter()
        self.leave()
        self.guarded("call", self._failed_with, error, now)

    def _failed_with(self, error: BaseException, now: float) -> None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            self.http_status = status
        self.finish(status_of(error), now, type(error).__name__)

    def retried(self, wait_seconds: float, error: BaseException | None) -> None:
        """The client's own loop is about to wait and try again.

        Args:
            wait_seconds: how long it will wait.
            error: what ended the attempt, as the HTTP library raised it.
        """
        now = perf_counter()
        http_status = getattr(getattr(error, "response", None), "status_code", 0)
        self.attempts.append(
            Attempt(
                model=self.requested_model,
                provider=self.provider,
                status="error",
                error_type=_STATUS_ERRORS.get(http_status) or type(error).__name__,
                http_status=http_status,
                latency_seconds=now - self.attempt_at,
                waited_seconds=wait_seconds,
            )
        )
        self.attempt_at = now + wait_seconds

    # What comes back

    def note(self, item: Any) -> None:
        """Reads model, tier, usage and failure from a response body or a stream event."""
        fields = fields_of(item)
        inner = fields.get("response")
        if inner is not None and fields.get("type") is not None:
            fields = fields_of(inner)
        model = fields.get("model")
        if isinstance(model, str) and model:
            self.served_model = model
        tier = fields.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = tier
        usage = fields.get("usage")
        if usage is not None:
            self.usage = usage
        if (self.operation == "responses" and fields.get("status") == "failed") or fields.get("type") == "error":
            code = fields_of(fields.get("error")).get("code") or fields.get("code")
            self.error_type = code if isinstance(code, str) and code else "response_failed"

    def event(self, item: Any) -> bool:
        """Takes one stream event; false when it is the usage chunk that only we asked for."""
        now = perf_counter()
        try:
            fields = item if type(item) is dict else item.__dict__
            usage = fields.get("usage")
            if usage is not None:
                self.usage = usage
                if self.hide_usage and not fields.get("choices"):
                    self.note(item)
                    return False
            elif self.hide_usage:
                # Asked for usage, servers put `usage: null` into every other chunk; unasked they leave it out.
                item.__pydantic_fields_set__.discard("usage")  # pyright: ignore[reportAttributeAccessIssue] - no dict here
            self.chunks += 1
            self.last = item
            self.last_at = now
            if not self.first_content_at:
                if not self.first_at:
                    self.first_at = now
                    self.note(item)
                if content_began(fields):
                    self.first_content_at = now
        except Exception as error:  # noqa: BLE001 - an event of unknown shape is the host's to read, not ours to refuse
            self.fail("stream", error)
        return True

    def stopped(self, error: BaseException) -> None:
        """The stream's iterator raised: its end, or a failure."""
        now = perf_counter()
        self.reading = False
        self.guarded("stream", self._stopped, error, now)

    def _stopped(self, error: BaseException, now: float) -> None:
        if isinstance(error, StopIteration | StopAsyncIteration):
            self.finish("ok", now)
        else:
            self._failed_with(error, now)

    def left(self, error: BaseException | None) -> None:
        """The app closed or dropped a stream. `error` is the exception in flight, if any."""
        if self.last is not None and is_terminal(fields_of(self.last)):
            self.finish("ok", self.last_at)
        elif error is not None and status_of(error) == "cancelled":
            self.finish("cancelled", self.last_at or perf_counter(), type(error).__name__)
        else:
            self.finish("abandoned", self.last_at or perf_counter())

    # The record

    def finish(self, status: Status, now: float, error_type: str = "") -> None:
        """Leaves the record, once.

        Args:
            status: how it ended.
            now: `perf_counter()` of the last byte that the app read.
            error_type: exception class name, or the provider's error code.
        """
        if self.finished:
            return
        self.finished = True
        if self.last is not None:
            self.note(self.last)
            ended_early = status == "ok" and not is_terminal(fields_of(self.last))
            self.last = None
        else:
            ended_early = False
        if self.usage is not None:
            self.tokens = tokens_of(self.usage)
            self.usage_reason = "no_token_counts" if self.tokens is None else ""
        if self.error_type and status == "ok":
            status = "error"
        elif not self.error_type and status != "abandoned":
            self.error_type = error_type
        if self.tokens is None:
            self.usage_reason = _WHY_UNREAD.get(status) or ("ended_early" if ended_early else self.usage_reason)
        latency = max(now - self.started, 0.0)
        parent = self.parent
        if parent is not None and not parent.finished:
            parent.attempts.append(self._as_attempt(status, latency))
        elif parent is None or not parent.covers_streams:
            self._recorder.call_finished(self._as_call(status, latency, now))

    def _as_attempt(self, status: Status, latency: float) -> Attempt:
        return Attempt(
            model=self.served_model or self.requested_model,
            provider=self.provider,
            status=status,
            error_type=self.error_type,
            http_status=self.http_status,
            latency_seconds=latency,
            tokens=self.tokens,
        )

    def _as_call(self, status: Status, latency: float, now: float) -> Call:
        context = self.context
        attempts = self.attempts
        if attempts and attempts[-1].waited_seconds:
            # The loop's last try: its tokens are the call's, so they are not repeated here.
            last = Attempt(
                model=self.served_model or self.requested_model,
                provider=self.provider,
                status=status,
                error_type=self.error_type,
                http_status=self.http_status,
                latency_seconds=max(now - self.attempt_at, 0.0),
            )
            attempts = [*attempts, last]
        return Call(
            event_id=self.call_id,
            call_id=self.call_id,
            at=self.at,
            unit_id=context.unit_id,
            unit_kind=context.unit_kind,
            feature=self.feature or context.feature,
            operation=self.operation,
            provider=self.provider,
            requested_model=self.requested_model,
            served_model=self.served_model,
            service_tier=self.service_tier,
            streaming=self.streaming,
            status=status,
            error_type=self.error_type,
            http_status=self.http_status,
            latency_seconds=latency,
            ttfb_seconds=self.first_at - self.started if self.first_at else None,
            ttft_seconds=self.first_content_at - self.started if self.first_content_at else None,
            chunks=self.chunks,
            tokens=self.tokens,
            usage_reason=self.usage_reason,
            prompt=self.prompt,
            prompt_version=self.prompt_version,
            attempts=attempts,
            retrieval=self.retrieval,
            assignments=list(context.assignments),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: it stands where a function would, and a copied call would be counted twice."""
        return self

    def __del__(self) -> None:
        """A stream that nobody read to its end or closed: recorded when the collector finds it."""
        # A probe that could not be made lacks its attributes.
        if getattr(self, "started", 0.0) and not self.finished:
            self.guarded("collected", self.left, None)


def status_of(error: BaseException) -> Status:
    """Exceptions that are not `Exception` come from the app: cancelled task, Ctrl-C, a closed generator."""
    if isinstance(error, Exception):
        return "error"
    return "abandoned" if isinstance(error, GeneratorExit) else "cancelled"
