"""The image and the compose file, as far as they can be held to their word without Docker."""

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import click
import pytest
import yaml

from genux_server.cli.main import cli
from genux_server.config import Config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())


def test_the_dockerfile_is_lint_free():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_sets_only_what_there_is_to_set():
    known = {f"GENUX_{name.upper()}" for name in Config.__dataclass_fields__}
    for name in ("web", "worker"):
        assert set(COMPOSE["services"][name]["environment"]) <= known
    assert set(re.findall(r"GENUX_[A-Z_]+(?==)", DOCKERFILE)) <= known


def test_compose_runs_commands_that_exist_with_options_that_they_have():
    for name in ("web", "worker"):
        command, *options = COMPOSE["services"][name]["command"]
        found = cli.get_command(click.Context(cli), command)
        assert set(options) <= {option for parameter in found.params for option in parameter.opts}


def test_compose_and_prometheus_mean_the_same_ports_and_token():
    (job,) = PROMETHEUS["scrape_configs"]
    worker_port = COMPOSE["services"]["worker"]["environment"]["GENUX_WORKER_METRICS_PORT"]
    assert job["static_configs"] == [{"targets": [f"web:{Config().port}", f"worker:{worker_port}"]}]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{COMPOSE['services']['prometheus']['secrets'][0]}"
    assert COMPOSE["secrets"]["metrics_token"] == {"environment": "GENUX_METRICS_TOKEN"}
    assert f"EXPOSE {Config().port}" in DOCKERFILE
    assert f"127.0.0.1:{worker_port}/" in " ".join(COMPOSE["services"]["worker"]["healthcheck"]["test"])


def test_compose_has_no_password_of_its_own_and_listens_on_this_machine_only():
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == set(re.findall(r"^(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert all("PASSWORD" not in line or "${" in line for line in text.splitlines())
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_file_that_compose_mounts_is_there():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def build_context(target):
    """What Docker would copy: the paths that the ignore file lets back in."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for rule in rules[1:]:
        if rule.startswith("!"):
            source, place = ROOT / rule[1:], target / rule[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=lambda _, names: fnmatch.filter(names, "__pycache__"))
            else:
                shutil.copy(source, place)


@pytest.mark.slow
def test_what_the_image_is_built_by_gives_a_service_that_is_healthy(tmp_path):
    build_context(tmp_path / "source")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GENUX_", "PYTHON"))}
    steps = ["sh", tmp_path / "source" / "deploy" / "install.sh", tmp_path / "source", tmp_path / "genux"]
    subprocess.run(steps, check=True, env=environment | {"PYTHON": sys.executable}, cwd=tmp_path)
    shutil.rmtree(tmp_path / "source")

    # As in the image: programs from the new environment, every setting from the environment, one command.
    keys_file = tmp_path / "keys.json"
    environment |= {"PATH": f"{tmp_path}/genux/bin:/usr/bin:/bin", "GENUX_DATA": str(tmp_path / "data")}
    command = ["genux", "serve", "--port", "0", "--print-keys-json", str(keys_file)]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not keys_file.exists():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert service.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        url = json.loads(keys_file.read_text())["url"]
        probe = json.loads(re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", DOCKERFILE, re.DOTALL).group(1))
        probe = [word.replace(f"127.0.0.1:{Config().port}", url.removeprefix("http://")) for word in probe]
        while subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        while json.load(urllib.request.urlopen(f"{url}/readyz", timeout=10))["status"] != "ok":
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(60)
    assert code == 0
    logged = [line for line in (tmp_path / "log").read_text().splitlines() if '"level":"error"' in line]
    assert logged == []
