"""Who asks, and which project and environment they see."""

import datetime as dt

import msgspec

from genux.errors import ServiceError

__all__ = ["Scope", "not_found", "utcnow"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The project and environment that a key or a session opens; every verb of the service takes one.

    `keeps_text` says that the project keeps the text of prompts and answers.
    `actor` names who acts, for the audit log: a key's prefix or a person's email.
    """

    project_id: int
    project: str
    environment_id: int
    environment: str
    actor: str = "system"
    keeps_text: bool = False


def utcnow() -> dt.datetime:
    """Now, aware."""
    return dt.datetime.now(dt.UTC)


def not_found(what: str, key: str) -> ServiceError:
    """The refusal for something that is not in the scope: whether it exists elsewhere is nobody's business."""
    return ServiceError("not_found", f"There is no {what} called `{key}` here.", 404)
