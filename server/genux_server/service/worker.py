"""The worker: inbox to lake exactly once, then the reports whose facts moved.

A chunk goes through three commits: its number onto explicit rows of the inbox, its rows into the lake (each Delta table
remembers the number), its versions into `lake_state` together with emptying the rows. A crash between any two leaves
a claimed chunk; the next worker appends the same rows under the same number, which the tables that have it skip.
"""

import datetime as dt
import logging
import os
import socket
import threading
import time
import uuid

import zstandard
from sqlalchemy import Connection

from genux_server.config import Config
from genux_server.lake import Lake
from genux_server.model import IngestedBatch
from genux_server.service import reports
from genux_server.service.erasure import Forgotten, erase_unit
from genux_server.service.scope import Scope, utcnow
from genux_server.service.telemetry import Telemetry
from genux_server.store import StorageError, Store, erasures, experiments, inbox, lease, parking, projects, pruning

__all__ = ["LeaseLostError", "Worker"]

TOMBSTONE_AGE = dt.timedelta(days=45)
THIN_REPORTS_AGE = dt.timedelta(days=2)
MAX_CHUNK_BATCHES = 5_000
MAX_CHUNK_BYTES = 64 * 2**20

_IDLE_SECONDS = 0.1
_BACK_OFF_SECONDS = 2.0
_PURGE_EVERY_SECONDS = 3_600.0
_RENEWALS_PER_LEASE = 4

