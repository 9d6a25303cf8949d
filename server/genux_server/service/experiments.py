r"""Experiments: written, started, ramped, ended.

```
draft -> running <-> paused
            \-> stopped | shipped -> archived
```

Coverage only rises, and moves nobody. What assigns units, and what decides (the primary metric and the plan), is frozen
at the start.
"""

import datetime as dt
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import msgspec
from sqlalchemy.orm import Session

from genux.config import snapshot_experiment
from genux.errors import ServiceError, SnapshotError
from genux.specs import ExperimentSpec
from genux_server.model import Epoch
from genux_server.service import audit, snapshot
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, experiments
from genux_server.store.control import Experiment, ExperimentEpoch

__all__ = [
    "ExperimentStatus",
    "ExperimentView",
    "archive",
    "create",
    "get",
    "list_experiments",
    "pause",
    "raise_coverage",
    "resume",
    "ship",
    "start",
    "stop",
    "update",
    "view",
]

ExperimentStatus = Literal["draft", "running", "paused", "stopped", "shipped", "archived"]

_FROZEN_FIELDS = ("variants", "control", "unit_kind", "targeting", "allocation", "coverage", "primary", "plan")


class ExperimentView(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as it stands.

    Attributes:
        spec: what a person wrote, with the coverage and allocation now in force.
        epochs: oldest first; empty for a draft.
        shipped: the variant that everyone gets, once shipped.
    """

    key: str
    status: ExperimentStatus
    spec: ExperimentSpec
    epochs: list[Epoch] = msgspec.field(default_factory=list)
    shipped: str = ""
    created_at: dt.datetime
    updated_at: dt.datetime
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None


def create(store: Store, scope: Scope, spec: ExperimentSpec) -> ExperimentView:
    """Keep a new draft.

    Raises:
        ServiceError: `invalid`, or `conflict` when the key is taken.
    """
    _check(spec)
    now = utcnow()
    with store.writing() as session:
        experiments.lock_environment(session, scope.environment_id)
        if experiments.find_experiment(session, scope.environment_id, spec.key) is not None:
            raise ServiceError("conflict", f"There is an experiment called `{spec.key}` already.", 409)
        row = Experiment(
            project_id=scope.project_id,
            environment_id=scope.environment_id,
            key=spec.key,
            status="draft",
            spec=_encode(spec),
            coverage=spec.coverage,
            shipped="",
            created_at=now,
            updated_at=now,
        )
        experiments.add_experiment(session, row)
        audit.record(session, scope, "experiment.create", spec.key)
        return view(row, [])


def update(store: Store, scope: Scope, spec: ExperimentSpec) -> ExperimentView:
    """Change an experiment. Once started, what assigns units and what decides is frozen.

    Raises:
        ServiceError: `invalid`, `not_found`, `frozen`, or `unknown_metric`.
    """
    _check(spec)

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        before = _current_spec(row, epochs)
        if row.status == "draft":
            row.coverage = spec.coverage
        else:
            old, new = _explicit(before), _explicit(spec)
            changed = [name for name in _FROZEN_FIELDS if getattr(old, name) != getattr(new, name)]
            if changed:
                raise ServiceError(
                    "frozen",
                    f"`{spec.key}` has started: {', '.join(changed)} can no longer change here. Coverage has "
                    "an address of its own. Other shares would move people between variants, and lose those who come "
                    "often from one of them only; another primary metric or plan after the fact would find something "
                    "in anything. For those start a new experiment.",
                    409,
                )
            _require_metrics(session, scope, spec)
        row.spec = _encode(spec)

    return _change(store, scope, spec.key, "update", change)


def start(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Let a draft run: its first epoch begins now.

    Raises:
        ServiceError: `not_found`, `wrong_status`, `no_primary`, or `unknown_metric`.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        _require_status(row, "draft")
        spec = _decode(row)
        if not spec.primary:
            raise ServiceError(
                "no_primary", f"Name the primary metric of `{key}` before it starts: it decides the verdict.", 409
            )
        _require_metrics(session, scope, spec)
        row.status = "running"
        now = utcnow()
        row.started_at = now
        epochs.append(_open_epoch(session, row, 1, _explicit(spec).allocation, now))

    return _change(store, scope, key, "start", change)


def pause(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Give everyone control for now; nobody is exposed meanwhile.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """
    return _change(store, scope, key, "pause", _to_status("paused", "running"))


def resume(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Go on after a pause, in the same epoch: every unit keeps its variant.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """
    return _change(store, scope, key, "resume", _to_status("running", "paused"))


def stop(store: Store, scope: Scope, key: str) -> ExperimentView:
    """End for good: everyone gets control.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session
        _require_status(row, "running", "paused")
        _end(row, epochs, "stopped")

    return _change(store, scope, key, "stop", change)


def ship(store: Store, scope: Scope, key: str, variant: str) -> ExperimentView:
    """End for good: everyone gets `variant`.

    Raises:
        ServiceError: `not_found`, `wrong_status`, or `invalid` when there is no such variant.
    """

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session
        _require_status(row, "running", "paused", "stopped")
        known = [each.key for each in _decode(row).variants]
        if variant not in known:
            raise ServiceError("invalid", f"$.variant: `{key}` has {', '.join(known)}, no `{variant}`.", 400)
        _end(row, epochs, "shipped")
        row.shipped = variant

    return _change(store, scope, key, "ship", change, {"variant": variant})


def archive(store: Store, scope: Scope, key: str) -> ExperimentView:
    """Take an experiment out of sight and out of the snapshot; an SDK that still asks for it gets control.

    Raises:
        ServiceError: `not_found`, or `wrong_status`.
    """
    return _change(store, scope, key, "archive", _to_status("archived", "draft", "stopped", "shipped"))


def raise_coverage(store: Store, scope: Scope, key: str, coverage: float) -> ExperimentView:
    """Admit a larger share of the eligible units. Nobody moves, so the epoch goes on.

    Raises:
        ServiceError: `not_found`, `wrong_status`, `invalid` outside 0 to 1, or `coverage_falls`.
    """
    if not 0 <= coverage <= 1:
        raise ServiceError("invalid", "$.coverage: a share lies between 0 and 1.", 400)

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session, epochs
        _require_status(row, "draft", "running", "paused")
        if row.status != "draft" and coverage < row.coverage:
            raise ServiceError(
                "coverage_falls",
                f"Coverage of `{key}` is {row.coverage:g} and can only rise: lowering it would take a variant away "
                "from units that have met it. Pause or stop the experiment instead.",
                409,
            )
        row.coverage = coverage

    return _change(store, scope, key, "coverage", change, {"coverage": coverage})


def get(store: Store, scope: Scope, key: str) -> ExperimentView:
    """One experiment.

    Raises:
        ServiceError: `not_found`.
    """
    with store.reading() as session:
        row = experiments.find_experiment(session, scope.environment_id, key)
        if row is None:
            raise not_found("experiment", key)
        return view(row, experiments.epochs(session, [row.id])[row.id])


def list_experiments(
    store: Store, scope: Scope, statuses: Collection[ExperimentStatus] | None = None
) -> list[ExperimentView]:
    """The environment's experiments, oldest first."""
    with store.reading() as session:
        rows = experiments.list_experiments(session, scope.environment_id, statuses)
        epochs = experiments.epochs(session, [row.id for row in rows])
        return [view(row, epochs[row.id]) for row in rows]


def view(row: Experiment, epochs: list[ExperimentEpoch]) -> ExperimentView:
    """An experiment's rows as one frozen value."""
    return ExperimentView(
        key=row.key,
        status=msgspec.convert(row.status, ExperimentStatus),
        spec=_current_spec(row, epochs),
        epochs=[
            Epoch(
                number=epoch.number,
                allocation=tuple(msgspec.json.decode(epoch.allocation, type=list[float])),
                started_at=epoch.started_at,
                ended_at=epoch.ended_at,
            )
            for epoch in epochs
        ],
        shipped=row.shipped,
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


_Change = Callable[[Session, Experiment, list[ExperimentEpoch]], None]


def _change(
    store: Store,
    scope: Scope,
    key: str,
    action: str,
    change: _Change,
    detail: Mapping[str, object] | None = None,
) -> ExperimentView:
    """Apply one change under the environment's lock: with its audit line and new snapshot, or not at all."""
    with store.writing() as session:
        experiments.lock_environment(session, scope.environment_id)
        row = experiments.find_experiment(session, scope.environment_id, key)
        if row is None:
            raise not_found("experiment", key)
        epochs = experiments.epochs(session, [row.id])[row.id]
        change(session, row, epochs)
        row.updated_at = utcnow()
        audit.record(session, scope, f"experiment.{action}", key, detail)
        session.flush()
        snapshot.refresh_version(session, scope.environment_id)
        return view(row, epochs)


def _require_metrics(session: Session, scope: Scope, spec: ExperimentSpec) -> None:
    named = {spec.primary, *spec.secondaries, *spec.guardrails}
    known = {metric.key for metric in experiments.list_metrics(session, scope.project_id, named)}
    if named - known:
        raise ServiceError("unknown_metric", f"There is no metric called {', '.join(sorted(named - known))} here.", 409)


def _to_status(status: ExperimentStatus, *allowed: ExperimentStatus) -> _Change:
    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        del session, epochs
        _require_status(row, *allowed)
        row.status = status

    return change


def _require_status(row: Experiment, *allowed: ExperimentStatus) -> None:
    if row.status not in allowed:
        raise ServiceError("wrong_status", f"`{row.key}` is {row.status}; this needs {' or '.join(allowed)}.", 409)


def _end(row: Experiment, epochs: list[ExperimentEpoch], status: ExperimentStatus) -> None:
    now = utcnow()
    row.status = status
    row.ended_at = row.ended_at or now
    epochs[-1].ended_at = epochs[-1].ended_at or now


def _open_epoch(
    session: Session, row: Experiment, number: int, allocation: Mapping[str, float], now: dt.datetime
) -> ExperimentEpoch:
    shares = [allocation.get(variant.key, 0.0) for variant in _decode(row).variants]
    epoch = ExperimentEpoch(
        project_id=row.project_id,
        experiment_id=row.id,
        number=number,
        allocation=msgspec.json.encode(shares).decode(),
        salt=secrets.token_hex(8),
        started_at=now,
    )
    experiments.add_epoch(session, epoch)
    return epoch


def _check(spec: ExperimentSpec) -> None:
    try:
        snapshot_experiment(spec, salt="check", path="$")
    except SnapshotError as error:
        raise ServiceError("invalid", str(error), 400) from None


def _current_spec(row: Experiment, epochs: list[ExperimentEpoch]) -> ExperimentSpec:
    spec = _decode(row)
    if not epochs:
        return msgspec.structs.replace(spec, coverage=row.coverage)
    shares = msgspec.json.decode(epochs[-1].allocation, type=list[float])
    allocation = {variant.key: share for variant, share in zip(spec.variants, shares, strict=True)}
    return msgspec.structs.replace(spec, coverage=row.coverage, allocation=allocation)


def _explicit(spec: ExperimentSpec) -> ExperimentSpec:
    """The same spec with its defaults written out, so that two spellings of one thing compare equal."""
    keys = [variant.key for variant in spec.variants]
    shares = spec.allocation or dict.fromkeys(keys, 1 / len(keys))
    return msgspec.structs.replace(
        spec,
        control=spec.control or keys[0],
        allocation={key: float(shares.get(key, 0.0)) for key in keys},
    )


def _encode(spec: ExperimentSpec) -> str:
    return msgspec.json.encode(spec).decode()


def _decode(row: Experiment) -> ExperimentSpec:
    return msgspec.json.decode(row.spec, type=ExperimentSpec)
