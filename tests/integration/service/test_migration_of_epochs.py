import pytest
import sqlalchemy as sa

from genux.specs import AssignmentRules, ExperimentSpec, LayerSpec, Measure, MetricSpec, VariantSpec
from genux_server import migrate
from genux_server.service import bootstrap, experiments, metrics, rules
from genux_server.store import Store

TABLES = ("experiment_epoch", "environment")
VARIANTS = [VariantSpec(key="a"), VariantSpec(key="b")]


@pytest.fixture
def empty_store(empty_config):
    store = Store(empty_config.control_url, empty_config.inbox_url)
    yield store
    store.close()


def test_experiments_outlive_the_revision_that_adds_bands_and_rules_both_ways(empty_store, empty_config):
    migrate.upgrade(empty_store)
    bootstrap.first_start(empty_store, empty_config)
    scope = bootstrap.find_scope(empty_store, "default", "dev")
    metrics.create(empty_store, scope, MetricSpec(key="m", numerator=Measure(event="e")))
    spec = ExperimentSpec(key="x", variants=VARIANTS, primary="m", coverage=0.5)
    experiments.create(empty_store, scope, spec)
    experiments.start(empty_store, scope, "x")
    rules.put(empty_store, scope, AssignmentRules(layers=[LayerSpec(key="page")]))

    migrate.downgrade(empty_store, "0001")
    columns = {table: {c["name"] for c in sa.inspect(empty_store.control).get_columns(table)} for table in TABLES}
    assert "coverage_from" not in columns["experiment_epoch"]
    assert "assignment_rules" not in columns["environment"]

    migrate.upgrade(empty_store)
    assert migrate.difference(empty_store) == []
    (epoch,) = experiments.get(empty_store, scope, "x").epochs
    assert (epoch.number, epoch.coverage_from, epoch.allocation) == (1, 0.0, (0.5, 0.5))
    assert rules.get(empty_store, scope) == AssignmentRules()
    opened = experiments.raise_coverage(empty_store, scope, "x", 0.9, {"a": 0.2, "b": 0.8})
    assert [each.coverage_from for each in opened.epochs] == [0.0, 0.5]
