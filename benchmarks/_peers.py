"""Other people's libraries beside ours, each in a virtual environment of its own: they disagree about versions."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "LLM", "REQUIREMENTS", "PeerError", "environment_of", "python_of", "released", "run"]

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
ENVIRONMENTS = ROOT / ".venv-peers"
# The same openai for everybody, or the newest that a peer still allows.
LLM = f"openai<={version('openai')}"
REQUIREMENTS: dict[str, Sequence[str]] = {
    "bare": (),
    "eppo": ("eppo-server-sdk",),
    "gbstats": ("gbstats",),
    "floors": ("mmh3",),
    "genux": ("-e", f"{ROOT}[openai]", LLM),
    "growthbook": ("growthbook",),
    "growthbook-tracking": ("growthbook", "requests"),  # its tracking plugin wants requests and does not require it
    "langfuse": ("langfuse", LLM),
    "launchdarkly": ("launchdarkly-server-sdk",),
    "litellm": ("litellm", LLM),
    "openai": (LLM,),
    "openfeature": ("openfeature-sdk",),
    "openllmetry": ("opentelemetry-instrumentation-openai", "opentelemetry-exporter-otlp-proto-http", LLM),
    "otel": ("opentelemetry-instrumentation-genai-openai", "opentelemetry-exporter-otlp-proto-http", LLM),
    "posthog": ("posthog", LLM),
    "segment": ("segment-analytics-python",),
    "sentry": ("sentry-sdk", LLM),
    "statsig": ("statsig-python-core",),
    "tea-tasting": ("tea-tasting",),
}


class PeerError(Exception):
    """A peer could not be installed or did not run; the text says why, for its row of the table."""


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, which is made when it is not there or its requirements changed.

    Raises:
        PeerError: pip could not install it.
    """
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / "installed.json"
    wanted = json.dumps([sys.version, *REQUIREMENTS[name]])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name} into {folder.relative_to(ROOT)} ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    if REQUIREMENTS[name]:
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *REQUIREMENTS[name],
        ]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerError(f"could not be installed: {_last_line(done.stderr)}")
    stamp.write_text(wanted)
    return python


def run(name: str, *arguments: str | Path, stdin: str = "", timeout_seconds: float = 600.0, **variables: str) -> Any:
    """Run a script in a peer's environment and read the JSON that it prints last.

    Args:
        name: of the environment.
        *arguments: as after `python`; scripts may import the modules of this folder.
        stdin: text that the script reads.
        timeout_seconds: after which the peer counts as hanging.
        **variables: added to the environment variables.

    Raises:
        PeerError: it could not be installed, failed, hung, or printed no JSON.
    """
    command = [python_of(name), *arguments]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_seconds,
                env=environment_of(scratch) | variables,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"did not end within {timeout_seconds:.0f} s") from error
    if done.returncode:
        raise PeerError(f"could not be run: {_last_line(done.stderr)}")
    try:
        return json.loads(_last_line(done.stdout))
    except ValueError as error:
        raise PeerError(f"answered no JSON: {_last_line(done.stdout)}") from error


def environment_of(scratch: str) -> dict[str, str]:
    """Environment variables of a peer: its own settings on this machine must not colour the comparison."""
    return {"PATH": os.environ["PATH"], "HOME": scratch, "TMPDIR": scratch, "PYTHONPATH": str(FOLDER)}


def released(name: str, distribution: str) -> str:
    """`distribution 1.2.3`, as installed in an environment."""
    code = "import importlib.metadata, json, sys; print(json.dumps(importlib.metadata.version(sys.argv[1])))"
    return f"{distribution} {run(name, '-c', code, distribution)}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was said")
