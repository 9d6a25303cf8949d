"""The outbox's files, as its readers see them.

A segment is a batch: its name is a UUIDv7 that becomes the batch's id, one JSON event per line. Its writer holds a
`flock` on it while it is open; once that lock can be taken the segment is closed, whether its writer rotated it or
died, and never changes again. So a batch's id and content are fixed before the first send, and no writer needs to tell
a reader anything.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "PARKED",
    "SUFFIX",
    "Segment",
    "SenderLock",
    "after_fork",
    "claim",
    "closed_names",
    "parked_names",
    "segment_names",
    "used_bytes",
]

SUFFIX = ".jsonl"
PARKED = "parked"

_locked: set[int] = set()


class Segment:
    """A closed segment, claimed: nobody else reads or deletes it until it is released.

    Attributes:
        batch_id: the UUIDv7 in its name.
        lines: whole events as JSON, without the newline.
        n_torn: lines that are no whole event; the writer died in the middle of one, so it was never accepted.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.batch_id = path.name.removesuffix(SUFFIX)
        self._path = path
        self._fd = fd
        with os.fdopen(os.dup(fd), "rb") as file:
            *whole, rest = file.read().split(b"\n")
        self.lines = [line for line in whole if line[:1] == b"{" and line[-1:] == b"}"]
        self.n_torn = len(whole) - len(self.lines) + bool(rest)

    def discard(self) -> None:
        """The batch has arrived, or holds nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.release()

    def park(self) -> None:
        """Set aside a batch that the service will never take, for a person to look at."""
        folder = self._path.parent / PARKED
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path.rename(folder / self._path.name)
        self.release()

    def release(self) -> None:
        """Let others claim it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _unlock(fd)


class SenderLock:
    """At most one process per directory ships at a time.

    The kernel frees the lock when its holder dies, however it dies.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "sender.lock"
        self._fd = -1

    def acquire(self) -> bool:
        """Try to become, or stay, the sender."""
        if self._fd < 0:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            self._fd = fd if _try_lock(fd) else -1
        return self._fd >= 0

    def release(self) -> None:
        """Let another process ship."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _unlock(fd)

    def after_fork(self) -> None:
        """In a child: the parent stays the sender."""
        self._fd = -1


def segment_names(directory: Path) -> list[str]:
    """Names of all segments, open ones too, oldest first."""
    try:
        return sorted(path.name for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except OSError:
        return []


def parked_names(directory: Path) -> list[str]:
    """Names of the segments that the service refused for good."""
    return segment_names(directory / PARKED)


def closed_names(directory: Path) -> list[str]:
    """Names of the segments that nobody writes to or ships at this moment, oldest first."""
    names = []
    for name in segment_names(directory):
        fd = _lock(directory / name)
        if fd >= 0:
            _unlock(fd)
            names.append(name)
    return names


def claim(path: Path) -> Segment | None:
    """Take a closed segment; None when it is open, claimed by another, or gone."""
    fd = _lock(path)
    return None if fd < 0 else Segment(path, fd)


def _lock(path: Path) -> int:
    """Open a segment with its lock; -1 when it is open, claimed, or gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return -1
    if not _try_lock(fd):
        return -1
    if os.fstat(fd).st_nlink == 0:
        _unlock(fd)
        return -1
    return fd


def used_bytes(directory: Path) -> int:
    """Disk taken by the outbox, parked segments included."""
    return sum(_sizes(directory)) + sum(_sizes(directory / PARKED))


def _sizes(directory: Path) -> Iterator[int]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith(SUFFIX):
                    yield entry.stat().st_size


def after_fork() -> None:
    """In a child: close the copies of the parent's locked files, which would hold its locks after its death.

    Closing a copy leaves the lock to the parent; only an unlock, through any copy, would free it.
    """
    while _locked:
        os.close(_locked.pop())


def _try_lock(fd: int) -> bool:
    """Lock an open file, or close it."""
    _locked.add(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _locked.discard(fd)
        os.close(fd)
        return False
    return True


def _unlock(fd: int) -> None:
    """Explicitly: a child forked by code that runs no fork hooks may hold a copy."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    _locked.discard(fd)
    os.close(fd)
