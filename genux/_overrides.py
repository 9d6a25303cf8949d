"""What `genux.testing` changes for the whole process: forced variants, listeners, the clock."""

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from genux.wire import Event

__all__ = ["Overrides", "overrides"]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Overrides:
    """Process-wide, because a test's threads must see them too."""

    def __init__(self) -> None:
        self.forced: dict[str, str] = {}
        self.unknown: list[str] = []  # what was forced and does not exist, in words
        self.listeners: list[Callable[[Event], None]] = []
        self.now: Callable[[], dt.datetime] = _now


overrides = Overrides()
