import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from genux.assignment import assign, compile_snapshot
from genux.wire import Snapshot
from genux_server.service import audit

METRIC = {"key": "accepted", "numerator": {"event": "answer_accepted"}, "window_seconds": 60}
TWO = [{"key": "chat"}, {"key": "summary", "surface": "action"}]
PATH = "/v1/experiments/ai-entry"


def spec(key="ai-entry", **more):
    return {"key": key, "variants": TWO, "primary": "accepted", "coverage": 0.5, "salt": f"fixed-{key}"} | more


@pytest.fixture
def start(admin):
    admin("POST", "/v1/metrics", json=METRIC)

    def start(key="ai-entry", **more):
        made = admin("POST", "/v1/experiments", json=spec(key, **more))
        assert made.status_code == 201, made.json
        return admin("POST", f"/v1/experiments/{key}/start")

    return start


def compiled(caller):
    found = compile_snapshot(msgspec.json.decode(caller("GET", "/v1/snapshot").data, type=Snapshot))
    assert found.problems == {}
    return found


def assigned(caller, key="ai-entry", n_units=2_000):
    found = compiled(caller)
    return {f"u{index}": assign(found, key, f"u{index}", {}) for index in range(n_units)}


def test_new_shares_with_more_coverage_open_an_epoch_that_only_new_units_enter(start, server, admin):
    start()
    before = assigned(server)
    body = {"coverage": 0.8, "allocation": {"chat": 0.1, "summary": 0.9}}
    opened = admin("PUT", f"{PATH}/coverage", json=body)
    assert opened.status_code == 200
    assert [(each["number"], each["coverage_from"]) for each in opened.json["epochs"]] == [(1, 0.0), (2, 0.5)]
    assert opened.json["spec"]["allocation"] == body["allocation"]
    after = assigned(server)
    for unit_id, old in before.items():
        if old.reason == "ASSIGNED":
            assert (after[unit_id].key, after[unit_id].epoch) == (old.key, 1)
    new = [after[unit_id] for unit_id, old in before.items() if old.reason != "ASSIGNED"]
    admitted = [each.key for each in new if each.reason == "ASSIGNED"]
    assert {each.epoch for each in new if each.reason == "ASSIGNED"} == {2}
    assert 0.84 < admitted.count("summary") / len(admitted) < 0.96
    lines = admin("GET", "/v1/experiments").json["experiments"]
    assert lines[0]["spec"]["coverage"] == 0.8


def test_a_ramp_within_an_epoch_admits_by_the_shares_in_force(start, server, admin):
    start()
    shares = {"chat": 0.1, "summary": 0.9}
    admin("PUT", f"{PATH}/coverage", json={"coverage": 0.6, "allocation": shares})
    before = assigned(server)
    ramped = admin("PUT", f"{PATH}/coverage", json={"coverage": 0.9}).json
    assert [each["number"] for each in ramped["epochs"]] == [1, 2]
    after = assigned(server)
    assert all(after[unit].key == old.key for unit, old in before.items() if old.reason == "ASSIGNED")
    same_shares = admin("PUT", f"{PATH}/coverage", json={"coverage": 1.0, "allocation": shares}).json
    assert len(same_shares["epochs"]) == 2


@pytest.mark.parametrize(
    ("coverage", "advice"), [(0.5, "raise it in the same change"), (1.0, "stop it and start a new experiment")]
)
def test_new_shares_without_new_units_are_refused_with_what_to_do(start, admin, coverage, advice):
    start(coverage=coverage)
    body = {"coverage": coverage, "allocation": {"chat": 0.2, "summary": 0.8}}
    reply = admin("PUT", f"{PATH}/coverage", json=body)
    assert (reply.status_code, reply.json["code"]) == (409, "no_room")
    assert "moved to another" in reply.json["detail"]
    assert advice in reply.json["detail"]
    assert len(admin("GET", PATH).json["epochs"]) == 1


@pytest.mark.parametrize("allocation", [{"chat": 0.4}, {"nobody": 1.0}, {"chat": 2.0, "summary": -1.0}])
def test_new_shares_that_make_no_sense_are_refused(start, admin, allocation):
    start()
    reply = admin("PUT", f"{PATH}/coverage", json={"coverage": 0.9, "allocation": allocation})
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert "$.allocation" in reply.json["detail"]


