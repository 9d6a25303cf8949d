"""A local stand-in for an OpenAI API: real HTTP, OpenAI's shapes, and an extractive summariser for a model.

It carries the names of real models so that their prices apply, and says in every answer's `system_fingerprint` and in
`/v1/models` that it is a stand-in. It serves `/v1/chat/completions`, `/v1/responses` (both also streamed),
`/v1/embeddings` and `/v1/models`; for tests `/_control` switches faults at runtime and `/_ledger` tells what came in.
"""

import base64
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.client import OK
from typing import Any

import msgspec
from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from genux_server.demo._ledger import Entry, Ledger, hashed
from genux_server.demo._shapes import (
    Event,
    Generation,
    chat_body,
    chat_events,
    embedding_body,
    error_body,
    response_body,
    response_events,
)
from genux_server.demo._tokens import pieces_of
from genux_server.demo.prompts import read_prompt, respond
from genux_server.demo.structured import filled
from genux_server.demo.summariser import embed

__all__ = ["Fault", "ModelServerConfig", "ModelSpeed", "create_model_app", "serve_in_thread"]

_FINGERPRINT = "genux-local-stand-in"
_DEFAULT_DIMENSIONS = 1_536
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class ModelSpeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a model is. The texts of all models are the same.

    Attributes:
        first_seconds: median time to the first token.
        token_seconds: median time per further token.
    """

    first_seconds: float
    token_seconds: float


_MODELS = {
    "gpt-5": ModelSpeed(first_seconds=0.6, token_seconds=0.008),
    "gpt-5-mini": ModelSpeed(first_seconds=0.3, token_seconds=0.004),
    "gpt-5-nano": ModelSpeed(first_seconds=0.15, token_seconds=0.002),
    "text-embedding-3-small": ModelSpeed(first_seconds=0.05, token_seconds=0.0),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong for the requests of one key, of one model, or of one key with one model.

    Attributes:
        key: API key; empty is any.
        model: empty is any.
        share: of the requests, in [0, 1].
        status: HTTP status; 200 for an error inside the body of a stream, before its first token.
        code: OpenAI's error code, such as `insufficient_quota`.
        retry_after_seconds: what the client is told to wait; 0 says nothing.
    """

    key: str = ""
    model: str = ""
    share: float = 1.0
    status: int = 500
    code: str = "server_error"
    retry_after_seconds: float = 0.0


class ModelServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the stand-in does.

    Attributes:
        models: name and speed of each model.
        seed: of latencies and faults; the n-th request meets the same fate in every run.
        slowness: factor on all latencies; 0 answers at once.
        jitter: standard deviation of the logarithm of a request's latency.
        rate_limit_share: share of requests answered 429, in [0, 1].
        server_error_share: share of requests answered 500, in [0, 1].
        retry_after_seconds: what a 429 tells the client to wait.
        requests_per_minute: bound per API key; 0 is none.
        down: answer 503 to everything.
        faults: for some keys and models; the first that meets a request is its fate.
    """

    models: dict[str, ModelSpeed] = msgspec.field(default_factory=lambda: dict(_MODELS))
    seed: int = 0
    slowness: float = 1.0
    jitter: float = 0.3
    rate_limit_share: float = 0.0
    server_error_share: float = 0.0
    retry_after_seconds: float = 1.0
    requests_per_minute: int = 0
    down: bool = False
    faults: list[Fault] = msgspec.field(default_factory=list)


class _RefusalError(Exception):
    """An answer that is an OpenAI error."""

    def __init__(
        self, status: int, kind: str, message: str, *, code: str | None = None, retry_after: float = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code
        self.retry_after = retry_after


class _Server:
    """What the views share. `config` is replaced as a whole, so that a request sees one state of it."""

    def __init__(self, config: ModelServerConfig) -> None:
        self.config = config
        self.ledger = Ledger()

    def admit(self, entry: Entry) -> ModelSpeed:
        """Decides a request's fate.

        Raises:
            _RefusalError: it is refused, or meets a fault that was configured.
        """
        config = self.config
        if not entry.key:
            raise _RefusalError(401, "invalid_request_error", "You didn't provide an API key.", code="invalid_api_key")
        if config.down:
            raise _RefusalError(503, "server_error", "The stand-in was switched off.")
        limit = config.requests_per_minute
        if limit and self.ledger.requests_of(entry.key, since=entry.at - 60.0) > limit:
            raise self._too_many("Rate limit reached for requests.", config)
        for fault in config.faults:
            if (fault.key and hashed(fault.key) != entry.key) or fault.model not in ("", entry.model):
                continue
            if entry.dice.random() < fault.share:
                raise _RefusalError(
                    fault.status, fault.code, "As configured.", code=fault.code, retry_after=fault.retry_after_seconds
                )
        fate = entry.dice.random()
        if fate < config.rate_limit_share:
            raise self._too_many("Rate limit reached by chance, as configured.", config)
        if fate < config.rate_limit_share + config.server_error_share:
            raise _RefusalError(500, "server_error", "The server had an error by chance, as configured.")
        speed = config.models.get(entry.model)
        if speed is None:
            known = ", ".join(config.models)
            message = f"The model '{entry.model}' does not exist here; there are {known}."
            raise _RefusalError(404, "invalid_request_error", message, code="model_not_found")
        pace = config.slowness * entry.dice.lognormvariate(0.0, config.jitter)
        return ModelSpeed(first_seconds=speed.first_seconds * pace, token_seconds=speed.token_seconds * pace)

    @staticmethod
    def _too_many(message: str, config: ModelServerConfig) -> _RefusalError:
        return _RefusalError(
            429, "requests", message, code="rate_limit_exceeded", retry_after=max(config.retry_after_seconds, 0.001)
        )


def create_model_app(config: ModelServerConfig | None = None) -> Flask:
    """The stand-in as a WSGI application.

    Args:
        config: what it does; the default serves `gpt-5`, `gpt-5-mini`, `gpt-5-nano` and `text-embedding-3-small` at
            speeds like a hosted API's, without faults.
    """
    app = Flask(__name__)
    server = _Server(config or ModelServerConfig())
    app.extensions["genux_model_server"] = server

    @app.before_request
    def begin() -> None:
        if request.path.startswith("/v1/"):
            body = request.get_json(silent=True)
            g.body = body if isinstance(body, dict) else {}
            g.entry = server.ledger.open(
                key=request.authorization.token or "" if request.authorization else request.headers.get("api-key", ""),
                operation=request.path.removeprefix("/v1/"),
                model=str(g.body.get("model", "")),
                seed=server.config.seed,
            )

    @app.errorhandler(_RefusalError)
    def refused(error: _RefusalError) -> Response:
        g.entry.status = error.status
        if error.status == OK:
            begun = next(chat_events(_nothing(g.entry), with_usage=False))[1]
            if g.entry.operation == "responses":
                begun = next(response_events(_nothing(g.entry)))[1]
            events = [begun, {"type": "error", **error_body(str(error), error.kind, error.code)}]
            body = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events)
            return Response(body, mimetype="text/event-stream")
        reply = _json(error_body(str(error), error.kind, error.code), error.status)
        if error.retry_after:
            reply.headers["retry-after"] = f"{error.retry_after:g}"
            reply.headers["retry-after-ms"] = f"{error.retry_after * 1000:g}"
        return reply

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _json(error_body(error.description or "", "invalid_request_error", None), error.code or 500)

    app.add_url_rule("/v1/models", view_func=lambda: _models(server))
    app.add_url_rule("/v1/chat/completions", "chat", lambda: _chat(server), methods=["POST"])
    app.add_url_rule("/v1/responses", "responses", lambda: _responses(server), methods=["POST"])
    app.add_url_rule("/v1/embeddings", "embeddings", lambda: _embeddings(server), methods=["POST"])
    app.add_url_rule("/_control", "control", lambda: _control(server), methods=["GET", "POST"])
    app.add_url_rule("/_ledger", "ledger", lambda: _ledger(server), methods=["GET", "DELETE"])
    return app


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, mimetype="application/json")


def _models(server: _Server) -> Response:
    entries = [{"id": name, "object": "model", "created": 0, "owned_by": _FINGERPRINT} for name in server.config.models]
    return _json({"object": "list", "data": entries})


def _chat(server: _Server) -> Response:
    speed = server.admit(g.entry)
    body = g.body
    messages = [(str(m.get("role", "")), _text_of(m.get("content"))) for m in _list(body, "messages")]
    wanted = body.get("response_format") or {}
    schema = (wanted.get("json_schema") or {}).get("schema") if wanted.get("type") == "json_schema" else None
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    made = _generate(server, messages, schema, limit)
    if not body.get("stream"):
        return _whole(speed, made, chat_body(made))
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    return _streamed(speed, chat_events(made, with_usage=with_usage), end=b"data: [DONE]\n\n")


def _responses(server: _Server) -> Response:
    speed = server.admit(g.entry)
    body = g.body
    messages = [("system", str(body["instructions"]))] if body.get("instructions") else []
    asked = body.get("input")
    if isinstance(asked, str):
        messages.append(("user", asked))
    else:
        messages += [(str(m.get("role", "")), _text_of(m.get("content"))) for m in _list(body, "input")]
    wanted = (body.get("text") or {}).get("format") or {}
    schema = wanted.get("schema") if wanted.get("type") == "json_schema" else None
    made = _generate(server, messages, schema, body.get("max_output_tokens"))
    if not body.get("stream"):
        return _whole(speed, made, response_body(made))
    return _streamed(speed, response_events(made), named=True)


def _embeddings(server: _Server) -> Response:
    speed = server.admit(g.entry)
    body = g.body
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _RefusalError(400, "invalid_request_error", "'input' must be a string or a list of strings.")
    dimensions = body.get("dimensions") or _DEFAULT_DIMENSIONS
    vectors: list[list[float] | str] = [embed(text, int(dimensions)) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors if isinstance(v, list)]
    g.entry.input_tokens = sum(len(pieces_of(text)) for text in texts)
    time.sleep(speed.first_seconds)
    g.entry.completed = True
    return _json(embedding_body(g.entry.model, vectors, g.entry.input_tokens))


def _control(server: _Server) -> Response:
    _local_only()
    if request.method == "POST":
        changes = request.get_json(silent=True)
        known = {
            "slowness",
            "rate_limit_share",
            "server_error_share",
            "retry_after_seconds",
            "requests_per_minute",
            "down",
            "faults",
        }
        if not isinstance(changes, dict) or not changes.keys() <= known:
            return _json(
                error_body(f"send a JSON object with any of {sorted(known)}", "invalid_request_error", None), 400
            )
        try:
            server.config = msgspec.convert(
                {**msgspec.to_builtins(server.config), **changes}, ModelServerConfig, strict=True
            )
        except msgspec.ValidationError as error:
            return _json(error_body(str(error), "invalid_request_error", None), 400)
    return _json(server.config)


def _ledger(server: _Server) -> Response:
    _local_only()
    if request.method == "DELETE":
        server.ledger.clear()
    return _json({"requests": [entry.facts() for entry in server.ledger.entries()]})


def _local_only() -> None:
    if request.remote_addr not in _LOOPBACK:
        abort(403, "Only from this machine.")


def _list(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _RefusalError(400, "invalid_request_error", f"'{name}' must be a list of messages.")
    return value


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _generate(server: _Server, messages: list[tuple[str, str]], schema: Any, limit: Any) -> Generation:
    task = read_prompt(messages)
    sentences = respond(task)
    if schema is not None:
        text = msgspec.json.encode(filled(schema, sentences)).decode()
    else:
        text = "\n".join(f"- {sentence}" for sentence in sentences) if task.bullets else " ".join(sentences)
    pieces = pieces_of(text)
    cut = isinstance(limit, int) and 0 < limit < len(pieces)
    prompt = [piece for role, content in messages for piece in (f"<{role}>", *pieces_of(content))]
    entry: Entry = g.entry
    entry.streaming = bool(g.body.get("stream"))
    entry.input_tokens = len(prompt)
    entry.cached_tokens = server.ledger.cached_prefix(entry.key, entry.model, prompt)
    made = Generation(
        number=entry.number,
        created=int(entry.at),
        model=entry.model,
        pieces=pieces[:limit] if cut else pieces,
        cut=cut,
        input_tokens=entry.input_tokens,
        cached_tokens=entry.cached_tokens,
        fingerprint=_FINGERPRINT,
    )
    entry.output_tokens = len(made.pieces)
    return made


def _nothing(entry: Entry) -> Generation:
    """An answer that never came to its first token."""
    return Generation(
        number=entry.number,
        created=int(entry.at),
        model=entry.model,
        pieces=[],
        cut=False,
        input_tokens=0,
        cached_tokens=0,
        fingerprint=_FINGERPRINT,
    )


def _whole(speed: ModelSpeed, made: Generation, body: dict[str, Any]) -> Response:
    time.sleep(speed.first_seconds + speed.token_seconds * len(made.pieces))
    g.entry.completed = True
    return _json(body)


def _streamed(speed: ModelSpeed, events: Iterator[Event], *, end: bytes = b"", named: bool = False) -> Response:
    entry: Entry = g.entry
    time.sleep(speed.first_seconds)

    def body() -> Iterator[bytes]:
        for is_token, event in events:
            if is_token:
                time.sleep(speed.token_seconds)
            name = b"event: " + str(event["type"]).encode() + b"\n" if named else b""
            yield name + b"data: " + msgspec.json.encode(event) + b"\n\n"
        # Before the last bytes: the client may ask for the ledger as soon as it has read them.
        entry.completed = True
        if end:
            yield end

    return Response(body(), mimetype="text/event-stream", headers={"cache-control": "no-cache"})


class _QuietHandler(WSGIRequestHandler):
    """No line on stderr per request; a client that goes away in mid-stream is not an error here."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name in werkzeug
        """Logs nothing."""


def serve_in_thread(app: Flask, *, port: int = 0) -> tuple[str, Callable[[], None]]:
    """Serves an application on loopback, each request in a thread of its own.

    Args:
        app: the application.
        port: TCP port; 0 takes a free one.

    Returns:
        Its URL without a trailing slash, such as `http://127.0.0.1:49152`, and a function that stops it.
    """
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return f"http://127.0.0.1:{server.server_port}", stop
