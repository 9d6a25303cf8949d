import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa

from genux.specs import ExperimentSpec, Measure, MetricSpec, PriceRule, VariantSpec
from genux_server import migrate
from genux_server.service import bootstrap, experiments, keys, metrics, prices
from genux_server.store import Store, inbox, losses
from genux_server.store.control import ControlBase
from genux_server.store.inbox_tables import InboxBase


@pytest.fixture
def empty_store(empty_config):
    store = Store(empty_config.control_url, empty_config.inbox_url)
    yield store
    store.close()


def fill(store, config):
    """At least one row in every table."""
    bootstrap.first_start(store, config)
    scope = bootstrap.find_scope(store, "default", "dev")
    prices.put(store, scope, [PriceRule(model="own", usd_per_image=Decimal("0.04"))])
    metrics.create(store, scope, MetricSpec(key="m", numerator=Measure(event="e")))
    variants = [VariantSpec(key="a"), VariantSpec(key="b")]
    experiments.create(store, scope, ExperimentSpec(key="x", variants=variants, primary="m"))
    experiments.start(store, scope, "x")
    bootstrap.session_secret(store)
    now = dt.datetime.now(dt.UTC)
    where = {"project_id": scope.project_id, "environment_id": scope.environment_id}
    with store.inbox_writing() as connection:
        inbox.add_batch(
            connection,
            **where,
            batch_id="b" * 36,
            received_at=now,
            trust="server",
            sdk="",
            n_events=1,
            body_bytes=2,
            body=b"[]",
        )
        refused = losses.Refused(position=0, code="schema", path="$", message="no", body=b"{}")
        losses.add_rejected(connection, [refused], **where, batch_id="b" * 36, received_at=now)
        losses.add_dropped(connection, {"full": 1}, **where, sdk="", received_at=now)


def tables(store):
    return {
        name
        for engine in {id(store.control): store.control, id(store.inbox): store.inbox}.values()
        for name in sa.inspect(engine).get_table_names()
    } - {"alembic_version"}


def test_the_head_revision_makes_exactly_the_tables_of_the_models(empty_store):
    assert tables(empty_store) == set()
    migrate.upgrade(empty_store)
    assert migrate.difference(empty_store) == []
    assert tables(empty_store) == {*ControlBase.metadata.tables, *InboxBase.metadata.tables}
    assert migrate.revisions(empty_store) == {migrate.head()}


def test_migrations_go_down_and_up_again_with_rows_in_every_table(empty_store, empty_config):
    migrate.upgrade(empty_store)
    fill(empty_store, empty_config)
    migrate.downgrade(empty_store, "base")
    assert tables(empty_store) == set()
    migrate.upgrade(empty_store)
    fill(empty_store, empty_config)
    with empty_store.inbox_reading() as connection:
        assert inbox.backlog(connection).n_batches == 1


def test_an_upgrade_of_a_current_database_changes_nothing(empty_store, empty_config):
    migrate.upgrade(empty_store)
    fill(empty_store, empty_config)
    migrate.upgrade(empty_store)
    with empty_store.inbox_reading() as connection:
        assert inbox.backlog(connection).n_batches == 1


def test_a_migration_that_fails_leaves_nothing_behind(empty_store, monkeypatch):
    from alembic import op

    original = op.create_index

    def fail_late(name, *args, **kwargs):
        if name == "ix_report_experiment_id_definition_hash_id":
            raise RuntimeError("the power went")
        return original(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", fail_late)
        with pytest.raises(RuntimeError, match="the power went"):
            migrate.upgrade(empty_store)
    assert tables(empty_store) == set()
    migrate.upgrade(empty_store)
    assert migrate.difference(empty_store) == []


def test_a_key_from_before_origins_keeps_working_and_allows_no_page(empty_store, empty_config):
    migrate.upgrade(empty_store)
    fill(empty_store, empty_config)
    migrate.downgrade(empty_store, "0003")
    assert "origins" not in {column["name"] for column in sa.inspect(empty_store.control).get_columns("api_key")}
    migrate.upgrade(empty_store)
    scope = bootstrap.find_scope(empty_store, "default", "dev")
    assert [(key.kind, key.origins) for key in keys.list_keys(empty_store, scope)] == [
        ("server", []),
        ("browser", []),
        ("admin", []),
    ]
