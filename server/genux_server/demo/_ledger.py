"""What the local model was asked: the second book against which measurements are checked."""

import dataclasses
import hashlib
import random
import threading
import time
from collections import OrderedDict, deque
from typing import Any

__all__ = ["Entry", "Ledger", "hashed"]

_MAX_ENTRIES = 100_000
_MAX_PREFIXES = 50_000
# OpenAI's documented rule: prefixes of 1,024 tokens and more are cached, in steps of 128.
_CACHE_MIN_TOKENS, _CACHE_STEP_TOKENS = 1_024, 128


@dataclasses.dataclass(slots=True)
class Entry:
    """One request. `key` is a hash of the API key; `completed` says that the whole answer was produced."""

    number: int
    at: float
    key: str
    operation: str
    model: str
    dice: random.Random
    status: int = 200
    streaming: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    completed: bool = False

    def facts(self) -> dict[str, Any]:
        """The entry without its dice."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "dice"}


def hashed(key: str) -> str:
    """How the ledger names an API key; empty for none."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


class Ledger:
    """The requests in order of arrival, and the prompt prefixes that count as cached. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()
        self._count = 0

    def open(self, *, key: str, operation: str, model: str, seed: int) -> Entry:
        """Enters a request. Its dice depend on the seed and its number alone."""
        with self._lock:
            self._count += 1
            entry = Entry(
                number=self._count,
                at=time.time(),
                key=hashed(key),
                operation=operation,
                model=model,
                dice=random.Random(f"{seed}:{self._count}"),  # noqa: S311 - reproducible on purpose, guards nothing
            )
            self._entries.append(entry)
            return entry

    def entries(self) -> list[Entry]:
        """All requests kept."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forgets requests and cached prompts; numbers go on."""
        with self._lock:
            self._entries.clear()
            self._prefixes.clear()

    def requests_of(self, key: str, *, since: float) -> int:
        """How many requests of a key have arrived since a moment."""
        with self._lock:
            count = 0
            for entry in reversed(self._entries):
                if entry.at < since:
                    break
                count += entry.key == key
            return count

    def cached_prefix(self, key: str, model: str, prompt: list[str]) -> int:
        """How many leading tokens of a prompt this key has sent to this model before; remembers the prompt."""
        digest = hashlib.blake2b(f"{key}:{model}".encode(), digest_size=16)
        marks: list[tuple[int, bytes]] = []
        for position, piece in enumerate(prompt, start=1):
            digest.update(piece.encode())
            if position >= _CACHE_MIN_TOKENS and position % _CACHE_STEP_TOKENS == 0:
                marks.append((position, digest.digest()))
        with self._lock:
            cached = max((position for position, mark in marks if mark in self._prefixes), default=0)
            for _, mark in marks:
                self._prefixes[mark] = None
                self._prefixes.move_to_end(mark)
            while len(self._prefixes) > _MAX_PREFIXES:
                self._prefixes.popitem(last=False)
        return cached
