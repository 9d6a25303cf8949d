"""The writing half of the outbox: an accepted event is in the kernel's hands before `append` returns.

One append-only segment per process, one `os.write` per event, so that a `kill -9` of the host loses nothing. A loss of
power may, unless `fsync` is asked for. `_segments.py` says what a segment is. While the disk refuses, events wait in
memory, bounded and counted, and go to the disk when it recovers, or straight to the service. What is given up is
counted on the same disk (`_losses.py`).
"""

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path

from genux import _segments
from genux._guard import Guard
from genux._ids import uuid7
from genux._losses import Losses
from genux._segments import MemoryBatch

__all__ = ["BATCH_EVENTS", "Outbox"]

BATCH_EVENTS = 500
BATCH_BYTES = 256 * 1_024
_MAX_EVENT_BYTES = 240 * 1_024  # the service takes 256 KiB; a call still gets its price, and may hold two long texts
_CHECK_SECONDS = 1.0


class _OutboxFullError(OSError):
    """The outbox has taken all the disk that it may."""


class Outbox:
    """Appends events to this process's open segment. Safe to call from any thread, signal handler or finaliser.

    Args:
        directory: made when first needed, mode 0700.
        max_disk_bytes: beyond it new events are dropped and counted as `outbox_full`.
        max_memory_bytes: held while the disk refuses; beyond it new events are dropped as `memory_full`.
        guard: where drops are counted and said.
        fsync: an accepted event is on the disk itself, not in the kernel's memory, before `append` returns.
    """

    def __init__(
        self, directory: Path, max_disk_bytes: int, max_memory_bytes: int, guard: Guard, *, fsync: bool = False
    ) -> None:
        self.directory = directory
        self.max_disk_bytes = max_disk_bytes
        self.n_accepted = 0
        self._flags = os.O_APPEND | (os.O_DSYNC if fsync else 0)
        self._losses = Losses(directory)
        guard.on_drop = self._losses.count
        self._max_memory_bytes = max_memory_bytes
        self._guard = guard
        self._fd = -1
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._n_events = 0
        self._n_bytes = 0
        self._disk_refused_until = 0.0
        self._full_until = 0.0
        self._disk_checked_at = -_CHECK_SECONDS
        self._room_bytes = 0

    def append(self, line: bytes) -> bool:
        """Keep one event, JSON without a newline; False when it was dropped, which the guard has counted."""
        size = len(line) + 1
        if size > _MAX_EVENT_BYTES:
            return self._drop("too_large", f"an event of {size} bytes is over {_MAX_EVENT_BYTES}")
        with self._lock:
            if self._full_until and time.monotonic() < self._full_until:
                return self._drop("outbox_full")
            if self._waiting_bytes + size > self._max_memory_bytes:
                return self._drop("memory_full", f"over {self._max_memory_bytes} bytes wait for a disk that refuses")
            self._waiting.append(line + b"\n")
            self._waiting_bytes += size
            # A signal handler or finaliser can run in the middle of the writing below, in the same thread. Its event
            # joins the queue, which the interrupted writer empties before it leaves.
            stored = self._busy or self._write_waiting()
            self.n_accepted += stored
            return stored

    def rotate(self) -> None:
        """Close the open segments, so that they can be shipped."""
        with self._lock:
            if not self._busy:
                self._close()
        self._losses.rotate()

    def recover(self) -> None:
        """Try the disk again when events wait in memory."""
        with self._lock:
            if self._waiting and not self._busy:
                self._write_waiting()

    def take_from_memory(self) -> MemoryBatch | None:
        """A batch of what the disk refused; None when nothing waits."""
        with self._lock:
            if self._busy or not self._waiting:
                return self._losses.take_from_memory()
            lines = [self._waiting.popleft() for _ in range(min(BATCH_EVENTS, len(self._waiting)))]
            self._waiting_bytes -= sum(map(len, lines))
            return MemoryBatch(batch_id=uuid7(), lines=[line[:-1] for line in lines])

    @property
    def n_waiting(self) -> int:
        """Events and reports of losses in memory."""
        return len(self._waiting) + self._losses.n_waiting

    def after_fork(self) -> None:
        """In a child: start afresh. What waited in memory is the parent's, and so is the lock on its segment.

        The inherited descriptor is closed without unlocking: an unlock through any copy would free the parent's lock.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.n_accepted = 0
        self._losses.after_fork()
        self._reset()

    def _drop(self, reason: str, message: str = "") -> bool:
        self._guard.drop(reason)
        if message:
            self._guard.say_once(reason, f"{message}; dropping, and counting it as `{reason}`")
        return False

    def _write_waiting(self) -> bool:
        """Write what waits; False when the newest event had to be dropped. The caller holds the lock."""
        if self._disk_refused_until and time.monotonic() < self._disk_refused_until:
            return True
        self._busy = True
        try:
            while self._waiting:
                self._put(self._waiting[0])
                self._waiting_bytes -= len(self._waiting.popleft())
            self._disk_refused_until = self._full_until = 0.0
        except _OutboxFullError as error:
            self._full_until = time.monotonic() + _CHECK_SECONDS
            self._guard.drop("outbox_full", len(self._waiting))
            self._guard.say_once("outbox_full", f"{error}; dropping new events, counted as `outbox_full`")
            self._waiting.clear()
            self._waiting_bytes = 0
            return False
        except OSError as error:
            self._disk_refused_until = time.monotonic() + _CHECK_SECONDS
            self._guard.say_once(
                f"disk:{error.errno}", f"cannot write to {self.directory}: {error}; keeping events in memory, bounded"
            )
        finally:
            self._busy = False
        return True

    def _put(self, line: bytes) -> None:
        if self._fd < 0:
            self._open()
        try:
            written = os.write(self._fd, line)
        except OSError:
            self._close()
            raise
        if written < len(line):
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._n_bytes)
            self._close()
            raise OSError(28, "the disk is full")
        self._n_events += 1
        self._n_bytes += written
        if self._n_events >= BATCH_EVENTS or self._n_bytes >= BATCH_BYTES:
            self._close()

    def _open(self) -> None:
        """Open a new segment, if there is room. What other processes write is looked at once a second."""
        now = time.monotonic()
        if self._room_bytes <= 0 or now - self._disk_checked_at >= _CHECK_SECONDS:
            self._disk_checked_at = now
            self._room_bytes = self.max_disk_bytes - _segments.used_bytes(self.directory)
            if self._room_bytes <= 0:
                raise _OutboxFullError(28, f"the outbox has its {self.max_disk_bytes} bytes in {self.directory}")
        self._fd = _segments.create(self.directory, self._flags)
        self._n_events = self._n_bytes = 0
        if self._flags & os.O_DSYNC:
            _sync(self.directory)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._room_bytes -= self._n_bytes
            _segments.close(fd)


def _sync(directory: Path) -> None:
    """A file outlives a power cut when its folder's entry does, and so on upwards; not every folder may be opened."""
    for folder in (directory, *directory.parents):
        with contextlib.suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
