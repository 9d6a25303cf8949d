"""What hosts rely on: the public names, and what importing them costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import genux

HEAVY = {
    "flask",
    "sqlalchemy",
    "numpy",
    "statsmodels",
    "openai",
    "yaml",
    "http",
    "msgspec",
    "logging",
    "asyncio",
    "ssl",
}

PUBLIC = {
    "genux": [
        "Assignment",
        "Client",
        "Resumed",
        "Route",
        "Status",
        "Target",
        "alias",
        "call",
        "carry",
        "default_client",
        "executor",
        "expose",
        "feature",
        "feedback",
        "flush",
        "peek",
        "resume",
        "resume_token",
        "status",
        "track",
        "unit",
        "variant",
        "wrap",
    ],
    "genux.assignment": [
        "NO_ATTRIBUTES",
        "SCHEME",
        "Assignment",
        "CompiledSnapshot",
        "assign",
        "compile_snapshot",
        "control",
        "force",
    ],
    "genux.config": [
        "check_snapshot",
        "in_order",
        "load_config",
        "parse_config",
        "snapshot_experiment",
        "snapshot_from_config",
        "snapshot_rules",
    ],
    "genux.doctor": ["Finding", "diagnose", "main"],
    "genux.errors": [
        "ConfigError",
        "GenuxError",
        "ServiceError",
        "SnapshotError",
        "TokenError",
        "TransportError",
        "UsageError",
    ],
    "genux.integrations.flask": ["init_app"],
    "genux.integrations.pytest": ["genux_clock", "genux_force", "genux_recording", "genux_service"],
    "genux.integrations.sentry": ["GenuxIntegration"],
    "genux.middleware": ["AsgiUnit", "WsgiUnit"],
    "genux.observers": ["CallStarted", "Exposed", "Observer", "observe"],
    "genux.testing": [
        "FrozenClock",
        "InProcessService",
        "Recording",
        "RecordingTransport",
        "Response",
        "Transport",
        "WsgiTransport",
        "clock",
        "force",
        "frozen_clock",
        "in_process_service",
        "recording",
    ],
    "genux.tokens": ["Reference", "is_token", "mint", "mint_force", "read", "read_force"],
}


def loaded_by(statement):
    """Top-level modules that a fresh interpreter has after a statement, beyond those it starts with."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_importing_genux_loads_nothing_but_itself():
    assert loaded_by("import genux") == {"genux"}


@pytest.mark.parametrize(
    "statement",
    [
        "import genux, genux._imports as i; i._loading.acquire(); genux.Client('http://x', 'k', exit_flush_seconds=0)",
        "import genux.testing",
    ],
)
def test_a_client_loads_nothing_heavy(statement):
    roots = {name.split(".")[0] for name in loaded_by(statement)}
    assert not roots & (HEAVY - {"msgspec", "logging", "http"})


def test_the_names_that_hosts_import_are_these():
    for module, names in PUBLIC.items():
        loaded = importlib.import_module(module)
        assert loaded.__all__ == names, module
        assert [name for name in names if not hasattr(loaded, name)] == [], module


def test_the_names_shown_to_type_checkers_are_the_names_exported():
    tree = ast.parse(Path(genux.__file__).read_text(encoding="utf-8"))
    (shown,) = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "genux._default")
    assert [alias.name for alias in shown.names] == genux.__all__


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'varient'"):
        _ = genux.varient


def test_importing_starts_no_thread_and_a_client_in_local_mode_neither():
    code = (
        "import threading, genux, genux.llm, genux.testing; genux.unit; assert threading.active_count() == 1;"
        "genux.Client(); assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def test_constructing_a_client_waits_for_no_network_and_makes_no_folder(tmp_path):
    code = (
        "import socket, genux, os, sys; silent = socket.create_server(('127.0.0.1', 0));"
        "url = f'http://127.0.0.1:{silent.getsockname()[1]}';"
        "gx = genux.Client(url, 'k', directory=sys.argv[1], exit_flush_seconds=0);"
        "silent.settimeout(20); silent.accept(); assert not os.path.exists(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "outbox")], check=True)
