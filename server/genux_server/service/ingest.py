"""Ingest: one batch in, one row kept, a verdict for every event."""

import datetime as dt
import threading
import time
from collections.abc import Sequence

import msgspec
import zstandard

from genux.errors import ServiceError
from genux.wire import Batch, BatchReply
from genux_server.config import Config
from genux_server.service.body import inflate
from genux_server.service.scope import Scope, utcnow
from genux_server.service.telemetry import Telemetry
from genux_server.service.verdicts import judge, without_text
from genux_server.store import StorageError, Store, inbox, losses

__all__ = ["MAX_EVENTS", "Ingest", "RejectedEvent", "list_rejected"]

MAX_EVENTS = 10_000
_KEPT_OF_A_REJECTED_EVENT_BYTES = 8_192
_LOOK_AT_BACKLOG_EVERY_SECONDS = 1.0
_FIRST_YEAR = 2000
_LAST_YEAR = 2200

_decode = msgspec.json.Decoder(Batch).decode


class RejectedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was refused. `body` is its JSON as it came, cut to 8 KiB, bytes that are no UTF-8 replaced."""

    id: int
    batch_id: str
    index: int
    code: str
    path: str
    message: str
    body: str
    received_at: dt.datetime


class Ingest:
    """The way into the inbox. One object a process, shared by its threads.

    Args:
        store: where batches are kept.
        config: the inbox's budget.
        telemetry: where batches and events are counted.
    """

    def __init__(self, store: Store, config: Config, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._store = store
        self._config = config
        self._per_thread = threading.local()
        self._backlog = inbox.Backlog(0, 0)
        self._looked_at = -1e9

    def accept(self, scope: Scope, trust: str, body: bytes, encoding: str = "") -> BatchReply:
        """Judge a batch, keep what is good, say what is not. When it returns, what it accepted is on disk.

        Args:
            scope: the key's project and environment.
            trust: `server`, `browser_verified` or `browser`.
            body: a `wire.Batch` in JSON.
            encoding: how the body is compressed: `gzip`, `zstd` or empty.

        Raises:
            ServiceError: the envelope cannot be read (`unreadable`), is too large (`too_large`), or the inbox is over
                its budget (`over_budget`, status 429).
            StorageError: nothing was kept; the same batch may be sent again.
        """
        began = time.perf_counter()
        result = "failed"
        try:
            reply = self._accept(scope, trust, body, encoding)
            result = reply.status
        except ServiceError as error:
            result = error.code
            raise
        except StorageError:
            result = "storage_unavailable"
            raise
        else:
            return reply
        finally:
            self._telemetry.batch(result, len(body), time.perf_counter() - began)

    def _accept(self, scope: Scope, trust: str, body: bytes, encoding: str) -> BatchReply:
        self._refuse_over_budget()
        batch = _read_envelope(inflate(body, encoding))
        received_at = utcnow()
        accepted, rejected = judge(batch.events, batch.sent_at, received_at, keeps_text=scope.keeps_text)
        joined = b"[" + b",".join(accepted) + b"]"
        compressed = self._compressor().compress(joined) if accepted else None
        sdk = f"{batch.sdk.name} {batch.sdk.version}".rstrip().replace("\0", "")
        dropped = {reason.replace("\0", ""): count for reason, count in batch.dropped.items() if count}
        with self._store.inbox_writing() as connection:
            is_new = inbox.add_batch(
                connection,
                project_id=scope.project_id,
                environment_id=scope.environment_id,
                batch_id=batch.batch_id,
                received_at=received_at,
                trust=trust,
                sdk=sdk,
                n_events=len(accepted),
                body_bytes=len(joined),
                body=compressed,
            )
            if is_new and rejected:
                refused = [
                    losses.Refused(
                        position=each.index,
                        code=each.code,
                        path=each.path.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                        message=each.message.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                        body=_kept(bytes(batch.events[each.index]), keeps_text=scope.keeps_text),
                    )
                    for each in rejected
                ]
                losses.add_rejected(
                    connection,
                    refused,
                    project_id=scope.project_id,
                    environment_id=scope.environment_id,
                    batch_id=batch.batch_id,
                    received_at=received_at,
                )
            if is_new and dropped:
                losses.add_dropped(
                    connection,
                    dropped,
                    project_id=scope.project_id,
                    environment_id=scope.environment_id,
                    sdk=sdk,
                    received_at=received_at,
                )
        reply = BatchReply(status="ok" if is_new else "duplicate", accepted=len(accepted), rejected=rejected)
        if is_new:
            self._telemetry.kept(reply, trust, dropped)
        return reply

    def _refuse_over_budget(self) -> None:
        """Push back before the disk is full. The count is up to a second old, which is a small overshoot."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AT_BACKLOG_EVERY_SECONDS:
            self._looked_at = now
            with self._store.inbox_reading() as connection:
                self._backlog = inbox.backlog(connection)
        backlog = self._backlog
        if backlog.n_batches >= self._config.inbox_max_batches or backlog.n_bytes >= self._config.inbox_max_bytes:
            raise ServiceError(
                "over_budget",
                f"{backlog.n_batches} batches wait for the lake already. Send this one again later.",
                429,
            )

    def _compressor(self) -> zstandard.ZstdCompressor:
        # A compressor shared by threads fails; one per thread also keeps its buffers.
        compressor: zstandard.ZstdCompressor | None = getattr(self._per_thread, "compressor", None)
        if compressor is None:
            compressor = self._per_thread.compressor = zstandard.ZstdCompressor(level=3)
        return compressor


def list_rejected(
    store: Store, scope: Scope, *, before_id: int | None = None, limit: int = 100
) -> Sequence[RejectedEvent]:
    """The environment's refused events, newest first; `before_id` goes on where a page ended."""
    with store.inbox_reading() as connection:
        rows = losses.list_rejected(
            connection, scope.project_id, scope.environment_id, before_id=before_id, limit=limit
        )
    return [
        RejectedEvent(
            id=row.id,
            batch_id=row.batch_id,
            index=row.position,
            code=row.code,
            path=row.path,
            message=row.message,
            body=bytes(row.body).decode(errors="replace"),
            received_at=row.received_at,
        )
        for row in rows
    ]


def _kept(event: bytes, *, keeps_text: bool) -> bytes:
    return (event if keeps_text else without_text(event))[:_KEPT_OF_A_REJECTED_EVENT_BYTES]


def _read_envelope(data: bytes) -> Batch:
    try:
        batch = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceError("unreadable", f"The body is not a batch: {error}", 400) from None
    if "\0" in batch.batch_id:
        raise ServiceError("unreadable", "$.batch_id: text may not hold the character NUL", 400)
    if not _FIRST_YEAR <= batch.sent_at.year <= _LAST_YEAR:
        raise ServiceError("unreadable", f"$.sent_at: the sender's clock says {batch.sent_at.isoformat()}", 400)
    if len(batch.events) > MAX_EVENTS:
        raise ServiceError("too_large", f"A batch may have {MAX_EVENTS} events, this one has {len(batch.events)}.", 413)
    return batch
