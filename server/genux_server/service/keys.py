"""API keys: made once in clear, kept as a hash, checked on every request."""

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from typing import Literal

import msgspec

from genux.errors import ServiceError
from genux_server.service import audit
from genux_server.service.origins import allows, join_origins, split_origins
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, projects
from genux_server.store.control import ApiKey

__all__ = [
    "KeyInfo",
    "KeyKind",
    "NewKey",
    "Principal",
    "authenticate",
    "create",
    "list_keys",
    "may_send_from",
    "require",
    "revoke",
    "set_origins",
]

KeyKind = Literal["server", "browser", "admin"]

_TOUCH_EVERY = dt.timedelta(minutes=1)
_SHOWN_CHARACTERS = 9


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that showed a good key. `snapshot_version` is what its SDK should hold now.

    `origins` are those whose pages may use the key; a server's key has none.
    """

    scope: Scope
    kind: KeyKind
    snapshot_version: str
    origins: tuple[str, ...] = ()


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made; `secret` is never seen again."""

    id: int
    kind: KeyKind
    secret: str


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a key."""

    id: int
    kind: KeyKind
    name: str
    prefix: str
    environment: str
    origins: list[str]
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None


def create(store: Store, scope: Scope, kind: KeyKind, name: str = "", origins: Sequence[str] = ()) -> NewKey:
    """Make a key for the scope's environment; a browser's key with the origins of the pages that may use it.

    Raises:
        ServiceError: `invalid`; something in `origins` is no origin, or the key is no browser's.
    """
    stored_origins = join_origins(origins)
    if stored_origins and kind != "browser":
        raise ServiceError("invalid", f"A {kind} key belongs on no page, so it has no origins.", 400)
    secret = f"gx{kind[0]}_{secrets.token_urlsafe(32)}"
    now = utcnow()
    with store.writing() as session:
        key = projects.add_api_key(
            session,
            ApiKey(
                project_id=scope.project_id,
                environment_id=scope.environment_id,
                kind=kind,
                name=name,
                prefix=secret[:_SHOWN_CHARACTERS],
                digest=_digest(secret),
                origins=stored_origins,
                created_at=now,
            ),
        )
        detail = {"kind": kind, "environment": scope.environment, "origins": stored_origins}
        audit.record(session, scope, "key.create", key.prefix, detail)
        return NewKey(id=key.id, kind=kind, secret=secret)


def authenticate(store: Store, secret: str) -> Principal | None:
    """Who holds this key; None when it is unknown or revoked.

    The look-up is by hash, so its timing tells nothing about a stored key.
    """
    with store.reading() as session:
        owner = projects.find_api_key(session, _digest(secret))
    if owner is None:
        return None
    now = utcnow()
    if owner.last_used_at is None or now - owner.last_used_at > _TOUCH_EVERY:
        with store.writing() as session:
            projects.touch_api_key(session, owner.key_id, now)
    scope = Scope(
        project_id=owner.project_id,
        project=owner.project,
        environment_id=owner.environment_id,
        environment=owner.environment,
        actor=f"key {owner.prefix}",
        keeps_text=owner.keeps_text,
    )
    kind: KeyKind = msgspec.convert(owner.kind, KeyKind)
    return Principal(
        scope=scope,
        kind=kind,
        snapshot_version=owner.snapshot_version,
        origins=split_origins(owner.origins),
    )


def list_keys(store: Store, scope: Scope) -> Sequence[KeyInfo]:
    """The project's keys, oldest first."""
    with store.reading() as session:
        return [
            KeyInfo(
                id=key.id,
                kind=msgspec.convert(key.kind, KeyKind),
                name=key.name,
                prefix=key.prefix,
                environment=environment,
                origins=list(split_origins(key.origins)),
                created_at=key.created_at,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
            )
            for key, environment in projects.list_api_keys(session, scope.project_id)
        ]


def set_origins(store: Store, scope: Scope, key_id: int, origins: Sequence[str]) -> None:
    """Say whose pages may use a browser key from now on; none may with an empty list.

    Raises:
        ServiceError: `invalid` (no origin), or `not_found` (no such browser key that still works).
    """
    stored = join_origins(origins)
    with store.writing() as session:
        if not projects.set_api_key_origins(session, scope.project_id, key_id, stored):
            raise not_found("browser key", str(key_id))
        audit.record(session, scope, "key.origins", str(key_id), {"origins": stored})


def may_send_from(store: Store, origin: str) -> bool:
    """Whether any browser key may be used by pages from an origin: a browser asks before it shows the key."""
    with store.reading() as session:
        return any(allows(split_origins(stored), origin) for stored in projects.browser_origins(session))


def revoke(store: Store, scope: Scope, key_id: int) -> None:
    """Refuse a key from now on.

    Raises:
        ServiceError: `not_found`.
    """
    with store.writing() as session:
        if not projects.revoke_api_key(session, scope.project_id, key_id, utcnow()):
            raise not_found("key", str(key_id))
        audit.record(session, scope, "key.revoke", str(key_id))


def require(principal: Principal, *kinds: KeyKind) -> None:
    """Refuse a key of another kind.

    Raises:
        ServiceError: `forbidden`.
    """
    if principal.kind not in kinds:
        wanted = " or ".join(kinds)
        raise ServiceError("forbidden", f"This needs a key of kind {wanted}; yours is {principal.kind}.", 403)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
