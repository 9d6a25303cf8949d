"""A loopback server that takes Sentry's envelopes as Sentry does, and a model to call."""

import gzip
import http.server
import json
import shutil
import threading

import openai
import pytest
import sentry_sdk
from sentry_sdk.integrations.openai import OpenAIIntegration

import genux
from genux import _registry, testing
from genux.integrations.sentry import GenuxIntegration
from genux_server.app import create_app
from genux_server.config import Config
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread
from genux_server.service import bootstrap
from genux_server.store import Store

EXPERIMENTS = """
experiments:
  - key: ai-entry
    variants: [{key: chat}, {key: summary}]
  - key: layout
    variants: [{key: plain}, {key: rich}]
"""


class Envelopes:
    """What arrived, taken apart: items of an envelope are a JSON header line and a payload of the length it names."""

    def __init__(self):
        self.bodies = []

    def items(self, kind):
        sentry_sdk.flush()
        found = []
        for body in self.bodies:
            rest = body.split(b"\n", 1)[1]
            while rest.strip():
                line, rest = rest.split(b"\n", 1)
                header = json.loads(line)
                payload, rest = rest[: header["length"]], rest[header["length"] :].lstrip(b"\n")
                if header["type"] == kind:
                    found.append(json.loads(payload))
        return found

    @property
    def errors(self):
        return self.items("event")

    @property
    def transactions(self):
        return self.items("transaction")

    @property
    def spans(self):
        """Every span that stands for a part of a trace: attributes as a flat mapping, however it was sent."""
        found = []
        for item in self.items("span"):
            for span in item["items"]:
                attributes = {name: value["value"] for name, value in span["attributes"].items()}
                found.append({**span, "op": attributes.get("sentry.op"), "data": attributes})
        for transaction in self.transactions:
            found += transaction["spans"]
            root = transaction["contexts"]["trace"]
            found.append({**transaction, **root, "spans": None})
        return found

    @property
    def generations(self):
        return [span for span in self.spans if str(span["op"]).startswith("gen_ai.")]


@pytest.fixture
def envelopes():
    taken = Envelopes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/api/1/envelope/"
            taken.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    taken.dsn = f"http://key@127.0.0.1:{server.server_port}/1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield taken
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["static", "stream"])
def lifecycle(request):
    """Both ways in which Sentry sends traces: a transaction with its spans, or each span by itself."""
    return request.param


@pytest.fixture
def start_sentry(envelopes):
    """Starts Sentry with nothing but what a test names, so that no other test of this process meets its patches."""

    def start(*integrations, **options):
        sentry_sdk.init(
            dsn=envelopes.dsn,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[GenuxIntegration(), *integrations],
            **options,
        )

    yield start
    sentry_sdk.get_client().close()
    sentry_sdk.init()
    sentry_sdk.get_isolation_scope().clear()
    sentry_sdk.get_current_scope().clear()


@pytest.fixture(params=[False, True], ids=["alone", "beside"])
def traced(request, start_sentry, lifecycle):
    """Tracing is on, with or without Sentry's own OpenAI integration. Answers a block that is one trace's root."""
    own = [OpenAIIntegration()] if request.param else []
    start_sentry(*own, traces_sample_rate=1.0, trace_lifecycle=lifecycle)

    def root(name="request"):
        if lifecycle == "stream":
            return sentry_sdk.traces.start_span(name=name)
        return sentry_sdk.start_transaction(name=name, op="test")

    root.beside = request.param
    return root


@pytest.fixture
def gx(tmp_path, monkeypatch):
    for name in ("URL", "API_KEY", "CONFIG", "FORCE", "DEBUG"):
        monkeypatch.delenv(f"GENUX_{name}", raising=False)
    path = tmp_path / "genux.yaml"
    path.write_text(EXPERIMENTS)
    client = genux.Client(config=path)
    yield client
    for each in list(_registry._open):
        each.close()


@pytest.fixture(scope="session")
def model_url():
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.02)))
    yield url
    stop()


@pytest.fixture
def llm(gx, model_url):
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="k", max_retries=0) as client:
        yield gx.wrap(client)


@pytest.fixture
def sqlite_config(sqlite_template, tmp_path):
    """The service's configuration over databases with every table and nothing in them."""
    shutil.copytree(sqlite_template, tmp_path / "data")
    return Config(data=tmp_path / "data", archive_seconds=0.0)


@pytest.fixture
def batch_in_inbox(sqlite_config):
    """One event that the worker has to carry into the lake."""
    store = Store(sqlite_config.control_url, sqlite_config.inbox_url)
    key = bootstrap.first_start(store, sqlite_config).server_key
    store.close()
    app = create_app(sqlite_config)
    gx = genux.Client(api_key=key, transport=testing.WsgiTransport(app), directory=sqlite_config.data / "outbox")
    with gx.unit("user-42"):
        gx.track("answer_accepted")
    assert gx.flush(30)
    gx.close()
    app.extensions["genux"].store.close()
