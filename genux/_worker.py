"""The one background thread: looks for snapshots, ships the outbox. Started by a client, never by an import."""

import os
import sys
import threading

from genux._guard import Guard
from genux._imports import load
from genux._shipper import Shipper
from genux._snapshot import SnapshotStore
from genux._transport import Transport

__all__ = ["Worker"]

# What the first request would import: by the thread and not in the constructor, which a host waits for.
_NEEDED = ("encodings.idna", "http.client", "importlib.metadata", "logging")

# The process in which a thread of ours was started; 0 when none was, or when Python itself forked this process.
_thread_pid = 0


def _forget_threads() -> None:
    global _thread_pid  # noqa: PLW0603 the interpreter's lock, which it is about, belongs to the process too
    _thread_pid = 0


os.register_at_fork(after_in_child=_forget_threads)


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
        self.stopping = False
        self.started = False

    def start(self) -> None:
        """Start the thread unless it runs, or would be a danger to the host."""
        global _thread_pid  # noqa: PLW0603 as above
        if self.started or not _may_start() or not self._start_lock.acquire(blocking=False):
            return
        try:
            if not self.started and not self.stopping:
                _thread_pid = os.getpid()
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
            self.stopping = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.started, timeout_seconds)

    def _run(self) -> None:
        for name in _NEEDED:
            load(name)
        while True:
            with self._changed:
                urgent = self._asked
            self._pass(urgent=urgent > self._answered)
            with self._changed:
                self._answered = urgent
                if not self.stopping and self._asked == urgent:
                    self._changed.notify_all()
                    self._changed.wait(self._flush_seconds)
                if self.stopping and self._asked == self._answered:
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


def _may_start() -> bool:
    """Whether a thread of ours can neither hang this process nor one forked from it.

    uWSGI loads the app and then forks its workers, without the interpreter's lock and without telling Python: a thread
    that runs at that moment leaves the lock taken in every worker, which then hangs for ever. So the thread waits for
    the worker. Where other code forked like that and a thread of ours ran, another one could wait for the lock for
    ever: none is started, and other processes ship what this one tracks.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not (uwsgi.worker_id() or uwsgi.mule_id()):
        return False
    return _thread_pid in {0, os.getpid()}
