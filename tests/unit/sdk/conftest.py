import pytest

import genux
from genux import _registry, testing
from genux.config import parse_config, snapshot_from_config

CONFIG = """
experiments:
  - key: ai-entry
    variants:
      - {key: chat, surface: chat}
      - {key: summary, surface: action, label: Summary button, model: gpt-5-mini, payload: {top_k: 4, tags: [a]}}
    targeting: [[{attribute: country, op: in, value: [KR, NO]}]]
    forced_units: {tester: summary}
  - key: layout
    unit_kind: document
    variants: [{key: plain}, {key: rich}]
"""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch, tmp_path):
    for name in ("URL", "API_KEY", "CONFIG", "FORCE", "DEBUG"):
        monkeypatch.delenv(f"GENUX_{name}", raising=False)
    monkeypatch.setenv("GENUX_DIR", str(tmp_path / "outbox"))
    yield
    for client in list(_registry._open):
        client.close()


@pytest.fixture
def service():
    return testing.RecordingTransport(snapshot_from_config(parse_config(CONFIG)))


@pytest.fixture
def gx(service):
    """A client whose service is in memory, and which has its snapshot."""
    client = genux.Client(transport=service, flush_seconds=0.01)
    assert client.ready()
    return client


@pytest.fixture
def local(tmp_path):
    """A client with experiments from a file and no service."""
    path = tmp_path / "genux.yaml"
    path.write_text(CONFIG)
    return genux.Client(config=path)
