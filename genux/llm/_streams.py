"""Watching a stream or an open body in place: the host keeps the very objects that openai made.

Nothing here refers to the stream or the response strongly, so a dropped stream is collected as early as before.
"""

import sys
import types
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from genux.llm._probe import Probe

__all__ = ["AsyncWatched", "Closable", "Watched", "on_close"]


class Watched(Iterator[Any]):
    """Stands in for a `Stream`'s iterator and tells the probe what passes."""

    __slots__ = ("_inner", "_probe")

    def __init__(self, inner: Any, probe: Probe) -> None:
        self._inner = inner
        self._probe = probe

    def __next__(self) -> Any:
        probe = self._probe
        while True:
            probe.reading = True
            try:
                item = self._inner.__next__()
            except BaseException as error:
                probe.stopped(error)
                raise
            probe.reading = False
            if probe.event(item):
                return item

    def close(self) -> None:
        """Closes the wrapped generator, as closing it directly would."""
        self._inner.close()


class AsyncWatched(AsyncIterator[Any]):
    """The same for an `AsyncStream`."""

    __slots__ = ("_inner", "_probe")

    def __init__(self, inner: Any, probe: Probe) -> None:
        self._inner = inner
        self._probe = probe

    async def __anext__(self) -> Any:
        probe = self._probe
        while True:
            probe.reading = True
            try:
                item = await self._inner.__anext__()
            except BaseException as error:
                probe.stopped(error)
                raise
            probe.reading = False
            if probe.event(item):
                return item

    async def aclose(self) -> None:
        """Closes the wrapped generator, as closing it directly would."""
        await self._inner.aclose()


class Closable(Protocol):
    """Who wants to know that a response is being closed."""

    def closing(self, response: Any, error: BaseException | None, *, by_itself: bool) -> bool:
        """Called before the response closes, with the exception in flight; true when nothing more is to be heard.

        `by_itself` is true when the response's own iteration closes it, at its end or on an exception.
        """
        ...


def on_close(response: Any, name: str, listener: Closable) -> None:
    """Has `listener.closing` called each time the response is closed, until it returns true.

    Args:
        response: an open HTTP response of whichever library openai uses.
        name: `close` or `aclose`.
        listener: whom to tell.

    The hook is an instance attribute that removes itself, holds the response weakly, and leaves its class alone: a
    closed response is the same object as without us, also for pickle.
    """
    hook = _AsyncHook if name == "aclose" else _Hook
    vars(response)[name] = hook(response, name, listener)


class _Hook:
    """Stands for a response's `close`. An object, because functions that know each other outlive their response."""

    __slots__ = ("_listener", "_name", "_original", "_previous", "_response")

    def __init__(self, response: Any, name: str, listener: Closable) -> None:
        self._name = name
        self._listener = listener
        self._previous: Callable[[], Any] | None = vars(response).get(name)
        self._original = getattr(type(response), name)
        self._response = weakref.ref(response)

    def __call__(self) -> Any:
        """Closes."""
        return self._close(sys._getframe(1))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - who closes is what tells an end from a departure

    def _close(self, caller: types.FrameType) -> Any:
        name = self._name
        closed = self._response()
        if closed is None:
            # The collector clears weak references before finalisers run; whoever closes has the response at hand.
            at_hand = caller.f_locals.values()
            closed = next((value for value in at_hand if getattr(value, "__dict__", {}).get(name) is self), None)
        by_itself = caller.f_locals.get("self") is closed
        if self._listener.closing(closed, sys.exception(), by_itself=by_itself) and vars(closed).get(name) is self:
            if self._previous is None:
                del vars(closed)[name]
            else:
                vars(closed)[name] = self._previous
        return self._original(closed) if self._previous is None else self._previous()


class _AsyncHook(_Hook):
    """Stands for a response's `aclose`."""

    __slots__ = ()

    async def __call__(self) -> Any:
        """Closes."""
        return await self._close(sys._getframe(1))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
