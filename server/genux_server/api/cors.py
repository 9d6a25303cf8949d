"""Pages on other origins: which may send events, and how their browsers are told.

CORS is for `POST /v1/events` alone, and never with credentials: a key is all that a page shows.
"""

from flask import Response, g, request

from genux.errors import ServiceError
from genux_server.api.context import authenticated, principal, services
from genux_server.service import keys
from genux_server.service.keys import Principal
from genux_server.service.origins import allows

__all__ = ["allow_events", "name_origin", "sender"]

_REMEMBER_SECONDS = "7200"  # the longest that Chromium remembers it
_REQUEST_HEADERS = "authorization, content-type, content-encoding, x-request-id"
_ANSWER_HEADERS = "genux-snapshot, retry-after, x-request-id"


def allow_events() -> Response:
    """The question that a browser asks before a page's first request: may this origin send?

    It comes without the page's `Authorization`. So what counts is whether any key allows the origin, and the request
    itself is judged by its own key.

    Raises:
        ServiceError: `foreign_origin`.
    """
    origin = request.headers.get("Origin", "")
    if not keys.may_send_from(services().store, origin):
        raise _foreign(origin, "preflight")
    g.cors_origin = origin
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = _REMEMBER_SECONDS
    return response


def sender() -> Principal:
    """Who sends events: by `Authorization`, or a browser key in the address; from a page only where the key allows it.

    Raises:
        ServiceError: as `principal`; `secret_in_address`, or `foreign_origin`.
    """
    in_address = request.args.get("key", "")
    if in_address and "Authorization" not in request.headers:
        caller = authenticated(in_address)
        if caller.kind != "browser":
            raise ServiceError(
                "secret_in_address",
                f"A {caller.kind} key may not stand in an address, where every proxy logs it. Revoke it.",
                403,
            )
    else:
        caller = principal()
    origin = request.headers.get("Origin")
    if origin is not None and caller.kind == "browser":
        if not allows(caller.origins, origin):
            raise _foreign(origin, "request")
        g.cors_origin = origin
    return caller


def name_origin(response: Response) -> Response:
    """Let the page read the answer, refusals included, once its origin was found good."""
    if request.path == "/v1/events":
        response.vary.add("Origin")
        if "cors_origin" in g:
            response.headers["Access-Control-Allow-Origin"] = g.cors_origin
            response.headers["Access-Control-Expose-Headers"] = _ANSWER_HEADERS
    return response


def _foreign(origin: str, stage: str) -> ServiceError:
    services().telemetry.foreign(stage)
    return ServiceError(
        "foreign_origin", f"No browser key here may be used by pages from {origin!r}; see `genux keys origins`.", 403
    )
