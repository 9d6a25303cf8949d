"""Around every request: its id, its line in the log, its place in the counters."""

import logging
import time

from flask import Flask, Response, g, request

from genux_server.api.context import services
from genux_server.service.logs import new_request_id, request_id

__all__ = ["observe"]

_log = logging.getLogger(__name__)

_ROUTINE = frozenset({"api.post_events", "api.get_healthz", "api.get_readyz", "api.get_metrics", "api.get_snapshot"})
"""Asked all the time: the counters tell of them, and a line each would bury what the log is read for."""

_FIRST_FAILURE = 400


def observe(app: Flask) -> None:
    """Register the hooks; before all others, so that their time is counted and their lines carry the id."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began = time.perf_counter()
    g.request_id = new_request_id(request.headers.get("X-Request-Id", ""))
    request_id.set(g.request_id)


def _end(response: Response) -> Response:
    seconds = time.perf_counter() - g.began
    # The address itself may hold anything; its pattern holds names only, and is one of a fixed number.
    route = "unmatched" if request.url_rule is None else request.url_rule.rule
    services().telemetry.request(route, request.method, response.status_code, seconds)
    is_routine = request.endpoint in _ROUTINE and response.status_code < _FIRST_FAILURE
    level = logging.DEBUG if is_routine else logging.INFO
    if _log.isEnabledFor(level):
        fields = {"method": request.method, "route": route, "status": response.status_code}
        fields |= {"milliseconds": round(1000 * seconds, 2), "bytes": request.content_length or 0}
        if "actor" in g:
            fields["actor"] = g.actor
        _log.log(level, "answered", extra={"fields": fields})
    response.headers["X-Request-Id"] = g.request_id
    request_id.set("")
    return response
