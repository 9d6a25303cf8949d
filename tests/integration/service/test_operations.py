"""What whoever runs the service sees of it: metrics, log, health."""

import json
import logging
import urllib.error
import urllib.request
import uuid
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from genux_server.app import create_app
from genux_server.config import Config
from genux_server.service import exposition, health, people
from genux_server.service.logs import JsonFormatter
from genux_server.service.services import Services
from genux_server.service.worker import Worker
from genux_server.store import StorageError, Store


def parsed(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def metrics(app):
    return lambda: parsed(app.test_client().get("/metrics").text)


@pytest.fixture
def log_lines():
    """Everything the service logs during the test, as it would be written."""
    lines = []

    class Collector(logging.Handler):
        def emit(self, record):
            lines.append(self.format(record))

    handler = Collector()
    handler.setFormatter(JsonFormatter())
    root, service = logging.getLogger(), logging.getLogger("genux_server")
    before = service.level
    root.addHandler(handler)
    service.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    service.setLevel(before)


def test_metrics_tell_what_came_in_and_what_waits(app, server, browser, event, batch, worker, store, metrics):
    first = batch([event(), event(value="x")], dropped={"outbox_full": 4})
    server.send(first)
    server.send(first)
    browser.send(batch([event()]))
    server("POST", "/v1/events", data=b"{")
    found = metrics()
    assert found["genux_ingest_batches_total", ("result", "ok")] == 2
    assert found["genux_ingest_batches_total", ("result", "duplicate")] == 1
    assert found["genux_ingest_batches_total", ("result", "unreadable")] == 1
    assert found["genux_ingest_events_total", ("trust", "server")] == 1
    assert found["genux_ingest_events_total", ("trust", "browser")] == 1
    assert found["genux_ingest_rejected_events_total", ("code", "schema")] == 1
    assert found["genux_sdk_dropped_events_total", ("reason", "outbox_full")] == 4
    assert found["genux_ingest_seconds_count",] == 4
    assert found["genux_http_requests_total", ("method", "POST"), ("route", "/v1/events"), ("status", "200")] == 3
    assert found["genux_inbox_batches",] == 2
    assert found["genux_inbox_oldest_seconds",] > 0
    assert (found["genux_up",], found["genux_worker_lease_held",], found["genux_lake_chunk",]) == (1, 0, 0)
    assert worker.archive()
    found = metrics()
    assert found["genux_inbox_batches",] == found["genux_inbox_bytes",] == found["genux_inbox_oldest_seconds",] == 0
    assert (found["genux_worker_lease_held",], found["genux_lake_chunk",]) == (1, 1)


def test_a_batch_over_the_budget_is_counted(credentials, call_as, service_config, event, batch):
    app = create_app(replace(service_config, inbox_max_batches=0))
    answer = app.test_client().post(
        "/v1/events",
        data=json.dumps(batch([event()])),
        headers={"Authorization": f"Bearer {credentials.server_key}"},
    )
    assert answer.status_code == 429
    assert parsed(app.test_client().get("/metrics").text)["genux_ingest_batches_total", ("result", "over_budget")] == 1
    app.extensions["genux"].store.close()


def test_the_worker_counts_chunks_calls_and_failures(store, app, service_config, server, event, batch, metrics):
    services = app.extensions["genux"]
    worker = Worker(store, services.lake, service_config, services.telemetry)
    call = event(
        type="call",
        name=None,
        call_id=str(uuid.uuid4()),
        latency_seconds=0.4,
        cost_usd="0.02",
        assignments=[{"experiment": "ai-entry", "variant": "summary"}],
    )
    server.send(batch([call, event()]))
    assert worker.archive()
    found = metrics()
    where = [("environment", "dev"), ("experiment", "ai-entry"), ("project", "default")]
    assert found["genux_lake_batches_total",] == found["genux_lake_chunk_seconds_count",] == 1
    assert found["genux_llm_calls_total", *where, ("status", "ok"), ("variant", "summary")] == 1
    assert found["genux_llm_cost_usd_total", *where, ("variant", "summary")] == 0.02


def test_while_a_database_is_away_old_numbers_are_not_shown(service_config, credentials, break_database):
    services = Services(service_config)
    assert parsed(exposition.render(services).decode())["genux_up",] == 1
    break_database(services.store)
    found = parsed(exposition.render(services).decode())
    assert found["genux_up",] == 0
    assert ("genux_inbox_batches",) not in found
    services.store.close()


@pytest.mark.parametrize(
    ("settings", "environ", "may"),
    [
        ({}, {"REMOTE_ADDR": "127.0.0.1"}, True),
        ({}, {"REMOTE_ADDR": "::1"}, True),
        ({}, {"REMOTE_ADDR": "10.0.0.7"}, False),
        ({}, {"REMOTE_ADDR": ""}, False),
        ({}, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
        ({"secure_cookies": True}, {"REMOTE_ADDR": "127.0.0.1"}, False),
        ({"metrics_token": "t0ken"}, {"REMOTE_ADDR": "127.0.0.1"}, False),
        ({"metrics_token": "t0ken"}, {"REMOTE_ADDR": "10.0.0.7", "HTTP_AUTHORIZATION": "Bearer t0ken"}, True),
        ({"metrics_token": "t0ken"}, {"REMOTE_ADDR": "10.0.0.7", "HTTP_AUTHORIZATION": "Bearer t0ke"}, False),
        ({"metrics_token": "t0ken"}, {"REMOTE_ADDR": "10.0.0.7", "HTTP_AUTHORIZATION": "Bearer \xe9"}, False),
    ],
)
def test_metrics_are_for_this_machine_or_for_the_token(settings, environ, may):
    assert exposition.may_read(Config(**settings), environ) is may


def test_strangers_get_no_metrics(app):
    answer = app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_a_worker_of_its_own_shows_its_metrics(service_config, credentials):
    services = Services(replace(service_config, metrics_token="t0ken"))
    services.telemetry.chunk(3, 0.2)
    with exposition.served(services) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        request = urllib.request.Request(url, headers={"Authorization": "Bearer t0ken"})
        with urllib.request.urlopen(request, timeout=10) as response:
            found = parsed(response.read().decode())
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=10)
    assert found["genux_lake_batches_total",] == 3
    assert found["genux_up",] == 1
    services.store.close()


def test_the_callers_request_id_is_answered_and_stands_in_every_line(app, server, admin, log_lines):
    answer = admin("POST", "/v1/metrics", json={"key": "!"}, X_Request_Id="edge-42")
    assert answer.headers["X-Request-Id"] == "edge-42"
    invented = server("GET", "/v1/whoami", X_Request_Id="two words").headers["X-Request-Id"]
    assert len(invented) == 32
    lines = [json.loads(line) for line in log_lines]
    assert [line["request_id"] for line in lines] == ["edge-42", invented]
    assert lines[0] | {"milliseconds": 0, "at": 0} == {
        "at": 0,
        "level": "info",
        "logger": "genux_server.api.observe",
        "message": "answered",
        "request_id": "edge-42",
        "method": "POST",
        "route": "/v1/metrics",
        "status": answer.status_code,
        "milliseconds": 0,
        "bytes": 12,
        "actor": lines[0]["actor"],
    }
    assert lines[0]["actor"].startswith("key gxa_")


def test_a_failure_of_ours_is_logged_with_its_request(app, server, log_lines, monkeypatch):
    monkeypatch.setattr("genux_server.api.snapshot.utcnow", lambda: 1 / 0)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = server("GET", "/v1/whoami", X_Request_Id="edge-7")
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "edge-7")
    failed = [json.loads(line) for line in log_lines if "ZeroDivisionError" in line]
    assert [line["request_id"] for line in failed] == ["edge-7"]


