"""The HTTP API: parses, asks the service, renders. No SQL, no statistics."""

from flask import Blueprint, Response, g
from werkzeug.exceptions import HTTPException

from genux.errors import ServiceError
from genux_server.api import events, experiments, exposition, health, metrics, prices, rules, snapshot, text, units
from genux_server.api.observe import observe
from genux_server.api.problems import on_http_error, on_service_error, on_storage_error
from genux_server.store import StorageError

__all__ = ["create_api", "observe", "on_http_error"]


def create_api() -> Blueprint:
    """Every address below `/v1`, and those that a load balancer and Prometheus ask."""
    api = Blueprint("api", __name__)
    for room in (events, snapshot, experiments, rules, metrics, prices, text, units, health, exposition):
        room.register(api)
    api.register_error_handler(ServiceError, on_service_error)
    api.register_error_handler(StorageError, on_storage_error)
    api.register_error_handler(HTTPException, on_http_error)
    api.after_request(_name_snapshot)
    return api


def _name_snapshot(response: Response) -> Response:
    """Every answer to a key says which snapshot its SDK should hold, so that changes spread with the traffic."""
    version = g.get("snapshot_version")
    if version:
        response.headers["Genux-Snapshot"] = version
    return response
