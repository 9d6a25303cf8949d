"""Events given up, on record: the service is told of them even when the process that dropped them dies first."""

import os
import threading
import time
from pathlib import Path

import msgspec

from genux import _segments
from genux._ids import uuid7
from genux._segments import MemoryBatch

__all__ = ["Losses"]

_RETRY_SECONDS = 1.0


class Losses:
    """Counts drops in a segment of their own, rewritten in place at every drop and shipped as any other.

    So a report has an id that is fixed before the first send, and counts once however often it is sent. It stays far
    below one block of the disk: a disk that fills up later does not stop it from counting. While the disk refuses the
    file itself, the counts are in memory.

    Args:
        directory: the outbox.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1
        self._encode = msgspec.json.Encoder().encode
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._counts: dict[str, int] = {}
        self._unsaved = False
        self._refused_until = 0.0

    def count(self, reason: str, n_events: int) -> None:
        """So many events were given up."""
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + n_events
            self._unsaved = True
            self._save()

    def rotate(self) -> None:
        """Close the report, so that it can be shipped; a new one starts at nothing."""
        with self._lock:
            self._save()
            if self._fd >= 0 and not self._busy and not self._unsaved:
                fd, self._fd = self._fd, -1
                self._counts = {}
                _segments.close(fd)

    def take_from_memory(self) -> MemoryBatch | None:
        """The report, when the disk refuses it; None when there is none."""
        with self._lock:
            if self._busy or self._fd >= 0 or not self._counts:
                return None
            counts, self._counts, self._unsaved = self._counts, {}, False
            return MemoryBatch(batch_id=uuid7(), dropped=counts)

    @property
    def n_waiting(self) -> int:
        """Reports in memory."""
        return int(self._fd < 0 and bool(self._counts))

    def after_fork(self) -> None:
        """In a child: what was counted is the parent's, and so is the lock on its file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._reset()

    def _save(self) -> None:
        """Write the counts, and again when a signal handler counted meanwhile. The caller holds the lock."""
        if self._busy or (self._refused_until and time.monotonic() < self._refused_until):
            return
        self._busy = True
        try:
            while self._unsaved:
                self._unsaved = False
                self._write(self._encode({"dropped": self._counts}) + b"\n")
            self._refused_until = 0.0
        except OSError:
            self._unsaved = True
            self._refused_until = time.monotonic() + _RETRY_SECONDS
        finally:
            self._busy = False

    def _write(self, line: bytes) -> None:
        """Over the line before, which is never longer: counts only grow."""
        if self._fd < 0:
            self._fd = _segments.create(self._directory)
        if os.pwrite(self._fd, line, 0) < len(line):
            raise OSError(28, "the disk is full")