def test_a_drafts_shares_change_freely_with_its_coverage(admin):
    admin("POST", "/v1/experiments", json=spec())
    made = admin("PUT", f"{PATH}/coverage", json={"coverage": 0.2, "allocation": {"chat": 0.3, "summary": 0.7}}).json
    assert (made["spec"]["coverage"], made["spec"]["allocation"]) == (0.2, {"chat": 0.3, "summary": 0.7})
    assert made["epochs"] == []


@pytest.mark.parametrize(
    "change",
    [{"salt": "another"}, {"scheme": "growthbook-2"}, {"prerequisites": [{"experiment": "b", "variants": ["chat"]}]}],
)
def test_what_would_remap_a_started_experiment_is_refused(start, admin, change):
    start()
    reply = admin("PUT", PATH, json=spec() | change)
    assert (reply.status_code, reply.json["code"]) == (409, "frozen")
    assert next(iter(change)) in reply.json["detail"]


def exposures(units, event):
    return [
        event(
            type="exposure",
            unit_id=unit_id,
            experiment="ai-entry",
            variant=each.key,
            epoch=each.epoch,
            name=None,
        )
        for unit_id, each in units.items()
        if each.reason == "ASSIGNED"
    ]


def checks_of(report):
    return {check["code"]: check for check in report["checks"]}


def test_a_sample_ratio_is_judged_by_the_shares_of_each_epoch(start, server, admin, worker, event, batch):
    """Together the arms stand at about 3 to 7: by either epoch's shares alone that would be a broken experiment."""
    start()
    admin("PUT", f"{PATH}/coverage", json={"coverage": 1.0, "allocation": {"chat": 0.1, "summary": 0.9}})
    sent = exposures(assigned(server), event)
    for index in range(0, len(sent), 500):
        assert server.send(batch(sent[index : index + 500])).json["rejected"] == []
    worker.archive()
    report = admin("GET", f"{PATH}/report?refresh=1").json
    checks = checks_of(report)
    assert (checks["srm"]["status"], checks["srm_epoch_1"]["status"], checks["srm_epoch_2"]["status"]) == ("ok",) * 3
    by_arm = {arm["variant"]: arm["n_units"] for arm in report["arms"]}
    assert sum(by_arm.values()) == 2_000
    assert 0.25 < by_arm["chat"] / 2_000 < 0.35

    # the same people, as if an SDK had forgotten the bands: now one epoch's shares judge them all
    pooled = exposures(
        {f"other-{unit}": msgspec.structs.replace(each, epoch=2) for unit, each in assigned(server).items()}, event
    )
    for index in range(0, len(pooled), 500):
        server.send(batch(pooled[index : index + 500]))
    worker.archive()
    assert checks_of(admin("GET", f"{PATH}/report?refresh=1").json)["srm_epoch_2"]["status"] == "fail"


def told(units, event):
    return [
        event(
            unit_id=unit_id,
            name="genux_assigned",
            properties={"experiment": "ai-entry", "variant": each.key, "epoch": each.epoch},
        )
        for unit_id, each in units.items()
        if each.reason == "ASSIGNED"
    ]


def test_units_that_were_told_and_never_exposed_are_reported_by_arm(start, server, admin, worker, event, batch):
    start(coverage=1.0)
    units = assigned(server, n_units=400)
    met = {unit: each for unit, each in units.items() if each.key == "chat" or int(unit[1:]) % 4}
    n_missed = len(units) - len(met)
    sent = [*told(units, event), *exposures(met, event)]
    sent += told({"u1": units["u1"]}, event)  # another process tells it again
    forced = next(unit for unit in units if unit not in met)
    sent.append(event(type="exposure", unit_id=forced, experiment="ai-entry", variant="chat", forced=True, name=None))
    for index in range(0, len(sent), 500):
        assert server.send(batch(sent[index : index + 500])).json["rejected"] == []
    worker.archive()
    check = checks_of(admin("GET", f"{PATH}/report?refresh=1").json)["unexposed"]
    assert check["status"] == "warn"
    assert f"chat 0 and summary {n_missed - 1}" in check["message"]["text"]


RULES = {
    "layers": [{"key": "page"}],
    "holdouts": [{"key": "all", "share": 0.1}],
    "exclusions": [[{"attribute": "bot", "value": True}]],
}


def put_rules(admin, **rules):
    return admin("PUT", "/v1/assignment-rules", json=rules)


