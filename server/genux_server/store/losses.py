"""Events that never reach the lake: given up by an SDK, or refused here. Kept, so that nothing is lost silently."""

import datetime as dt
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from genux_server.store.inbox_tables import DroppedCount, RejectedEvent

__all__ = ["Refused", "add_dropped", "add_rejected", "list_rejected", "lost"]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A refused event: which of its batch, why, and its first bytes."""

    position: int
    code: str
    path: str
    message: str
    body: bytes


def add_rejected(
    connection: sa.Connection,
    events: Sequence[Refused],
    *,
    project_id: int,
    environment_id: int,
    batch_id: str,
    received_at: dt.datetime,
) -> None:
    """Keep what was refused, so that somebody can see and mend it."""
    connection.execute(
        sa.insert(RejectedEvent),
        [
            msgspec.structs.asdict(event)
            | {
                "project_id": project_id,
                "environment_id": environment_id,
                "batch_id": batch_id,
                "received_at": received_at,
            }
            for event in events
        ],
    )


def add_dropped(
    connection: sa.Connection,
    counts: dict[str, int],
    *,
    project_id: int,
    environment_id: int,
    sdk: str,
    received_at: dt.datetime,
) -> None:
    """Keep what an SDK says it gave up, by reason."""
    connection.execute(
        sa.insert(DroppedCount),
        [
            {
                "project_id": project_id,
                "environment_id": environment_id,
                "sdk": sdk,
                "reason": reason,
                "n_events": n_events,
                "received_at": received_at,
            }
            for reason, n_events in counts.items()
        ],
    )


def list_rejected(
    connection: sa.Connection, project_id: int, environment_id: int, *, before_id: int | None, limit: int
) -> Sequence[sa.Row[tuple[RejectedEvent]]]:
    """Refused events of an environment, newest first; `before_id` goes on where a page ended."""
    table = RejectedEvent.__table__
    query = (
        sa.select(table)
        .where(RejectedEvent.project_id == project_id, RejectedEvent.environment_id == environment_id)
        .order_by(RejectedEvent.id.desc())
        .limit(limit)
    )
    if before_id is not None:
        query = query.where(RejectedEvent.id < before_id)
    return connection.execute(query).all()


def lost(
    connection: sa.Connection, project_id: int, environment_id: int, since: dt.datetime, until: dt.datetime
) -> tuple[dict[str, int], dict[str, int]]:
    """Events that SDKs gave up, by reason, and events that were refused, by code, of one environment and time."""
    given_up = connection.execute(
        sa.select(DroppedCount.reason, sa.func.sum(DroppedCount.n_events))
        .where(
            DroppedCount.project_id == project_id,
            DroppedCount.environment_id == environment_id,
            DroppedCount.received_at.between(since, until),
        )
        .group_by(DroppedCount.reason)
    )
    refused = connection.execute(
        sa.select(RejectedEvent.code, sa.func.count())
        .where(
            RejectedEvent.project_id == project_id,
            RejectedEvent.environment_id == environment_id,
            RejectedEvent.received_at.between(since, until),
        )
        .group_by(RejectedEvent.code)
    )
    return {row[0]: int(row[1]) for row in given_up}, {row[0]: int(row[1]) for row in refused}
