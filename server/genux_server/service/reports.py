"""Reports: computed from one published state of the lake, stored, and computed again only when something moved."""

import datetime as dt
import time
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from genux.errors import ServiceError
from genux.specs import MetricSpec
from genux_server.model import Facts, LakeVersions, Report
from genux_server.service import experiments as verbs
from genux_server.service.experiments import ExperimentView
from genux_server.service.plain import plain
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, experiments, inbox, lease, losses
from genux_server.store.control import Experiment, StoredReport

if TYPE_CHECKING:
    from genux_server.lake import Lake

__all__ = ["current", "current_all", "refresh", "refresh_due", "wait_for_lake"]

_MATURES_EVERY = dt.timedelta(seconds=60)
_SETTLES_AFTER = dt.timedelta(days=1)
_WAIT_FOR_LAKE_SECONDS = 15.0
_LOOK_EVERY_SECONDS = 0.05


class _Definition(msgspec.Struct, frozen=True):
    """What a report is computed from, besides facts."""

    view: ExperimentView
    metrics: list[MetricSpec]

    @property
    def digest(self) -> str:
        spec, epochs = self.view.spec, self.view.epochs
        content = plain([spec, epochs, self.metrics, version("genux")])
        return blake2b(msgspec.json.encode(content, order="deterministic"), digest_size=16).hexdigest()


def current(store: Store, scope: Scope, key: str) -> Report | None:
    """The newest report of an experiment, whatever moved since; None when there is none yet.

    Raises:
        ServiceError: `not_found`.
    """
    with store.reading() as session:
        row = experiments.find_experiment(session, scope.environment_id, key)
        if row is None:
            raise not_found("experiment", key)
        stored = experiments.latest_report(session, row.id)
    return None if stored is None else _decode(stored)


def current_all(store: Store, scope: Scope) -> dict[str, Report]:
    """The newest report of every experiment that has one and is not archived, by key."""
    with store.reading() as session:
        found = experiments.latest_reports(session, scope.environment_id)
    return {key: _decode(stored) for key, stored in found.items()}


def refresh(store: Store, lake: "Lake", scope: Scope, key: str) -> Report:
    """A report on everything that was accepted before this call. Nothing is computed when nothing moved.

    Waits for the worker, if one is alive, until the batches that the project had sent are in the lake.

    Raises:
        ServiceError: `not_found`, or `not_started`.
    """
    wait_for_lake(store, scope)
    with store.reading() as session:
        row = experiments.find_experiment(session, scope.environment_id, key)
        if row is None:
            raise not_found("experiment", key)
        if row.started_at is None:
            raise ServiceError("not_started", f"`{key}` has not started, so there is nothing to report on.", 409)
    return _refresh(store, lake, scope, row, dt.timedelta(0))


def refresh_due(store: Store, lake: "Lake", scope: Scope, row: Experiment) -> Report | None:
    """The worker's refresh: None when the experiment ended so long ago that its facts are settled."""
    definition = _define(store, scope, row)
    windows = [metric.window_seconds for metric in definition.metrics]
    settles_at = (row.ended_at or utcnow()) + dt.timedelta(seconds=max(windows, default=0.0)) + _SETTLES_AFTER
    if utcnow() > settles_at:
        return None
    return _refresh(store, lake, scope, row, _MATURES_EVERY)


def _refresh(store: Store, lake: "Lake", scope: Scope, row: Experiment, matures_every: dt.timedelta) -> Report:
    definition = _define(store, scope, row)
    digest = definition.digest
    with store.inbox_reading() as connection:
        # In this order: a chunk published in between then costs a recomputation, and never hides facts.
        chunk = inbox.scope_chunk(connection, scope.project_id, scope.environment_id)
        versions = inbox.lake_versions(connection)
    now = utcnow()
    with store.reading() as session:
        stored = experiments.latest_report(session, row.id, digest)
    if stored is not None and stored.chunk >= chunk:
        has_matured = stored.pending and now - stored.as_of >= matures_every
        if not has_matured:
            return _decode(stored)
    return _compute(store, lake, scope, row, definition, versions, chunk, now)


def _compute(
    store: Store,
    lake: "Lake",
    scope: Scope,
    row: Experiment,
    definition: _Definition,
    versions: LakeVersions,
    chunk: int,
    now: dt.datetime,
) -> Report:
    # Late: duckdb, ibis and scipy take seconds to load, and a process that serves stored reports needs none of them.
    from genux_server.engine import compute_facts
    from genux_server.stats import build_report

    facts = compute_facts(
        lake.files(versions),
        project_id=scope.project_id,
        environment_id=scope.environment_id,
        experiment=definition.view.spec,
        metrics=definition.metrics,
        epochs=definition.view.epochs,
        as_of=min(now, row.ended_at or now),  # what people do after it ended, they do with another variant
    )
    with store.inbox_reading() as connection:
        given_up, refused = losses.lost(
            connection, scope.project_id, scope.environment_id, row.started_at or now, row.ended_at or now
        )
    facts = msgspec.structs.replace(facts, given_up_events=given_up, refused_events=refused)
    report = build_report(facts, generated_at=now)
    with store.writing() as session:
        experiments.add_report(
            session,
            StoredReport(
                project_id=scope.project_id,
                experiment_id=row.id,
                definition_hash=definition.digest,
                chunk=chunk,
                lake_version=str(versions),
                pending=row.ended_at is None and _has_open_windows(facts),
                body=msgspec.json.encode(report).decode(),
                as_of=now,
            ),
        )
    return report


def _define(store: Store, scope: Scope, row: Experiment) -> _Definition:
    view = verbs.get(store, scope, row.key)
    named = [view.spec.primary, *view.spec.secondaries, *view.spec.guardrails]
    with store.reading() as session:
        rows = {metric.key: metric for metric in experiments.list_metrics(session, scope.project_id, named)}
    return _Definition(
        view, [msgspec.json.decode(rows[key].spec, type=MetricSpec) for key in dict.fromkeys(named) if key in rows]
    )


def wait_for_lake(store: Store, scope: Scope) -> None:
    """Wait until the worker has carried what the project had sent into the lake; not at all when none is at work."""
    with store.inbox_reading() as connection:
        last_id = inbox.last_batch_id(connection, scope.project_id)
    deadline = time.monotonic() + _WAIT_FOR_LAKE_SECONDS
    while time.monotonic() < deadline:
        with store.inbox_reading() as connection:
            if not inbox.unarchived_up_to(connection, scope.project_id, last_id) or not lease.is_held(connection):
                return
        time.sleep(_LOOK_EVERY_SECONDS)


def _has_open_windows(facts: Facts) -> bool:
    return any(cell.pending for cell in facts.cells)


def _decode(stored: StoredReport) -> Report:
    report: Report = msgspec.json.decode(stored.body, type=Report)
    return report
