"""What the demonstration plays on: a service and a model in processes of their own, an experiment over the API."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from genux.errors import ConfigError, ServiceError, TransportError
from genux.specs import ExperimentSpec, MetricSpec
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Service", "running_model", "running_service"]

_START_SECONDS = 60.0


class Service(msgspec.Struct, frozen=True):
    """A running service: where it is, and the keys and login that its first start printed."""

    url: str
    server_key: str
    admin_key: str
    admin_email: str = ""
    admin_password: str = ""

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request with the admin key; the answer's JSON.

        Raises:
            ServiceError: the service refused.
            TransportError: it is gone.
        """
        request = urllib.request.Request(  # noqa: S310  an address on this machine
            self.url + path,
            data=None if body is None else msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self.admin_key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310  an address on this machine
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read().decode("utf-8", "replace")
            raise ServiceError("refused", f"{method} {path}: {error.code} {detail}", error.code) from None
        except OSError as error:
            raise TransportError(f"{method} {path}: {error}") from None

    def start_experiment(self, spec: ExperimentSpec, metrics: Sequence[MetricSpec]) -> None:
        """Creates the metrics and the experiment, and starts it."""
        for metric in metrics:
            self.request("POST", "/v1/metrics", metric)
        if any(found["key"] == spec.key for found in self.request("GET", "/v1/experiments")["experiments"]):
            raise ConfigError(f"This data folder holds an experiment `{spec.key}` already; choose an empty one.")
        self.request("POST", "/v1/experiments", spec)
        self.request("POST", f"/v1/experiments/{spec.key}/start")


@contextlib.contextmanager
def running_service(data: Path, *, port: int = 0) -> Generator[Service]:
    """`genux serve` on a folder of its own, stopped at the end.

    Raises:
        TransportError: it did not answer in time; the message holds the end of its log.
    """
    data.mkdir(parents=True, exist_ok=True)
    keys, log = data / "keys.json", data / "service.log"
    command = [sys.executable, "-c", "from genux_server.cli import main; main()", "serve"]
    command += ["--data", str(data), "--port", str(port), "--print-keys-json", str(keys)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=_environment())  # noqa: S603  ourselves
    try:
        yield _wait(process, keys, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_model(config: ModelServerConfig) -> Generator[str]:
    """The local model server in a process of its own, which ends with this one; yields its base URL for a client."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_model, args=(config, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"{ours.recv()}/v1"
    finally:
        ours.close()
        process.join(20)


def _serve_model(config: ModelServerConfig, parent: "Connection[str, None]") -> None:
    url, stop = serve_in_thread(create_model_app(config))
    parent.send(url)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        parent.recv()  # ends when the parent closes its side, or dies
    stop()


def _environment() -> dict[str, str]:
    """Without the caller's own genux settings: the demonstration must not write into a real project."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GENUX_")}


def _wait(process: subprocess.Popen[bytes], keys: Path, log: Path) -> Service:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            service = msgspec.json.decode(keys.read_bytes(), type=Service)
            with urllib.request.urlopen(service.url + "/readyz", timeout=5):  # noqa: S310  an address on this machine
                return service
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise TransportError(f"the service did not start; its log ends:\n{tail}")
