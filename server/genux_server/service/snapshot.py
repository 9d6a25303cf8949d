"""The snapshot: what an environment's SDKs evaluate, and its version."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal, cast

import msgspec
from sqlalchemy.orm import Session

from genux.config import check_snapshot, snapshot_experiment, snapshot_rules
from genux.errors import ServiceError, SnapshotError
from genux.specs import AssignmentRules, ExperimentSpec, PriceRule, TokenKey
from genux.wire import Band, Snapshot, SnapshotExperiment
from genux_server.service.plain import plain
from genux_server.service.scope import Scope
from genux_server.store import Store, experiments, projects
from genux_server.store.control import Environment, Experiment, ExperimentEpoch

__all__ = ["build", "check_contents", "prices_of", "refresh_all_versions", "refresh_version", "refresh_versions_of"]

_SERVED = ("running", "paused", "stopped", "shipped")


def build(store: Store, scope: Scope, *, with_token_keys: bool) -> Snapshot:
    """The environment's snapshot. Secrets that sign resume tokens, and prices, go to servers only."""
    with store.reading() as session:
        contents = _contents(session, scope.environment_id)
        keys = _token_keys(session, scope.project_id)
        prices = prices_of(session, scope.project_id)
    return msgspec.structs.replace(
        contents,
        version=_version(contents, keys, prices),
        project=scope.project,
        environment=scope.environment,
        token_keys=keys if with_token_keys else [],
        prices=prices if with_token_keys else [],
    )


def prices_of(session: Session, project_id: int) -> list[PriceRule]:
    """The project's own price rules."""
    return msgspec.json.decode(projects.project(session, project_id).prices, type=list[PriceRule])


def check_contents(session: Session, environment_id: int, paths: Mapping[str, str]) -> None:
    """Check that what is served agrees with itself, and would together with the drafts.

    Args:
        session: in the transaction of the change, so that the change is undone with it.
        environment_id: whose experiments and rules.
        paths: experiment key -> where it stands, for messages; `experiments.<key>` for the others.

    Raises:
        ServiceError: `contradicts`; the message names the place.
    """
    served = _contents(session, environment_id)
    drafts = [_draft(row) for row in experiments.list_experiments(session, environment_id, ["draft"])]
    everything = msgspec.structs.replace(served, experiments=[*served.experiments, *drafts])
    places = {**{each.key: f"experiments.{each.key}" for each in everything.experiments}, **paths}
    try:
        check_snapshot(everything, places)
        if drafts:
            check_snapshot(msgspec.structs.replace(served, holdouts=[]), places)
    except SnapshotError as error:
        raise ServiceError("contradicts", str(error), 409) from None


def refresh_version(session: Session, environment_id: int) -> None:
    """Store the version that the environment's content has now; SDKs hear of it in the next reply."""
    environment = experiments.lock_environment(session, environment_id)
    _store_version(session, environment)


def refresh_versions_of(session: Session, project_id: int) -> None:
    """The same for every environment of a project."""
    for _project, environment in projects.environments(session, project_id):
        refresh_version(session, environment.id)


def refresh_all_versions(store: Store) -> None:
    """The same for every environment: a new release may render the same experiments differently."""
    with store.writing() as session:
        for _project, environment in projects.environments(session):
            _store_version(session, environment)


def _store_version(session: Session, environment: Environment) -> None:
    project_id = environment.project_id
    contents = _contents(session, environment.id)
    version = _version(contents, _token_keys(session, project_id), prices_of(session, project_id))
    if environment.snapshot_version != version:
        environment.snapshot_version = version


def _contents(session: Session, environment_id: int) -> Snapshot:
    """What assigns units in an environment; without a version, names and keys."""
    rows = experiments.list_experiments(session, environment_id, _SERVED)
    epochs = experiments.epochs(session, [row.id for row in rows])
    environment = experiments.environment(session, environment_id)
    rules = msgspec.json.decode(environment.assignment_rules, type=AssignmentRules)
    layers, holdouts = snapshot_rules(rules)
    return Snapshot(
        version="",
        keeps_text=projects.project(session, environment.project_id).keeps_text,
        layers=layers,
        holdouts=holdouts,
        exclusions=rules.exclusions,
        experiments=[_started(row, epochs[row.id]) for row in rows],
    )


def _started(row: Experiment, epochs: list[ExperimentEpoch]) -> SnapshotExperiment:
    spec = msgspec.json.decode(row.spec, type=ExperimentSpec)
    if row.status not in {"running", "paused"}:
        # It ended: its part of a layer is free for others, and nobody has to qualify for it.
        spec = msgspec.structs.replace(spec, layer=None, prerequisites=[])
    shares = [msgspec.json.decode(epoch.allocation, type=list[float]) for epoch in epochs]
    return snapshot_experiment(
        spec,
        salt=epochs[-1].salt,
        epoch=epochs[-1].number,
        status=cast("Literal['running', 'paused', 'stopped', 'shipped']", row.status),
        coverage=row.coverage,
        allocation={variant.key: share for variant, share in zip(spec.variants, shares[-1], strict=True)},
        bands=[
            Band(epoch=epoch.number, coverage=following.coverage_from, allocation=allocation)
            for epoch, following, allocation in zip(epochs, epochs[1:], shares, strict=False)
        ],
        shipped=row.shipped,
    )


def _draft(row: Experiment) -> SnapshotExperiment:
    """A draft beside the others: it must agree with them, but takes no part of a layer yet."""
    spec = msgspec.json.decode(row.spec, type=ExperimentSpec)
    return snapshot_experiment(spec, salt=spec.salt or spec.key, status="stopped")


def _token_keys(session: Session, project_id: int) -> list[TokenKey]:
    return [TokenKey(id=row.key_id, secret=row.secret) for row in projects.token_secrets(session, project_id)]


def _version(contents: Snapshot, keys: list[TokenKey], prices: list[PriceRule]) -> str:
    content = plain([contents, [key.id for key in keys], prices])
    return blake2b(msgspec.json.encode(content, order="deterministic"), digest_size=12).hexdigest()
