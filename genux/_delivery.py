"""Outbox, shipper and background thread of one client, as one thing."""

import time

from genux import _segments
from genux._guard import Guard
from genux._outbox import Outbox
from genux._prices import Pricing
from genux._registry import notice_fork
from genux._shipper import Shipper
from genux._snapshot import SnapshotStore
from genux._transport import Transport
from genux._worker import Worker

__all__ = ["Delivery"]

_FLUSH_STEP_SECONDS = 0.02


class Delivery:
    """Everything between an event and the service.

    Args:
        outbox: where events are kept.
        api_key: sent with every request.
        transport: the way to the service.
        snapshots: kept fresh by the same thread.
        pricing: what calls are priced with.
        guard: where failures are counted.
        flush_seconds: how long an event may wait.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        api_key: str,
        transport: Transport,
        snapshots: SnapshotStore,
        pricing: Pricing,
        guard: Guard,
        flush_seconds: float,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.outbox = outbox
        self.shipper = Shipper(outbox, transport, headers, guard, snapshots.heard_version, pricing.price)
        self.worker = Worker(self.shipper, snapshots, transport, headers, flush_seconds, guard)
        self._transport = transport

    def accept(self, line: bytes) -> bool:
        """Keep one event; False when it was dropped, which is counted."""
        notice_fork()
        kept = self.outbox.append(line)
        if not self.worker.started and not self.start() and not self.worker.stopping:
            self.outbox.rotate()  # no thread will: let another process ship it
        return kept

    def start(self) -> bool:
        """Start the background thread unless it runs; False when this process cannot have one now."""
        notice_fork()
        if not self.worker.started:
            self.worker.start()
        return self.worker.started

    def flush(self, timeout_seconds: float, *, give_up_early: bool = False) -> bool:
        """Ship what is on disk and in memory now, what dead processes left included.

        Args:
            timeout_seconds: how long to wait.
            give_up_early: stop at the first failure of the service instead of waiting out its backoff.

        Returns:
            True when all of it arrived or was parked.
        """
        notice_fork()
        deadline = time.monotonic() + timeout_seconds
        self.outbox.rotate()
        waiting = _segments.closed_names(self.outbox.directory)
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            passed = self.worker.run_once(remaining)
            waiting = [name for name in waiting if (self.outbox.directory / name).exists()]
            if not (waiting or self.outbox.n_waiting or self.shipper.n_in_memory):
                return passed
            while self.shipper.in_backoff or not passed:
                if give_up_early or time.monotonic() >= deadline or not self.worker.started:
                    return False
                time.sleep(_FLUSH_STEP_SECONDS)
                passed = True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FLUSH_STEP_SECONDS)

    def at_exit(self, timeout_seconds: float) -> None:
        """Ship what can be shipped in the time; the rest stays on disk for the next start."""
        notice_fork()
        if self.worker.started:
            deadline = time.monotonic() + timeout_seconds
            self.flush(timeout_seconds, give_up_early=True)
            if self.worker.stop(max(0.0, deadline - time.monotonic())):
                self._hang_up()
        self.outbox.rotate()

    def after_fork(self) -> None:
        """In a child: start afresh."""
        _segments.after_fork()
        self.outbox.after_fork()
        self.shipper.after_fork()
        self.worker.after_fork()
        self._hang_up()

    def _hang_up(self) -> None:
        """Drop a connection that the transport keeps, if it is of that kind."""
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()
