"""`POST /v1/events`, and what was refused there."""

from flask import Blueprint, Response, request

from genux.errors import ServiceError
from genux_server.api.context import json_response, principal, services
from genux_server.api.cors import allow_events, name_origin, sender
from genux_server.service import ingest
from genux_server.service.body import MAX_BODY_BYTES

__all__ = ["register"]

_MAX_PAGE = 1_000
_TRUST = {"server": "server", "admin": "server", "browser": "browser"}


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.add_url_rule("/v1/events", view_func=allow_events, methods=["OPTIONS"])
    api.add_url_rule("/v1/events", view_func=post_events, methods=["POST"], provide_automatic_options=False)
    api.after_request(name_origin)
    api.get("/v1/rejected")(get_rejected)


def post_events() -> Response:
    """One batch, of whatever content type; a verdict for every event that was refused.

    `navigator.sendBeacon` sends `text/plain` and no header of the page's choice, so a browser key may stand in the
    address: `/v1/events?key=gxb_...`.
    """
    caller = sender()
    request.max_content_length = MAX_BODY_BYTES
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    reply = services().ingest.accept(caller.scope, _TRUST[caller.kind], request.get_data(cache=False), encoding)
    return json_response(reply)


def get_rejected() -> Response:
    """Refused events, newest first. `?before=ID` goes on where a page ended, `?limit=` at most 1,000."""
    caller = principal("server", "admin")
    try:
        limit = min(int(request.args.get("limit", "100")), _MAX_PAGE)
        before = int(request.args["before"]) if "before" in request.args else None
    except ValueError:
        raise ServiceError("invalid", "`limit` and `before` are whole numbers.", 400) from None
    events = ingest.list_rejected(services().store, caller.scope, before_id=before, limit=max(limit, 1))
    return json_response({"rejected": events})
