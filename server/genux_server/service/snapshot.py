"""The snapshot: what an environment's SDKs evaluate, and its version."""

from hashlib import blake2b
from typing import Literal, cast

import msgspec
from sqlalchemy.orm import Session

from genux.config import snapshot_experiment
from genux.specs import ExperimentSpec, TokenKey
from genux.wire import Snapshot, SnapshotExperiment
from genux_server.service.plain import plain
from genux_server.service.scope import Scope
from genux_server.store import Store, experiments, projects
from genux_server.store.control import Environment

__all__ = ["build", "refresh_all_versions", "refresh_version"]

_SERVED = ("running", "paused", "stopped", "shipped")


def build(store: Store, scope: Scope, *, with_token_keys: bool) -> Snapshot:
    """The environment's snapshot. Secrets that sign resume tokens go to servers only."""
    with store.reading() as session:
        served = _experiments(session, scope.environment_id)
        keys = _token_keys(session, scope.project_id)
    return Snapshot(
        version=_version(served, keys),
        project=scope.project,
        environment=scope.environment,
        experiments=served,
        token_keys=keys if with_token_keys else [],
    )


def refresh_version(session: Session, environment_id: int) -> None:
    """Store the version that the environment's content has now; SDKs hear of it in the next reply."""
    environment = experiments.lock_environment(session, environment_id)
    _store_version(session, environment)


def refresh_all_versions(store: Store) -> None:
    """The same for every environment: a new release may render the same experiments differently."""
    with store.writing() as session:
        for _project, environment in projects.environments(session):
            _store_version(session, environment)


def _store_version(session: Session, environment: Environment) -> None:
    version = _version(_experiments(session, environment.id), _token_keys(session, environment.project_id))
    if environment.snapshot_version != version:
        environment.snapshot_version = version


def _experiments(session: Session, environment_id: int) -> list[SnapshotExperiment]:
    rows = experiments.list_experiments(session, environment_id, _SERVED)
    epochs = experiments.epochs(session, [row.id for row in rows])
    served = []
    for row in rows:
        spec = msgspec.json.decode(row.spec, type=ExperimentSpec)
        epoch = epochs[row.id][-1]
        shares = msgspec.json.decode(epoch.allocation, type=list[float])
        served.append(
            snapshot_experiment(
                spec,
                salt=epoch.salt,
                epoch=epoch.number,
                status=cast("Literal['running', 'paused', 'stopped', 'shipped']", row.status),
                coverage=row.coverage,
                allocation={variant.key: share for variant, share in zip(spec.variants, shares, strict=True)},
                shipped=row.shipped,
            )
        )
    return served


def _token_keys(session: Session, project_id: int) -> list[TokenKey]:
    return [TokenKey(id=row.key_id, secret=row.secret) for row in projects.token_secrets(session, project_id)]


def _version(served: list[SnapshotExperiment], keys: list[TokenKey]) -> str:
    content = plain([served, [key.id for key in keys]])
    return blake2b(msgspec.json.encode(content, order="deterministic"), digest_size=12).hexdigest()
