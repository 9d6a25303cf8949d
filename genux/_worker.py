"""The one background thread: looks for snapshots, ships the outbox. Started by a client, never by an import."""

import os
import threading
from importlib import import_module

from genux._guard import Guard
from genux._shipper import Shipper
from genux._snapshot import SnapshotStore
from genux._transport import Transport

__all__ = ["Worker"]

# A fork in the middle of another thread's import leaves the module locked for ever in the child; a server that makes
# its client and then forks its workers would meet just that moment.
_loading = threading.Lock()
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


class Worker:
    """Runs `poll` and `ship` on a daemon thread, every `flush_seconds` and when woken.

    Args:
        shipper: what is run.
        snapshots: what is kept fresh.
        transport: the way to the service; used by this thread only.
        headers: sent with every request.
        flush_seconds: how long an event may wait.
        guard: where failures are counted.
    """

    def __init__(
        self,
        shipper: Shipper,
        snapshots: SnapshotStore,
        transport: Transport,
        headers: dict[str, str],
        flush_seconds: float,
        guard: Guard,
    ) -> None:
        self._shipper = shipper
        self._snapshots = snapshots
        self._transport = transport
        self._headers = headers
        self._flush_seconds = flush_seconds
        self._guard = guard
        self.after_fork()

    def after_fork(self) -> None:
        """In a child no thread runs; the next variant or event starts one."""
        self._start_lock = threading.Lock()
        self._changed = threading.Condition()  # re-entrant: a SIGTERM handler may flush in the middle of a flush
        self._asked: int = 0
        self._answered: int = 0
        self._stopping = False
        self.started = False

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self.started or not self._start_lock.acquire(blocking=False):
            return
        try:
            if not self.started and not self._stopping:
                threading.Thread(target=self._run, name="genux", daemon=True).start()
                self.started = True
        except RuntimeError as error:  # no more threads, or the interpreter is leaving: the events are on disk
            self._guard.failed("start_thread", error)
        finally:
            self._start_lock.release()

    def run_once(self, timeout_seconds: float) -> bool:
        """Ask for an urgent pass and wait for its end; False when the time was up first."""
        self.start()
        if not self.started:
            return False
        with self._changed:
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._answered >= ticket, timeout_seconds)

    def stop(self, timeout_seconds: float) -> bool:
        """Let the thread end after the pass that it is in; False when the time was up first."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.started, timeout_seconds)

    def _run(self) -> None:
        with _loading:
            _load()
        while True:
            with self._changed:
                urgent = self._asked
            self._pass(urgent=urgent > self._answered)
            with self._changed:
                self._answered = urgent
                if not self._stopping and self._asked == urgent:
                    self._changed.notify_all()
                    self._changed.wait(self._flush_seconds)
                if self._stopping and self._asked == self._answered:
                    self._shipper.release()
                    self.started = False
                    self._changed.notify_all()
                    return
                self._changed.notify_all()

    def _pass(self, *, urgent: bool) -> None:
        for step in (self._poll, self._ship):
            try:
                step(urgent=urgent)
            except Exception as error:  # noqa: BLE001 the thread must outlive any fault of ours
                self._guard.failed(f"background{step.__name__}", error)

    def _poll(self, *, urgent: bool) -> None:  # noqa: ARG002 a snapshot is fetched when due, urgent or not
        self._snapshots.poll(self._transport, self._headers)

    def _ship(self, *, urgent: bool) -> None:
        self._shipper.ship(urgent=urgent)


def _load() -> None:
    """What the first request would import: here and not in the constructor, which a host waits for."""
    for name in ("encodings.idna", "http.client", "logging"):
        import_module(name)
