"""The sending half of the outbox: closed segments become batches, one POST each, and are deleted once they arrived.

What an answer means for a batch: arrived (200 `ok` or `duplicate`) deletes it; a batch that the service will never
take (400, 413, 415, 422) is parked; everything else keeps it, and the shipper waits: exponential backoff with full
jitter, never over 30 s, also when Retry-After asks for more. After a refused key or address the first wait already may
take 30 s.
"""

import datetime as dt
import gzip
import platform
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache
from http import HTTPStatus

import msgspec

from genux import _segments
from genux._guard import Guard
from genux._outbox import Outbox
from genux._segments import MemoryBatch, Segment
from genux._sender import SenderLock
from genux._transport import Response, Transport
from genux.errors import TransportError
from genux.wire import BatchReply, Call, Sdk

__all__ = ["Shipper", "sdk"]

MAX_WAIT_SECONDS = 30.0
_FIRST_CEILING_SECONDS = 0.5
_SPREAD = 1.2
_PARKED_SHARE = 4
_GZIP_FROM_BYTES = 1_024
_POISON = frozenset({400, 413, 415, 422})
_CALL_PREFIX = b'{"type":"call"'


@cache
def sdk() -> Sdk:
    """Who we are. Looked up on the shipping thread: reading a package's metadata takes milliseconds."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("genux")
    except PackageNotFoundError:
        own = "unknown"
    return Sdk(
        name="genux-python", version=own, runtime=f"{platform.python_implementation()} {platform.python_version()}"
    )


class _Keep(Exception):  # noqa: N818 not an error: the batch stays where it is
    """The batch did not arrive; try again later.

    Args:
        topic: what is said once.
        message: what happened.
        asked_seconds: the delay that the service named.
        ceiling_seconds: of the first wait; doubled each time.
    """

    def __init__(
        self,
        topic: str,
        message: str,
        asked_seconds: float | None = None,
        ceiling_seconds: float = _FIRST_CEILING_SECONDS,
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.asked_seconds = asked_seconds
        self.ceiling_seconds = ceiling_seconds


class Shipper:
    """Ships what the outbox holds. One pass at a time, from whichever thread asks.

    Among processes that share a folder one at a time is the sender. While it backs off it stays the sender, so that a
    service in trouble hears from one of them only.

    Args:
        outbox: whose segments, and those of dead processes beside them, are shipped.
        transport: the way to the service.
        headers: sent with every request.
        guard: where failures are counted and said.
        heard_version: told the snapshot version that each reply names.
        price: gives a call its cost.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        headers: dict[str, str],
        guard: Guard,
        heard_version: Callable[[str], None],
        price: Callable[[Call], Call],
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._headers = headers
        self._guard = guard
        self._heard_version = heard_version
        self._price = price
        self._sender = SenderLock(outbox.directory)
        self._reset()

    def _reset(self) -> None:
        self._pass_lock = threading.Lock()
        self._from_memory: deque[MemoryBatch] = deque()
        self._n_failures = 0
        self._not_before = 0.0
        self._server_asked = False
        self.n_shipped = 0
        self.rejected: dict[str, int] = {}

    @property
    def in_backoff(self) -> bool:
        """The last try failed and the next is not due."""
        return time.monotonic() < self._not_before

    @property
    def n_in_memory(self) -> int:
        """Batches that wait in memory."""
        return len(self._from_memory)

    def ship(self, *, urgent: bool = False) -> None:
        """One pass over everything that is closed.

        Args:
            urgent: try now even while backing off, unless the service itself named the delay.
        """
        with self._pass_lock:
            self._outbox.recover()
            if self.in_backoff and (self._server_asked or not urgent):
                self._sender.renew()
                return
            is_sender = bool(_segments.segment_names(self._outbox.directory)) and self._sender.acquire()
            if is_sender or urgent or not self._sender.someone_backs_off:
                self._outbox.rotate()
            try:
                with closing(self._batches()) as batches:
                    for batch in batches:
                        self._ship(batch)
                self._sender.release()  # a process that is stopped while idle must not stop the others' shipping
            except _Keep as delay:
                self._back_off(delay)

    def release(self) -> None:
        """Let another process ship."""
        self._sender.release()

    def after_fork(self) -> None:
        """In a child: the sender's lock and the batches in memory are the parent's."""
        self._sender.after_fork()
        self._reset()

    def _batches(self) -> Generator[Segment | MemoryBatch]:
        while batch := self._outbox.take_from_memory():
            self._from_memory.append(batch)
        while self._from_memory:
            yield self._from_memory[0]
            self._from_memory.popleft()
        directory = self._outbox.directory
        for name in _segments.segment_names(directory):
            if not self._sender.acquire():
                return
            if segment := _segments.claim(directory / name):
                try:
                    yield segment
                finally:
                    segment.release()

    def _ship(self, batch: Segment | MemoryBatch) -> None:
        if batch.lines or batch.dropped:
            response = self._post(batch)
            if response.status in _POISON:
                self._count_torn(batch)
                self._park(batch, response)
                return
            self._note(self._reply(response), len(batch.lines))
        self._count_torn(batch)
        self._n_failures, self._not_before = 0, 0.0
        if isinstance(batch, Segment):
            batch.discard()

    def _count_torn(self, batch: Segment | MemoryBatch) -> None:
        """Once the batch is done with: every try reads the same torn lines again."""
        if batch.n_torn:
            self._guard.drop("torn", batch.n_torn)

    def _post(self, batch: Segment | MemoryBatch) -> Response:
        head = {"batch_id": batch.batch_id, "sent_at": dt.datetime.now(dt.UTC), "sdk": sdk(), "dropped": batch.dropped}
        events = b",".join(map(self._priced, batch.lines))
        body = msgspec.json.encode(head)[:-1] + b',"events":[' + events + b"]}"
        headers = {**self._headers, "Content-Type": "application/json"}
        if len(body) >= _GZIP_FROM_BYTES:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        try:
            response = self._transport.send("POST", "/v1/events", body, headers)
        except TransportError as error:
            raise _Keep("unreachable", str(error)) from error
        if version := response.headers.get("genux-snapshot"):
            self._heard_version(version)
        return response

    def _reply(self, response: Response) -> BatchReply:
        status = response.status
        if status in {401, 403}:
            message = f"the service refuses the API key (HTTP {status})"
            raise _Keep("refused_key", message, ceiling_seconds=MAX_WAIT_SECONDS)
        if status in {429, 503}:
            raise _Keep("busy", f"the service is busy (HTTP {status})", _retry_after(response))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Keep("service_error", f"the service failed (HTTP {status})", _retry_after(response))
        if status != HTTPStatus.OK:
            message = f"HTTP {status} where /v1/events was expected; is the URL right?"
            raise _Keep("wrong_url", message, ceiling_seconds=MAX_WAIT_SECONDS)
        try:
            reply = msgspec.json.decode(response.body, type=BatchReply)
        except msgspec.DecodeError as error:
            message = f"the answer is not genux's ({error}); is the URL right?"
            raise _Keep("wrong_url", message, ceiling_seconds=MAX_WAIT_SECONDS) from error
        if reply.status == "retry":
            raise _Keep("busy", "the service asks to try again", _retry_after(response))
        return reply

    def _note(self, reply: BatchReply, n_events: int) -> None:
        self.n_shipped += n_events - len(reply.rejected)
        for rejection in reply.rejected:
            self.rejected[rejection.code] = self.rejected.get(rejection.code, 0) + 1
            self._guard.say_once(
                f"rejected:{rejection.code}",
                f"the service rejected an event: {rejection.code} at {rejection.path}: {rejection.message}",
            )

    def _park(self, batch: Segment | MemoryBatch, response: Response) -> None:
        detail = response.body[:200].decode(errors="replace")
        self._guard.say_once(
            f"parked:{response.status}",
            f"the service cannot take batch {batch.batch_id} (HTTP {response.status}: {detail}); set aside in "
            f"{self._outbox.directory / _segments.PARKED}",
        )
        if batch.lines:
            self._guard.drop("parked", len(batch.lines))
        if isinstance(batch, Segment):
            batch.park(f"HTTP {response.status}: {detail}")
            n_deleted = _segments.trim_parked(self._outbox.directory, self._outbox.max_disk_bytes // _PARKED_SHARE)
            if n_deleted:
                message = "parked batches have taken a quarter of the outbox; the oldest are deleted"
                self._guard.say_once("parked_deleted", message)

    def _back_off(self, delay: _Keep) -> None:
        self._guard.say_once(delay.topic, f"{delay}; events are kept, and sent when it works again")
        self._server_asked = delay.topic == "busy" and delay.asked_seconds is not None
        ceiling = min(MAX_WAIT_SECONDS, delay.ceiling_seconds * 2 ** min(self._n_failures, 10))
        self._n_failures += 1
        if delay.asked_seconds is None:
            wait = random.uniform(0, ceiling)  # noqa: S311 jitter
        else:  # many hosts may have been told the same delay
            wait = min(delay.asked_seconds, MAX_WAIT_SECONDS / _SPREAD) * random.uniform(1, _SPREAD)  # noqa: S311 jitter
        self._not_before = time.monotonic() + wait
        self._sender.back_off()

    def _priced(self, line: bytes) -> bytes:
        """A call gets its price here, off the host's threads; every other event goes as it was written."""
        if not line.startswith(_CALL_PREFIX):
            return line
        try:
            call = msgspec.json.decode(line, type=Call)
        except msgspec.DecodeError as error:  # the service will say what is wrong with it
            self._guard.failed("pricing", error)
            return line
        if call.cost_usd is not None or call.cost_reason:
            return line
        try:
            call = self._price(call)
        except Exception as error:  # noqa: BLE001 a call that cannot be priced is still a call
            self._guard.failed("pricing", error)
            call = msgspec.structs.replace(call, cost_reason="pricing_failed")
        return msgspec.json.encode(call)


def _retry_after(response: Response) -> float | None:
    """The delay that the service asked for in seconds, also when given as a date; None when it named none.

    A date is read on the service's own clock where it tells that: this machine's may be wrong.
    """
    value = response.headers.get("retry-after", "")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            at = parsedate_to_datetime(value)
            date = response.headers.get("date", "")
            now = parsedate_to_datetime(date) if date else dt.datetime.now(dt.UTC)
            return max(0.0, (at - now).total_seconds())
        except (ValueError, TypeError):
            return None
