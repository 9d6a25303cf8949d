"""Experiments with their epochs, metrics, and the reports that were computed."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from genux_server.store.control import Environment, Experiment, ExperimentEpoch, Metric, Project, StoredReport

__all__ = [
    "add_epoch",
    "add_experiment",
    "add_metric",
    "add_report",
    "delete_reports",
    "environment",
    "epochs",
    "find_experiment",
    "find_metric",
    "latest_report",
    "latest_reports",
    "list_experiments",
    "list_metrics",
    "lock_environment",
    "started_experiments",
]


def environment(session: Session, environment_id: int) -> Environment:
    """The environment."""
    return session.get_one(Environment, environment_id)


def lock_environment(session: Session, environment_id: int) -> Environment:
    """The environment, locked until the commit, so that two changes of its experiments follow one another."""
    return session.execute(
        sa.select(Environment).where(Environment.id == environment_id).with_for_update()
    ).scalar_one()


def add_experiment(session: Session, experiment: Experiment) -> None:
    """Keep a new experiment."""
    session.add(experiment)
    session.flush()


def find_experiment(session: Session, environment_id: int, key: str) -> Experiment | None:
    """An experiment of an environment by its key."""
    return session.scalar(
        sa.select(Experiment).where(Experiment.environment_id == environment_id, Experiment.key == key)
    )


def list_experiments(
    session: Session, environment_id: int, statuses: Collection[str] | None = None
) -> Sequence[Experiment]:
    """An environment's experiments, oldest first."""
    query = sa.select(Experiment).where(Experiment.environment_id == environment_id)
    if statuses is not None:
        query = query.where(Experiment.status.in_(statuses))
    return session.scalars(query.order_by(Experiment.id)).all()


def started_experiments(session: Session) -> Sequence[tuple[Experiment, Environment, Project]]:
    """Every experiment of the installation that has, or may still get, facts; with its scope."""
    query = (
        sa.select(Experiment, Environment, Project)
        .join(Environment, Environment.id == Experiment.environment_id)
        .join(Project, Project.id == Experiment.project_id)
        .where(Experiment.status.in_(("running", "paused", "stopped", "shipped")))
        .order_by(Experiment.id)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def add_epoch(session: Session, epoch: ExperimentEpoch) -> None:
    """Keep a new epoch."""
    session.add(epoch)
    session.flush()


def epochs(session: Session, experiment_ids: Collection[int]) -> dict[int, list[ExperimentEpoch]]:
    """Epochs of several experiments in one query: experiment id -> its epochs, oldest first."""
    found: dict[int, list[ExperimentEpoch]] = {experiment_id: [] for experiment_id in experiment_ids}
    query = sa.select(ExperimentEpoch).where(ExperimentEpoch.experiment_id.in_(experiment_ids))
    for epoch in session.scalars(query.order_by(ExperimentEpoch.number)):
        found[epoch.experiment_id].append(epoch)
    return found


def add_metric(session: Session, metric: Metric) -> None:
    """Keep a new metric."""
    session.add(metric)
    session.flush()


def find_metric(session: Session, project_id: int, key: str) -> Metric | None:
    """A project's metric by its key."""
    return session.scalar(sa.select(Metric).where(Metric.project_id == project_id, Metric.key == key))


def list_metrics(session: Session, project_id: int, keys: Collection[str] | None = None) -> Sequence[Metric]:
    """A project's metrics, all or those named, by key."""
    query = sa.select(Metric).where(Metric.project_id == project_id)
    if keys is not None:
        query = query.where(Metric.key.in_(keys))
    return session.scalars(query.order_by(Metric.key)).all()


def add_report(session: Session, report: StoredReport) -> None:
    """Keep a report; nothing changes it afterwards."""
    session.add(report)


def delete_reports(session: Session, project_id: int, text: str) -> int:
    """Delete a project's reports in whose JSON this text stands; how many."""
    result: sa.CursorResult[Any] = session.execute(  # type: ignore[assignment]  # a DELETE answers with a cursor
        sa.delete(StoredReport).where(
            StoredReport.project_id == project_id, StoredReport.body.contains(text, autoescape=True)
        )
    )
    return result.rowcount


def latest_report(session: Session, experiment_id: int, definition_hash: str | None = None) -> StoredReport | None:
    """The newest report of an experiment, of any definition or of one."""
    query = sa.select(StoredReport).where(StoredReport.experiment_id == experiment_id)
    if definition_hash is not None:
        query = query.where(StoredReport.definition_hash == definition_hash)
    return session.scalar(query.order_by(StoredReport.id.desc()).limit(1))


def latest_reports(session: Session, environment_id: int) -> dict[str, StoredReport]:
    """The newest report of each experiment of an environment that has one, archived ones left out; by key."""
    newest = (
        sa.select(StoredReport.id)
        .where(StoredReport.experiment_id == Experiment.id)
        .order_by(StoredReport.id.desc())
        .limit(1)
        .correlate(Experiment)
        .scalar_subquery()
    )
    query = (
        sa.select(Experiment.key, StoredReport)
        .join(StoredReport, StoredReport.id == newest)
        .where(Experiment.environment_id == environment_id, Experiment.status != "archived")
    )
    return {row[0]: row[1] for row in session.execute(query)}
