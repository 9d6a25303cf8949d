"""The audit log: who changed what, written in the transaction that changes it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store, projects
from genux_server.store.control import AuditEntry

__all__ = ["AuditLine", "history", "record"]


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    at: dt.datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def record(session: Session, scope: Scope, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Add a line; it is kept only if the change is."""
    projects.add_audit(
        session,
        AuditEntry(
            project_id=scope.project_id,
            at=utcnow(),
            actor=scope.actor,
            action=action,
            subject=subject,
            detail=msgspec.json.encode(detail or {}).decode(),
        ),
    )


def history(store: Store, scope: Scope, *, subject: str | None = None, limit: int = 100) -> Sequence[AuditLine]:
    """What was changed in the project, newest first; of one subject (such as an experiment's key), or of all."""
    with store.reading() as session:
        return [
            AuditLine(
                at=entry.at,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                detail=msgspec.json.decode(entry.detail, type=dict[str, Any]),
            )
            for entry in projects.audit_entries(session, scope.project_id, subject=subject, limit=limit)
        ]
