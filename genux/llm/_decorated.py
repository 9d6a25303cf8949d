"""`gx.call(...)` as a decorator: each call of the function is one measured call, however the function answers."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from genux.llm._manual import ManualCall

__all__ = ["decorated"]

P = ParamSpec("P")
R = TypeVar("R")


def decorated(function: Callable[P, R], begin: "Callable[[], ManualCall]") -> Callable[P, R]:
    """The function, measured.

    A generator, async or not, is a stream: it lasts until its end or until its reader leaves it, and its first item is
    the first content. What the reader does between two items is no part of it.

    Args:
        function: a function, coroutine function, generator function or async generator function.
        begin: makes the call to be measured.
    """
    if inspect.isasyncgenfunction(function):
        measured = _async_generator(function, begin)
    elif inspect.isgeneratorfunction(function):
        measured = _generator(function, begin)
    elif inspect.iscoroutinefunction(function):
        measured = _coroutine(function, begin)
    else:
        measured = _function(function, begin)
    return cast("Callable[P, R]", functools.wraps(function)(measured))


def _function(function: Callable[..., Any], begin: "Callable[[], ManualCall]") -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        with begin():
            return function(*args, **kwargs)

    return measured


def _coroutine(function: Callable[..., Any], begin: "Callable[[], ManualCall]") -> Callable[..., Any]:
    async def measured(*args: Any, **kwargs: Any) -> Any:
        async with begin():
            return await function(*args, **kwargs)

    return measured


def _generator(function: Callable[..., Any], begin: "Callable[[], ManualCall]") -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with begin() as call:
            inner = function(*args, **kwargs)
            step, value = inner.send, None
            while True:
                try:
                    item = step(value)
                except StopIteration as end:
                    return end.value
                call.pause()
                try:
                    step, value = inner.send, (yield item)
                except GeneratorExit:
                    call.go_on()
                    inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001 thrown in by the reader, and the function's to handle
                    step, value = inner.throw, error
                call.go_on()

    return measured


def _async_generator(function: Callable[..., Any], begin: "Callable[[], ManualCall]") -> Callable[..., Any]:
    async def measured(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with begin() as call:
            inner = function(*args, **kwargs)
            step, value = inner.asend, None
            while True:
                try:
                    item = await step(value)
                except StopAsyncIteration:
                    return
                call.pause()
                try:
                    step, value = inner.asend, (yield item)
                except GeneratorExit:
                    call.go_on()
                    await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 thrown in by the reader, and the function's to handle
                    step, value = inner.athrow, error
                call.go_on()

    return measured
