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
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import msgspec

from genux import _registry
from genux._in_process import InProcessService, WsgiTransport, in_process_service
from genux._overrides import overrides
from genux._transport import Response, Transport
from genux.errors import ConfigError, TransportError
from genux.wire import ASSIGNED_EVENT, Alias, Batch, BatchReply, Call, Event, Exposure, Snapshot, Track

__all__ = [
    "FrozenClock",
    "InProcessService",
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

    An experiment that nobody has configured may be forced into any variant.

    Args:
        variants: experiment -> variant, for keys that are no Python names.
        **by_name: the same, by keyword.

    Raises:
        ConfigError: at the end, when a configured experiment was asked for that has no such variant: the test that
            forced it has met another one.
    """
    before, unknown_before = overrides.forced, overrides.unknown
    overrides.forced = {**before, **(variants or {}), **by_name}
    unknown: list[str] = []
    overrides.unknown = unknown
    try:
        yield
    finally:
        overrides.forced, overrides.unknown = before, unknown_before
    if unknown:
        raise ConfigError("; ".join(sorted(set(unknown))))


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
        """What the app tracked among them."""
        return [event for event in self.events if isinstance(event, Track) and event.name != ASSIGNED_EVENT]

    @property
    def peeks(self) -> list[Track]:
        """What `peek` recorded among them: who was told a variant without an exposure."""
        return [event for event in self.events if isinstance(event, Track) and event.name == ASSIGNED_EVENT]

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

    Exposures that a client recorded before are recorded anew, so that tests with the same units do not depend on each
    other's order.
    """
    seen = Recording()
    _registry.expose_anew()
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
