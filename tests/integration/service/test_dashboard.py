"""Dashboard and alerts ask for series that exist: each query is parsed, and held against a service with traffic."""

import datetime as dt
import json
import re
import shutil
import uuid
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from genux_server.app import create_app
from genux_server.config import Config
from genux_server.service import bootstrap
from genux_server.service.worker import Worker

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "genux.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
BUILT_IN = {"$__rate_interval": "5m", "$__range": "1h"}


def queries():
    for panel in PANELS:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for rule in ALERTS["groups"][0]["rules"]:
        yield pytest.param(rule["expr"], id=rule["alert"])


def below(expression, kind):
    found = []
    promql_parser.walk(expression, lambda node: found.append(node) if isinstance(node, kind) else None)
    return found


def parsed(query):
    for name, value in BUILT_IN.items():
        query = query.replace(name, value)
    return promql_parser.parse(query)


@pytest.fixture(scope="module")
def series(sqlite_template, tmp_path_factory):
    """Every series of a service that has met all there is to meet, without what Prometheus adds."""
    data = tmp_path_factory.mktemp("watched")
    shutil.copytree(sqlite_template, data, dirs_exist_ok=True)
    config = Config(data=data, archive_seconds=0.0)
    app = create_app(config)
    services = app.extensions["genux"]
    key = bootstrap.first_start(services.store, config).server_key
    now = dt.datetime.now(dt.UTC).isoformat()
    call = {
        "type": "call",
        "at": now,
        "unit_id": "u",
        "latency_seconds": 0.4,
        "ttft_seconds": 0.1,
        "fallback": True,
        "retrieval": {"k": 2, "score_mean": 0.5, "score_max": 0.9},
        "assignments": [{"experiment": "ai-entry", "variant": "summary"}],
    }
    events = [
        call | {"event_id": str(uuid.uuid4()), "call_id": str(uuid.uuid4()), **outcome}
        for outcome in ({"cost_usd": "0.02"}, {"status": "error"}, {"status": "no such status"})
    ]
    batch = {"batch_id": str(uuid.uuid4()), "sent_at": now, "events": events, "dropped": {"outbox_full": 2}}
    client = app.test_client()
    reply = client.post("/v1/events", data=json.dumps(batch), headers={"Authorization": f"Bearer {key}"})
    assert reply.json["accepted"] == 2
    assert Worker(services.store, services.lake, config, services.telemetry).archive()
    text = client.get("/metrics").text
    services.store.close()
    return [
        (sample.name, sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    ]


def matches(labels, matcher):
    value = labels.get(matcher.name, "")
    is_pattern = matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe)
    wanted = matcher.value
    for name in VARIABLES:
        wanted = wanted.replace(f"${name}", ".*" if is_pattern else value)
    same = re.fullmatch(wanted, value) is not None if is_pattern else wanted == value
    is_negated = matcher.op in (promql_parser.MatchOp.NotEqual, promql_parser.MatchOp.NotRe)
    return matcher.name in labels and same != is_negated


def selected(selector, series):
    return [
        labels
        for name, labels in series
        if name == selector.name and all(matches(labels, matcher) for matcher in selector.matchers.matchers)
    ]


@pytest.mark.parametrize("query", [*queries()])
def test_a_query_selects_series_that_exist_by_labels_that_they_have(query, series):
    expression = parsed(query)
    selectors = below(expression, promql_parser.VectorSelector)
    assert selectors
    for selector in selectors:
        assert selector.name == "up" or selected(selector, series), selector.name
    for aggregate in below(expression, promql_parser.AggregateExpr):
        wanted = set(aggregate.modifier.labels) if aggregate.modifier else set()
        for selector in below(aggregate.expr, promql_parser.VectorSelector):
            assert all(wanted <= labels.keys() for labels in selected(selector, series)), selector.name


def test_counters_are_asked_for_their_rate_and_histograms_by_their_buckets():
    for parameter in queries():
        expression = parsed(parameter.values[0])
        counted = {
            selector.vector_selector.name
            for call in below(expression, promql_parser.Call)
            if call.func.name in {"rate", "increase"}
            for selector in call.args
        }
        for selector in below(expression, promql_parser.VectorSelector):
            is_counter = selector.name.endswith(("_total", "_bucket", "_count", "_sum"))
            assert is_counter == (selector.name in counted), parameter.id


def test_every_series_is_on_the_dashboard(series):
    asked = {
        selector.name
        for parameter in queries()
        for selector in below(parsed(parameter.values[0]), promql_parser.VectorSelector)
    }
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _labels in series}
    assert families - {re.sub(r"_bucket$", "", name) for name in asked} == set()


def test_variables_are_asked_of_series_that_have_them(series):
    for name, variable in VARIABLES.items():
        inner, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        assert label == name
        found = selected(promql_parser.parse(inner), series)
        assert found
        assert all(label in labels for labels in found)


def test_panels_ask_the_provisioned_data_source_and_lie_side_by_side():
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    cells = set()
    for panel in PANELS:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        cells |= taken
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