_log = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Another worker has taken over; whatever this one was doing, it must not publish."""


class Worker:
    """The one writer of the lake, while it holds the lease.

    Args:
        store: inbox and control store.
        lake: where chunks go.
        config: how often.
        telemetry: where its work is counted; its own, which nobody reads, when not given.
    """

    def __init__(self, store: Store, lake: Lake, config: Config, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry or Telemetry()
        self._environments: dict[int, tuple[str, str]] = {}
        self._store = store
        self._lake = lake
        self._config = config
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._reported_at: dict[int, float] = {}
        self._purged_at = -1e9
        self._is_active = False

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop, then give the lease back. A failure is logged and tried again, never the end."""
        heart = threading.Thread(target=self._keep_lease, args=(stop,), name="genux-lease", daemon=True)
        heart.start()
        while not stop.is_set():
            pause = _IDLE_SECONDS
            if self._is_active:
                try:
                    pause = 0.0 if self.step() else _IDLE_SECONDS
                except LeaseLostError:
                    self._is_active = False
                except Exception:  # noqa: BLE001  # the lake, the engine and two databases stand behind it
                    _log.exception("the worker failed, and tries again")
                    self._telemetry.failures.labels("step").inc()
                    pause = _BACK_OFF_SECONDS
            stop.wait(pause)
        heart.join()
        self._release()

    def step(self) -> bool:
        """Whatever is due now: a chunk, reports, a purge. True when a chunk was written, so that more may wait.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        wrote = self.archive() if self._is_due() else False
        self.erase()
        if not wrote:
            self.refresh_reports()
            self._purge()
        return wrote

    def archive(self) -> bool:
        """Write one chunk; False when nothing waits.

        Raises:
            LeaseLostError: another worker is active.
        """
        began = time.perf_counter()
        with self._store.inbox_writing() as connection:
            self._hold(connection)
            claimed = inbox.claim(connection, max_batches=MAX_CHUNK_BATCHES, max_bytes=MAX_CHUNK_BYTES)
        if claimed is None:
            return False
        chunk, rows = claimed
        try:
            batches = [_inflated(row) for row in rows]
            with self._store.inbox_reading() as connection:
                erased = erasures.erased_units(connection)
            forgotten = Forgotten(self._store, erased) if erased else None
            versions = self._lake.append(chunk, batches, is_erased=forgotten)
        except Exception:
            if self._park(rows):
                return True  # the rest of the chunk comes next, under the same number
            raise
        with self._store.inbox_writing() as connection:
            self._hold(connection)
            inbox.publish(connection, versions, utcnow())
        _log.debug("chunk %d is in the lake: %d batches", chunk, len(rows))
        self._telemetry.erased.inc(forgotten.n_dropped if forgotten else 0)
        self._telemetry.chunk(len(rows), time.perf_counter() - began)
        self._telemetry.calls.count(batches, self._names_of({row.environment_id for row in rows}))
        return True

    def _park(self, rows: list[inbox.ClaimedBatch]) -> bool:
        """Set aside the batches that cannot be turned into rows: they would fail for ever, and hold up all others.

        A lake that takes nothing now (a full disk, a network) parks nothing.
        """
        refusals = {row: refusal for row in rows if (refusal := self._refusal(row))}
        for row, refusal in refusals.items():
            with self._store.inbox_writing() as connection:
                self._hold(connection)
                parking.park(connection, row.id, refusal, utcnow())
            _log.error("batch %s of project %d is set aside: %s", row.batch_id, row.project_id, refusal)
            self._telemetry.failures.labels("batch").inc()
        return bool(refusals)

    def _refusal(self, row: inbox.ClaimedBatch) -> str:
        try:
            batch = _inflated(row)
        except zstandard.ZstdError as error:
            return f"its body cannot be inflated: {error}"
        return self._lake.refusal(batch)

    def erase(self) -> None:
        """Do the erasures that were asked for, once all that had arrived before is in the lake.

        Raises:
            LeaseLostError: another worker is active.
        """
        with self._store.inbox_reading() as connection:
            due = erasures.pending(connection)
        for row in due:
            with self._store.inbox_writing() as connection:
                self._hold(connection)
                if inbox.has_claimed(connection):  # a chunk half-way into the lake is finished first
                    return
            try:
                erase_unit(self._store, self._lake, row, self._hold)
            except LeaseLostError:
                raise
            except Exception:  # noqa: BLE001  # tried again at the next step; what it did needs not be undone
                _log.exception("erasure %d failed, and is tried again", row.id)
                self._telemetry.failures.labels("erase").inc()
                return

    def refresh_reports(self) -> None:
        """Compute the reports that are due: facts or definition moved, or windows closed since."""
        with self._store.reading() as session:
            started = experiments.started_experiments(session)
        for row, environment, project in started:
            now = time.monotonic()
            if now - self._reported_at.get(row.id, -1e9) < self._config.refresh_seconds:
                continue
            scope = Scope(
                project_id=project.id,
                project=project.key,
                environment_id=environment.id,
                environment=environment.key,
            )
            began_at = utcnow()
            try:
                report = reports.refresh_due(self._store, self._lake, scope, row)
            except Exception:  # noqa: BLE001  # one experiment that cannot be computed must not keep the others waiting
                _log.exception("the report of %s/%s/%s failed", project.key, environment.key, row.key)
                self._telemetry.failures.labels("report").inc()
            else:
                if report is not None and report.generated_at >= began_at:  # else nothing had moved
                    self._telemetry.report(time.monotonic() - now)
            self._reported_at[row.id] = time.monotonic()
            if self._is_due():
                return

    def _is_due(self) -> bool:
        """Whether batches have gathered for long enough: every chunk is a file in each table."""
        with self._store.inbox_reading() as connection:
            oldest_at = inbox.oldest_waiting_at(connection)
        if oldest_at is None:
            return False
        age_seconds = (utcnow() - oldest_at).total_seconds()
        # A clock that was set back must not keep batches waiting.
        return not 0 <= age_seconds < self._config.archive_seconds

    def _names_of(self, environment_ids: set[int]) -> dict[int, tuple[str, str]]:
        if not environment_ids <= self._environments.keys():
            with self._store.reading() as session:
                found = projects.environments(session)
            self._environments = {environment.id: (project.key, environment.key) for project, environment in found}
        return self._environments

    def _keep_lease(self, stop: threading.Event) -> None:
        """Renews the lease beside the work, which may take longer than the lease lasts."""
        while True:
            try:
                with self._store.inbox_writing() as connection:
                    is_active = lease.acquire(connection, self._holder, self._config.lease_seconds)
            except StorageError as error:
                _log.warning("the lease could not be renewed: %s", error)
            else:
                if is_active != self._is_active:
                    _log.info("this worker is %s", "active" if is_active else "waiting for another one's lease")
                self._is_active = is_active
            if stop.wait(self._config.lease_seconds / _RENEWALS_PER_LEASE):
                return

    def _hold(self, connection: Connection) -> None:
        if not lease.acquire(connection, self._holder, self._config.lease_seconds):
            raise LeaseLostError

    def _release(self) -> None:
        try:
            with self._store.inbox_writing() as connection:
                lease.release(connection, self._holder)
        except StorageError:
            _log.warning("the lease could not be given back; it runs out by itself")

    def _purge(self) -> None:
        now = time.monotonic()
        if now - self._purged_at < _PURGE_EVERY_SECONDS:
            return
        self._purged_at = now
        with self._store.inbox_writing() as connection:
            inbox.purge_tombstones(connection, utcnow() - TOMBSTONE_AGE)
            erasures.prune_erased_units(connection, utcnow() - TOMBSTONE_AGE)
            if self._config.keep_rejected_days:
                pruning.prune_rejected(connection, utcnow() - dt.timedelta(days=self._config.keep_rejected_days))
            waits = inbox.oldest_waiting_at(connection) is not None
            published = inbox.lake_versions(connection)
        if self._config.keep_reports_days:
            drop_before = utcnow() - dt.timedelta(days=self._config.keep_reports_days)
            with self._store.writing() as session:
                pruning.prune_reports(session, thin_before=utcnow() - THIN_REPORTS_AGE, drop_before=drop_before)
        if waits:  # a chunk that crashed half-way may be in some tables: it is finished before files are compacted
            self._purged_at = -1e9
            return
        versions = self._lake.maintain(published)
        with self._store.inbox_writing() as connection:
            self._hold(connection)
            inbox.publish(connection, versions, utcnow())


def _inflated(row: inbox.ClaimedBatch) -> IngestedBatch:
    return IngestedBatch(
        project_id=row.project_id,
        environment_id=row.environment_id,
        batch_id=row.batch_id,
        received_at=row.received_at,
        trust=row.trust,
        sdk=row.sdk,
        events=zstandard.ZstdDecompressor().decompress(row.body),
    )
