import json
import re

import pytest
from click.testing import CliRunner

from genux_server.cli.main import cli
from genux_server.config import Config
from genux_server.migrate import head
from genux_server.service import bootstrap, keys, people
from genux_server.store import Store


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("GENUX_DATA", "GENUX_DATABASE_URL", "GENUX_PORT"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*args, **options):
        result = CliRunner().invoke(cli, [*args, "--data", str(tmp_path)], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def store(tmp_path, run):
    run("migrate")
    config = Config(data=tmp_path)
    store = Store(config.control_url, config.inbox_url)
    bootstrap.first_start(store, config)
    yield store
    store.close()


def test_migrate_brings_an_empty_directory_to_the_head_and_back(run):
    assert run("migrate").output == f"at {head()}\n"
    refused = run("migrate", "--down", "base", input="n\n")
    assert refused.exit_code == 1
    assert run("migrate", "--down", "base", input="y\n").output.endswith("at None\n")


def test_a_key_is_made_listed_and_revoked(run, store):
    secret = run("keys", "create", "--kind", "browser", "--environment", "prod", "--name", "web shop").output.strip()
    principal = keys.authenticate(store, secret)
    assert (principal.kind, principal.scope.environment) == ("browser", "prod")
    line = next(line for line in run("keys", "list").output.splitlines() if "web shop" in line)
    assert secret not in line
    assert run("keys", "revoke", line.split()[0]).exit_code == 0
    assert keys.authenticate(store, secret) is None
    assert "revoked" in next(line for line in run("keys", "list").output.splitlines() if "web shop" in line)


def test_a_forgotten_password_is_replaced(run, store):
    password = run("keys", "password", "admin@localhost").output.strip()
    assert people.check_login(store, "admin@localhost", password) is not None


def test_what_does_not_exist_is_said_in_a_sentence(run, store):
    for arguments in (("create", "--environment", "moon"), ("revoke", "99"), ("password", "nobody@example.org")):
        result = run("keys", *arguments)
        assert result.exit_code == 1
        assert re.match(r"Error: .*\.\n$", result.output)


def test_the_origins_of_a_browser_key_are_set_and_shown(run, store):
    secret = run("keys", "create", "--kind", "browser", "--name", "shop", "--origin", "https://shop.example").output
    line = next(line for line in run("keys", "list").output.splitlines() if "shop" in line)
    assert "from https://shop.example" in line
    origins = ["--origin", "https://a.example/", "--origin", "http://localhost:3000"]
    assert run("keys", "origins", line.split()[0], *origins).exit_code == 0
    assert keys.authenticate(store, secret.strip()).origins == ("https://a.example", "http://localhost:3000")
    assert run("keys", "origins", line.split()[0]).exit_code == 0
    line = next(line for line in run("keys", "list").output.splitlines() if "shop" in line)
    assert "from no page" in line
    refused = run("keys", "origins", line.split()[0], "--origin", "shop.example")
    assert (refused.exit_code, "is no origin" in refused.output) == (1, True)


def test_a_port_in_use_and_a_bad_variable_are_said_in_a_sentence(run, monkeypatch):
    import socket

    from genux_server.cli import processes

    monkeypatch.setattr(processes, "_PORT_PATIENCE_SECONDS", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("serve", "--port", str(taken.getsockname()[1]))
    assert (result.exit_code, "try --port 0" in result.output) == (1, True)
    monkeypatch.setenv("GENUX_PORT", "many")
    result = run("serve")
    assert (result.exit_code, "GENUX_PORT: must be a whole number" in result.output) == (1, True)


def test_keys_in_a_file_are_kept_while_they_work_and_made_anew_when_they_do_not(tmp_path, store):
    from genux_server.cli.serve import _write_keys

    path = tmp_path / "keys.json"
    config = Config(data=tmp_path, port=1)
    _write_keys(store, config, None, path)
    first = json.loads(path.read_text())
    _write_keys(store, Config(data=tmp_path, port=2), None, path)
    second = json.loads(path.read_text())
    assert second == first | {"url": "http://127.0.0.1:2"}
    scope = bootstrap.find_scope(store, "default", "dev")
    stale = next(key for key in keys.list_keys(store, scope) if key.prefix == first["server_key"][:9])
    keys.revoke(store, scope, stale.id)
    _write_keys(store, config, None, path)
    third = json.loads(path.read_text())
    assert third["server_key"] != first["server_key"]
    assert keys.authenticate(store, third["server_key"]).kind == "server"