def test_rules_reach_the_sdk_with_a_new_version_and_an_audit_line(start, server, admin, store, scope):
    old = server("GET", "/v1/snapshot").headers["ETag"]
    assert put_rules(admin, **RULES).status_code == 200
    start("left", layer={"key": "page", "ranges": [[0, 0.5]]}, coverage=1.0)
    start("right", layer={"key": "page", "ranges": [[0.5, 1]]}, coverage=1.0)
    snapshot = server("GET", "/v1/snapshot")
    assert snapshot.headers["ETag"] != old
    found = compiled(server)
    assert assign(found, "left", "u", {"bot": True}).reason == "EXCLUDED"
    left, right = assigned(server, "left"), assigned(server, "right")
    assert {each.reason for each in left.values()} == {"ASSIGNED", "EXCLUDED", "HOLDOUT"}
    for unit_id, each in left.items():
        assert (each.reason == "HOLDOUT") == (right[unit_id].reason == "HOLDOUT")
        assert not (each.reason == right[unit_id].reason == "ASSIGNED")
        assert "ASSIGNED" in {each.reason, right[unit_id].reason} or each.reason == "HOLDOUT"
    line = next(line for line in audit.history(store, scope) if line.action == "rules.update")
    assert line.detail["after"]["layers"][0]["key"] == "page"
    assert admin("GET", "/v1/assignment-rules").json["holdouts"][0]["share"] == 0.1


def test_two_running_experiments_cannot_take_the_same_part_of_a_layer(start, admin):
    put_rules(admin, layers=[{"key": "page"}])
    start("left", layer={"key": "page", "ranges": [[0, 0.6]]})
    reply = start("right", layer={"key": "page", "ranges": [[0.7, 0.8], [0.5, 0.65]]})
    assert (reply.status_code, reply.json["code"]) == (409, "contradicts")
    assert "$.layer.ranges[1]: 0.5 to 0.65 of the layer `page` overlaps with 0 to 0.6" in reply.json["detail"]
    assert admin("GET", "/v1/experiments/right").json["status"] == "draft"
    admin("POST", "/v1/experiments/left/stop")
    assert admin("POST", "/v1/experiments/right/start").status_code == 200


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"layer": {"key": "nope", "ranges": [[0, 1]]}}, "$.layer: there is no layer `nope`"),
        ({"layer": {"key": "page", "ranges": [[0.5, 0.5]]}}, "$.layer.ranges[0]: begins at 0.5 and ends at 0.5"),
        (
            {"prerequisites": [{"experiment": "nope", "variants": ["chat"]}]},
            "$.prerequisites[0].experiment: there is no started experiment `nope`",
        ),
        (
            {"prerequisites": [{"experiment": "first", "variants": ["chat", "nobody"]}]},
            "$.prerequisites[0].variants[1]: no variant `nobody`; there are chat, summary",
        ),
        (
            {"unit_kind": "document", "prerequisites": [{"experiment": "first", "variants": ["chat"]}]},
            "$.prerequisites[0].experiment: `first` assigns a user, this one a document",
        ),
        (
            {"prerequisites": [{"experiment": "ai-entry", "variants": ["chat"]}]},
            "prerequisites go round in a circle: ai-entry -> ai-entry",
        ),
    ],
)
def test_an_experiment_that_contradicts_the_rest_is_refused_with_its_place(start, admin, more, place):
    put_rules(admin, layers=[{"key": "page"}])
    start("first")
    reply = admin("POST", "/v1/experiments", json=spec() | more)
    assert (reply.status_code, reply.json["code"]) == (409, "contradicts")
    assert place in reply.json["detail"]
    assert admin("GET", PATH).status_code == 404


