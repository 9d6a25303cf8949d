"""A project's own prices: what self-hosted models and negotiated rates cost."""

import msgspec

from genux.errors import ConfigError, ServiceError
from genux.llm import PriceTable
from genux.specs import PriceRule
from genux_server.service import audit, snapshot
from genux_server.service.plain import plain
from genux_server.service.scope import Scope
from genux_server.store import Store, projects

__all__ = ["get", "put"]


def get(store: Store, scope: Scope) -> list[PriceRule]:
    """The project's rules, in order of writing."""
    with store.reading() as session:
        return snapshot.prices_of(session, scope.project_id)


def put(store: Store, scope: Scope, rules: list[PriceRule]) -> list[PriceRule]:
    """Replace the project's rules, with an audit line and new snapshots.

    SDKs price calls when they ship them: those already shipped keep the cost they came with.

    Raises:
        ServiceError: `invalid`; the message names the rule.
    """
    try:
        PriceTable(rules)
    except ConfigError as error:
        raise ServiceError("invalid", f"$.prices: {error}", 400) from None
    with store.writing() as session:
        before = snapshot.prices_of(session, scope.project_id)
        projects.project(session, scope.project_id).prices = msgspec.json.encode(rules).decode()
        session.flush()
        audit.record(session, scope, "prices.update", scope.project, {"before": plain(before), "after": plain(rules)})
        snapshot.refresh_versions_of(session, scope.project_id)
    return rules
