import json

import pytest

import genux
from genux import _registry, testing
from genux_server.app import create_app
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread
from genux_server.service import bootstrap
from genux_server.service.worker import Worker
from genux_server.store import Store

EXPERIMENT = {
    "key": "ai-entry",
    "variants": [{"key": "chat", "surface": "chat"}, {"key": "summary", "surface": "action", "model": "gpt-5-mini"}],
    "primary": "accepted",
    "targeting": [[{"attribute": "country", "op": "in", "value": ["KR"]}]],
}


@pytest.fixture
def credentials(service_config):
    store = Store(service_config.control_url, service_config.inbox_url)
    found = bootstrap.first_start(store, service_config)
    store.close()
    return found


@pytest.fixture
def transport(service_config, credentials):
    """The real service, in this process, over both databases."""
    app = create_app(service_config)
    yield testing.WsgiTransport(app)
    for client in list(_registry._open):
        client.close()
    app.extensions["genux"].store.close()


@pytest.fixture
def administer(transport, credentials):
    def send(method, path, body=None):
        headers = {"Authorization": f"Bearer {credentials.admin_key}", "Content-Type": "application/json"}
        response = transport.send(method, path, b"" if body is None else json.dumps(body).encode(), headers)
        assert response.status < 300, response.body
        return json.loads(response.body)

    return send


@pytest.fixture
def running(administer):
    """The experiment, started."""
    administer("POST", "/v1/metrics", {"key": "accepted", "numerator": {"event": "answer_accepted"}})
    administer("POST", "/v1/experiments", EXPERIMENT)
    administer("POST", "/v1/experiments/ai-entry/start")
    return EXPERIMENT["key"]


@pytest.fixture
def start(administer):
    """Starts an experiment of two variants that everyone is in, with these metrics."""

    def start(key, *metrics, kind="user"):
        for metric in metrics:
            administer("POST", "/v1/metrics", {"window_seconds": 3_600} | metric)
        administer(
            "POST",
            "/v1/experiments",
            {
                "key": key,
                "unit_kind": kind,
                "variants": [{"key": "a"}, {"key": "b"}],
                "primary": metrics[0]["key"],
                "secondaries": [metric["key"] for metric in metrics[1:]],
            },
        )
        administer("POST", f"/v1/experiments/{key}/start")

    return start


@pytest.fixture
def client(transport, credentials, tmp_path):
    def client(**options):
        gx = genux.Client(
            api_key=credentials.server_key,
            transport=transport,
            directory=tmp_path / "outbox",
            flush_seconds=0.01,
            strict=True,
            **options,
        )
        assert gx.ready(30)
        return gx

    return client


@pytest.fixture
def report_of(transport, service_config, administer):
    """The report on everything sent so far."""
    services = transport._app.extensions["genux"]
    worker = Worker(services.store, services.lake, service_config)

    def report_of(key):
        worker.archive()
        return administer("GET", f"/v1/experiments/{key}/report?refresh=1")

    return report_of


@pytest.fixture(scope="session")
def model_url():
    """A local stand-in for an OpenAI API."""
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.02)))
    yield url
    stop()
