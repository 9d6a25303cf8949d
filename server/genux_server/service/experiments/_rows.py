"""An experiment's rows, as one frozen value and as the place where every change of it is made."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import msgspec
from sqlalchemy.orm import Session

from genux.config import snapshot_experiment
from genux.errors import ServiceError, SnapshotError
from genux.specs import ExperimentSpec
from genux_server.model import Epoch
from genux_server.service import audit, snapshot
from genux_server.service.payloads import check_payloads
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, experiments
from genux_server.store.control import Experiment, ExperimentEpoch

__all__ = [
    "Change",
    "ExperimentStatus",
    "ExperimentView",
    "changed",
    "check",
    "current_spec",
    "decode",
    "encode",
    "explicit",
    "get",
    "list_experiments",
    "require_status",
    "view",
]

ExperimentStatus = Literal["draft", "running", "paused", "stopped", "shipped", "archived"]

Change = Callable[[Session, Experiment, list[ExperimentEpoch]], None]


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
        spec=current_spec(row, epochs),
        epochs=[
            Epoch(
                number=epoch.number,
                allocation=tuple(msgspec.json.decode(epoch.allocation, type=list[float])),
                coverage_from=epoch.coverage_from,
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


def changed(
    store: Store,
    scope: Scope,
    key: str,
    action: str,
    change: Change,
    detail: Mapping[str, object] | None = None,
) -> ExperimentView:
    """Apply one change under the environment's lock: with its audit line and new snapshot, or not at all.

    Raises:
        ServiceError: `not_found`, `contradicts` when the experiments no longer agree, or what `change` raises.
    """
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
        snapshot.check_contents(session, scope.environment_id, {key: "$"})
        snapshot.refresh_version(session, scope.environment_id)
        return view(row, epochs)


def check(spec: ExperimentSpec) -> None:
    """Check a spec by itself.

    Raises:
        ServiceError: `invalid`, with the place.
    """
    try:
        snapshot_experiment(spec, salt="check", path="$")
    except SnapshotError as error:
        raise ServiceError("invalid", str(error), 400) from None
    check_payloads(spec)


def require_status(row: Experiment, *allowed: ExperimentStatus) -> None:
    """Refuse with `wrong_status` what cannot be done to an experiment in this status."""
    if row.status not in allowed:
        raise ServiceError("wrong_status", f"`{row.key}` is {row.status}; this needs {' or '.join(allowed)}.", 409)


def current_spec(row: Experiment, epochs: list[ExperimentEpoch]) -> ExperimentSpec:
    """What a person wrote, with the coverage and allocation now in force."""
    spec = decode(row)
    if not epochs:
        return msgspec.structs.replace(spec, coverage=row.coverage)
    shares = msgspec.json.decode(epochs[-1].allocation, type=list[float])
    allocation = {variant.key: share for variant, share in zip(spec.variants, shares, strict=True)}
    return msgspec.structs.replace(spec, coverage=row.coverage, allocation=allocation)


def explicit(spec: ExperimentSpec) -> ExperimentSpec:
    """The same spec with its defaults written out, so that two spellings of one thing compare equal."""
    keys = [variant.key for variant in spec.variants]
    shares = spec.allocation or dict.fromkeys(keys, 1 / len(keys))
    return msgspec.structs.replace(
        spec,
        control=spec.control or keys[0],
        allocation={key: float(shares.get(key, 0.0)) for key in keys},
    )


def encode(spec: ExperimentSpec) -> str:
    """A spec as its row keeps it."""
    return msgspec.json.encode(spec).decode()


def decode(row: Experiment) -> ExperimentSpec:
    """A spec from its row: as a person wrote it."""
    return msgspec.json.decode(row.spec, type=ExperimentSpec)
