"""The inbox's verbs: keep a batch once, hand its rows to the lake once, remember that it was there."""

import datetime as dt
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from genux_server.model import LakeVersions
from genux_server.store.inbox_tables import InboxBatch, LakeScope, LakeState

__all__ = [
    "Backlog",
    "ClaimedBatch",
    "add_batch",
    "backlog",
    "claim",
    "has_claimed",
    "lake_versions",
    "last_batch_id",
    "oldest_waiting_at",
    "publish",
    "publish_change",
    "purge_tombstones",
    "scope_chunk",
    "unarchived_up_to",
]


class Backlog(msgspec.Struct, frozen=True):
    """What waits for the lake: batches and their compressed bytes."""

    n_batches: int
    n_bytes: int


class ClaimedBatch(msgspec.Struct, frozen=True):
    """A batch that belongs to a chunk. `body` is zstd-compressed."""

    id: int
    project_id: int
    environment_id: int
    batch_id: str
    received_at: dt.datetime
    trust: str
    sdk: str
    body: bytes


# Built once: every batch runs it, and building costs more than running.
_ADD_BATCH = {
    "sqlite": sqlite.insert(InboxBatch).on_conflict_do_nothing().returning(InboxBatch.id),
    "postgresql": postgresql.insert(InboxBatch).on_conflict_do_nothing().returning(InboxBatch.id),
}


def add_batch(  # noqa: PLR0913  # one argument per column
    connection: sa.Connection,
    *,
    project_id: int,
    environment_id: int,
    batch_id: str,
    received_at: dt.datetime,
    trust: str,
    sdk: str,
    n_events: int,
    body_bytes: int,
    body: bytes | None,
) -> bool:
    """Keep a batch; False when the project has sent it before. A batch without a body is a tombstone at once."""
    values = {
        "project_id": project_id,
        "environment_id": environment_id,
        "batch_id": batch_id,
        "received_at": received_at,
        "trust": trust,
        "sdk": sdk,
        "n_events": n_events,
        "body_bytes": body_bytes,
        "body": body,
        "archived_at": received_at if body is None else None,
    }
    return connection.execute(_ADD_BATCH[connection.dialect.name], values).first() is not None


def backlog(connection: sa.Connection) -> Backlog:
    """What waits for the lake now."""
    row = connection.execute(
        sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(sa.func.length(InboxBatch.body)), 0),
        ).where(InboxBatch.archived_at.is_(None))
    ).one()
    return Backlog(n_batches=row[0], n_bytes=int(row[1]))


def oldest_waiting_at(connection: sa.Connection) -> dt.datetime | None:
    """When the first of the batches that wait for the lake arrived; None when none waits."""
    return connection.scalar(
        sa.select(InboxBatch.received_at)
        .where(InboxBatch.archived_at.is_(None))
        .order_by(InboxBatch.chunk, InboxBatch.id)
        .limit(1)
    )


def claim(connection: sa.Connection, *, max_batches: int, max_bytes: int) -> tuple[int, list[ClaimedBatch]] | None:
    """The next chunk: its number and its batches, the number stored on them before anything is written elsewhere.

    A chunk that was claimed and never published comes back with the same number and the same batches. Rows are taken
    one by one, never as "all ids up to N": PostgreSQL's identity values commit out of order, and a row that
    commits late must still be found. Answers None when nothing waits.
    """
    is_open = InboxBatch.archived_at.is_(None)
    number = connection.scalar(sa.select(sa.func.min(InboxBatch.chunk)).where(is_open, InboxBatch.chunk.is_not(None)))
    if number is None:
        waiting = connection.execute(
            sa.select(InboxBatch.id, InboxBatch.body_bytes)
            .where(is_open, InboxBatch.chunk.is_(None))
            .order_by(InboxBatch.id)
            .limit(max_batches)
        ).all()
        if not waiting:
            return None
        ids: list[int] = []
        n_bytes = 0
        for row in waiting:
            n_bytes += row.body_bytes
            if ids and n_bytes > max_bytes:
                break
            ids.append(row.id)
        number = lake_versions(connection).chunk + 1
        connection.execute(
            sa.update(InboxBatch).where(InboxBatch.id == sa.bindparam("row_id")).values(chunk=number),
            [{"row_id": row_id} for row_id in ids],
        )
    rows = connection.execute(
        sa.select(
            InboxBatch.id,
            InboxBatch.project_id,
            InboxBatch.environment_id,
            InboxBatch.batch_id,
            InboxBatch.received_at,
            InboxBatch.trust,
            InboxBatch.sdk,
            InboxBatch.body,
        )
        .where(is_open, InboxBatch.chunk == number)
        .order_by(InboxBatch.id)
    ).mappings()
    return int(number), [ClaimedBatch(**row) for row in rows]


