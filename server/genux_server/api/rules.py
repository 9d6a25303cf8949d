"""`/v1/assignment-rules`: what holds for every experiment of the key's environment."""

from flask import Blueprint, Response

from genux.specs import AssignmentRules
from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import rules

__all__ = ["register"]


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/assignment-rules")(get_rules)
    api.put("/v1/assignment-rules")(put_rules)


def get_rules() -> Response:
    """Layers, holdouts and exclusions."""
    caller = principal("server", "admin")
    return json_response(rules.get(services().store, caller.scope))


def put_rules() -> Response:
    """Replace them all."""
    caller = principal("admin")
    return json_response(rules.put(services().store, caller.scope, read_body(AssignmentRules)))
