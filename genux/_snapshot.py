"""The snapshot that the client assigns from: fetched in the background, kept on disk for the next start."""

import contextlib
import os
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from genux._guard import Guard
from genux._ids import uuid7
from genux._transport import Transport
from genux.assignment import CompiledSnapshot, compile_snapshot
from genux.errors import TransportError
from genux.wire import Snapshot

if TYPE_CHECKING:
    from genux.specs import PriceRule

__all__ = ["CACHE_NAME", "CachedSnapshot", "SnapshotStore", "read_cache"]

CACHE_NAME = "snapshot.json"
_FIRST_WAIT_SECONDS = 1.0
_HINT_SECONDS = 1.0
_MAX_POLL_WAIT_SECONDS = 300.0


class CachedSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The last snapshot, as it stands on disk. `fetched_at` is in Unix seconds."""

    etag: str
    fetched_at: float
    snapshot: Snapshot


def read_cache(directory: Path) -> CachedSnapshot | None:
    """The snapshot kept by an earlier run; None when there is none, or it cannot be read."""
    try:
        return msgspec.json.decode((directory / CACHE_NAME).read_bytes(), type=CachedSnapshot)
    except (OSError, msgspec.DecodeError):
        return None


class SnapshotStore:
    """Holds the compiled snapshot; readers take it from `compiled` without a lock, it is swapped whole.

    Args:
        directory: where the last snapshot is kept; None keeps none.
        poll_seconds: time between two looks.
        guard: where failures are counted and said.
        local: experiments and prices from a file, which win over the service's; signing keys are always the service's.
    """

    def __init__(
        self, directory: Path | None, poll_seconds: float, guard: Guard, local: Snapshot | None = None
    ) -> None:
        self._directory = directory
        self._poll_seconds = poll_seconds
        self._guard = guard
        self._local = local
        self._etag = ""
        self._latest_version = ""
        self._not_before = 0.0
        self._looked_at = -_HINT_SECONDS
        self._n_failures = 0
        self.fetched_at: float | None = None
        self.arrived = threading.Event()
        self.compiled = CompiledSnapshot()
        self.prices: list[PriceRule] = []
        self.keeps_text = False
        if local is not None:
            self._use(local)
        cached = read_cache(directory) if directory is not None else None
        if cached is not None:
            self._etag, self.fetched_at = cached.etag, cached.fetched_at
            self._latest_version = cached.snapshot.version
            self._use(cached.snapshot)

    @property
    def age_seconds(self) -> float | None:
        """Time since the service last confirmed the snapshot; None when it never did."""
        return None if self.fetched_at is None else max(0.0, time.time() - self.fetched_at)

    @property
    def due_in_seconds(self) -> float:
        """Time until the next look, 0 when it is due."""
        return max(0.0, self._not_before - time.monotonic())

    def heard_version(self, version: str) -> None:
        """A reply named the service's current version; another than ours makes a look due, a second after the last."""
        if version != self._latest_version and not self._n_failures:
            self._not_before = min(self._not_before, self._looked_at + _HINT_SECONDS)

    def poll(self, transport: Transport, headers: dict[str, str]) -> None:
        """Look for a new snapshot when it is time; failures keep the one at hand."""
        if self.due_in_seconds:
            return
        self._looked_at = time.monotonic()
        try:
            self._fetch(transport, headers)
            self._n_failures = 0
            self._not_before = time.monotonic() + self._poll_seconds
        except (TransportError, msgspec.DecodeError) as error:
            # With nothing to assign from, everyone gets control: then look soon again.
            first, ceiling = self._poll_seconds, _MAX_POLL_WAIT_SECONDS
            if not self.arrived.is_set():
                first, ceiling = min(_FIRST_WAIT_SECONDS, self._poll_seconds), self._poll_seconds
            self._not_before = time.monotonic() + min(ceiling, first * 2 ** min(self._n_failures, 8))
            self._n_failures += 1
            self._guard.say_once("snapshot", f"no new snapshot: {error}; assigning from the last one, if any")

    def after_fork(self) -> None:
        """In a child: an event that a parent's thread was setting may be locked for ever."""
        arrived = self.arrived.is_set()
        self.arrived = threading.Event()
        if arrived:
            self.arrived.set()

    def _fetch(self, transport: Transport, headers: dict[str, str]) -> None:
        if self._etag:
            headers = {**headers, "If-None-Match": self._etag}
        response = transport.send("GET", "/v1/snapshot", b"", headers)
        if response.status not in {200, 304}:
            raise TransportError(f"the service answered HTTP {response.status} to /v1/snapshot")
        if response.status == HTTPStatus.OK:
            snapshot = msgspec.json.decode(response.body, type=Snapshot)
            self._etag = response.headers.get("etag", "")
            self._latest_version = snapshot.version
            self._use(snapshot)
            self._keep(snapshot)
        self.fetched_at = time.time()
        self.arrived.set()

    def _use(self, snapshot: Snapshot) -> None:
        if self._local is not None and snapshot is not self._local:
            prices = self._local.prices or snapshot.prices
            snapshot = msgspec.structs.replace(
                self._local, token_keys=snapshot.token_keys, prices=prices, keeps_text=snapshot.keeps_text
            )
        self.compiled = compile_snapshot(snapshot)
        self.prices = snapshot.prices
        self.keeps_text = snapshot.keeps_text
        for key, problem in self.compiled.problems.items():
            self._guard.say_once(f"experiment:{key}", f"experiment `{key}` answers control: {problem}")
        self.arrived.set()

    def _keep(self, snapshot: Snapshot) -> None:
        """Write beside and rename: a reader sees the old file or the new one. It holds secrets, so mode 0600."""
        if self._directory is None:
            return
        cached = CachedSnapshot(etag=self._etag, fetched_at=time.time(), snapshot=snapshot)
        beside = self._directory / f"snapshot-{uuid7()}.tmp"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.encode(cached))
            beside.replace(self._directory / CACHE_NAME)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            self._guard.say_once("snapshot_cache", f"cannot keep the snapshot for the next start: {error}")
