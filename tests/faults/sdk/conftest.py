"""A service on loopback that can be stopped and started, and hosts that are real processes."""

import gzip
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SNAPSHOT = {
    "version": "v1",
    "experiments": [
        {
            "key": "ai-entry",
            "salt": "ai-entry",
            "control": "chat",
            "variants": [{"key": "chat", "surface": "chat"}, {"key": "summary", "surface": "action"}],
            "allocation": [0.5, 0.5],
        }
    ],
    "token_keys": [{"id": "k1", "secret": "made-up"}],
}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args):
        """A killed host resets its connection; what else goes wrong shows in the counts."""


class Service:
    """Takes batches the way the real one does: a batch id is counted once, whatever is sent under it again.

    `answer` replaces the reply to the next batches: called with the decoded batch, returns (status, headers, body).
    """

    def __init__(self):
        self.batches = {}
        self.n_posts = 0
        self.answer = None
        self.contradictions = 0
        self._lock = threading.Lock()
        self._server = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def events(self):
        return [event for batch in self.batches.values() for event in batch["events"]]

    @property
    def tracked(self):
        """How often each value of the property `n` arrived."""
        return Counter(event["properties"]["n"] for event in self.events if event["type"] == "event")

    def start(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_args):
                pass

            def _answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.headers.get("If-None-Match") == "v1":
                    self._answer(304, {}, b"")
                else:
                    self._answer(200, {"ETag": "v1"}, json.dumps(SNAPSHOT).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self._answer(*service.take(json.loads(body)))

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, batch):
        with self._lock:
            self.n_posts += 1
            if self.answer is not None:
                return self.answer(batch)
            return self.keep(batch)

    def keep(self, batch):
        before = self.batches.get(batch["batch_id"])
        if before is not None and before["events"] != batch["events"]:
            self.contradictions += 1
        status = "ok" if before is None else "duplicate"
        self.batches.setdefault(batch["batch_id"], batch)
        reply = {"status": status, "accepted": len(batch["events"]), "rejected": []}
        return 200, {"Genux-Snapshot": "v1"}, json.dumps(reply).encode()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def service():
    service = Service()
    service.start()
    yield service
    service.stop()
    assert service.contradictions == 0, "a batch id came again with other events in it"


@pytest.fixture
def host(service, launch):
    """`launch` with this service."""

    def run(source, **settings):
        return launch(source, url=service.url, key="sk_made_up", **settings)

    return run


@pytest.fixture
def segments(tmp_path):
    """The outbox's files that are not delivered yet."""
    return lambda: sorted((tmp_path / "outbox").glob("*/*.jsonl"))
