"""Whether a project keeps the text of prompts and answers. It does not until an administrator allows it."""

from genux_server.service import audit, snapshot
from genux_server.service.scope import Scope
from genux_server.store import Store, projects

__all__ = ["allow", "is_allowed"]


def is_allowed(store: Store, scope: Scope) -> bool:
    """Whether text that SDKs send is kept."""
    with store.reading() as session:
        return projects.project(session, scope.project_id).keeps_text


def allow(store: Store, scope: Scope, *, allowed: bool) -> bool:
    """Allow or forbid text from now on, with an audit line and new snapshots. What is kept already stays."""
    with store.writing() as session:
        projects.project(session, scope.project_id).keeps_text = allowed
        session.flush()
        audit.record(session, scope, "text.allow" if allowed else "text.forbid", scope.project)
        snapshot.refresh_versions_of(session, scope.project_id)
    return allowed