def has_claimed(connection: sa.Connection) -> bool:
    """Whether a chunk was claimed and not published, so that part of it may be in the lake."""
    claimed = sa.select(InboxBatch.id).where(InboxBatch.archived_at.is_(None), InboxBatch.chunk.is_not(None)).limit(1)
    return connection.scalar(claimed) is not None


def publish(connection: sa.Connection, versions: LakeVersions, now: dt.datetime) -> None:
    """The chunk is in the lake: make its versions the current ones, and its batches tombstones."""
    of_chunk = sa.and_(InboxBatch.chunk == versions.chunk, InboxBatch.archived_at.is_(None))
    scopes = connection.execute(
        sa.select(InboxBatch.project_id, InboxBatch.environment_id).where(of_chunk).distinct()
    ).all()
    publish_change(connection, versions, [(row[0], row[1]) for row in scopes], now)
    connection.execute(sa.update(InboxBatch).where(of_chunk).values(body=None, archived_at=now))


def publish_change(
    connection: sa.Connection, versions: LakeVersions, scopes: Sequence[tuple[int, int]], now: dt.datetime
) -> None:
    """Make these versions of the lake the current ones.

    Args:
        connection: to the inbox, writing.
        versions: the state; its chunk is the number by which the reports of `scopes` tell that they are stale.
        scopes: project and environment of the facts that changed.
        now: the moment of publication.
    """
    if scopes:
        insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(LakeScope)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["project_id", "environment_id"], set_={"chunk": insert.excluded.chunk}
            ),
            [
                {"project_id": project_id, "environment_id": environment_id, "chunk": versions.chunk}
                for project_id, environment_id in scopes
            ],
        )
    connection.execute(sa.update(LakeState).values(**msgspec.structs.asdict(versions), updated_at=now))


def lake_versions(connection: sa.Connection) -> LakeVersions:
    """The published state of the lake."""
    row = connection.execute(sa.select(LakeState.chunk, LakeState.exposures, LakeState.events, LakeState.calls)).one()
    return LakeVersions(chunk=row.chunk, exposures=row.exposures, events=row.events, calls=row.calls)


def scope_chunk(connection: sa.Connection, project_id: int, environment_id: int) -> int:
    """The last chunk with facts of an environment; 0 when there is none."""
    found = connection.scalar(
        sa.select(LakeScope.chunk).where(LakeScope.project_id == project_id, LakeScope.environment_id == environment_id)
    )
    return int(found or 0)


def last_batch_id(connection: sa.Connection, project_id: int) -> int:
    """The highest row of a project's batches that is committed; 0 when there is none."""
    return int(connection.scalar(sa.select(sa.func.max(InboxBatch.id)).where(InboxBatch.project_id == project_id)) or 0)


def unarchived_up_to(connection: sa.Connection, project_id: int, last_id: int) -> int:
    """How many of a project's batches up to a row still wait for the lake."""
    return int(
        connection.scalar(
            sa.select(sa.func.count()).where(
                InboxBatch.archived_at.is_(None), InboxBatch.project_id == project_id, InboxBatch.id <= last_id
            )
        )
        or 0
    )


def purge_tombstones(connection: sa.Connection, before: dt.datetime) -> int:
    """Forget batches archived before a moment; how many. No outbox may still hold one of them."""
    return connection.execute(sa.delete(InboxBatch).where(InboxBatch.archived_at < before)).rowcount
