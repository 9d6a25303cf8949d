"""What the loop of a journey asks of whoever carries it out."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from genux.llm._trip import Wait

if TYPE_CHECKING:
    from genux.llm._exchange import Exchange

__all__ = ["END", "Ask", "Close", "Read", "Send", "Step", "Steps"]

END = object()
"""Sent in for a `Read` when the stream has ended."""


class Send(NamedTuple):
    """Make the request; without an exchange as the caller made it, unmeasured."""

    client: Any
    exchange: "Exchange | None"


class Read(NamedTuple):
    """Take the next event of a stream."""

    iterator: Any


class Close(NamedTuple):
    """Close a stream that nobody will read."""

    stream: Any


class Ask(NamedTuple):
    """Call the function that knows the key."""

    function: Callable[[], Any]


Step = Send | Read | Close | Ask | Wait
Steps = Generator[Step, Any, Any]
