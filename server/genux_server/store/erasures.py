"""Erasures: those that were asked for, the hashes that they leave behind, and the rows of the inbox that they reach."""

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from genux_server.store.database import Store
from genux_server.store.inbox import last_batch_id
from genux_server.store.inbox_tables import ErasedUnit, Erasure, InboxBatch, RejectedEvent

__all__ = [
    "add_erased_units",
    "compact",
    "delete_rejected",
    "erased_units",
    "find",
    "finish",
    "forget_id",
    "pending",
    "prune_erased_units",
    "request",
]


def request(
    connection: sa.Connection,
    *,
    project_id: int,
    environment_id: int | None,
    unit_kind: str,
    unit_id: str,
    digest: str,
    actor: str,
    now: dt.datetime,
) -> int:
    """Ask for an erasure; the number of the one that waits already, if there is one."""
    waiting = connection.scalar(
        sa.select(Erasure.id).where(
            Erasure.project_id == project_id, Erasure.digest == digest, Erasure.done_at.is_(None)
        )
    )
    if waiting is not None:
        return int(waiting)
    return int(
        connection.execute(
            sa.insert(Erasure)
            .values(
                project_id=project_id,
                environment_id=environment_id,
                unit_kind=unit_kind,
                unit_id=unit_id,
                digest=digest,
                actor=actor,
                requested_at=now,
                last_batch_id=last_batch_id(connection, project_id),
                outcome="{}",
            )
            .returning(Erasure.id)
        ).scalar_one()
    )


def find(connection: sa.Connection, project_id: int, erasure_id: int) -> sa.Row[tuple[Erasure]] | None:
    """An erasure of a project by its number."""
    return connection.execute(
        sa.select(Erasure.__table__).where(Erasure.project_id == project_id, Erasure.id == erasure_id)
    ).one_or_none()


def pending(connection: sa.Connection) -> Sequence[sa.Row[tuple[Erasure]]]:
    """Erasures that may be done now, oldest first: those whose project has nothing from before them in the inbox."""
    waits = sa.exists().where(
        InboxBatch.archived_at.is_(None),
        InboxBatch.project_id == Erasure.project_id,
        InboxBatch.id <= Erasure.last_batch_id,
    )
    return connection.execute(
        sa.select(Erasure.__table__).where(Erasure.done_at.is_(None), ~waits).order_by(Erasure.id)
    ).all()


def forget_id(connection: sa.Connection, erasure_id: int, outcome: str) -> None:
    """Everything but the remains of deleted rows is gone: the id goes from its own row, too."""
    connection.execute(sa.update(Erasure).where(Erasure.id == erasure_id).values(unit_id="", outcome=outcome))


def finish(connection: sa.Connection, erasure_id: int, now: dt.datetime) -> None:
    """It is done."""
    connection.execute(sa.update(Erasure).where(Erasure.id == erasure_id).values(done_at=now))


def add_erased_units(
    connection: sa.Connection, project_id: int, digests: Collection[str], erased_at: dt.datetime
) -> None:
    """Drop what these ids did before a moment, whenever it may arrive."""
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(ErasedUnit)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["project_id", "digest"], set_={"erased_at": insert.excluded.erased_at}
        ),
        [{"project_id": project_id, "digest": digest, "erased_at": erased_at} for digest in sorted(digests)],
    )


def erased_units(connection: sa.Connection) -> dict[tuple[int, str], dt.datetime]:
    """When each was erased, by project and hash."""
    rows = connection.execute(sa.select(ErasedUnit.project_id, ErasedUnit.digest, ErasedUnit.erased_at))
    return {(row.project_id, row.digest): row.erased_at for row in rows}


def prune_erased_units(connection: sa.Connection, before: dt.datetime) -> int:
    """Forget hashes of ids erased before a moment, of which no outbox can hold an event any more; how many."""
    return connection.execute(sa.delete(ErasedUnit).where(ErasedUnit.erased_at < before)).rowcount


def delete_rejected(connection: sa.Connection, project_id: int, names_unit: Callable[[int, bytes], bool]) -> int:
    """Delete a project's refused events of which `names_unit(environment, body)` holds; how many."""
    rows = connection.execute(
        sa.select(RejectedEvent.id, RejectedEvent.environment_id, RejectedEvent.body).where(
            RejectedEvent.project_id == project_id
        )
    )
    ids = [row.id for row in rows if names_unit(row.environment_id, bytes(row.body))]
    if ids:
        connection.execute(
            sa.delete(RejectedEvent).where(RejectedEvent.id == sa.bindparam("gone")), [{"gone": each} for each in ids]
        )
    return len(ids)


def compact(store: Store) -> None:
    """Write SQLite's files anew, without the remains of deleted rows; nobody else can write meanwhile.

    On PostgreSQL dead rows are made free for reuse; its write-ahead log runs out by its own clock.
    """
    if store.control.dialect.name == "sqlite":
        for engine in (store.control, store.inbox):
            with closing(engine.raw_connection()) as connection:
                # Raw: SQLAlchemy would begin a transaction, in which nothing can be vacuumed.
                connection.cursor().execute("VACUUM")
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return
    with store.inbox.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM inbox_batch, rejected_event, erasure, report, experiment")
