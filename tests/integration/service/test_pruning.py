import datetime as dt

import pytest
import sqlalchemy as sa

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.service import experiments, metrics
from genux_server.store import losses, pruning
from genux_server.store.control import Experiment, StoredReport
from genux_server.store.inbox_tables import RejectedEvent

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def days(n, hours=0):
    return NOW - dt.timedelta(days=n, hours=hours)


@pytest.fixture
def keep_report(store, scope):
    metrics.create(store, scope, MetricSpec(key="m", numerator=Measure(event="e")))
    for key in ("x", "y"):
        variants = [VariantSpec(key="a"), VariantSpec(key="b")]
        experiments.create(store, scope, ExperimentSpec(key=key, variants=variants, primary="m"))

    def keep(as_of, key="x", definition="d1"):
        with store.writing() as session:
            experiment_id = session.execute(sa.select(Experiment.id).where(Experiment.key == key)).scalar_one()
            report = StoredReport(
                project_id=scope.project_id,
                experiment_id=experiment_id,
                definition_hash=definition,
                chunk=1,
                lake_version="c1",
                pending=False,
                body="{}",
                as_of=as_of,
            )
            session.add(report)
            session.flush()
            return report.id

    return keep


def kept(store):
    with store.reading() as session:
        return set(session.scalars(sa.select(StoredReport.id)))


def test_old_reports_are_thinned_to_each_days_last_and_the_newest_stays(store, keep_report):
    too_old = keep_report(days(500))
    newest_of_an_old_definition = keep_report(days(499), definition="d0")
    morning, evening = keep_report(days(10, hours=5)), keep_report(days(10))
    same_day_of_another = keep_report(days(10, hours=5), key="y")
    recent = [keep_report(days(1, hours=hours)) for hours in (3, 2, 1)]
    with store.writing() as session:
        gone = pruning.prune_reports(session, thin_before=days(2), drop_before=days(400))
    assert gone == 2
    assert kept(store) == {newest_of_an_old_definition, evening, same_day_of_another, *recent}
    assert not kept(store) & {too_old, morning}


def test_more_old_reports_than_one_statement_takes_go(store, keep_report, monkeypatch):
    monkeypatch.setattr(pruning, "_AT_ONCE", 2)
    reports = [keep_report(days(10, hours=hours)) for hours in (5, 4, 3, 2, 1)]
    with store.writing() as session:
        assert pruning.prune_reports(session, thin_before=days(2), drop_before=days(400)) == 4
    assert kept(store) == {reports[-1]}


def test_the_worker_forgets_by_its_settings(store, scope, keep_report, worker):
    now = dt.datetime.now(dt.UTC)
    first, second = keep_report(now - dt.timedelta(days=500)), keep_report(now)
    where = {"project_id": scope.project_id, "environment_id": scope.environment_id, "batch_id": "b" * 36}
    refused = losses.Refused(position=0, code="schema", path="$", message="no", body=b"{}")
    with store.inbox_writing() as connection:
        for age in (91, 89):
            losses.add_rejected(connection, [refused], **where, received_at=now - dt.timedelta(days=age))
    worker.step()
    assert kept(store) == {second} != {first}
    with store.inbox_reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(RejectedEvent)) == 1
