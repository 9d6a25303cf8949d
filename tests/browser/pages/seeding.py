"""A real service on SQLite with one experiment per state of the report page."""

import importlib.util
import sys
from pathlib import Path

import msgspec
from flask import Flask

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.app import create_app
from genux_server.config import Config
from genux_server.migrate import upgrade
from genux_server.model import Report
from genux_server.service import bootstrap, experiments, keys, metrics
from genux_server.service.scope import Scope, utcnow
from genux_server.service.services import Services
from genux_server.store import experiments as tables
from genux_server.store.control import StoredReport

EMAIL, PASSWORD = "pm@example.com", "correct horse battery"
PLACE = "/p/default/dev"


def load_samples():
    path = Path(__file__).parents[2] / "unit" / "pages" / "samples.py"
    spec = importlib.util.spec_from_file_location("page_samples", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_samples"] = module
    spec.loader.exec_module(module)
    return module


def create_seeded_app(data: Path) -> Flask:
    app = create_app_on(data)
    services = app.extensions["genux"]
    scope = bootstrap.find_scope(services.store, "default", "dev")
    metrics.create(
        services.store,
        scope,
        MetricSpec(key="answer_accepted", label="Accepted an answer", numerator=Measure(event="answer_accepted")),
    )
    for state, build in load_samples().STATES.items():
        add_experiment(services.store, scope, state, build())
    draft = spec_for("draft", "Does naming the source make people trust the answer?")
    experiments.create(services.store, scope, draft)
    reject_some(services, scope)
    return app


def create_app_on(data: Path) -> Flask:
    config = Config(data=data, admin_email=EMAIL, admin_password=PASSWORD)
    store = Services(config).store
    upgrade(store)
    bootstrap.first_start(store, config)
    store.close()
    return create_app(config)


def spec_for(key: str, question: str, variants: list[VariantSpec] | None = None) -> ExperimentSpec:
    chosen = variants or [VariantSpec(key="chat", surface="chat"), VariantSpec(key="summary", surface="action")]
    return ExperimentSpec(key=key, question=question, variants=chosen, primary="answer_accepted")


def add_experiment(store, scope: Scope, state: str, report: Report) -> None:
    arms = [VariantSpec(key=a.variant, label=a.label, surface=a.surface) for a in report.arms]
    experiments.create(store, scope, spec_for(state, report.question, arms))
    experiments.start(store, scope, state)
    body = msgspec.structs.replace(report, experiment=state, generated_at=utcnow())
    with store.writing() as session:
        row = tables.find_experiment(session, scope.environment_id, state)
        tables.add_report(
            session,
            StoredReport(
                project_id=scope.project_id,
                experiment_id=row.id,
                definition_hash="0" * 32,
                chunk=1,
                lake_version=report.lake_version,
                pending=False,
                body=msgspec.json.encode(body).decode(),
                as_of=utcnow(),
            ),
        )


def reject_some(services, scope: Scope) -> None:
    """A batch with one good event and three that are refused, sent through the real ingest."""
    key = keys.create(services.store, scope, "server", "seed")
    assert keys.authenticate(services.store, key.secret) is not None
    body = b"""{"batch_id": "01999999-0000-7000-8000-000000000001", "sent_at": "2026-11-22T09:00:00Z", "events": [
      {"type": "event", "event_id": "01999999-0000-7000-8000-000000000002", "at": "2026-11-22T08:59:00Z",
       "unit_id": "reader-7", "name": "answer_accepted"},
      {"type": "event", "event_id": "01999999-0000-7000-8000-000000000003", "at": "2026-11-22T08:59:00Z",
       "unit_id": "reader-8", "name": "read", "value": "three minutes and a very long explanation of why"},
      {"type": "click", "event_id": "01999999-0000-7000-8000-000000000004", "at": "2026-11-22T08:59:00Z"},
      {"type": "exposure", "event_id": "01999999-0000-7000-8000-000000000005", "at": "2020-01-01T00:00:00Z",
       "unit_id": "<script>alert(1)</script>", "experiment": "ai-entry", "variant": "chat"}]}"""
    reply = services.ingest.accept(scope, "server", body)
    assert (reply.accepted, len(reply.rejected)) == (1, 3)
