"""For the tests of apps that use genux: force variants, see events, freeze the clock, stand in for the service.

```python
with genux.testing.force({"ai-entry": "summary"}), genux.testing.recording() as seen:
    client.get("/article/1")
assert [event.name for event in seen.tracks] == ["answer_accepted"]
```

`force`, `recording` and `frozen_clock` hold for the whole process, so that threads and tasks of the app see them too.
"""

import datetime as dt
import gzip
import io
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from genux._overrides import overrides
from genux._transport import Response, Transport
from genux.errors import ConfigError, TransportError
from genux.wire import Alias, Batch, BatchReply, Call, Event, Exposure, Snapshot, Track

__all__ = [
    "FrozenClock",
    "Recording",
    "RecordingTransport",
    "Response",
    "Transport",
    "WsgiTransport",
    "clock",
    "force",
    "frozen_clock",
    "in_process_service",
    "recording",
]


@contextmanager
def force(variants: Mapping[str, str] | None = None, /, **by_name: str) -> Generator[None]:
    """Give every unit these variants, as `FORCED`, in this process.

    Args:
        variants: experiment -> variant, for keys that are no Python names.
        **by_name: the same, by keyword.
    """
    before = overrides.forced
    overrides.forced = {**before, **(variants or {}), **by_name}
    try:
        yield
    finally:
        overrides.forced = before


class Recording:
    """The events of this process since the recording began, as `genux.wire` structs, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def exposures(self) -> list[Exposure]:
        """The exposures among them."""
        return [event for event in self.events if isinstance(event, Exposure)]

    @property
    def tracks(self) -> list[Track]:
        """The tracked events among them."""
        return [event for event in self.events if isinstance(event, Track)]

    @property
    def calls(self) -> list[Call]:
        """The LLM calls among them; not yet priced, which happens when they are shipped."""
        return [event for event in self.events if isinstance(event, Call)]

    @property
    def aliases(self) -> list[Alias]:
        """The aliases among them."""
        return [event for event in self.events if isinstance(event, Alias)]


@contextmanager
def recording() -> Generator[Recording]:
    """Hear every event of every client in this process, local mode included. They go their usual way as well.

    A client records a unit's exposure once; a test that needs it again constructs a new client.
    """
    seen = Recording()
    overrides.listeners.append(seen.events.append)
    try:
        yield seen
    finally:
        overrides.listeners.remove(seen.events.append)


class FrozenClock:
    """Stands still until it is told to move.

    Attributes:
        now: the time that events and resume tokens get.
    """

    def __init__(self, now: dt.datetime) -> None:
        if now.tzinfo is None:
            raise ConfigError("a frozen clock needs an aware time, with a time zone")
        self.now = now

    def advance(self, seconds: float) -> None:
        """Move forward, or back."""
        self.now += dt.timedelta(seconds=seconds)


@contextmanager
def frozen_clock(now: dt.datetime) -> Generator[FrozenClock]:
    """Give events, calls and resume tokens this time instead of the machine's."""
    frozen = FrozenClock(now)
    with clock(lambda: frozen.now):
        yield frozen


@contextmanager
def clock(now: Callable[[], dt.datetime]) -> Generator[None]:
    """Give events, calls and resume tokens the aware time that `now()` answers instead of the machine's."""
    before = overrides.now
    overrides.now = now
    try:
        yield
    finally:
        overrides.now = before


class RecordingTransport:
    """A service in memory: answers with one snapshot, takes every batch, once.

    Args:
        snapshot: what it answers with; `genux.config.snapshot_from_config` makes one from a file. None has none.

    Attributes:
        batches: in the order of their arrival.
        reachable: set to False to unplug it.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or Snapshot(version="empty")
        self.batches: list[Batch] = []
        self.reachable = True

    @property
    def events(self) -> list[Event]:
        """Every event of every batch."""
        return [msgspec.json.decode(raw, type=Event) for batch in self.batches for raw in batch.events]

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Answer as the service would."""
        if not self.reachable:
            raise TransportError("unplugged")
        version = self.snapshot.version
        if (method, path) == ("GET", "/v1/snapshot"):
            if headers.get("If-None-Match") == version:
                return Response(304, {}, b"")
            return Response(200, {"etag": version}, msgspec.json.encode(self.snapshot))
        if (method, path) != ("POST", "/v1/events"):
            return Response(404, {}, b"")
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        batch = msgspec.json.decode(body, type=Batch)
        known = any(other.batch_id == batch.batch_id for other in self.batches)
        if not known:
            self.batches.append(batch)
        reply = BatchReply(status="duplicate" if known else "ok", accepted=len(batch.events))
        return Response(200, {"genux-snapshot": version}, msgspec.json.encode(reply))


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


def in_process_service(*args: Any, **settings: Any) -> Callable[..., Iterable[bytes]]:
    """Make the genux service as a WSGI app in this process, when `genux[server]` is installed.

    Args:
        *args: handed to the service's app factory.
        **settings: handed to it too.

    Raises:
        ConfigError: no service is installed.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="genux.in_process_service"):
        try:
            factory = entry.load()
        except ImportError as error:
            raise ConfigError(f"the service cannot be imported ({error}); pip install 'genux[server]'") from error
        app: Callable[..., Iterable[bytes]] = factory(*args, **settings)
        return app
    raise ConfigError("no genux service is installed here; pip install 'genux[server]'")
