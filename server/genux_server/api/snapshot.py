"""`GET /v1/snapshot`, and who a key is."""

from flask import Blueprint, Response, request

from genux_server.api.context import json_response, principal, services
from genux_server.service import snapshot
from genux_server.service.scope import utcnow

__all__ = ["register"]


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/snapshot")(get_snapshot)
    api.get("/v1/whoami")(get_whoami)


def get_snapshot() -> Response:
    """What an SDK evaluates; 304 while it holds the current one.

    Not for browsers, whose key is public: a snapshot names forced units, prompts and models.
    """
    caller = principal("server", "admin")
    if caller.snapshot_version in request.if_none_match:
        response = Response(status=304)
        response.set_etag(caller.snapshot_version)
        return response
    found = snapshot.build(services().store, caller.scope, with_token_keys=caller.kind == "server")
    response = json_response(found)
    response.set_etag(found.version)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def get_whoami() -> Response:
    """The scope and kind of the key, and the service's clock."""
    caller = principal()
    return json_response(
        {
            "project": caller.scope.project,
            "environment": caller.scope.environment,
            "kind": caller.kind,
            "server_time": utcnow(),
        }
    )
