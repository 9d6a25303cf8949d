"""Thread pools whose work knows the unit that it was handed in for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from genux._context import carry
from genux.errors import UsageError

__all__ = ["make_carrying"]

P = ParamSpec("P")
T = TypeVar("T")


def make_carrying(pool: object) -> None:
    """From now on everything submitted to the pool runs in the unit, feature and call of whoever submits it.

    The pool gets a subclass of its own class, as a wrapped client does: it stays what it is to `isinstance`, and
    `map`, `asyncio.loop.run_in_executor` and `asyncio.loop.set_default_executor` all come through its `submit`.

    Raises:
        UsageError: `bad_executor`, it is no thread pool. Another process shares no context: hand it a resume token.
    """
    if not isinstance(pool, ThreadPoolExecutor):
        raise UsageError("bad_executor", f"only a ThreadPoolExecutor can carry the unit, not {type(pool).__name__}")
    if not hasattr(pool, "genux_carries"):
        pool.__class__ = _carrying(type(pool))  # type: ignore[arg-type]  # mypy takes a class for unhashable


@cache
def _carrying(kind: type[ThreadPoolExecutor]) -> type[ThreadPoolExecutor]:
    def submit(self: ThreadPoolExecutor, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return kind.submit(self, carry(function), *args, **kwargs)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "genux_carries": True, "submit": submit})
