"""Projects, environments, people, keys, secrets and the audit log."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from genux_server.store.control import (
    ApiKey,
    AuditEntry,
    Environment,
    Member,
    Membership,
    Project,
    Setting,
    TokenSecret,
)

__all__ = [
    "KeyOwner",
    "add_api_key",
    "add_audit",
    "add_environment",
    "add_member",
    "add_project",
    "add_token_secret",
    "audit_entries",
    "browser_origins",
    "environments",
    "environments_of_member",
    "find_api_key",
    "find_environment",
    "find_member",
    "has_members",
    "list_api_keys",
    "member",
    "revoke_api_key",
    "set_api_key_origins",
    "setting_once",
    "token_secrets",
    "touch_api_key",
    "touch_member",
]


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """An unrevoked key, and the scope it opens."""

    key_id: int
    kind: str
    prefix: str
    last_used_at: dt.datetime | None
    project_id: int
    project: str
    keeps_text: bool
    environment_id: int
    environment: str
    snapshot_version: str
    origins: str


def has_members(session: Session) -> bool:
    """Whether anybody can log in."""
    return session.scalar(sa.select(Member.id).limit(1)) is not None


def add_project(session: Session, key: str, name: str, now: dt.datetime) -> Project:
    """A new, empty project."""
    project = Project(key=key, name=name, created_at=now)
    session.add(project)
    session.flush()
    return project


def project(session: Session, project_id: int) -> Project:
    """A project that is known to exist."""
    return session.get_one(Project, project_id)


def add_environment(session: Session, project_id: int, key: str, now: dt.datetime) -> Environment:
    """A new environment of a project."""
    environment = Environment(project_id=project_id, key=key, snapshot_version="", created_at=now)
    session.add(environment)
    session.flush()
    return environment


def environments(session: Session, project_id: int | None = None) -> Sequence[tuple[Project, Environment]]:
    """Environments with their project, of one project or of all, oldest first."""
    query = sa.select(Project, Environment).join(Environment, Environment.project_id == Project.id)
    if project_id is not None:
        query = query.where(Project.id == project_id)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Environment.id))]


def find_environment(session: Session, project: str, environment: str) -> tuple[Project, Environment] | None:
    """A project and one of its environments by their keys."""
    row = session.execute(
        sa.select(Project, Environment)
        .join(Environment, Environment.project_id == Project.id)
        .where(Project.key == project, Environment.key == environment)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def add_member(session: Session, email: str, password_hash: str, now: dt.datetime) -> Member:
    """A person, with no membership yet."""
    member = Member(email=email, password_hash=password_hash, created_at=now)
    session.add(member)
    session.flush()
    return member


def find_member(session: Session, email: str) -> Member | None:
    """A person by email, in the form in which it was stored."""
    return session.scalar(sa.select(Member).where(Member.email == email))


def touch_member(session: Session, member_id: int, now: dt.datetime) -> None:
    """Remember when a person last logged in."""
    session.execute(sa.update(Member).where(Member.id == member_id).values(last_login_at=now))


def member(session: Session, member_id: int) -> Member | None:
    """A person by number."""
    return session.scalar(sa.select(Member).where(Member.id == member_id))


def environments_of_member(session: Session, member_id: int) -> Sequence[tuple[Project, Environment]]:
    """The environments of the projects a person belongs to; none once the person is disabled."""
    query = (
        sa.select(Project, Environment)
        .join(Environment, Environment.project_id == Project.id)
        .join(Membership, Membership.project_id == Project.id)
        .join(Member, Member.id == Membership.member_id)
        .where(Member.id == member_id, Member.disabled_at.is_(None))
        .order_by(Environment.id)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def add_api_key(session: Session, key: ApiKey) -> ApiKey:
    """Keep a new key."""
    session.add(key)
    session.flush()
    return key


# Built once: every request runs it, and building costs several times what running does.
_FIND_API_KEY = (
    sa.select(
        ApiKey.id.label("key_id"),
        ApiKey.kind,
        ApiKey.prefix,
        ApiKey.last_used_at,
        ApiKey.project_id,
        Project.key.label("project"),
        Project.keeps_text,
        ApiKey.environment_id,
        Environment.key.label("environment"),
        Environment.snapshot_version,
        ApiKey.origins,
    )
    .join(Project, Project.id == ApiKey.project_id)
    .join(Environment, Environment.id == ApiKey.environment_id)
    .where(ApiKey.digest == sa.bindparam("digest"), ApiKey.revoked_at.is_(None))
)


def find_api_key(session: Session, digest: str) -> KeyOwner | None:
    """Who holds the key with this SHA-256; None when nobody does or it was revoked."""
    row = session.execute(_FIND_API_KEY, {"digest": digest}).mappings().one_or_none()
    return None if row is None else KeyOwner(**row)


def touch_api_key(session: Session, key_id: int, now: dt.datetime) -> None:
    """Remember when a key was last used."""
    session.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def list_api_keys(session: Session, project_id: int) -> Sequence[tuple[ApiKey, str]]:
    """A project's keys with their environment's key, oldest first; revoked ones too."""
    query = (
        sa.select(ApiKey, Environment.key)
        .join(Environment, Environment.id == ApiKey.environment_id)
        .where(ApiKey.project_id == project_id)
        .order_by(ApiKey.id)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def revoke_api_key(session: Session, project_id: int, key_id: int, now: dt.datetime) -> bool:
    """Refuse a key from now on; False when the project has no such unrevoked key."""
    result: sa.CursorResult[Any] = session.execute(  # type: ignore[assignment]  # an UPDATE answers with a cursor
        sa.update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.project_id == project_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return result.rowcount == 1


def set_api_key_origins(session: Session, project_id: int, key_id: int, origins: str) -> bool:
    """Whose pages may use a key; False when the project has no such unrevoked browser key."""
    result: sa.CursorResult[Any] = session.execute(  # type: ignore[assignment]  # an UPDATE answers with a cursor
        sa.update(ApiKey)
        .where(
            ApiKey.id == key_id,
            ApiKey.project_id == project_id,
            ApiKey.kind == "browser",
            ApiKey.revoked_at.is_(None),
        )
        .values(origins=origins)
    )
    return result.rowcount == 1


def browser_origins(session: Session) -> Sequence[str]:
    """The origins of every browser key that still works, of all projects, as they are stored."""
    return session.scalars(
        sa.select(ApiKey.origins).where(ApiKey.kind == "browser", ApiKey.revoked_at.is_(None)).distinct()
    ).all()


def add_token_secret(session: Session, project_id: int, key_id: str, secret: str, now: dt.datetime) -> None:
    """A new secret for resume tokens; SDKs sign with the newest and honour all that are not retired."""
    session.add(TokenSecret(project_id=project_id, key_id=key_id, secret=secret, created_at=now))
    session.flush()


def token_secrets(session: Session, project_id: int) -> Sequence[TokenSecret]:
    """The secrets that still count, newest first."""
    return session.scalars(
        sa.select(TokenSecret)
        .where(TokenSecret.project_id == project_id, TokenSecret.retired_at.is_(None))
        .order_by(TokenSecret.id.desc())
    ).all()


def setting_once(session: Session, name: str, value: str) -> str:
    """The installation's value of a setting; the first value ever offered is the one that stays."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Setting).values(name=name, value=value).on_conflict_do_nothing())
    return session.execute(sa.select(Setting.value).where(Setting.name == name)).scalar_one()


def add_audit(session: Session, entry: AuditEntry) -> None:
    """Write down who changed what."""
    session.add(entry)


def audit_entries(
    session: Session, project_id: int, *, subject: str | None = None, limit: int = 100
) -> Sequence[AuditEntry]:
    """What was changed in a project, newest first."""
    query = sa.select(AuditEntry).where(AuditEntry.project_id == project_id)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    return session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)).all()
