"""The text of prompts and answers: nowhere unless host and project opted in, and redacted before it is written down."""

import http.server
import json
import re
import threading

import openai
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import zstandard

from genux import testing
from genux_server.store import inbox

ASKED = "what is my canary-7f3a?"
ANSWERED = "it is canary-7f3a"
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWERED}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9},
}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini"}


class Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked.get("stream"):
            delta = {"index": 0, "delta": {"content": ANSWERED}, "finish_reason": None}
            body, kind = f"data: {json.dumps({**CHUNK, 'choices': [delta]})}\n\ndata: [DONE]\n\n", "text/event-stream"
        else:
            body, kind = json.dumps(CHAT), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_args):
        pass


@pytest.fixture
def model_url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def everything_kept(transport, tmp_path):
    """All that is kept anywhere, as text: what Parquet and the inbox compress is read as what it is."""
    services = transport._app.extensions["genux"]

    def everything_kept():
        found = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
        inflate = zstandard.ZstdDecompressor().decompress
        for engine in {
            id(services.store.control): services.store.control,
            id(services.store.inbox): services.store.inbox,
        }.values():
            with engine.connect() as connection:
                for table in sa.inspect(engine).get_table_names():
                    for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')):
                        found += [
                            inflate(value).decode()
                            if isinstance(value, bytes) and value[:4] == b"\x28\xb5\x2f\xfd"
                            else str(value)
                            for value in row
                        ]
        with services.store.inbox_reading() as connection:
            files = services.lake.files(inbox.lake_versions(connection))
        for paths in (files.exposures, files.events, files.calls):
            found += [str(pq.read_table(path).to_pylist()) for path in paths]
        return "\n".join(found)

    return everything_kept


def ask(gx, model_url):
    """One call of each kind, all about the canary."""
    with openai.OpenAI(base_url=model_url, api_key="k", max_retries=0) as bare:
        llm = gx.wrap(bare)
        messages = [{"role": "user", "content": [{"type": "text", "text": ASKED}]}]
        with gx.unit("user-1"):
            llm.chat.completions.create(model="gpt-5-mini", messages=messages)
            list(llm.chat.completions.create(model="gpt-5-mini", messages=messages, stream=True))
            with gx.call(model="by-hand") as call:
                call.text(prompt=ASKED, answer=ANSWERED)


def lake_texts(everything):
    return sorted(re.findall(r"'(?:prompt|answer)_text': '([^']*)'", everything))


def archive(transport, service_config):
    from genux_server.service.worker import Worker

    services = transport._app.extensions["genux"]
    Worker(services.store, services.lake, service_config).archive()


def hide(text):
    return text.replace("canary-7f3a", "hidden")


@pytest.mark.parametrize(
    ("host", "project"), [({}, False), ({}, True), ({"capture_text": True}, False)], ids=["neither", "project", "host"]
)
def test_text_is_nowhere_unless_host_and_project_opted_in(
    host, project, client, model_url, everything_kept, administer, transport, service_config
):
    administer("PUT", "/v1/text-capture", {"allowed": project})
    gx = client(**host)
    ask(gx, model_url)
    assert "canary" not in everything_kept()
    assert gx.flush(30)
    assert "canary" not in everything_kept()
    archive(transport, service_config)
    assert "gpt-5-mini" in everything_kept()
    assert "canary" not in everything_kept()


def test_text_that_both_want_is_redacted_before_it_is_written_down(
    client, model_url, everything_kept, administer, transport, service_config
):
    assert administer("GET", "/v1/text-capture") == {"allowed": False}
    administer("PUT", "/v1/text-capture", {"allowed": True})
    gx = client(capture_text=True, redact=hide)
    ask(gx, model_url)
    assert "what is my hidden?" in everything_kept()
    assert gx.flush(30)
    archive(transport, service_config)
    kept = everything_kept()
    assert "canary" not in kept
    assert lake_texts(kept) == ["it is hidden"] * 2 + ["what is my hidden?"] * 2


@pytest.mark.parametrize("redact", [lambda _text: 1 / 0, lambda _text: None], ids=["raises", "answers no text"])
def test_a_redactor_that_fails_keeps_no_text_and_is_counted(redact, client, model_url, everything_kept, administer):
    administer("PUT", "/v1/text-capture", {"allowed": True})
    gx = client(capture_text=True, redact=redact)
    ask(gx, model_url)
    assert gx.flush(30)
    assert gx.status().refused == {"redactor_failed": 2}
    assert gx.status().shipped == 3
    assert "canary" not in everything_kept()


def test_the_service_strips_text_that_nobody_allowed_from_refused_events_too(
    client, transport, credentials, everything_kept, service_config
):
    call = {
        "type": "call",
        "event_id": "0" * 32,
        "call_id": "0" * 32,
        "at": "2026-11-01T00:00:00Z",
        "latency_seconds": 1,
        "text": {"prompt": ASKED, "answer": ANSWERED},
    }
    events = [
        call,
        call | {"event_id": "1" * 32, "latency_seconds": "slow"},
        call | {"event_id": "2" * 32, "unit_id": "\0"},
    ]
    batch = {"batch_id": "b" * 32, "sent_at": "2026-11-01T00:00:00Z", "events": events}
    headers = {"Authorization": f"Bearer {credentials.server_key}", "Content-Type": "application/json"}
    answer = json.loads(transport.send("POST", "/v1/events", json.dumps(batch).encode(), headers).body)
    assert (answer["accepted"], [each["index"] for each in answer["rejected"]]) == (1, [1, 2])
    assert "slow" in everything_kept()
    archive(transport, service_config)
    assert "canary" not in everything_kept()


def test_text_is_cut_and_made_fit_for_the_wire(client, administer):
    administer("PUT", "/v1/text-capture", {"allowed": True})
    gx = client(capture_text=True)
    with testing.recording() as seen, gx.unit("user-1"), gx.call(model="m") as call:
        call.text(prompt="a" * 20_000, answer="nul \0, half a pair \ud800")
    (recorded,) = seen.events
    assert len(recorded.text.prompt) == 16_384
    assert recorded.text.answer == "nul \ufffd, half a pair ?"
    assert gx.flush(30)
    assert gx.status().shipped == 1


@pytest.mark.parametrize("letter", ["\N{HANGUL SYLLABLE GA}", "\N{OWL}", "\1"], ids=["3 bytes", "4 bytes", "escaped"])
def test_texts_of_the_greatest_length_cost_no_call_whatever_they_take_when_written_down(letter, client, administer):
    administer("PUT", "/v1/text-capture", {"allowed": True})
    gx = client(capture_text=True, redact=lambda text: text * 1_000_000)
    with gx.unit("user-1"), gx.call(model="m") as call:
        call.text(prompt=letter, answer=letter)
    assert gx.flush(30)
    assert (gx.status().dropped, gx.status().rejected, gx.status().shipped) == ({}, {}, 1)
