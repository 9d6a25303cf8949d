"""The one place where a failure of measuring ends: counted, logged once, and not the host's business."""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from genux._registry import notice_fork
from genux.errors import UsageError

__all__ = ["Guard", "answering", "guarded", "nothing"]

_MAX_TOPICS = 1_000

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Guard:
    """Counts what went wrong and logs each kind once.

    Args:
        strict: raise out of measuring calls instead, for tests and debugging.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self._lock = threading.RLock()
        self._failures: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self.on_drop: Callable[[str, int], None] = nothing
        self._said: set[str] = set()
        self._controls: dict[str, int] = {}
        self._refused: dict[str, int] = {}

    def failed(self, where: str, error: BaseException, *, loses_event: bool = False) -> None:
        """Note a failure inside genux, or something unusable that the host handed in.

        Args:
            where: the place, such as `track`.
            error: a `UsageError` is the host's, all others are ours.
            loses_event: it costs an event, which is counted as dropped.
        """
        if loses_event:
            self.drop(error.code if isinstance(error, UsageError) else "internal_error")
        if isinstance(error, UsageError):
            if not loses_event:
                self._count(self._refused, error.code)
            self.say_once(f"{where}:{error.code}", f"{where}: {error}; ignored, and counted as `{error.code}`")
            return
        self._count(self._failures, where)
        self.say_once(where, f"{where} failed inside genux: {type(error).__name__}: {error}; the app goes on")

    def drop(self, reason: str, n_events: int = 1) -> None:
        """Count events given up, to be shown in the status and, by `on_drop`, told to the service."""
        notice_fork()
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + n_events
        self.on_drop(reason, n_events)

    def answered_control(self, reason: str) -> None:
        """Count a variant that could not be decided and became control."""
        self._count(self._controls, reason)

    def say_once(self, topic: str, message: str) -> None:
        """Log a warning, the first time that its topic comes up in this process."""
        with self._lock:
            if topic in self._said or len(self._said) >= _MAX_TOPICS:
                return
            self._said.add(topic)
        import logging

        logging.getLogger("genux").warning(message)

    @property
    def controls(self) -> dict[str, int]:
        """Undecided variants by reason, a copy."""
        with self._lock:
            return dict(self._controls)

    @property
    def refused(self) -> dict[str, int]:
        """Unusable arguments and tokens that cost no event, by code, a copy."""
        with self._lock:
            return dict(self._refused)

    @property
    def failures(self) -> dict[str, int]:
        """Failures by place, a copy."""
        with self._lock:
            return dict(self._failures)

    @property
    def dropped(self) -> dict[str, int]:
        """Events given up by reason, a copy."""
        with self._lock:
            return dict(self._dropped)

    def after_fork(self) -> None:
        """In a child: what the parent counted is the parent's to report, and its lock may be held by no thread here."""
        self._lock = threading.RLock()
        self._failures, self._dropped = {}, {}
        self._controls, self._refused = {}, {}

    def _count(self, counts: dict[str, int], name: str) -> None:
        notice_fork()
        with self._lock:
            counts[name] = counts.get(name, 0) + 1


class _Guarded(Protocol):
    _guard: Guard


G = TypeVar("G", bound=_Guarded)


def guarded(
    fallback: Callable[..., Any], *, loses_event: bool = False
) -> Callable[[Callable[Concatenate[G, P], R]], Callable[Concatenate[G, P], R]]:
    """Make a method that measures safe to call from any host: on failure it notes the error and answers `fallback`.

    Args:
        fallback: called with the method's own arguments, and must not fail.
        loses_event: a failure of this method costs an event.
    """

    def decorate(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
        where = method.__name__

        @wraps(method)
        def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                guard = self._guard  # pyright: ignore[reportPrivateUsage]  # the decorator is part of the class
                guard.failed(where, error, loses_event=loses_event)
                if guard.strict:
                    raise
                answer: R = fallback(self, *args, **kwargs)
                return answer

        return call

    return decorate


def answering(value: T) -> Callable[..., T]:
    """The fallback of a method that then answers one value."""

    def fallback(*_args: Any, **_kwargs: Any) -> T:
        return value

    return fallback


nothing = answering(None)