def test_a_prerequisite_must_have_started_and_cannot_be_archived_while_needed(start, admin):
    admin("POST", "/v1/metrics", json=METRIC)
    admin("POST", "/v1/experiments", json=spec("first"))
    reply = start("second", prerequisites=[{"experiment": "first", "variants": ["summary"]}])
    assert (reply.status_code, reply.json["code"]) == (409, "contradicts")
    assert "there is no started experiment `first`" in reply.json["detail"]
    for path in ("first/start", "second/start", "first/stop"):
        assert admin("POST", f"/v1/experiments/{path}").status_code == 200
    assert "there is no started experiment" in admin("POST", "/v1/experiments/first/archive").json["detail"]
    admin("POST", "/v1/experiments/second/stop")
    assert admin("POST", "/v1/experiments/first/archive").status_code == 200


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ({"layers": []}, "experiments.ai-entry.layer: there is no layer `page`"),
        ({"layers": [{"key": "page"}, {"key": "page"}]}, "layers[1].key: `page` stands twice"),
        ({"holdouts": [{"key": "h", "share": 0.1, "experiments": ["nope"]}]}, "holdouts[0].experiments[0]"),
        ({"exclusions": [[{"attribute": "a", "op": "in", "value": "x"}]]}, "exclusions[0][0].value: `in` needs a list"),
    ],
)
def test_rules_that_contradict_the_experiments_are_refused_with_their_place(start, admin, rules, place):
    put_rules(admin, layers=[{"key": "page"}])
    admin("POST", "/v1/experiments", json=spec(layer={"key": "page", "ranges": [[0, 1]]}))
    reply = put_rules(admin, **({"layers": [{"key": "page"}]} | rules))
    assert (reply.status_code, reply.json["code"]) == (409, "contradicts")
    assert place in reply.json["detail"]
    assert admin("GET", "/v1/assignment-rules").json["layers"] == [{"key": "page", "salt": "", "scheme": "genux-1"}]


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ({"layers": [{"key": "page", "salt": "other"}]}, "$.layers[0]"),
        ({"holdouts": [{"key": "all", "share": 0.3}]}, "$.holdouts[0]"),
        ({"holdouts": [{"key": "all", "share": 0.2, "salt": "other"}]}, "$.holdouts[0]"),
        ({"holdouts": [{"key": "more", "share": 0.01}]}, "$.holdouts[0]"),
    ],
)
def test_rules_that_would_move_units_of_a_started_experiment_are_refused(start, admin, rules, place):
    known = {"layers": [{"key": "page"}], "holdouts": [{"key": "all", "share": 0.2}]}
    put_rules(admin, **known)
    start(layer={"key": "page", "ranges": [[0, 1]]})
    reply = put_rules(admin, **(known | rules))
    assert (reply.status_code, reply.json["code"]) == (409, "frozen")
    assert place in reply.json["detail"]
    assert put_rules(admin, **(known | {"holdouts": [{"key": "all", "share": 0.1}]})).status_code == 200


def test_payloads_must_fit_the_schema_that_their_experiment_names(admin):
    schema = {
        "type": "object",
        "properties": {"model": {"type": "string"}, "tokens": {"type": "integer", "minimum": 1}},
        "required": ["model"],
    }
    variants = [{"key": "a", "payload": {"model": "m", "tokens": 0}}, {"key": "b", "payload": {"tokens": 5}}]
    reply = admin("POST", "/v1/experiments", json=spec(variants=variants, payload_schema=schema))
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert "$.variants[0].payload.tokens: variant `a`: 0 is less than the minimum of 1" in reply.json["detail"]
    assert "$.variants[1].payload: variant `b`: 'model' is a required property" in reply.json["detail"]
    good = [{"key": "a", "payload": {"model": "m"}}, {"key": "b", "payload": {"model": "n", "tokens": 5}}]
    assert admin("POST", "/v1/experiments", json=spec(variants=good, payload_schema=schema)).status_code == 201


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "objekt"}, "$.payload_schema.type: not a JSON Schema"),
        ({"$ref": "#/nowhere"}, "$.payload_schema: a reference leads nowhere"),
        ({"$ref": "#"}, "$.payload_schema: cannot be used: RecursionError"),
        ({"$schema": 5}, "$.payload_schema: cannot be used"),
        ({"properties": {"m": {"pattern": "a{99999999999}"}}}, "$.payload_schema: cannot be used: OverflowError"),
    ],
)
def test_a_schema_that_is_none_is_refused(admin, schema, place):
    variants = [{"key": "a", "payload": {"m": "x"}}, {"key": "b"}]
    reply = admin("POST", "/v1/experiments", json=spec(payload_schema=schema, variants=variants))
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert place in reply.json["detail"]


def test_a_schema_that_refers_elsewhere_is_refused_and_nothing_is_fetched(admin):
    asked = []

    class Schemas(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with HTTPServer(("127.0.0.1", 0), Schemas) as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever)
        thread.start()
        schema = {"$ref": f"http://127.0.0.1:{elsewhere.server_port}/schema"}
        reply = admin("POST", "/v1/experiments", json=spec(payload_schema=schema))
        elsewhere.shutdown()
        thread.join()
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert "$.payload_schema: a reference leads nowhere" in reply.json["detail"]
    assert asked == []
