"""What the store forgets: rows that only grow in number, once nobody looks at each of them any more."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Session

from genux_server.store.control import StoredReport
from genux_server.store.inbox_tables import RejectedEvent

__all__ = ["prune_rejected", "prune_reports"]

_AT_ONCE = 500
"""Rows in one statement: databases bound the number of parameters."""


def prune_reports(session: Session, *, thin_before: dt.datetime, drop_before: dt.datetime) -> int:
    """Keep each day's last report of those before `thin_before`, and none before `drop_before`; how many went.

    The newest report of an experiment and definition stays whatever its age: it is what pages show.
    """
    rows = session.execute(
        sa.select(StoredReport.id, StoredReport.experiment_id, StoredReport.definition_hash, StoredReport.as_of)
        .where(StoredReport.as_of < thin_before)
        .order_by(StoredReport.id)
    ).all()
    newest = set(
        session.scalars(
            sa.select(sa.func.max(StoredReport.id)).group_by(StoredReport.experiment_id, StoredReport.definition_hash)
        )
    )
    last_of_day = {
        (row.experiment_id, row.definition_hash, row.as_of.date()): row.id for row in rows if row.as_of >= drop_before
    }
    kept = newest.union(last_of_day.values())
    gone = [row.id for row in rows if row.id not in kept]
    for start in range(0, len(gone), _AT_ONCE):
        session.execute(sa.delete(StoredReport).where(StoredReport.id.in_(gone[start : start + _AT_ONCE])))
    return len(gone)


def prune_rejected(connection: sa.Connection, before: dt.datetime) -> int:
    """Forget events refused before a moment; how many."""
    return connection.execute(sa.delete(RejectedEvent).where(RejectedEvent.received_at < before)).rowcount
