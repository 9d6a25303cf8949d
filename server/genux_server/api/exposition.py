"""`/metrics`, for Prometheus."""

from flask import Blueprint, Response, request

from genux.errors import ServiceError
from genux_server.api.context import services
from genux_server.service import exposition

__all__ = ["register"]


def register(api: Blueprint) -> None:
    """Add this address."""
    api.get("/metrics")(get_metrics)


def get_metrics() -> Response:
    """Counters of all processes of this service, and what its databases say now."""
    if not exposition.may_read(services().config, request.environ):
        raise ServiceError(
            "forbidden",
            "Metrics are for the holder of GENUX_METRICS_TOKEN, or without one for this machine while no proxy is in "
            "front of the service.",
            403,
        )
    return Response(exposition.render(services()), content_type=exposition.CONTENT_TYPE)
