"""Batches that cannot be turned into rows: kept whole, out of the way of the others."""

import datetime as dt
from collections.abc import Callable

import sqlalchemy as sa

from genux_server.store.inbox_tables import InboxBatch, ParkedBatch

__all__ = ["count", "delete", "park"]

_COPIED = ("id", "project_id", "environment_id", "batch_id", "received_at", "trust", "sdk", "n_events", "body")


def park(connection: sa.Connection, row_id: int, reason: str, now: dt.datetime) -> None:
    """Set a batch aside: its body moves here, and a tombstone stays in the inbox, so that it is never taken twice."""
    copied = sa.select(*(getattr(InboxBatch, name) for name in _COPIED), sa.literal(reason), sa.bindparam("now", now))
    connection.execute(
        sa.insert(ParkedBatch).from_select([*_COPIED, "reason", "parked_at"], copied.where(InboxBatch.id == row_id))
    )
    connection.execute(
        sa.update(InboxBatch).where(InboxBatch.id == row_id).values(body=None, chunk=None, archived_at=now)
    )


def count(connection: sa.Connection) -> int:
    """How many batches were set aside."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(ParkedBatch)) or 0)


def delete(connection: sa.Connection, project_id: int, names_unit: Callable[[int, bytes], bool]) -> int:
    """Delete a project's parked batches of which `names_unit(environment, body)` holds; how many."""
    rows = connection.execute(
        sa.select(ParkedBatch.id, ParkedBatch.environment_id, ParkedBatch.body).where(
            ParkedBatch.project_id == project_id
        )
    )
    ids = [row.id for row in rows if names_unit(row.environment_id, bytes(row.body))]
    for each in ids:
        connection.execute(sa.delete(ParkedBatch).where(ParkedBatch.id == each))
    return len(ids)
