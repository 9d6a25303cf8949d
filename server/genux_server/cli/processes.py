"""The processes behind `genux serve`: granian with its web workers in front, the lake's worker beside it.

Children watch their parent: when it is killed outright they end by themselves, so that the next start finds the port
and the lease free.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

from flask import Flask

from genux.errors import ConfigError
from genux_server.config import Config

__all__ = [
    "free_port",
    "run_web",
    "shared_telemetry",
    "stop_with_parent",
    "supervised_worker",
    "wait_for_port",
    "web_app",
]

PARENT_VARIABLE = "GENUX_PARENT_PID"
TELEMETRY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of this user's own is made in it

_LOOK_EVERY_SECONDS = 0.2
_PORT_PATIENCE_SECONDS = 5.0
_STOP_PATIENCE_SECONDS = 15
_RESTART_AFTER_SECONDS = 1.0


def free_port(host: str) -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(host: str, port: int) -> None:
    """Wait until nobody listens on the port; the children of a killed service need a moment to notice.

    Granian shares its port with whoever asks (SO_REUSEPORT), so a second service would silently get half the traffic.

    Raises:
        ConfigError: somebody else keeps listening, or the address is not this machine's.
    """
    deadline = time.monotonic() + _PORT_PATIENCE_SECONDS
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; try --port 0") from error
            else:
                return
        time.sleep(_LOOK_EVERY_SECONDS)


@contextlib.contextmanager
def shared_telemetry(config: Config) -> Generator[None]:
    """One directory where the web processes and the worker count together; an operator's own is left as it is.

    prometheus_client reads its name when it is imported, so this comes before anything that imports it. Counters are
    mapped files: on a full disk the kernel kills who writes to one, so they lie in memory where there is a place for
    it. The name is the same at each start, so that a service killed outright leaves at most one behind.
    """
    if os.environ.get(TELEMETRY_VARIABLE):
        yield
        return
    root = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    folder = root / f"genux-telemetry-{os.getuid()}-{config.host.replace(':', '.')}-{config.port}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConfigError(f"{folder} belongs to somebody else; set {TELEMETRY_VARIABLE} to another folder") from error
    os.environ[TELEMETRY_VARIABLE] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_web(config: Config) -> None:
    """Answer HTTP until SIGTERM or SIGINT; requests under way are finished."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    from genux_server.service import logs

    os.environ.update(config.to_env())
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    Granian(
        "genux_server.cli.processes:web_app",
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=config.web_processes or min(2, os.cpu_count() or 1),
        blocking_threads=config.web_threads,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_PATIENCE_SECONDS,
        log_level=LogLevels.warning,
        log_dictconfig=logs.settings(config),
    ).serve()


def web_app() -> Flask:
    """The application of one web process, called by granian in that process."""
    from genux_server.app import create_app

    stop_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    return create_app()


def stop_with_parent(stop: Callable[[], None]) -> None:
    """Call `stop` once the process named by `GENUX_PARENT_PID` is no longer the parent; nothing without the name."""
    expected = os.environ.get(PARENT_VARIABLE)
    if expected is None:
        return

    def watch() -> None:
        while os.getppid() == int(expected):
            time.sleep(_LOOK_EVERY_SECONDS)
        stop()

    threading.Thread(target=watch, name="genux-parent", daemon=True).start()


@contextlib.contextmanager
def supervised_worker(config: Config) -> Generator[None]:
    """A `genux worker` process, started again whenever it dies, stopped at the end."""
    environment = {**os.environ, **config.to_env(), PARENT_VARIABLE: str(os.getpid())}
    command = [sys.executable, "-c", "from genux_server.cli import main; main()", "worker"]
    stopping = threading.Event()
    process = [_spawn(command, environment)]

    def watch() -> None:
        while not stopping.is_set():
            process[0].wait()
            if not stopping.wait(_RESTART_AFTER_SECONDS):
                process[0] = _spawn(command, environment)

    threading.Thread(target=watch, name="genux-supervisor", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()
        process[0].terminate()
        try:
            process[0].wait(_STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process[0].kill()


def _spawn(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment)  # noqa: S603  # this interpreter, with fixed arguments
