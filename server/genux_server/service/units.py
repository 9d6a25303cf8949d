"""What is kept of one unit: all of it, to hand over; or a request that it be forgotten."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from genux.errors import ServiceError
from genux.wire import MAX_ID_LENGTH
from genux_server.service import experiments as verbs
from genux_server.service import reports
from genux_server.service.erasure import Outcome, digest_of, names_unit
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, erasures, losses

if TYPE_CHECKING:
    from genux_server.lake import Lake

__all__ = ["ErasureView", "export", "find_erasure", "request_erasure"]

_PAGE = 500


class ErasureView(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure, waiting or done. `digest` is a keyed hash of the unit, the same at every request."""

    id: int
    unit_kind: str
    digest: str
    requested_at: dt.datetime
    done_at: dt.datetime | None = None
    outcome: Outcome = msgspec.field(default_factory=Outcome)


def request_erasure(
    store: Store, scope: Scope, unit_kind: str, unit_id: str, *, whole_project: bool = False
) -> ErasureView:
    """Ask that a unit be forgotten. The worker does it, after what has arrived by now is in the lake.

    Asking twice while the first request waits is asking once.

    Args:
        store: inbox and control store.
        scope: the project, and the environment unless `whole_project`.
        unit_kind: such as `user`.
        unit_id: any of the unit's ids.
        whole_project: in every environment of the project.

    Raises:
        ServiceError: `invalid`.
    """
    _check(unit_kind, unit_id)
    environment_id = None if whole_project else scope.environment_id
    digest = digest_of(store, scope.project_id, environment_id, unit_kind, unit_id)
    with store.inbox_writing() as connection:
        erasure_id = erasures.request(
            connection,
            project_id=scope.project_id,
            environment_id=environment_id,
            unit_kind=unit_kind,
            unit_id=unit_id,
            digest=digest,
            actor=scope.actor,
            now=utcnow(),
        )
    return find_erasure(store, scope, erasure_id)


def find_erasure(store: Store, scope: Scope, erasure_id: int) -> ErasureView:
    """How far an erasure is.

    Raises:
        ServiceError: `not_found`.
    """
    with store.inbox_reading() as connection:
        row = erasures.find(connection, scope.project_id, erasure_id)
    if row is None:
        raise not_found("erasure", str(erasure_id))
    return ErasureView(
        id=row.id,
        unit_kind=row.unit_kind,
        digest=row.digest,
        requested_at=row.requested_at,
        done_at=row.done_at,
        outcome=msgspec.json.decode(row.outcome, type=Outcome),
    )


def export(store: Store, lake: "Lake", scope: Scope, unit_kind: str, unit_id: str) -> Iterator[dict[str, Any]]:
    """Everything that is kept of a unit in an environment, one JSON object after another.

    Each says in `kind` what it is: `exposure`, `event` (aliases too) or `call` with the lake's columns,
    `rejected_event`, or `forced_variant`. Waits for the worker, if one is alive, until what the project had sent is in
    the lake.

    Raises:
        ServiceError: `invalid`.
    """
    _check(unit_kind, unit_id)
    reports.wait_for_lake(store, scope)
    found = lake.find(scope.project_id, [scope.environment_id], unit_kind, unit_id)
    ids = found.ids[scope.environment_id]
    for kind, rows in (("exposure", found.exposures), ("event", found.events), ("call", found.calls)):
        for row in rows:
            yield {"kind": kind, **row.columns}
    yield from _rejected(store, scope, unit_kind, ids)
    for view in verbs.list_experiments(store, scope):
        if view.spec.unit_kind == unit_kind:
            for each in ids:
                if each in view.spec.forced_units:
                    variant = view.spec.forced_units[each]
                    yield {"kind": "forced_variant", "experiment": view.key, "unit_id": each, "variant": variant}


def _rejected(store: Store, scope: Scope, unit_kind: str, ids: list[str]) -> Iterator[dict[str, Any]]:
    before_id = None
    while True:
        with store.inbox_reading() as connection:
            page = losses.list_rejected(
                connection, scope.project_id, scope.environment_id, before_id=before_id, limit=_PAGE
            )
        for rejected in page:
            if names_unit(bytes(rejected.body), unit_kind, ids):
                yield {
                    "kind": "rejected_event",
                    "received_at": rejected.received_at,
                    "code": rejected.code,
                    "body": bytes(rejected.body).decode(errors="replace"),
                }
        if len(page) < _PAGE:
            return
        before_id = page[-1].id


def _check(unit_kind: str, unit_id: str) -> None:
    for name, text in (("unit_kind", unit_kind), ("unit_id", unit_id)):
        if not 0 < len(text) <= MAX_ID_LENGTH or "\0" in text:
            raise ServiceError("invalid", f"$.{name}: must have 1 to {MAX_ID_LENGTH} characters, none of them NUL", 400)
