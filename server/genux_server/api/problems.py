"""Errors as RFC 9457 problem documents."""

import logging

import msgspec
from flask import Response, request
from werkzeug.exceptions import HTTPException

from genux.errors import ServiceError
from genux.wire import BatchReply
from genux_server.store import StorageError

__all__ = ["on_http_error", "on_service_error", "on_storage_error", "problem"]

RETRY_AFTER_SECONDS = 5

_log = logging.getLogger(__name__)


def problem(code: str, detail: str, status: int) -> Response:
    """A problem document: `code` is the stable word, `detail` the sentence for a person."""
    title = code.replace("_", " ").capitalize()
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    response = Response(msgspec.json.encode(body), status=status, mimetype="application/problem+json")
    if status == 401:  # noqa: PLR2004  # RFC 9110 asks for it on every 401
        response.headers["WWW-Authenticate"] = 'Bearer realm="genux"'
    if status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def on_service_error(error: ServiceError) -> Response:
    """The service understood, and said no."""
    return problem(error.code, str(error), error.status)


def on_storage_error(error: StorageError) -> Response:
    """Nothing was kept. A sender of events is told so in its own words."""
    _log.error("the database failed: %s", error)  # the answer does not say so much: it names tables and files
    if request.endpoint == "api.post_events":
        response = Response(msgspec.json.encode(BatchReply(status="retry")), status=503, mimetype="application/json")
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
    return problem("storage_unavailable", "The database cannot be used now; nothing was kept. Try again.", 503)


def on_http_error(error: HTTPException) -> Response:
    """What Flask itself refuses: no such address, wrong method, too large."""
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    return problem(code, error.description or error.name, status)
