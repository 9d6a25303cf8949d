"""Which of the processes that share an outbox ships it."""

import contextlib
import os
import time
from pathlib import Path

from genux._segments import try_lock, unlock

__all__ = ["LEASE_SECONDS", "SenderLock"]

LEASE_SECONDS = 60.0


class SenderLock:
    """At most one process per directory ships at a time.

    The kernel frees the lock when its holder dies, however it dies. A holder that is stopped (by a debugger, in a
    frozen container) keeps it; so it shows by the file's time that it is at work, and when it has not for
    `LEASE_SECONDS`, the next one puts a new file in the place of the locked one. Two that do so at once both ship for
    one pass, which is no harm: every segment has a lock of its own, and its id makes it arrive once.

    The file holds a byte while its holder backs off: then the others need not close their segments either, and an
    hour without the service makes a few full batches instead of one a second.

    Args:
        directory: the outbox.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "sender.lock"
        self._fd = -1

    def acquire(self) -> bool:
        """Try to become the sender, or to go on as it."""
        try:
            return self.renew() or self._take() or (self._is_stale() and self._replace())
        except OSError:
            self.release()
            return False

    def renew(self) -> bool:
        """Show that the sender is alive; False when this is not the sender, or no longer."""
        if self._fd < 0:
            return False
        if not os.fstat(self._fd).st_nlink:  # replaced while this process was stopped
            self.release()
            return False
        os.utime(self._fd)
        return True

    @property
    def someone_backs_off(self) -> bool:
        """The sender, whoever it is, waits for the service to recover."""
        try:
            return self._path.stat().st_size > 0
        except OSError:
            return False

    def back_off(self) -> None:
        """Show the others that there is nothing to be sent at the moment."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 1)

    def release(self) -> None:
        """Let another process ship."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            unlock(fd)

    def after_fork(self) -> None:
        """In a child: the parent stays the sender."""
        self._fd = -1

    def _take(self) -> bool:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(fd):
            return False
        self._fd = fd
        os.ftruncate(fd, 0)
        return self.renew()

    def _is_stale(self) -> bool:
        """Also when the file's time lies ahead: the clock was set back, and nothing says how long ago it was."""
        return abs(time.time() - self._path.stat().st_mtime) > LEASE_SECONDS

    def _replace(self) -> bool:
        self._path.unlink()
        return self._take()
