"""Whether this installation can do its work now."""

import os
import tempfile
from pathlib import Path

import msgspec

from genux_server.config import Config
from genux_server.service.scope import utcnow
from genux_server.store import Store, inbox, lease, parking, projects

__all__ = ["Health", "check"]

_LATE_SECONDS = 300.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What waits, how far the lake is, and what is wrong.

    `status` is `ok`, or `degraded` when events are taken in safely and something behind them is not well; `problems`
    then says what. `oldest_seconds` is the age of the oldest batch that waits for the lake, 0 when none does;
    `parked_batches` could not be read and were set aside.
    `lake_writable` is what this process sees of a folder; an object store is not tried.
    """

    status: str
    problems: list[str]
    worker: bool
    waiting_batches: int
    waiting_bytes: int
    oldest_seconds: float
    parked_batches: int
    lake_chunk: int
    lake_version: str
    lake_writable: bool


def check(store: Store, config: Config) -> Health:
    """Ask both databases, try a write in the inbox and, where the lake is a folder, a file there.

    Raises:
        StorageError: one of the databases does not answer, or the inbox takes no writes.
    """
    with store.reading() as session:
        projects.has_members(session)
    store.try_inbox_write()
    with store.inbox_reading() as connection:
        backlog = inbox.backlog(connection)
        oldest_at = inbox.oldest_waiting_at(connection)
        versions = inbox.lake_versions(connection)
        worker = lease.is_held(connection)
        parked = parking.count(connection)
    lake_writable = _takes_a_file(config.lake_path)
    # A clock that was set back must not make a batch younger than it is possible to be.
    oldest_seconds = 0.0 if oldest_at is None else max((utcnow() - oldest_at).total_seconds(), 0.0)
    problems = []
    if not worker:
        problems.append("No worker is at work: events are safe in the inbox, and reports stand still.")
    if not lake_writable:
        problems.append("The lake's folder takes no file: it is full, gone, or not ours to write.")
    if oldest_seconds > _LATE_SECONDS:
        problems.append(f"The oldest batch has waited for {oldest_seconds:.0f} s; the worker's log says why.")
    if parked:
        problems.append(f"{parked} batches cannot be read and were set aside; the worker's log says why.")
    return Health(
        status="degraded" if problems else "ok",
        problems=problems,
        worker=worker,
        waiting_batches=backlog.n_batches,
        waiting_bytes=backlog.n_bytes,
        oldest_seconds=oldest_seconds,
        parked_batches=parked,
        lake_chunk=versions.chunk,
        lake_version=str(versions),
        lake_writable=lake_writable,
    )


def _takes_a_file(lake: str) -> bool:
    if "://" in lake:
        return True
    # The folder is made with the first chunk; until then its nearest parent answers for it.
    folder = Path(lake).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        handle, name = tempfile.mkstemp(prefix=".genux-probe-", dir=folder)
        try:
            os.write(handle, b"genux")
        finally:
            os.close(handle)
            Path(name).unlink()
    except OSError:
        return False
    return True
