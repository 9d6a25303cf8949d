"""Real pages on other origins send events with fetch and sendBeacon to the real service."""

import datetime as dt
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from werkzeug.serving import make_server

from genux_server import migrate
from genux_server.app import create_app
from genux_server.config import Config
from genux_server.service import bootstrap, keys
from genux_server.store import Store, inbox


class _Page(BaseHTTPRequestHandler):
    def do_GET(self):
        page = b"<!doctype html><title>a page</title><link rel=icon href=data:,>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args):
        pass


def serving(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop():
        server.shutdown()
        thread.join()
        server.server_close()

    return stop


@pytest.fixture
def pages():
    """Addresses of the same page on two origins: ports make origins as hosts do."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Page) for _ in range(2)]
    stops = [serving(server) for server in servers]
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for stop in stops:
        stop()


@pytest.fixture
def service(tmp_path, pages):
    config = Config(data=tmp_path)
    store = Store(config.control_url, config.inbox_url)
    migrate.upgrade(store)
    bootstrap.first_start(store, config)
    scope = bootstrap.find_scope(store, "default", "dev")
    key = keys.create(store, scope, "browser", "shop", [pages[0]]).secret
    app = create_app(config)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    stop = serving(server)
    yield Service(app, store, f"http://127.0.0.1:{server.port}/v1/events", key)
    stop()
    app.extensions["genux"].store.close()
    store.close()


class Service:
    def __init__(self, app, store, url, key):
        self.app, self.url, self.key = app, url, key
        self._store = store

    def waiting(self):
        with self._store.inbox_reading() as connection:
            return inbox.backlog(connection).n_batches

    def refused(self):
        lines = self.app.test_client().get("/metrics").text.splitlines()
        found = {
            line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith("genux_cors_refused_")
        }
        return {stage: count for stage, count in found.items() if count}


def batch():
    now = dt.datetime.now(dt.UTC).isoformat()
    event = {"type": "event", "event_id": str(uuid.uuid4()), "at": now, "unit_id": "u", "name": "answer_copied"}
    return json.dumps({"batch_id": str(uuid.uuid4()), "sent_at": now, "events": [event]})


@pytest.fixture
def page(chromium):
    contexts = []

    def open_page(address):
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


FETCH = """async ([url, key, body]) => {
    try {
        const headers = {Authorization: `Bearer ${key}`, "Content-Type": "application/json"};
        const answer = await fetch(url, {method: "POST", headers, body});
        return [answer.status, await answer.json(), answer.headers.get("Genux-Snapshot") !== null];
    } catch (error) {
        return [error.name];
    }
}"""

BEACON = "([url, body]) => navigator.sendBeacon(url, body)"


def test_a_page_on_an_allowed_origin_sends_by_fetch_and_reads_the_answer(service, pages, page):
    answer = page(pages[0]).evaluate(FETCH, [service.url, service.key, batch()])
    assert answer == [200, {"status": "ok", "accepted": 1, "rejected": []}, True]
    assert service.waiting() == 1
    assert service.refused() == {}


def test_a_page_that_is_left_sends_by_beacon(service, pages, page):
    left = page(pages[0])
    with left.expect_request_finished(lambda request: request.url.startswith(service.url)) as sent:
        assert left.evaluate(BEACON, [f"{service.url}?key={service.key}", batch()])
    assert sent.value.header_value("content-type") == "text/plain;charset=UTF-8"
    assert sent.value.response().status == 200
    assert service.waiting() == 1


def test_the_browser_refuses_a_foreign_page_before_anything_is_sent(service, pages, page):
    assert page(pages[1]).evaluate(FETCH, [service.url, service.key, batch()]) == ["TypeError"]
    assert service.waiting() == 0
    assert service.refused() == {"preflight": 1}


def test_a_foreign_pages_beacon_is_refused_by_the_service(service, pages, page):
    foreign = page(pages[1])
    with foreign.expect_request_finished(lambda request: request.url.startswith(service.url)) as sent:
        assert foreign.evaluate(BEACON, [f"{service.url}?key={service.key}", batch()])
    assert sent.value.response().status == 403
    assert service.waiting() == 0
    assert service.refused() == {"request": 1}
