"""Carrying out the steps of a journey, from sync and from async code."""

import contextlib
import math
from collections.abc import Awaitable, Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

from genux.llm._facts import operation_of
from genux.llm._journey import Journey
from genux.llm._lanes import Lanes
from genux.llm._route import Route
from genux.llm._steps import END, Ask, Close, Read, Send, Step

if TYPE_CHECKING:
    from genux.llm._exchange import Meter

__all__ = ["Routing", "travel", "travel_async"]

# Requests that any provider could answer; all others are about something that one of them keeps.
_ROUTED = frozenset(
    {
        "audio.speech",
        "audio.transcriptions",
        "audio.translations",
        "chat",
        "completions",
        "embeddings",
        "images",
        "moderations",
        "responses",
    }
)


class Routing:
    """A client's route, and its ways to the targets.

    Args:
        route: shared with other clients.
        copy: makes a measured copy of a client, with these options and for this provider.
    """

    def __init__(self, route: Route, copy: Callable[[Any, dict[str, Any], str], Any]) -> None:
        self._route = route
        self._copy = copy
        self._lanes = Lanes(copy)

    def copy(self) -> "Routing":
        """For a copy of the client, whose settings may differ."""
        return Routing(self._route, self._copy)

    def journey(self, meter: "Meter", client: Any, options: Any, *, streaming: bool) -> Journey | None:
        """The request as a call along the route; `None` when it is none that another target could serve."""
        operation = operation_of(options.method.lower(), options.url)
        if operation not in _ROUTED:
            return None
        journey = Journey(
            meter, client, options, lanes=self._lanes, route=self._route, operation=operation, streaming=streaming
        )
        journey.enter()
        return journey


def travel(journey: Journey, send: Callable[[Send], Any]) -> Any:
    """Carries out a journey; `send` makes one request."""
    steps = journey.steps()
    outcome: Any = None
    error: BaseException | None = None
    try:
        while True:
            step = steps.send(outcome) if error is None else steps.throw(error)
            outcome = error = None
            try:
                outcome = send(step) if isinstance(step, Send) else _carry_out(step)
            except BaseException as raised:  # noqa: BLE001 - the loop decides what becomes of it
                error = raised
    except StopIteration as end:
        journey.leave()
        return end.value
    except BaseException as raised:
        journey.ended(raised)
        raise
    finally:
        # An exception that refers to this frame must not be referred to by it.
        error = None


async def travel_async(journey: Journey, send: Callable[[Send], Awaitable[Any]]) -> Any:
    """The same from a coroutine."""
    steps = journey.steps()
    outcome: Any = None
    error: BaseException | None = None
    try:
        while True:
            step = steps.send(outcome) if error is None else steps.throw(error)
            outcome = error = None
            try:
                outcome = await (send(step) if isinstance(step, Send) else _carry_out_async(step))
            except BaseException as raised:  # noqa: BLE001 - the loop decides what becomes of it
                error = raised
    except StopIteration as end:
        journey.leave()
        return end.value
    except BaseException as raised:
        journey.ended(raised)
        raise
    finally:
        error = None


def _carry_out(step: Step) -> Any:
    if isinstance(step, Read):
        return next(step.iterator, END)
    if isinstance(step, Ask):
        return step.function()
    if isinstance(step, Close):
        with contextlib.suppress(Exception):
            step.stream.close()
        return None
    assert not isinstance(step, Send)
    return futures.wait([step.handed], _finite(step.seconds))


async def _carry_out_async(step: Step) -> Any:
    if isinstance(step, Read):
        return await anext(step.iterator, END)
    if isinstance(step, Ask):
        key = step.function()
        return await key if isinstance(key, Awaitable) else key
    if isinstance(step, Close):
        with contextlib.suppress(Exception):
            await step.stream.close()
        return None
    assert not isinstance(step, Send)
    import asyncio

    return await asyncio.wait([asyncio.wrap_future(step.handed)], timeout=_finite(step.seconds))


def _finite(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
