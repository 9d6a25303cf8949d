"""What is remembered of a target and of its key between calls. Times are `time.monotonic()` seconds."""

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genux.llm._target import Target

__all__ = ["KeyState", "Spot", "Window"]

_WINDOW_SECONDS = 60.0


class Window:
    """At most `limit` in any minute: requests before they are made, or tokens once they are known.

    Tokens are known when the answer is, so that a window of tokens is overdrawn by what was in flight, and pays back
    before it admits anything more. `aiolimiter` belongs to one event loop and `limits` to a store of its own; a deque
    does both threads and loops.
    """

    __slots__ = ("_entries", "_limit", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now: float, amount: int) -> None:
        """Counts what was just used."""
        if self._limit and amount:
            self._entries.append((now, amount))
            self._total += amount

    def ready_at(self, now: float) -> float:
        """When there is room again; a moment in the past when there is room now."""
        entries = self._entries
        while entries and entries[0][0] <= now - _WINDOW_SECONDS:
            self._total -= entries.popleft()[1]
        if not self._limit or self._total < self._limit:
            return 0.0
        left = self._total
        for at, amount in entries:
            left -= amount
            if left < self._limit:
                return at + _WINDOW_SECONDS
        return now


class KeyState:
    """A key at one address, shared by every target that uses it."""

    __slots__ = ("__weakref__", "cooled_at", "cooling_until", "n_limited", "out_code", "out_until")

    def __init__(self) -> None:
        self.cooling_until = self.out_until = 0.0
        self.cooled_at = -math.inf
        self.n_limited = 0
        self.out_code = ""


class Spot:
    """A target of a route with everything that changes about it."""

    __slots__ = (
        "cooled_at",
        "cooling_until",
        "is_tried",
        "key",
        "last_code",
        "n_errors",
        "n_faltered",
        "n_in_flight",
        "n_limited",
        "n_ok",
        "out_until",
        "requests",
        "target",
        "tokens",
    )

    def __init__(self, target: "Target", key: KeyState) -> None:
        self.target = target
        self.key = key
        self.requests = Window(target.requests_per_minute)
        self.tokens = Window(target.tokens_per_minute)
        self.cooling_until = self.out_until = 0.0
        self.cooled_at = -math.inf
        self.last_code = ""
        self.n_in_flight = self.n_ok = self.n_errors = self.n_limited = 0
        self.n_faltered = 0
        self.is_tried = False

    @property
    def is_recovering(self) -> bool:
        """It was cooled and has not answered since: one request goes first, to see."""
        return self.cooled_at > -math.inf

    def ready_at(self, now: float) -> float:
        """When it may be asked: past or `now` for at once, infinity while it is busy."""
        target = self.target
        if (target.max_concurrent and self.n_in_flight >= target.max_concurrent) or self.is_tried:
            return math.inf
        at = max(self.cooling_until, self.out_until, self.key.out_until)
        if target.requests_per_minute:
            at = max(at, self.requests.ready_at(now))
        if target.tokens_per_minute:
            at = max(at, self.tokens.ready_at(now))
        return at

    def cool(self, now: float, seconds: float) -> None:
        """Leaves it alone for a while."""
        self.cooling_until = max(self.cooling_until, now + seconds)
        self.cooled_at = now
