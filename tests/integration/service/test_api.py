import datetime as dt
import re

import msgspec
import pytest
import sqlalchemy as sa

from genux.assignment import assign, compile_snapshot
from genux.wire import Snapshot
from genux_server.model import Report
from genux_server.service import audit, bootstrap, keys, people

METRIC = {"key": "accepted", "numerator": {"event": "answer_accepted"}, "window_seconds": 60}
EXPERIMENT = {
    "key": "ai-entry",
    "variants": [{"key": "chat"}, {"key": "summary", "surface": "action"}],
    "primary": "accepted",
    "coverage": 0.5,
}


@pytest.fixture
def running(admin):
    assert admin("POST", "/v1/metrics", json=METRIC).status_code == 201
    assert admin("POST", "/v1/experiments", json=EXPERIMENT).status_code == 201
    reply = admin("POST", "/v1/experiments/ai-entry/start")
    assert reply.status_code == 200
    return reply.json


def fetch(caller):
    return msgspec.json.decode(caller("GET", "/v1/snapshot").data, type=Snapshot)


def test_a_started_experiment_is_what_sdks_assign_from(running, server):
    snapshot = fetch(server)
    assert (snapshot.project, snapshot.environment) == ("default", "dev")
    compiled = compile_snapshot(snapshot)
    reasons = [assign(compiled, "ai-entry", f"u{index}", {}).reason for index in range(400)]
    assert set(reasons) == {"ASSIGNED", "NOT_IN_COVERAGE"}
    assert compiled.problems == {}


