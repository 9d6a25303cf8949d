"""The first start: a project, its environments, its keys and its first administrator."""

import secrets

import msgspec

from genux_server.config import Config
from genux_server.service import audit, keys, people, snapshot
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, projects

__all__ = [
    "Credentials",
    "create_project",
    "find_scope",
    "first_start",
    "mint_keys",
    "rotate_token_secret",
    "session_secret",
]

PROJECT = "default"
ENVIRONMENTS = ("dev", "staging", "prod")
KEY_KINDS: tuple[keys.KeyKind, ...] = ("server", "browser", "admin")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What the first start prints, once: only hashes of it are kept."""

    project: str
    environment: str
    server_key: str
    browser_key: str
    admin_key: str
    admin_email: str
    admin_password: str


def first_start(store: Store, config: Config) -> Credentials | None:
    """Set up an empty store; None when it was set up before.

    The keys are for `dev`; keys of the other environments are made when they are needed. The administrator is made
    last, and marks the store as set up: a start that crashed before is done again.
    """
    with store.reading() as session:
        if projects.has_members(session):
            return None
        exists = projects.find_environment(session, PROJECT, ENVIRONMENTS[0]) is not None
    password = config.admin_password or secrets.token_urlsafe(12)
    scope = find_scope(store, PROJECT, ENVIRONMENTS[0]) if exists else create_project(store, PROJECT, "Default project")
    made = mint_keys(store, scope, "first start")
    people.add(store, config.admin_email, password, scope.project_id)
    return Credentials(
        project=scope.project,
        environment=scope.environment,
        server_key=made["server"],
        browser_key=made["browser"],
        admin_key=made["admin"],
        admin_email=config.admin_email,
        admin_password=password,
    )


def mint_keys(store: Store, scope: Scope, name: str) -> dict[keys.KeyKind, str]:
    """One new key of each kind for the scope's environment: kind -> secret."""
    return {kind: keys.create(store, scope, kind, name).secret for kind in KEY_KINDS}


def create_project(store: Store, key: str, name: str) -> Scope:
    """A project with its environments and a secret for resume tokens; the scope of its first environment."""
    now = utcnow()
    with store.writing() as session:
        project = projects.add_project(session, key, name, now)
        projects.add_token_secret(session, project.id, secrets.token_hex(4), secrets.token_urlsafe(32), now)
        made = [projects.add_environment(session, project.id, environment, now) for environment in ENVIRONMENTS]
        scope = Scope(project_id=project.id, project=project.key, environment_id=made[0].id, environment=made[0].key)
        audit.record(session, scope, "project.create", key)
        for environment in made:
            snapshot.refresh_version(session, environment.id)
    return scope


def rotate_token_secret(store: Store, scope: Scope) -> None:
    """A new secret signs from now on; tokens signed with the older ones stay good until those are retired."""
    with store.writing() as session:
        projects.add_token_secret(session, scope.project_id, secrets.token_hex(4), secrets.token_urlsafe(32), utcnow())
        audit.record(session, scope, "token_secret.rotate", scope.project)
        for _project, environment in projects.environments(session, scope.project_id):
            snapshot.refresh_version(session, environment.id)


def find_scope(store: Store, project: str, environment: str, actor: str = "system") -> Scope:
    """The scope with these keys.

    Raises:
        ServiceError: `not_found`.
    """
    with store.reading() as session:
        found = projects.find_environment(session, project, environment)
    if found is None:
        raise not_found("environment", f"{project}/{environment}")
    return Scope(
        project_id=found[0].id,
        project=project,
        environment_id=found[1].id,
        environment=environment,
        actor=actor,
    )


def session_secret(store: Store) -> str:
    """The key that signs sessions, the same in every process of this installation."""
    with store.writing() as session:
        return projects.setting_once(session, "session_secret", secrets.token_urlsafe(48))