def test_no_secret_is_in_any_line(  # noqa: PLR0917  # whatever could let one slip takes part
    app, server, browser, admin, credentials, event, batch, store, worker, log_lines, break_database
):
    client = app.test_client()
    server.send(batch([event(unit_id="jane@example.com")]))
    browser.send(batch([event()]))
    admin("GET", "/v1/experiments")
    client.get("/v1/whoami", headers={"Authorization": "Bearer gxs_" + "z" * 43})
    client.post(f"/v1/events?key={credentials.browser_key}", data=b"{")
    client.get(f"/nowhere/{credentials.server_key}?token=open-sesame-open-sesame")
    client.post("/login", data={"email": credentials.admin_email, "password": credentials.admin_password})
    worker.archive()
    break_database(app.extensions["genux"].store)
    server.send(batch([event(unit_id="jane@example.com")]))
    people_store = app.extensions["genux"].store
    with pytest.raises(StorageError):
        people.set_password(people_store, credentials.admin_email, "hunter2hunter2")
    assert any("database" in line for line in log_lines)
    text = "\n".join(log_lines)
    secrets = [credentials.server_key, credentials.browser_key, credentials.admin_key, "gxs_" + "z" * 43]
    secrets += [
        credentials.admin_password,
        app.config["SECRET_KEY"],
        "hunter2hunter2",
        "jane@example.com",
        "open-sesame-open-sesame",
    ]
    assert [secret for secret in secrets if secret in text or secret[10:] in text] == []
    shown = [line for line in log_lines if credentials.server_key[:9] in line]
    assert shown, "a key is known by its prefix"


