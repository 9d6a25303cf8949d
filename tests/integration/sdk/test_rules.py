"""One file of layers, holdouts, prerequisites and exclusions means the same in local mode and through the service."""

import json

import pytest
from click.testing import CliRunner

import genux
from genux_server.cli.main import cli

CONFIG = """
metrics:
  - {key: accepted, numerator: {event: answer_accepted}}
layers: [{key: page, salt: page-2026}]
holdouts: [{key: quiet, share: 0.2, experiments: [second]}]
exclusions: [[{attribute: bot, value: true}]]
experiments:
  - key: second
    primary: accepted
    salt: second-1
    variants: [{key: a}, {key: b}]
    layer: {key: page, ranges: [[0, 0.7]]}
    prerequisites: [{experiment: first, variants: [b]}]
  - key: first
    primary: accepted
    scheme: growthbook-2
    coverage: 0.8
    variants: [{key: a}, {key: b}]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text(CONFIG)
    return path


def answers(gx):
    found = {}
    for number in range(300):
        with gx.unit(f"user-{number}", bot=number % 10 == 0):
            for key in ("first", "second"):
                entry = gx.peek(key)
                found[number, key] = (entry.key, entry.reason, entry.epoch)
    return found


def test_the_service_assigns_as_the_file_does(genux_service, file):
    genux_service.apply(file)
    local = answers(genux.Client("", config=file))
    assert answers(genux_service.client()) == local
    reasons = {reason for (_, key), (_, reason, _) in local.items() if key == "second"}
    assert reasons == {"ASSIGNED", "EXCLUDED", "HOLDOUT", "PREREQUISITE"}


def test_the_rules_of_one_environment_are_none_of_anothers(genux_service, file):
    genux_service.apply(file)
    assert genux_service.request("GET", "/v1/assignment-rules")["layers"][0]["key"] == "page"
    from genux_server.service import bootstrap, rules

    store = genux_service._backend.app.extensions["genux"].store
    assert rules.get(store, bootstrap.find_scope(store, "default", "prod")).layers == []


@pytest.mark.parametrize(("payload", "n_findings"), [("{model: m}", 0), ("{model: 5}", 1)])
def test_the_doctor_checks_payloads_against_their_schema(payload, n_findings, tmp_path, monkeypatch):
    path = tmp_path / "genux.yaml"
    schema = "{properties: {model: {type: string}}}"
    path.write_text(
        f"experiments: [{{key: e, payload_schema: {schema}, variants: [{{key: a}}, {{key: b, payload: {payload}}}]}}]"
    )
    monkeypatch.setenv("GENUX_CONFIG", str(path))
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    found = [each for each in json.loads(result.stdout) if each["code"] == "payload"]
    assert len(found) == n_findings
    assert result.exit_code == bool(n_findings)
    if found:
        assert "experiments[0].variants[1].payload.model: variant `b`: 5 is not of type 'string'" in found[0]["message"]
