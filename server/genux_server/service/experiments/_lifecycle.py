"""From draft to archive."""

from sqlalchemy.orm import Session

from genux.errors import ServiceError
from genux_server.service.experiments._admission import open_first_epoch
from genux_server.service.experiments._definition import require_metrics
from genux_server.service.experiments._rows import (
    Change,
    ExperimentStatus,
    ExperimentView,
    changed,
    decode,
    require_status,
)
from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store
from genux_server.store.control import Experiment, ExperimentEpoch

__all__ = ["archive", "pause", "resume", "ship", "start", "stop"]


def start(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Let a draft run: its first epoch begins now.

    Raises:
        ServiceError: `not_found`, `wrong_status`, `no_primary`, `unknown_metric`, or `contradicts`, such as when it
            takes a part of a layer that a running experiment has.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        require_status(row, "draft")
        spec = decode(row)
        if not spec.primary:
            raise ServiceError(
                "no_primary", f"Name the primary metric of `{key}` before it starts: it decides the verdict.", 409
            )
        require_metrics(session, scope, spec)
        row.status = "running"
        now = utcnow()
        row.started_at = now
        epochs.append(open_first_epoch(session, row, spec, now))

    return changed(store, scope, key, "start", change)


def pause(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Give everyone control for now; nobody is exposed meanwhile.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """
    return changed(store, scope, key, "pause", _to_status("paused", "running"))


def resume(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Go on after a pause, in the same epoch: every unit keeps its variant.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """
    return changed(store, scope, key, "resume", _to_status("running", "paused"))


def stop(store: Store, scope: Scope, key: str) -> ExperimentView:
    """End for good: everyone gets control.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session
        require_status(row, "running", "paused")
        _end(row, epochs, "stopped")

    return changed(store, scope, key, "stop", change)


def ship(store: Store, scope: Scope, key: str, variant: str) -> ExperimentView:
    """End for good: everyone gets `variant`, but for those whom a holdout keeps out.

    Raises:
        ServiceError: `not_found`, `wrong_status`, or `invalid` when there is no such variant.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session
        require_status(row, "running", "paused", "stopped")
        known = [each.key for each in decode(row).variants]
        if variant not in known:
            raise ServiceError("invalid", f"$.variant: `{key}` has {', '.join(known)}, no `{variant}`.", 400)
        _end(row, epochs, "shipped")
        row.shipped = variant

    return changed(store, scope, key, "ship", change, {"variant": variant})


def archive(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Take an experiment out of sight and out of the snapshot; an SDK that still asks for it gets control.

    Raises:
        ServiceError: `not_found`, `wrong_status`, or `contradicts` when a prerequisite or a holdout names it.
    """
    return changed(store, scope, key, "archive", _to_status("archived", "draft", "stopped", "shipped"))


def _to_status(status: ExperimentStatus, *allowed: ExperimentStatus) -> Change:
    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session, epochs
        require_status(row, *allowed)
        row.status = status

    return change


def _end(row: Experiment, epochs: list[ExperimentEpoch], status: ExperimentStatus) -> None:
    now = utcnow()
    row.status = status
    row.ended_at = row.ended_at or now
    for epoch in epochs:
        epoch.ended_at = epoch.ended_at or now
