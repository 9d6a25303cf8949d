"""What a load balancer asks: is the process alive, may it get requests."""

from flask import Blueprint, Response

from genux_server.api.context import json_response, services
from genux_server.service import health

__all__ = ["register"]


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/healthz")(get_healthz)
    api.get("/readyz")(get_readyz)


def get_healthz() -> Response:
    """The process answers; nothing else is looked at."""
    return json_response({"status": "ok"})


def get_readyz() -> Response:
    """Both databases answer and the inbox takes writes, or 503.

    What is wrong behind them is told, and refuses nobody: events are safe in the inbox.
    """
    return json_response(health.check(services().store, services().config))
