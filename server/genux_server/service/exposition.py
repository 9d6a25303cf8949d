"""Who may read the metrics, and the small server with which a worker on its own shows them.

Metrics name projects, experiments and their volumes. With `metrics_token` they are for whoever holds it. Without one
they are for this machine only, and that only as long as nothing says that a proxy stands in front: to a service behind
one, the whole world comes from the loopback.
"""

import contextlib
import ipaddress
import secrets
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from genux_server.config import Config
from genux_server.service.gauges import Gauges
from genux_server.service.services import Services

__all__ = ["CONTENT_TYPE", "may_read", "render", "served"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of what `render` answers."""

_PROXY_HEADERS = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_VIA")


def may_read(config: Config, environ: dict[str, Any]) -> bool:
    """Whether a request may read the metrics.

    Args:
        config: `metrics_token`, and `secure_cookies`, which says that a proxy with TLS stands in front.
        environ: the request's, as WSGI has it.
    """
    if config.metrics_token:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(
            token.strip().encode(), config.metrics_token.encode()
        )
    if config.secure_cookies or any(header in environ for header in _PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def render(services: Services) -> bytes:
    """Every metric, in Prometheus' text format."""
    return services.telemetry.exposition([Gauges(services.store, services.config)])


@contextlib.contextmanager
def served(services: Services) -> Generator[int]:
    """`GET /metrics` of a process that answers no other HTTP, on the configured host and `worker_metrics_port`.

    Yields:
        The port.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"the metrics are at /metrics\n"]
        if not may_read(services.config, environ):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"send the metrics token\n"]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
        return [render(services)]

    server = make_server(services.config.host, services.config.worker_metrics_port, answer, handler_class=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, name="genux-metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # a scraper that says nothing must not hold the only thread

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it overrides
        """Scrapes are no news."""
