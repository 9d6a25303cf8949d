"""A service without a socket: WSGI spoken to an app in this process, such as that of the service itself."""

import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from genux._client import Client
from genux._ids import uuid7
from genux._transport import Response
from genux.errors import ConfigError, ServiceError

__all__ = ["InProcessService", "WsgiTransport", "in_process_service"]

_PATIENCE_SECONDS = 30.0


class WsgiTransport:
    """Speaks to a WSGI app in this process, without a socket.

    Args:
        app: such as the service itself; see `in_process_service`.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Call the app once."""
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "HTTP_HOST": "localhost",
        }
        for name, value in headers.items():
            variable = name.upper().replace("-", "_")
            environ["CONTENT_TYPE" if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
        status = "500 the app never answered"
        answered: dict[str, str] = {}
        parts: list[bytes] = []

        def start_response(line: str, pairs: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], object]:
            nonlocal status
            status = line
            answered.update((name.lower(), value) for name, value in pairs)
            return parts.append

        result = self._app(environ, start_response)
        try:
            parts.extend(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return Response(int(status.split(" ", 1)[0]), answered, b"".join(parts))


class _Backend(Protocol):
    """What the entry point gives."""

    app: Callable[..., Iterable[bytes]]
    server_key: str
    admin_key: str

    def archive(self) -> None: ...

    def close(self) -> None: ...


class InProcessService:
    """A genux service of a test's own. Made by `in_process_service`.

    Attributes:
        transport: the way to it, for `genux.Client(transport=...)`.
        server_key: for SDKs.
        admin_key: for changes.
    """

    def __init__(self, backend: _Backend, directory: Path) -> None:
        self.transport = WsgiTransport(backend.app)
        self.server_key = backend.server_key
        self.admin_key = backend.admin_key
        self._backend = backend
        self._directory = directory
        self._clients: list[Client] = []

    def client(self, **settings: Any) -> Client:
        """A client of this service that has its experiments; the default one from now on, until the next is made.

        Args:
            **settings: as for `genux.Client`.
        """
        defaults: dict[str, Any] = {
            "transport": self.transport,
            "api_key": self.server_key,
            "directory": self._directory / f"outbox-{uuid7()}",
            "flush_seconds": 0.05,
        }
        client = Client(**{**defaults, **settings})
        self._clients.append(client)
        client.ready(_PATIENCE_SECONDS)
        return client

    def apply(self, config: str | Path) -> None:
        """Create the prices, metrics, rules and experiments of a YAML file, and start the experiments.

        Clients made before hear of them with their next batch; make them afterwards.

        Raises:
            ConfigError: the file cannot be used.
            ServiceError: the service refused something in it.
        """
        from genux.config import in_order, load_config

        read = load_config(config)
        if read.prices:
            self.request("PUT", "/v1/prices", {"prices": read.prices})
        for metric in read.metrics:
            self.request("POST", "/v1/metrics", metric)
        # Layers before the experiments that divide them, holdouts after those that they name.
        self._put_rules(layers=read.layers, exclusions=read.exclusions)
        experiments = in_order(read.experiments)
        for experiment in experiments:
            self.request("POST", "/v1/experiments", experiment)
        self._put_rules(layers=read.layers, exclusions=read.exclusions, holdouts=read.holdouts)
        for experiment in experiments:
            self.request("POST", f"/v1/experiments/{experiment.key}/start")

    def _put_rules(self, **rules: Any) -> None:
        if any(rules.values()):
            self.request("PUT", "/v1/assignment-rules", rules)

    def report(self, experiment: str) -> dict[str, Any]:
        """The experiment's report on everything that this service's clients recorded until now.

        Raises:
            ServiceError: there is no such experiment, or it has not started.
        """
        for client in self._clients:
            client.flush(_PATIENCE_SECONDS)
        with warnings.catch_warnings():
            # What the libraries of a service deprecate is no failure of an app's tests, whose warnings may be errors.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._backend.archive()
            report: dict[str, Any] = self.request("GET", f"/v1/experiments/{experiment}/report?refresh=1")
        return report

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the service's HTTP API as an administrator; JSON in and out.

        Raises:
            ServiceError: it refused.
        """
        headers = {"Authorization": f"Bearer {self.admin_key}", "Content-Type": "application/json"}
        encoded = b"" if body is None else msgspec.json.encode(body)
        response = self.transport.send(method, path, encoded, headers)
        answer = json.loads(response.body or b"null")
        if response.status >= 400:  # noqa: PLR2004 where HTTP's refusals begin
            raise ServiceError(answer.get("code", "refused"), answer.get("detail", ""), response.status)
        return answer

    def close(self) -> None:
        """Close the clients made here, and the service."""
        for client in self._clients:
            client.close()
        self._backend.close()


@contextmanager
def in_process_service(directory: str | Path | None = None) -> Generator[InProcessService]:
    """Run the genux service in this process, when `genux[server]` is installed: no socket, no thread of its own.

    Args:
        directory: an empty one, for everything that it keeps; a temporary one when None.

    Raises:
        ConfigError: no service is installed.
    """
    factory = _find()
    with tempfile.TemporaryDirectory(prefix="genux-") as temporary:
        path = Path(temporary if directory is None else directory)
        service = InProcessService(factory(path), path)
        try:
            yield service
        finally:
            service.close()


def _find() -> Callable[[Path], _Backend]:
    from importlib.metadata import entry_points

    for entry in entry_points(group="genux.in_process_service"):
        try:
            factory: Callable[[Path], _Backend] = entry.load()
        except ImportError as error:
            raise ConfigError(f"the service cannot be imported ({error}); pip install 'genux[server]'") from error
        return factory
    raise ConfigError("no genux service is installed here; pip install 'genux[server]'")
