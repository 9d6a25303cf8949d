"""Whether this installation can do its work now."""

import msgspec

from genux_server.store import Store, inbox, lease, projects

__all__ = ["Health", "check"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What waits, how far the lake is, and whether a worker is alive."""

    status: str = "ok"
    worker: bool
    waiting_batches: int
    waiting_bytes: int
    lake_version: str


def check(store: Store) -> Health:
    """Ask both databases.

    Raises:
        StorageError: one of them does not answer.
    """
    with store.reading() as session:
        projects.has_members(session)
    with store.inbox_reading() as connection:
        backlog = inbox.backlog(connection)
        return Health(
            worker=lease.is_held(connection),
            waiting_batches=backlog.n_batches,
            waiting_bytes=backlog.n_bytes,
            lake_version=str(inbox.lake_versions(connection)),
        )
