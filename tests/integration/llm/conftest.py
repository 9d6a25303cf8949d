"""A recorder that keeps what it is told, and a loopback server that does what its path says."""

import contextlib
import gc
import http.server
import json
import threading
import time
import warnings

import pytest

from genux.llm import CallContext
from genux.wire import AssignmentRef
from genux_server.demo._shapes import Generation, chat_body, chat_events, response_body, response_events

ANSWER = Generation(
    number=1,
    created=1_700_000_000,
    model="gpt-5-mini-2025-08-07",
    pieces=['{"title"', ': "Names', ' are bound"', ', "points":', ' ["once"', ', "twice"', "]}"],
    cut=False,
    input_tokens=1_861,
    cached_tokens=1_792,
    fingerprint="scripted",
)


class KeepingRecorder:
    """Keeps calls; lets no failure inside genux go unseen."""

    def __init__(self):
        self.calls = []
        self.failures = []
        self.started = []

    def call_started(self, call_id):
        self.started.append(call_id)
        assignment = AssignmentRef(experiment="ai-entry", variant="summary", epoch=2)
        return CallContext(unit_id="user-42", feature="reader", assignments=(assignment,))

    def call_finished(self, call):
        self.calls.append(call)

    def failed(self, where, error):
        self.failures.append((where, error))

    def only(self):
        assert self.failures == []
        assert len(self.calls) == 1, self.calls
        return self.calls[0]


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """Tests collect garbage to see streams die; what exists before them need not be walked each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def recorder():
    return KeepingRecorder()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._answer({"stream": "stream=true" in self.path})

    def do_DELETE(self):
        self._answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            request = json.loads(body)
        except ValueError:
            request = {"stream": b'name="stream"' in body}
        self._answer(request)

    def _answer(self, request):
        outcome = self.path.split("/")[1]
        self.server.requests.append((outcome, self.path, request))
        self.answer = self.server.answers.get(self.path.partition("?")[0].partition("/v1")[2])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"_{outcome.replace('-', '_')}")(request)

    def _ok(self, request):
        if request.get("stream"):
            self._events(request)
            return
        data, kind = self._body(request)
        self._head(200, kind, {"content-length": str(len(data))})
        self.wfile.write(data)

    def _429(self, request):
        error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
        self._json(429, error, {"retry-after-ms": "10"})

    def _429_once(self, request):
        seen = sum(outcome == "429-once" for outcome, _, _ in self.server.requests)
        self._429(request) if seen % 2 else self._ok(request)

    def _500(self, request):
        self._json(500, {"error": {"message": "broken", "type": "server_error", "param": None, "code": None}})

    def _no_stream_options(self, request):
        if "stream_options" in request:
            self._refuse(self.server.complaint)
        else:
            self._ok(request)

    def _bad(self, request):
        self._refuse("no such model")

    def _refuse(self, message):
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        self._json(400, {"error": error})

    def _timeout(self, request):
        self.server.released.wait(10)
        self.close_connection = True

    def _cut(self, request):
        if request.get("stream"):
            self._events(request, upto=5)
        else:
            half, kind = self._body(request)
            self._head(200, kind, {"content-length": str(2 * len(half))})
            self.wfile.write(half)
        self.close_connection = True

    def _hang(self, request):
        if request.get("stream"):
            self._events(request, upto=5)
        self.server.released.wait(10)
        self.close_connection = True

    def _body(self, request):
        body = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(body, list):
            body = None  # events, for a request that is streamed
        if body is None:
            body = response_body(ANSWER) if "/responses" in self.path else chat_body(ANSWER)
        if isinstance(body, dict):
            return json.dumps(body).encode(), "application/json"
        return (body, "application/octet-stream") if isinstance(body, bytes) else (body.encode(), "text/plain")

    def _events(self, request, upto=None):
        events = self.answer(request) if callable(self.answer) else None
        if isinstance(events, list):
            end = b"data: [DONE]\n\n"
        elif "/responses" in self.path:
            events, end = [event for _, event in response_events(ANSWER)], b""
        else:
            asked = bool((request.get("stream_options") or {}).get("include_usage"))
            events, end = [event for _, event in chat_events(ANSWER, with_usage=asked)], b"data: [DONE]\n\n"
        self._head(200, "text/event-stream", {"transfer-encoding": "chunked"})
        if upto is not None:
            events = events[: upto if self.answer is None else 2]
        for event in events:
            name = f"event: {event['type']}\n".encode() if "type" in event else b""
            self._chunk(name + b"data: " + json.dumps(event).encode() + b"\n\n")
            time.sleep(0.001)
        if upto is None:
            if end:
                self._chunk(end)
            self._chunk(b"")

    def _chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self._head(status, "application/json", {"content-length": str(len(data)), **(headers or {})})
        self.wfile.write(data)

    def _head(self, status, kind, headers):
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def scripted(scripted_server):
    """`server.url(outcome)` is a base URL whose every request ends that way.

    What a path answers is in `server.answers`: a dict is JSON, a list of dicts events, str or bytes a file; a function
    is called with the request. Other paths answer as chat or, under `/responses`, as responses.
    """
    yield scripted_server
    scripted_server.answers.clear()


@pytest.fixture(scope="session")
def scripted_server():
    """Lives as long as the session, since starting costs more than a test."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.requests = []
    server.answers = {}
    server.released = threading.Event()
    server.url = lambda outcome: f"http://127.0.0.1:{server.server_port}/{outcome}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        server.server_close()
