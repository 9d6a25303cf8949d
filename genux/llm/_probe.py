"""The state of one call while it runs, and the one record that it leaves.

A probe is told what happens (`returned`, `raised`, `event`, `stopped`, `closing`) and finishes once, whichever comes
first. Every method that the host's stack runs through is guarded: our faults go to `Recorder.failed`, never up.
"""

import contextvars
import datetime as dt
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from genux._ids import uuid7
from genux.llm._facts import fields_of, is_terminal, seconds_of, tokens_of
from genux.llm._observed import Observed
from genux.llm._record import Status, attempt_of, call_of, retried_attempt
from genux.llm._recorder import CallContext, Recorder
from genux.observers import CallStarted, current_observers

if TYPE_CHECKING:
    from collections.abc import Callable

    from genux.wire import Attempt, Call, Retrieval, Tokens

__all__ = ["Probe", "enclosing", "status_of"]

enclosing: contextvars.ContextVar["Probe | None"] = contextvars.ContextVar("genux_enclosing_call", default=None)
"""The call being made in this context. A call made inside another is an attempt of the outer, never a second call."""

_WHY_UNREAD = {"error": "failed", "cancelled": "not_read", "abandoned": "not_read"}


class Probe(Observed):
    """One call. Attributes are written by the shells (`_wrap`, `_streams`, `_manual`) and read when it finishes."""

    covers_streams = False
    """Whether a stream begun inside this call is part of it even when it outlives it."""

    __slots__ = (
        "_token",
        "answer_text",
        "at",
        "attempt_at",
        "attempts",
        "audio_seconds",
        "call_id",
        "characters",
        "context",
        "event_id",
        "feature",
        "finished",
        "http_status",
        "listeners",
        "parent",
        "prompt",
        "prompt_text",
        "prompt_version",
        "provider",
        "reading",
        "requested_model",
        "retrieval",
        "scores",
        "seen",
        "started",
        "streaming",
        "tokens",
        "usage_reason",
    )

    def __init__(self, recorder: Recorder, *, operation: str, provider: str, model: str, feature: str = "") -> None:
        super().__init__(recorder, operation)
        self.provider = provider
        self.requested_model = model
        self.feature = feature
        self.prompt = self.prompt_version = self.prompt_text = self.answer_text = ""
        self.streaming = False
        self.usage_reason = "not_reported"
        self.http_status = 0
        self.tokens: Tokens | None = None
        self.audio_seconds = 0.0
        self.characters = 0
        self.retrieval: Retrieval | None = None
        self.scores: dict[str, float] = {}
        self.attempts: list[Attempt] = []
        self.reading = False
        self.seen = False
        self.finished = False
        self.call_id = uuid7()
        self.event_id = ""
        self.parent = enclosing.get()
        self._token: contextvars.Token[Probe | None] | None = None
        self.started = self.attempt_at = 0.0
        # Last: where the recorder fails, the probe knows that it never started.
        self.context: CallContext = recorder.call_started(self.call_id) if self.parent is None else self.parent.context
        self.at = self.context.at or dt.datetime.now(dt.UTC)
        self.listeners: list[Callable[[Call], None]] = []
        if observers := current_observers():
            started = CallStarted(
                call_id=self.call_id,
                parent_call_id="" if self.parent is None else self.parent.call_id,
                operation=operation,
                provider=provider,
                requested_model=model,
                assignments=self.context.assignments,
            )
            heard = (self.guarded("observer", observer.call_started, started) for observer in observers)
            self.listeners = [listener for listener in heard if listener is not None]

    def enter(self) -> None:
        """Becomes the enclosing call and starts the clock; the last thing before the host's request goes out."""
        self.go_on()
        self.started = self.attempt_at = perf_counter()

    def go_on(self) -> None:
        """Becomes the enclosing call once more, after `leave`."""
        self._token = enclosing.set(self)

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
        self.attempts.append(retried_attempt(self, error, now - self.attempt_at, wait_seconds))
        self.attempt_at = now + wait_seconds

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
        self.guarded("account", self.account)
        self.answer = {}
        if self.usage is not None:
            self.tokens = tokens_of(self.usage)
            self.audio_seconds = seconds_of(self.usage) or self.audio_seconds
            self.usage_reason = "no_token_counts" if self.tokens is None else ""
        if self.error_type and status == "ok":
            status = "error"
        elif not self.error_type and status != "abandoned":
            self.error_type = error_type
        if self.tokens is None:
            self.usage_reason = _WHY_UNREAD.get(status) or ("ended_early" if ended_early else self.usage_reason)
        parent = self.parent
        if parent is not None and not parent.finished:
            parent.attempt_over(self, status, now)
        elif parent is None or not parent.covers_streams:
            call = self.record(status, now)
            self._recorder.call_finished(call)
            for listener in self.listeners:
                self.guarded("observer", listener, call)

    def account(self) -> None:
        """Decides, at the end, whether the usage that was seen is this call's. By hand it always is."""

    def attempt_over(self, probe: "Probe", status: Status, now: float) -> None:
        """A call made inside this one ended: the attempts that it made, or itself as one."""
        self.attempts += probe.as_attempts(status, now)
        if status == "ok":
            self.prompt_text = self.prompt_text or probe.prompt_text
            self.answer_text = self.answer_text or probe.answer_text
            self.images += probe.images
            self.audio_seconds += probe.audio_seconds
            self.characters += probe.characters

    def as_attempts(self, status: Status, now: float) -> "list[Attempt]":
        """What this call is to the one that it was made inside of."""
        return [attempt_of(self, status, max(now - self.started, 0.0), self.tokens)]

    def record(self, status: Status, now: float) -> "Call":
        """The call."""
        return call_of(self, status, now)

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
