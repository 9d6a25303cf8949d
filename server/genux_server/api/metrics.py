"""`/v1/metrics`: the project's measured quantities."""

from flask import Blueprint, Response, request

from genux.errors import ServiceError
from genux.specs import MetricSpec
from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import metrics

__all__ = ["register"]


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/metrics")(list_metrics)
    api.post("/v1/metrics")(create_metric)
    api.get("/v1/metrics/<key>")(get_metric)
    api.put("/v1/metrics/<key>")(put_metric)


def list_metrics() -> Response:
    """Every metric of the key's project."""
    caller = principal("server", "admin")
    return json_response({"metrics": metrics.list_metrics(services().store, caller.scope)})


def create_metric() -> Response:
    """A new metric; the same definition sent twice is the same metric."""
    caller = principal("admin")
    made = metrics.create(services().store, caller.scope, read_body(MetricSpec))
    response = json_response(made, 201)
    response.headers["Location"] = f"{request.path}/{made.key}"
    return response


def get_metric(key: str) -> Response:
    """One metric."""
    caller = principal("server", "admin")
    return json_response(metrics.get(services().store, caller.scope, key))


def put_metric(key: str) -> Response:
    """Replace a metric's definition."""
    caller = principal("admin")
    spec = read_body(MetricSpec)
    if spec.key != key:
        raise ServiceError("invalid", f"$.key: the address says `{key}`, the body `{spec.key}`.", 400)
    return json_response(metrics.put(services().store, caller.scope, spec))
