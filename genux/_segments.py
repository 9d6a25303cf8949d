"""The outbox's files, as its readers see them.

A segment is a batch: its name is a UUIDv7 that becomes the batch's id, one JSON event per line. Its writer holds a
`flock` on it while it is open; once that lock can be taken the segment is closed, whether its writer rotated it or
died, and never changes again. So a batch's id and content are fixed before the first send, and no writer needs to tell
a reader anything. A segment of losses holds one line instead, `{"dropped": {...}}`: what its process had to give up.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from genux._ids import uuid7

__all__ = [
    "PARKED",
    "SUFFIX",
    "MemoryBatch",
    "Segment",
    "after_fork",
    "claim",
    "close",
    "closed_names",
    "create",
    "parked_names",
    "reason_parked",
    "segment_names",
    "trim_parked",
    "try_lock",
    "unlock",
    "untold_losses",
    "used_bytes",
]

SUFFIX = ".jsonl"
PARKED = "parked"

_REASON = ".reason"
_BLOCK_BYTES = 4_096

_locked: set[int] = set()


class _Losses(msgspec.Struct, frozen=True):
    dropped: dict[str, int]


_LOSSES_PREFIX = b'{"dropped":'
_read_losses = msgspec.json.Decoder(_Losses).decode


class MemoryBatch(msgspec.Struct, kw_only=True):
    """What the disk refused, on its way straight to the service."""

    batch_id: str
    lines: list[bytes] = []
    dropped: dict[str, int] = {}
    n_torn: int = 0


class Segment:
    """A closed segment, claimed: nobody else reads or deletes it until it is released.

    Attributes:
        batch_id: the UUIDv7 in its name.
        lines: whole events as JSON, without the newline.
        dropped: events that its writer gave up, by reason; a segment holds events or these.
        n_torn: lines that are no whole event; the writer died in the middle of one, so it was never accepted.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.batch_id = path.name.removesuffix(SUFFIX)
        self._path = path
        self._fd = fd
        with os.fdopen(os.dup(fd), "rb") as file:
            *whole, rest = file.read().split(b"\n")
        self.dropped: dict[str, int] = {}
        if whole and whole[0].startswith(_LOSSES_PREFIX):
            with contextlib.suppress(msgspec.DecodeError):
                self.dropped = _read_losses(whole[0]).dropped
                del whole[0]
        self.lines = [line for line in whole if line[:1] == b"{" and line[-1:] == b"}"]
        self.n_torn = len(whole) - len(self.lines) + bool(rest)

    def discard(self) -> None:
        """The batch has arrived, or holds nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.release()

    def park(self, reason: str) -> None:
        """Set aside a batch that the service will never take, for a person to look at."""
        folder = self._path.parent / PARKED
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(OSError):
            (folder / (self.batch_id + _REASON)).write_text(reason, encoding="utf-8")
        self._path.rename(folder / self._path.name)
        self.release()

    def release(self) -> None:
        """Let others claim it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            unlock(fd)


def segment_names(directory: Path) -> list[str]:
    """Names of all segments, open ones too, oldest first."""
    try:
        return sorted(path.name for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except OSError:
        return []


def parked_names(directory: Path) -> list[str]:
    """Names of the segments that the service refused for good."""
    return segment_names(directory / PARKED)


def reason_parked(directory: Path, name: str) -> str:
    """What the service said when it refused a parked segment; empty when that was not kept."""
    try:
        return (directory / PARKED / (name.removesuffix(SUFFIX) + _REASON)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def trim_parked(directory: Path, max_bytes: int) -> int:
    """Delete the oldest parked segments over so many bytes, so that they cannot fill the outbox; answers how many."""
    folder = directory / PARKED
    names = parked_names(directory)
    sizes = dict(_sizes(folder))
    n_deleted = 0
    while names and sum(sizes.values()) > max_bytes:
        name = names.pop(0)
        sizes.pop(name, None)
        for path in (folder / name, folder / (name.removesuffix(SUFFIX) + _REASON)):
            path.unlink(missing_ok=True)
        n_deleted += 1
    return n_deleted


def create(directory: Path, flags: int = 0) -> int:
    """A new segment, open for writing and locked by us. A sender that saw it before it was locked may delete it: again.

    Args:
        directory: made when it is not there, mode 0700.
        flags: for `os.open`, beside those that every segment needs.

    Raises:
        OSError: the disk refuses, or has no locks.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = directory / (uuid7() + SUFFIX)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            os.close(fd)
            path.unlink()
            raise
        os.close(fd)


def close(fd: int) -> None:
    """Close a segment of our own, so that it can be shipped.

    Unlocked first: a child forked by code that runs no fork hooks may hold a copy, which would keep the lock.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def closed_names(directory: Path) -> list[str]:
    """Names of the segments that nobody writes to or ships at this moment, oldest first."""
    names = []
    for name in segment_names(directory):
        fd = _lock(directory / name)
        if fd >= 0:
            unlock(fd)
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
    if not try_lock(fd):
        return -1
    if os.fstat(fd).st_nlink == 0:
        unlock(fd)
        return -1
    return fd


def untold_losses(directory: Path) -> dict[str, int]:
    """Events given up, by reason, that the service has not been told of yet. Disturbs nobody."""
    total: dict[str, int] = {}
    for name in segment_names(directory):
        with contextlib.suppress(OSError, msgspec.DecodeError), (directory / name).open("rb") as file:
            if file.read(len(_LOSSES_PREFIX)) == _LOSSES_PREFIX:
                for reason, n_events in _read_losses(_LOSSES_PREFIX + file.readline()).dropped.items():
                    total[reason] = total.get(reason, 0) + n_events
    return total


def used_bytes(directory: Path) -> int:
    """Disk taken by the outbox, parked segments included, in whole blocks: a file of one event takes one."""
    return sum(size for folder in (directory, directory / PARKED) for _, size in _sizes(folder))


def _sizes(directory: Path) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith(SUFFIX):
                    yield entry.name, -(-entry.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES


def after_fork() -> None:
    """In a child: close the copies of the parent's locked files, which would hold its locks after its death.

    Closing a copy leaves the lock to the parent; only an unlock, through any copy, would free it.
    """
    while _locked:
        os.close(_locked.pop())


def try_lock(fd: int) -> bool:
    """Lock an open file, or close it. A child of a fork closes its copy."""
    _locked.add(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _locked.discard(fd)
        os.close(fd)
        return False
    return True


def unlock(fd: int) -> None:
    """Close what `try_lock` locked; unlocked explicitly, as in `close`."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    _locked.discard(fd)
    os.close(fd)
