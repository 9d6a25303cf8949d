"""A stream read ahead to where its answer begins, and handed on as though it had not been."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from genux.llm._facts import fields_of

__all__ = ["MAX_HELD", "AsyncReplay", "Replay", "is_preamble"]

MAX_HELD = 64
"""More events than any provider sends before an answer begins."""

_PREAMBLES = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    }
)


class Replay(Iterator[Any]):
    """A stream's iterator that begins with what was read ahead."""

    __slots__ = ("_held", "_rest")

    def __init__(self, held: list[Any], rest: Any) -> None:
        self._held = held[::-1]
        self._rest = rest

    def __next__(self) -> Any:
        if self._held:
            return self._held.pop()
        if self._rest is None:
            raise StopIteration
        return next(self._rest)

    def close(self) -> None:
        """Closes the iterator behind."""
        if self._rest is not None:
            self._rest.close()


class AsyncReplay(AsyncIterator[Any]):
    """The same for an `AsyncStream`."""

    __slots__ = ("_held", "_rest")

    def __init__(self, held: list[Any], rest: Any) -> None:
        self._held = held[::-1]
        self._rest = rest

    async def __anext__(self) -> Any:
        if self._held:
            return self._held.pop()
        if self._rest is None:
            raise StopAsyncIteration
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Closes the iterator behind."""
        if self._rest is not None:
            await self._rest.aclose()


def is_preamble(fields: Mapping[str, Any]) -> bool:
    """Whether a stream event comes before anything of the answer, reasoning included."""
    kind = fields.get("type")
    if isinstance(kind, str):
        return kind in _PREAMBLES
    choices = fields.get("choices")
    return choices is not None and not any(_says_something(fields_of(choice)) for choice in choices)


def _says_something(choice: Mapping[str, Any]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    said = {**fields_of(delta), **(getattr(delta, "model_extra", None) or {})}
    return any(value for name, value in said.items() if name != "role")
