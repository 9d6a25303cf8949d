"""The examples run as they are shipped, offline."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from genux import testing

EXAMPLES = Path(__file__).parents[2] / "examples"


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(("GENUX_", "OPENAI_"))}


def test_the_notebook_runs_offline_and_shows_what_it_promises():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "notebook.py"],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "still an OpenAI client: True" in done.stdout
    assert "40 exposures, 40 calls, 14 outcomes" in done.stdout
    assert "joined to its call: True - names a reader: False" in done.stdout


@pytest.fixture
def reader(monkeypatch):
    """The example app on its local experiment file, with a local model."""
    import openai

    import genux
    from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

    for name in [name for name in os.environ if name.startswith(("GENUX_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    create_app = runpy.run_path(str(EXAMPLES / "reader" / "app.py"))["create_app"]
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0)))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="local") as client:
        gx = genux.Client(config=EXAMPLES / "reader" / "genux.yaml", strict=True)
        yield create_app(gx, gx.wrap(client))
        gx.close()
    stop()


@pytest.mark.parametrize(
    ("variant", "asks"), [("ask-ai", {"question": "What does a generator keep?"}), ("summary", {})]
)
def test_each_surface_of_the_reader_is_exposed_called_and_accepted(reader, variant, asks):
    with testing.force({"ai-entry": variant}), testing.recording() as seen:
        browser = reader.test_client()
        assert b"Generators and lists" in browser.get("/").data
        page = browser.post("/answer", data=asks).get_data(as_text=True)
        token = page.split('name="token" value="')[1].split('"')[0]
        assert browser.post("/helped", data={"token": token}).status_code == 302
    assert [exposure.variant for exposure in seen.exposures] == [variant]
    (call,) = seen.calls
    assert call.assignments[0].variant == variant
    assert call.tokens.output > 0
    accepted = next(track for track in seen.tracks if track.name == "answer_accepted")
    assert accepted.call_id == call.call_id
