import json
import logging
import sys

import pytest

from genux_server.config import Config
from genux_server.service import logs
from genux_server.service.logs import JsonFormatter, TextFormatter, new_request_id, request_id


def record(message, *args, failed=False, **fields):
    error = None
    if failed:
        try:
            int("no lake")
        except ValueError:
            error = sys.exc_info()
    made = logging.LogRecord("genux_server.x", logging.INFO, "x.py", 1, message, args, error)
    if fields:
        made.fields = fields
    return made


@pytest.fixture
def in_request():
    token = request_id.set("abc-1")
    yield
    request_id.reset(token)


def test_a_json_line_has_the_fields_the_request_and_the_failure(in_request):
    line = json.loads(JsonFormatter().format(record("chunk %d failed", 7, failed=True, status=500)))
    error = line.pop("error")
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "genux_server.x",
        "message": "chunk 7 failed",
        "request_id": "abc-1",
        "status": 500,
    }
    assert error.startswith("Traceback")
    assert error.endswith("'no lake'")


def test_a_json_line_is_one_line_whatever_the_message_holds():
    text = JsonFormatter().format(record("two\nlines %s", object()))
    assert len(text.splitlines()) == 1
    assert json.loads(text)["message"].startswith("two\nlines <object")


def test_a_line_for_people_names_request_and_fields(in_request):
    text = TextFormatter().format(record("answered", method="GET", status=200))
    assert text.endswith("INFO    genux_server.x: answered method=GET status=200 [abc-1]")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_looks_like_a_key_or_a_password_is_cut_out(formatter):
    text = formatter.format(
        record("key gxs_SECRETSECRETSECRETSECRET at postgresql://genux:hunter2@db/genux", key="gxb_" + "q" * 43)
    )
    assert "gxs_SECRE…" in text
    assert "postgresql://genux:…@db/genux" in text
    assert [secret for secret in ("SECRETSECRET", "hunter2", "qqqqqq") if secret in text] == []


@pytest.mark.parametrize("offered", ["01JD-abc_1.2", "a" * 128, "0af7651916cd43dd8448eb211c80319c"])
def test_a_sane_request_id_is_taken_over(offered):
    assert new_request_id(offered) == offered


@pytest.mark.parametrize("offered", ["", "a" * 129, "two words", "x\ny", '"}', "<script>", "é"])
def test_any_other_request_id_is_replaced(offered):
    assert len(new_request_id(offered)) == 32


def test_auto_is_text_on_a_terminal_and_json_elsewhere(monkeypatch):
    for is_terminal, formatter in ((True, "TextFormatter"), (False, "JsonFormatter")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer, raising=False)
        chosen = logs.settings(Config())["formatters"]["genux"]["()"]
        assert chosen == f"genux_server.service.logs.{formatter}"
    assert logs.settings(Config(log_format="text"))["formatters"]["genux"]["()"].endswith("TextFormatter")
