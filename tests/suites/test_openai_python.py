"""openai-python's own tests, run as they are and again with every client measured: the same pass and fail.

They ship in its source distribution. The API-resource tests among them need a mock server (steady) that is fed with
OpenAI's specification, which the distribution lacks. Here a server stands in that answers `{}` to everything: most of
those tests fail on that, measured or not, but each has made its request by then, of which there must be one record.
"""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
VERSION = version("openai")
HOME = REPOSITORY / ".venv-peers" / f"openai-python-{VERSION}"
SOURCE = HOME / f"openai-{VERSION}"
PYTHON = HOME / "venv" / "bin" / "python"
NEEDS = [
    f"openai[aiohttp,bedrock,realtime]=={VERSION}",
    "azure-identity",
    "genai-prices>=0.2",
    "griffe",
    "httpx",
    "inline-snapshot",
    "msgspec>=0.20",
    "pillow",
    "pytest>=9",
    "pytest-asyncio",
    "pyyaml",
    "requests",
    "respx",
    "rich",
    "trio",
]
CLIENT_TESTS = [
    "tests/test_client.py",
    "tests/test_streaming.py",
    "tests/test_response.py",
    "tests/test_legacy_response.py",
    "tests/test_module_client.py",
    "tests/test_stream_mode.py",
    "tests/lib/chat",
    "tests/lib/responses",
    "tests/lib/streaming",
    "tests/lib/test_azure.py",
    "tests/lib/test_audio.py",
    "tests/lib/test_assistants.py",
    "tests/lib/test_old_api.py",
    "tests/lib/test_responses_tool_runner.py",
]
RESOURCE_TESTS = [
    f"tests/api_resources/{name}"
    for name in ("audio", "chat", "responses", "test_batches.py", "test_completions.py", "test_embeddings.py")
] + [f"tests/api_resources/test_{name}.py" for name in ("files", "images", "models", "moderations")]
LEFT_OUT = "not websocket"  # they are not measured
MODES = ("bare", "measured")


class _Empty(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _answer  # noqa: N815 - the names that http.server calls


@pytest.fixture(scope="module")
def suite():
    """openai's source with its tests, and an environment of its own that can run them; made once and kept."""
    try:
        if not SOURCE.exists():
            HOME.mkdir(parents=True, exist_ok=True)
            download = ["download", "-q", "--no-deps", "--no-binary", "openai", f"openai=={VERSION}", "-d", HOME]
            _run([sys.executable, "-m", "pip", *download])
            with tarfile.open(HOME / f"openai-{VERSION}.tar.gz") as archive:
                # Debian's Python 3.11.2 has no filters yet; later ones want one named.
                archive.extractall(HOME, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        if not (HOME / "ready").exists():
            _run([sys.executable, "-m", "venv", "--clear", HOME / "venv"])
            _run([PYTHON, "-m", "pip", "install", "-q", *NEEDS])
            (HOME / "ready").touch()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"openai {VERSION}'s source or what its tests need cannot be had: {error.stderr[-300:]}")
    return SOURCE


def _run(command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=240)


def _start(mode, tests, out, url):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(REPOSITORY)]),
        "GENUX_SUITE_MODE": mode,
        "GENUX_SUITE_OUT": str(out),
        "TEST_API_BASE_URL": url,
        "PYTEST_ADDOPTS": "",
    }
    command = [PYTHON, "-m", "pytest", "-p", "openai_python_plugin", "-q", "-o", "addopts=", "--tb=no"]
    return subprocess.Popen(
        [str(part) for part in (*command, "-p", "no:cacheprovider", "-k", LEFT_OUT, *tests)],
        cwd=SOURCE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _both(tests, folder):
    """Runs tests bare and measured side by side; answers what each left in its book."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty))
        server.daemon_threads = True
        server.handle_error = lambda *args: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        outs = {mode: folder / f"{mode}.json" for mode in MODES}
        running = {mode: _start(mode, tests, outs[mode], f"http://127.0.0.1:{server.server_port}") for mode in MODES}
        said = {mode: process.communicate(timeout=330)[0] for mode, process in running.items()}
    assert all(out.exists() for out in outs.values()), said
    return [json.loads(outs[mode].read_text()) for mode in MODES]


@pytest.mark.parametrize("tests", [CLIENT_TESTS, RESOURCE_TESTS], ids=["client", "resources"])
def test_a_measured_client_passes_and_fails_what_a_bare_one_does(tests, suite, tmp_path):
    bare, measured = _both([test for test in tests if (suite / test).exists()], tmp_path)
    assert len(bare["outcomes"]) > 500
    assert bare["outcomes"].keys() == measured["outcomes"].keys()
    assert measured["failures"] == []
    assert measured["requests"] > 500
    assert measured["requests"] == measured["started"] == measured["finished"] == measured["distinct"]
    differing = [name for name, outcome in bare["outcomes"].items() if measured["outcomes"][name] != outcome]
    # Some of openai's tests depend on time or on the order of collection: those that differ get two more chances.
    for _ in range(2):
        if not differing:
            break
        bare, measured = _both(differing, tmp_path)
        differing = [name for name in differing if bare["outcomes"][name] != measured["outcomes"][name]]
    assert differing == []
