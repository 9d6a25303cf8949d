"""docs/sdk.md: every Python block runs as it stands there, one after the other; its YAML is read by what reads YAML."""

import os
import re
from pathlib import Path

import pytest

from genux import testing
from genux.llm import PriceTable
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sdk.md").read_text()
# Sentry patches the whole process for good, so its block is left to the tests of the integration.
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "sentry_sdk" not in block]


@pytest.fixture
def model(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GENUX_")]:
        monkeypatch.delenv(name)
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0)))
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    monkeypatch.setenv("GENUX_CONFIG", str(ROOT / "examples" / "reader" / "genux.yaml"))
    yield
    stop()


def test_the_page_does_what_it_says(model):
    names = {}
    with testing.recording() as seen:
        for block in BLOCKS:
            exec(block, names)
    by_feature = {call.feature: call for call in seen.calls}
    reader, searched = by_feature["reader"], by_feature["search"]
    assert reader.assignments[0].experiment == "ai-entry"
    assert (searched.retrieval.k, searched.scores, searched.tokens.input) == (3, {"faithfulness": 0.9}, 1_200)
    exported = next(track for track in seen.tracks if track.name == "exported")
    assert exported.units == {"user": "user-42"}
    by_hand, resumed = [track for track in seen.tracks if track.name == "feedback"]
    assert (by_hand.call_id, by_hand.value, resumed.value) == (searched.call_id, 1.0, 1.0)
    assert not names["outcome"].refused
    assert names["states"] == {"main": "ready", "cheaper": "ready"}
    assert sum(names["gx"].status().dropped.values()) == 0
    with testing.force({"ai-entry": "summary"}), testing.recording() as seen:
        names["test_the_summary_button"](seen)
    for client in ("llm", "routed", "gx"):
        names[client].close()


def test_the_prices_on_the_page_are_a_price_table(tmp_path):
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "prices:" in block]
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    assert PriceTable.load(path).version.startswith("table ")