def test_a_snapshot_is_sent_only_when_it_changed(running, server, admin):
    first = server("GET", "/v1/snapshot")
    again = server("GET", "/v1/snapshot", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    admin("PUT", "/v1/experiments/ai-entry/coverage", json={"coverage": 0.75})
    changed = server("GET", "/v1/snapshot", If_None_Match=first.headers["ETag"])
    assert changed.status_code == 200
    assert changed.json["experiments"][0]["coverage"] == 0.75
    assert changed.json["version"] == changed.headers["Genux-Snapshot"] != first.json["version"]


def test_the_version_told_with_every_answer_is_the_version_of_the_content(admin, server, running):
    for verb in ("pause", "resume", "stop", "archive"):
        admin("POST", f"/v1/experiments/ai-entry/{verb}")
        reply = server("GET", "/v1/snapshot")
        assert reply.json["version"] == reply.headers["Genux-Snapshot"]


def test_secrets_that_sign_tokens_go_to_servers_only(server, admin, store, scope):
    assert len(fetch(server).token_keys) == 1
    assert fetch(admin).token_keys == []
    before = fetch(server)
    bootstrap.rotate_token_secret(store, scope)
    after = fetch(server)
    assert after.token_keys[1:] == before.token_keys
    assert after.version != before.version


def test_raising_coverage_moves_nobody_and_opens_no_epoch(running, server, admin):
    before = compile_snapshot(fetch(server))
    reply = admin("PUT", "/v1/experiments/ai-entry/coverage", json={"coverage": 0.9})
    assert len(reply.json["epochs"]) == 1
    after = compile_snapshot(fetch(server))
    for index in range(500):
        old, new = (assign(each, "ai-entry", f"u{index}", {}) for each in (before, after))
        if old.reason == "ASSIGNED":
            assert new.key == old.key


def test_coverage_of_a_started_experiment_cannot_fall(running, admin):
    reply = admin("PUT", "/v1/experiments/ai-entry/coverage", json={"coverage": 0.4})
    assert (reply.status_code, reply.json["code"]) == (409, "coverage_falls")


@pytest.mark.parametrize("allocation", [{"chat": 0.5}, {"chat": 0.5, "other": 0.5}, {"chat": 1.5, "summary": -0.5}])
def test_shares_that_do_not_fit_are_refused(admin, allocation):
    reply = admin("POST", "/v1/experiments", json=EXPERIMENT | {"allocation": allocation})
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")


def test_new_shares_for_a_started_experiment_are_refused_because_they_would_move_people(running, admin):
    shares = EXPERIMENT | {"allocation": {"chat": 0.2, "summary": 0.8}}
    reply = admin("PUT", "/v1/experiments/ai-entry", json=shares)
    assert (reply.status_code, reply.json["code"]) == (409, "frozen")
    assert "allocation" in reply.json["detail"]


def test_a_started_experiment_keeps_what_assigns_units(running, admin):
    words = EXPERIMENT | {"question": "Which one?"}
    assert admin("PUT", "/v1/experiments/ai-entry", json=words).json["spec"]["question"] == "Which one?"
    other = EXPERIMENT | {"variants": [{"key": "chat"}, {"key": "button"}]}
    reply = admin("PUT", "/v1/experiments/ai-entry", json=other)
    assert (reply.status_code, reply.json["code"]) == (409, "frozen")
    assert "variants" in reply.json["detail"]


@pytest.mark.parametrize("change", [{"primary": "other"}, {"plan": {"alpha": 0.4}}])
def test_what_decides_is_frozen_at_the_start(running, admin, change):
    reply = admin("PUT", "/v1/experiments/ai-entry", json=EXPERIMENT | change)
    assert (reply.status_code, reply.json["code"]) == (409, "frozen")
    assert next(iter(change)) in reply.json["detail"]


def test_a_started_experiment_takes_only_metrics_that_exist(running, admin):
    reply = admin("PUT", "/v1/experiments/ai-entry", json=EXPERIMENT | {"guardrails": ["nope"]})
    assert (reply.status_code, reply.json["code"]) == (409, "unknown_metric")


@pytest.mark.parametrize(
    ("numerator", "place"),
    [
        ({"source": "call", "field": "cost", "aggregate": "sum"}, "$.numerator.field"),
        ({"event": "done", "after_seconds": 1e9}, "$.numerator.after_seconds"),
        ({"event": "genux_assigned"}, "$.numerator.event"),
    ],
)
def test_a_metric_that_could_never_be_computed_is_refused(admin, numerator, place):
    reply = admin("POST", "/v1/metrics", json=METRIC | {"numerator": numerator})
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert place in reply.json["detail"]


def test_the_way_from_draft_to_archive(running, admin, server):
    path = "/v1/experiments/ai-entry"
    assert admin("POST", f"{path}/start").json["code"] == "wrong_status"
    assert admin("POST", f"{path}/pause").json["status"] == "paused"
    assert fetch(server).experiments[0].status == "paused"
    assert admin("POST", f"{path}/resume").json["status"] == "running"
    assert admin("POST", f"{path}/ship", json={"variant": "nobody"}).status_code == 400
    shipped = admin("POST", f"{path}/ship", json={"variant": "summary"}).json
    assert (shipped["status"], shipped["shipped"]) == ("shipped", "summary")
    assert shipped["epochs"][0]["ended_at"] is not None
    assert assign(compile_snapshot(fetch(server)), "ai-entry", "u", {}).key == "summary"
    assert admin("POST", f"{path}/archive").json["status"] == "archived"
    assert fetch(server).experiments == []


def test_an_experiment_starts_only_with_metrics_that_exist(admin):
    admin("POST", "/v1/experiments", json=EXPERIMENT | {"primary": ""})
    assert admin("POST", "/v1/experiments/ai-entry/start").json["code"] == "no_primary"
    admin("PUT", "/v1/experiments/ai-entry", json=EXPERIMENT)
    reply = admin("POST", "/v1/experiments/ai-entry/start")
    assert (reply.status_code, reply.json["code"]) == (409, "unknown_metric")
    assert "accepted" in reply.json["detail"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"key": "no spaces please"}, "$.key"),
        ({"variants": [{"key": "only"}]}, "$.variants"),
        ({"variants": [{"key": "a"}, {"key": "a"}]}, "$.variants"),
        ({"allocation": {"chat": 0.9}}, "$.allocation"),
        ({"hypothesys": "typo"}, "hypothesys"),
        ({"control": "nobody"}, "$.control"),
        ({"coverage": 2}, "$.coverage"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_with_its_place(admin, change, place):
    reply = admin("POST", "/v1/experiments", json=EXPERIMENT | change)
    assert (reply.status_code, reply.json["code"]) == (400, "invalid")
    assert place in reply.json["detail"]


def test_a_metric_sent_twice_is_one_and_a_changed_one_needs_put(admin):
    assert admin("POST", "/v1/metrics", json=METRIC).status_code == 201
    assert admin("POST", "/v1/metrics", json=METRIC).status_code == 201
    other = METRIC | {"window_seconds": 5}
    assert admin("POST", "/v1/metrics", json=other).status_code == 409
    assert admin("PUT", "/v1/metrics/accepted", json=other).json["window_seconds"] == 5
    assert [each["window_seconds"] for each in admin("GET", "/v1/metrics").json["metrics"]] == [5]


def test_a_ratio_without_a_denominator_is_refused(admin):
    reply = admin("POST", "/v1/metrics", json=METRIC | {"kind": "ratio"})
    assert (reply.status_code, reply.json["detail"][:13]) == (400, "$.denominator")


def test_a_quantile_that_asks_for_what_it_cannot_have_is_refused(admin):
    reply = admin("POST", "/v1/metrics", json=METRIC | {"kind": "quantile", "covariate_days": 7})
    assert (reply.status_code, reply.json["detail"][:6]) == (400, "$.kind")


ROUTES = [
    ("POST", "/v1/experiments", {"admin"}),
    ("PUT", "/v1/experiments/ai-entry", {"admin"}),
    ("PUT", "/v1/experiments/ai-entry/coverage", {"admin"}),
    ("POST", "/v1/experiments/ai-entry/pause", {"admin"}),
    ("POST", "/v1/experiments/ai-entry/ship", {"admin"}),
    ("GET", "/v1/assignment-rules", {"server", "admin"}),
    ("PUT", "/v1/assignment-rules", {"admin"}),
    ("GET", "/v1/prices", {"server", "admin"}),
    ("PUT", "/v1/prices", {"admin"}),
    ("GET", "/v1/text-capture", {"server", "admin"}),
    ("PUT", "/v1/text-capture", {"admin"}),
    ("POST", "/v1/metrics", {"admin"}),
    ("PUT", "/v1/metrics/accepted", {"admin"}),
    ("GET", "/v1/experiments", {"server", "admin"}),
    ("GET", "/v1/experiments/ai-entry", {"server", "admin"}),
    ("GET", "/v1/experiments/ai-entry/report", {"server", "admin"}),
    ("GET", "/v1/metrics", {"server", "admin"}),
    ("GET", "/v1/metrics/accepted", {"server", "admin"}),
    ("GET", "/v1/rejected", {"server", "admin"}),
    ("GET", "/v1/snapshot", {"server", "admin"}),
    ("POST", "/v1/units/erase", {"admin"}),
    ("POST", "/v1/units/export", {"admin"}),
    ("GET", "/v1/units/erasures/1", {"admin"}),
    ("GET", "/v1/whoami", {"server", "browser", "admin"}),
    ("POST", "/v1/events", {"server", "browser", "admin"}),
]


def test_each_address_opens_to_the_kinds_of_key_it_names(app, running, server, browser, admin, call_as):
    for method, path, kinds in ROUTES:
        for kind, caller in (("server", server), ("browser", browser), ("admin", admin)):
            status = caller(method, path, data=b"{").status_code
            assert (status == 403) == (kind not in kinds), (method, path, kind, status)
        assert call_as("gxs_nobody")(method, path).status_code == 401
        assert app.test_client().open(path, method=method).status_code == 401
    known = {re.sub(r"ai-entry|accepted", "<key>", path) for _, path, _ in ROUTES}
    served = {
        re.sub(r"<any.*>", "pause", rule.rule).replace("<int:erasure_id>", "1")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
    }
    assert served == known


def test_a_key_sees_its_own_project_and_environment_only(store, scope, running, call_as, server, event, batch):
    server.send(batch([event(name="")]))
    elsewhere = [bootstrap.create_project(store, "other", "Other"), bootstrap.find_scope(store, "default", "prod")]
    for other in elsewhere:
        caller = call_as(keys.create(store, other, "admin").secret)
        assert caller("GET", "/v1/whoami").json["environment"] == other.environment
        assert caller("GET", "/v1/experiments").json == {"experiments": []}
        for method, path in (
            ("GET", ""),
            ("GET", "/report"),
            ("POST", "/stop"),
            ("PUT", "/coverage"),
        ):
            body = {"coverage": 1.0} if path == "/coverage" else None
            reply = caller(method, f"/v1/experiments/ai-entry{path}", json=body)
            assert (reply.status_code, reply.json["code"]) == (404, "not_found")
        assert caller("GET", "/v1/rejected").json == {"rejected": []}
        assert fetch(caller).experiments == []
    metrics = call_as(keys.create(store, elsewhere[0], "admin").secret)("GET", "/v1/metrics").json
    assert metrics == {"metrics": []}


def test_a_revoked_key_is_refused_at_once(store, scope, call_as):
    made = keys.create(store, scope, "server", "soon gone")
    caller = call_as(made.secret)
    assert caller("GET", "/v1/whoami").status_code == 200
    keys.revoke(store, scope, made.id)
    assert caller("GET", "/v1/whoami").json["code"] == "unknown_key"
    with pytest.raises(Exception, match="no key"):
        keys.revoke(store, scope, made.id)


def test_a_key_is_kept_as_a_hash(store, scope):
    made = keys.create(store, scope, "server")
    with store.reading() as session:
        row = session.execute(sa.text("SELECT * FROM api_key WHERE id = :id"), {"id": made.id}).one()
    assert made.secret not in str(row)
    assert next(key for key in keys.list_keys(store, scope) if key.id == made.id).prefix == made.secret[:9]


def test_changes_are_in_the_audit_log_with_who_made_them(store, scope, running, admin):
    admin("POST", "/v1/experiments/ai-entry/ship", json={"variant": "chat"})
    admin("POST", "/v1/experiments/ai-entry/pause")
    lines = audit.history(store, scope, subject="ai-entry")
    assert [line.action for line in lines] == ["experiment.ship", "experiment.start", "experiment.create"]
    assert lines[0].detail == {"variant": "chat"}
    assert lines[0].actor.startswith("key gxa_")


def test_people_log_in_with_their_password_and_see_their_projects(store, credentials, scope):
    person = people.check_login(store, f" {credentials.admin_email.upper()} ", credentials.admin_password)
    assert [each.environment for each in people.scopes(store, person.id, person.stamp)] == ["dev", "staging", "prod"]
    assert people.check_login(store, credentials.admin_email, "wrong password") is None
    assert people.check_login(store, "nobody@example.org", credentials.admin_password) is None
    people.set_password(store, credentials.admin_email, "another password")
    assert people.scopes(store, person.id, person.stamp) == []
    assert people.check_login(store, credentials.admin_email, credentials.admin_password) is None
    with pytest.raises(Exception, match="at least"):
        people.set_password(store, credentials.admin_email, "short")


def test_the_first_start_happens_once_and_survives_a_crash_in_its_middle(store, service_config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(people, "add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bootstrap.first_start(store, service_config)
    made = bootstrap.first_start(store, service_config)
    assert keys.authenticate(store, made.server_key).kind == "server"
    assert bootstrap.first_start(store, service_config) is None


def test_what_goes_wrong_is_a_problem_document(server):
    for path in ("/v1/nothing-here", "/v1/experiments/nobody"):
        reply = server("GET", path)
        assert (reply.status_code, reply.mimetype) == (404, "application/problem+json")
        assert {"type", "title", "status", "detail", "code"} <= reply.json.keys()
    assert server("DELETE", "/v1/snapshot").status_code == 405


def test_every_answer_carries_the_security_headers(server):
    headers = server("GET", "/v1/whoami").headers
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_the_service_says_whether_it_is_ready(server, app, event, batch, worker):
    server.send(batch([event()]))
    client = app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json["waiting_batches"] == 1
    worker.archive()
    ready = client.get("/readyz").json
    assert (ready["waiting_batches"], ready["worker"]) == (0, True)


def exposures_and_outcomes(event, n):
    events = []
    for index in range(n):
        unit, variant = f"u{index}", ("chat", "summary")[index % 2]
        events.append(event(type="exposure", unit_id=unit, experiment="ai-entry", variant=variant, name=None))
        if index % 4 == 1:
            events.append(event(unit_id=unit))
    return events


def test_a_report_counts_every_unit_once_and_is_computed_once(running, server, worker, event, batch, store):
    server.send(batch(exposures_and_outcomes(event, 200)))
    worker.archive()
    reply = server("GET", "/v1/experiments/ai-entry/report?refresh=1")
    report = msgspec.json.decode(reply.data, type=Report)
    assert {arm.variant: arm.n_units for arm in report.arms} == {"chat": 100, "summary": 100}
    again = server("GET", "/v1/experiments/ai-entry/report").json
    assert again["generated_at"] == reply.json["generated_at"]


def test_an_unchanged_lake_is_not_read_again_and_a_changed_one_is(
    admin, server, worker, event, batch, store, monkeypatch
):
    admin("POST", "/v1/metrics", json=METRIC | {"window_seconds": 0.001})
    admin("POST", "/v1/experiments", json=EXPERIMENT)
    admin("POST", "/v1/experiments/ai-entry/start")
    path = "/v1/experiments/ai-entry/report?refresh=1"
    server.send(batch(exposures_and_outcomes(event, 8)))
    worker.archive()
    first = server("GET", path).json
    assert server("GET", path).json == first
    server.send(batch([event(unit_id="somebody else")]))
    worker.archive()
    second = server("GET", path).json
    assert second["lake_version"] != first["lake_version"]
    # a changed definition is another report, too
    admin("PUT", "/v1/experiments/ai-entry", json=EXPERIMENT | {"question": "Which?"})
    assert server("GET", path).json["question"] == "Which?"


def test_a_report_says_what_never_arrived(running, server, worker, event, batch):
    server.send(batch([event(name="")]))
    server.send(batch(exposures_and_outcomes(event, 4), dropped={"outbox_full": 9}))
    worker.archive()
    report = server("GET", "/v1/experiments/ai-entry/report?refresh=1").json
    check = next(check for check in report["checks"] if check["code"] == "lost_events")
    assert (check["status"], check["value"]) == ("warn", 10)
    assert check["message"]["args"] == {"given_up": 9, "refused": 1, "reasons": "outbox_full 9, schema 1"}


def test_a_draft_has_no_report(admin):
    admin("POST", "/v1/experiments", json=EXPERIMENT)
    reply = admin("GET", "/v1/experiments/ai-entry/report")
    assert (reply.status_code, reply.json["code"]) == (409, "not_started")


def test_the_worker_keeps_reports_fresh_by_itself(running, server, worker, event, batch, store, scope):
    from genux_server.service import reports

    server.send(batch(exposures_and_outcomes(event, 40)))
    assert worker.step() is True
    assert reports.current(store, scope, "ai-entry") is None
    assert worker.step() is False
    assert reports.current(store, scope, "ai-entry").n_units == 40


def test_what_a_public_browser_key_sends_is_left_out_and_counted(running, server, browser, worker, event, batch):
    server.send(batch(exposures_and_outcomes(event, 20)))
    forged = [exposure | {"unit_id": f"forged {exposure['unit_id']}"} for exposure in exposures_and_outcomes(event, 30)]
    assert browser.send(batch(forged)).status_code == 200
    worker.archive()
    report = server("GET", "/v1/experiments/ai-entry/report?refresh=1").json
    assert sum(arm["n_units"] for arm in report["arms"]) == 20
    assert next(c for c in report["checks"] if c["code"] == "unverified_exposures")["message"]["args"] == {"n": 30}


def test_what_people_do_after_the_end_does_not_count(running, admin, server, worker, event, batch, monkeypatch):
    from genux_server.service import reports

    now = reports.utcnow
    server.send(batch(exposures_and_outcomes(event, 20)))
    worker.archive()
    admin("POST", "/v1/experiments/ai-entry/ship", json={"variant": "summary"})
    monkeypatch.setattr(reports, "utcnow", lambda: now() + dt.timedelta(hours=1))
    report = server("GET", "/v1/experiments/ai-entry/report?refresh=1").json
    (accepted,) = report["metrics"]
    # Every window was still open at the end, so nobody may count, however much time goes by.
    assert {(arm["n_units"], arm["pending"]) for arm in accepted["arms"]} == {(0, 10)}
