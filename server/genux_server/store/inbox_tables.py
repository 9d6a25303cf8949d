"""Tables of the inbox: what arrived, what was refused, and how far the lake has come.

On SQLite they live in a file of their own, without foreign keys into the control store. What must change in one
transaction stands here together: the rows of a chunk, and the state of the lake that the chunk led to.
"""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from genux_server.store.base import NAMING, BigId, UtcDateTime

__all__ = [
    "DroppedCount",
    "ErasedUnit",
    "Erasure",
    "InboxBase",
    "InboxBatch",
    "LakeScope",
    "LakeState",
    "ParkedBatch",
    "RejectedEvent",
    "WorkerLease",
]


class InboxBase(DeclarativeBase):
    """Root of the inbox's tables."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {int: BigId, dt.datetime: UtcDateTime, str: sa.Text()}  # noqa: RUF012  # SQLAlchemy's own hook


class InboxBatch(InboxBase):
    """A received batch: waiting (no chunk), claimed (a chunk), or archived (a tombstone without its body).

    `body` is a JSON array of the accepted events, zstd-compressed; `body_bytes` its length inflated.
    """

    __tablename__ = "inbox_batch"
    __table_args__ = (
        sa.UniqueConstraint("project_id", "batch_id"),
        sa.Index(
            "ix_inbox_batch_open",
            "chunk",
            "id",
            sqlite_where=sa.text("archived_at IS NULL"),
            postgresql_where=sa.text("archived_at IS NULL"),
        ),
        sa.Index("ix_inbox_batch_archived_at", "archived_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int]
    environment_id: Mapped[int]
    batch_id: Mapped[str]
    received_at: Mapped[dt.datetime]
    trust: Mapped[str]
    sdk: Mapped[str]
    n_events: Mapped[int]
    body_bytes: Mapped[int]
    body: Mapped[bytes | None] = mapped_column(sa.LargeBinary())
    chunk: Mapped[int | None]
    archived_at: Mapped[dt.datetime | None]


class ParkedBatch(InboxBase):
    """A batch that cannot be turned into rows of the lake, and why. Its `id` is that of its tombstone in the inbox."""

    __tablename__ = "parked_batch"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int]
    environment_id: Mapped[int]
    batch_id: Mapped[str]
    received_at: Mapped[dt.datetime]
    trust: Mapped[str]
    sdk: Mapped[str]
    n_events: Mapped[int]
    body: Mapped[bytes] = mapped_column(sa.LargeBinary())
    reason: Mapped[str]
    parked_at: Mapped[dt.datetime]


class RejectedEvent(InboxBase):
    """An event that was refused, as it came (cut to a bound), and why."""

    __tablename__ = "rejected_event"
    __table_args__ = (sa.Index(None, "project_id", "environment_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int]
    environment_id: Mapped[int]
    batch_id: Mapped[str]
    position: Mapped[int]
    code: Mapped[str]
    path: Mapped[str]
    message: Mapped[str]
    body: Mapped[bytes] = mapped_column(sa.LargeBinary())
    received_at: Mapped[dt.datetime]


class DroppedCount(InboxBase):
    """Events that an SDK says it had to give up before they reached the service."""

    __tablename__ = "dropped_count"
    __table_args__ = (sa.Index(None, "project_id", "environment_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int]
    environment_id: Mapped[int]
    sdk: Mapped[str]
    reason: Mapped[str]
    n_events: Mapped[int]
    received_at: Mapped[dt.datetime]


class WorkerLease(InboxBase):
    """Which worker may write the lake, and until when. One row, made by the first migration."""

    __tablename__ = "worker_lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[dt.datetime]


class LakeState(InboxBase):
    """The published state of the lake: one row, made by the first migration."""

    __tablename__ = "lake_state"

    id: Mapped[int] = mapped_column(primary_key=True)
    chunk: Mapped[int]
    exposures: Mapped[int]
    events: Mapped[int]
    calls: Mapped[int]
    updated_at: Mapped[dt.datetime]


class LakeScope(InboxBase):
    """The last chunk that held facts of an environment: a report is stale only when its own facts moved."""

    __tablename__ = "lake_scope"

    project_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    environment_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chunk: Mapped[int]


class Erasure(InboxBase):
    """A unit that is to be forgotten, or was: then `unit_id` is empty, and only its keyed hash tells that it was this.

    No `environment_id` means all of the project's. An empty `unit_id` without `done_at` is all but done.
    `last_batch_id` is the last batch that had arrived when it was asked for; `outcome` is JSON: how much went.
    """

    __tablename__ = "erasure"
    __table_args__ = (sa.Index(None, "project_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int]
    environment_id: Mapped[int | None]
    unit_kind: Mapped[str]
    unit_id: Mapped[str]
    digest: Mapped[str]
    actor: Mapped[str]
    requested_at: Mapped[dt.datetime]
    last_batch_id: Mapped[int]
    done_at: Mapped[dt.datetime | None]
    outcome: Mapped[str]


class ErasedUnit(InboxBase):
    """The keyed hash of an id whose events from before `erased_at` are dropped, should an outbox still bring some."""

    __tablename__ = "erased_unit"

    project_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(primary_key=True)
    erased_at: Mapped[dt.datetime]
