"""One active worker: a lease in the database, taken over when its holder goes silent."""

import datetime as dt

import sqlalchemy as sa

from genux_server.store.inbox_tables import WorkerLease

__all__ = ["ARCHIVE", "acquire", "is_held", "release"]

ARCHIVE = "archive"
"""The lease of the worker that writes the lake."""

_LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

_TAKE_OVER = dt.timedelta(seconds=10)


def acquire(connection: sa.Connection, holder: str, seconds: float) -> bool:
    """Take or keep the lease for `seconds`; False when another holds it.

    Called at the start of a transaction it is also the fence: the row stays locked until the commit, so that a worker
    that slept through its lease cannot publish beside its successor. Time is the database's, so that workers on
    machines with different clocks agree.
    """
    now = _now(connection)
    result = connection.execute(
        sa.update(WorkerLease)
        .where(WorkerLease.name == ARCHIVE, sa.or_(WorkerLease.holder == holder, WorkerLease.expires_at < now))
        .values(holder=holder, expires_at=now + dt.timedelta(seconds=seconds))
    )
    return result.rowcount == 1


def release(connection: sa.Connection, holder: str) -> None:
    """Give the lease back at a graceful stop, so that the next worker need not wait."""
    connection.execute(
        sa.update(WorkerLease)
        .where(WorkerLease.name == ARCHIVE, WorkerLease.holder == holder)
        .values(holder="", expires_at=_LONG_AGO)
    )


def is_held(connection: sa.Connection) -> bool:
    """Whether some worker is at work, or was until a moment ago: one that stands by takes over a lease that ran out."""
    since = _now(connection) - _TAKE_OVER
    return bool(connection.scalar(sa.select(sa.func.count()).where(WorkerLease.expires_at >= since)))


def _now(connection: sa.Connection) -> dt.datetime:
    if connection.dialect.name == "sqlite":
        return dt.datetime.now(dt.UTC)
    now: dt.datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now