@pytest.fixture
def break_database(service_config):
    """Makes the store's databases unusable, as a lost disk or server does."""

    def break_it(store):
        if service_config.database_url:
            name = sa.make_url(service_config.control_url).database
            others = service_config.database_url.replace(f"/{name}?", "/postgres?")
            with psycopg.connect(others, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            return
        store.close()
        for path in service_config.data.glob("*.db"):
            path.write_bytes(b"this is not a database " * 1_000)
            for beside in ("-wal", "-shm"):
                path.with_name(path.name + beside).unlink(missing_ok=True)

    return break_it


def test_ready_is_refused_while_a_database_is_away(app, credentials, break_database):
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    break_database(app.extensions["genux"].store)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/healthz").json == {"status": "ok"}


def test_ready_is_refused_while_the_inbox_takes_no_writes(service_config, credentials):
    if service_config.database_url:
        with psycopg.connect(service_config.database_url, autocommit=True) as connection:
            name = sa.make_url(service_config.control_url).database
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        store = Store(service_config.control_url, service_config.inbox_url)
    else:
        read_only = f"sqlite:///file:{service_config.data / 'inbox.db'}?mode=ro&uri=true"
        store = Store(service_config.control_url, read_only)
    with pytest.raises(StorageError, match=r"read-?only"):
        health.check(store, service_config)
    store.close()


def test_ready_changes_nothing(store, service_config, credentials):
    before = health.check(store, service_config)
    assert health.check(store, service_config) == before


def test_a_silent_worker_a_late_batch_and_a_lake_that_takes_no_file_are_told(
    store, service_config, server, event, batch, tmp_path
):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    found = health.check(store, replace(service_config, lake=str(blocked)))
    assert (found.status, found.worker, found.lake_writable) == ("degraded", False, False)
    assert [problem.split()[0] for problem in found.problems] == ["No", "The"]
    server.send(batch([event()]))
    with store.inbox_writing() as connection:
        connection.exec_driver_sql("UPDATE inbox_batch SET received_at = '2026-01-01 00:00:00'")
    found = health.check(store, service_config)
    assert found.oldest_seconds > 3_600
    assert "The oldest batch has waited" in found.problems[-1]


def test_a_worker_at_work_and_a_lake_in_place_are_well(store, service_config, worker, server, event, batch):
    server.send(batch([event()]))
    worker.archive()
    found = health.check(store, service_config)
    assert (found.status, found.problems, found.worker, found.lake_chunk) == ("ok", [], True, 1)
    assert not list(service_config.data.rglob(".genux-probe-*"))
