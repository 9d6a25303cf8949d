import json

import pytest

from genux import _registry, testing
from genux_server.app import create_app
from genux_server.service import bootstrap
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
