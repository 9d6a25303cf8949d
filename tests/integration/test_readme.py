"""What the README shows runs as it stands there."""

import os
import re
from pathlib import Path

import pytest

from genux import testing
from genux_server.demo.corpus import articles
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

ROOT = Path(__file__).parents[2]
SNIPPET = re.search(r"```python\n(import genux\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def model(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GENUX_")]:
        monkeypatch.delenv(name)
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0)))
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    yield
    stop()


def run_snippet():
    names = {"article": articles()[0].text}
    with testing.recording() as seen:
        exec(SNIPPET, names)
    names["llm"].close()
    names["gx"].close()
    return seen


def test_the_snippet_joins_the_outcome_to_the_call(model, monkeypatch):
    monkeypatch.setenv("GENUX_CONFIG", str(ROOT / "examples" / "reader" / "genux.yaml"))
    with testing.force({"ai-entry": "summary"}):
        seen = run_snippet()
    (call,) = seen.calls
    assert call.assignments[0].variant == "summary"
    assert [track.call_id for track in seen.tracks] == [call.call_id]


def test_the_snippet_breaks_nothing_without_a_service_or_a_file(model):
    assert run_snippet().calls == []
