"""People: who may log in, and which projects they see."""

from hashlib import blake2b

import msgspec
from werkzeug.security import check_password_hash, generate_password_hash

from genux.errors import ServiceError
from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store, projects
from genux_server.store.control import Member, Membership

__all__ = ["MIN_PASSWORD_LENGTH", "Person", "add", "check_login", "scopes", "set_password"]

MIN_PASSWORD_LENGTH = 10
_NOBODY = generate_password_hash("nobody has this password", method="scrypt")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who logged in.

    Attributes:
        id: of the person.
        email: their login.
        stamp: changes with the password, so that a session of the old one ends.
    """

    id: int
    email: str
    stamp: str


def add(store: Store, email: str, password: str, project_id: int, role: str = "admin") -> Person:
    """A new person with a role in a project.

    Raises:
        ServiceError: `weak_password`, or `conflict` when the email is taken.
    """
    hashed = _hash(password)
    with store.writing() as session:
        if projects.find_member(session, _normal(email)) is not None:
            raise ServiceError("conflict", f"{email} has a login already.", 409)
        member = projects.add_member(session, _normal(email), hashed, utcnow())
        session.add(Membership(project_id=project_id, member_id=member.id, role=role))
        return _person(member)


def check_login(store: Store, email: str, password: str) -> Person | None:
    """The person, if the password is theirs. An unknown email takes as long as a wrong password."""
    with store.reading() as session:
        member = projects.find_member(session, _normal(email))
    good = check_password_hash(_NOBODY if member is None else member.password_hash, password)
    if member is None or not good or member.disabled_at is not None:
        return None
    with store.writing() as session:
        projects.touch_member(session, member.id, utcnow())
    return _person(member)


def set_password(store: Store, email: str, password: str) -> None:
    """Replace a person's password.

    Raises:
        ServiceError: `weak_password`, or `not_found`.
    """
    hashed = _hash(password)
    with store.writing() as session:
        member = projects.find_member(session, _normal(email))
        if member is None:
            raise ServiceError("not_found", f"Nobody here has the login {email}.", 404)
        member.password_hash = hashed


def scopes(store: Store, person_id: int, stamp: str) -> list[Scope]:
    """Every project and environment that a person may see, oldest first.

    Empty once the person is disabled, or has another password than the one that `stamp` was made from.
    """
    with store.reading() as session:
        member = projects.member(session, person_id)
        if member is None or _person(member).stamp != stamp:
            return []
        return [
            Scope(
                project_id=project.id,
                project=project.key,
                environment_id=environment.id,
                environment=environment.key,
                actor=member.email,
            )
            for project, environment in projects.environments_of_member(session, person_id)
        ]


def _person(member: Member) -> Person:
    stamp = blake2b(member.password_hash.encode(), digest_size=8).hexdigest()
    return Person(id=member.id, email=member.email, stamp=stamp)


def _normal(email: str) -> str:
    return email.strip().lower()


def _hash(password: str) -> str:
    if len(password) < MIN_PASSWORD_LENGTH:
        raise ServiceError("weak_password", f"A password needs at least {MIN_PASSWORD_LENGTH} characters.", 400)
    return generate_password_hash(password, method="scrypt")
