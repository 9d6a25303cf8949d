from pathlib import Path

import pytest

from genux.errors import ConfigError
from genux_server.config import Config


def test_the_environment_sets_every_field_in_its_type():
    config = Config.from_env(
        {
            "GENUX_DATA": "/srv/genux",
            "GENUX_PORT": "9000",
            "GENUX_SECURE_COOKIES": "yes",
            "GENUX_ARCHIVE_SECONDS": "0.5",
            "GENUX_DATABASE_URL": "postgres://u:p@db/genux",
            "SENTRY_DSN": "https://x@y/1",
        }
    )
    assert config == Config(
        data=Path("/srv/genux"),
        port=9000,
        secure_cookies=True,
        archive_seconds=0.5,
        database_url="postgres://u:p@db/genux",
        sentry_dsn="https://x@y/1",
    )
    assert config.control_url == config.inbox_url == "postgresql+psycopg://u:p@db/genux"


def test_options_win_over_the_environment_and_none_leaves_it():
    config = Config.from_env({"GENUX_PORT": "9000", "GENUX_HOST": "::1"}, port=9001, host=None)
    assert (config.port, config.host, config.url) == (9001, "::1", "http://[::1]:9001")


def test_another_process_gets_an_equal_configuration():
    config = Config(data=Path("/x y"), port=1, secure_cookies=True, sentry_dsn="d", inbox_max_batches=5)
    assert Config.from_env(config.to_env()) == config


@pytest.mark.parametrize(
    "environ", [{"GENUX_PORT": "many"}, {"GENUX_SECURE_COOKIES": "perhaps"}, {"GENUX_ARCHIVE_SECONDS": "soon"}]
)
def test_a_variable_that_cannot_be_read_is_named(environ):
    with pytest.raises(ConfigError, match=next(iter(environ))):
        Config.from_env(environ)


def test_a_database_that_is_not_postgresql_is_refused():
    with pytest.raises(ConfigError, match="postgresql"):
        _ = Config(database_url="mysql://x/y").control_url


def test_without_a_database_url_the_inbox_has_a_file_of_its_own():
    config = Config(data=Path("/d"))
    assert (config.control_url, config.inbox_url) == ("sqlite:////d/control.db", "sqlite:////d/inbox.db")
    assert config.lake_path == "/d/lake"


def test_secrets_are_not_in_the_repr():
    shown = repr(Config(database_url="postgresql://u:hunter2@db/x", admin_password="hunter2", sentry_dsn="hunter2"))
    assert "hunter2" not in shown


@pytest.fixture
def config_file(tmp_path):
    def write(text):
        path = tmp_path / "genux.toml"
        path.write_text(text)
        return {"GENUX_CONFIG": str(path)}

    return write


def test_a_file_sets_what_neither_variable_nor_option_does(config_file):
    environ = config_file('data = "/srv/genux"\nport = 9000\nhost = "::1"\nlease_seconds = 10\nsecure_cookies = true\n')
    config = Config.from_env(environ | {"GENUX_PORT": "9001"}, host="::2")
    assert config == Config(data=Path("/srv/genux"), port=9001, host="::2", lease_seconds=10.0, secure_cookies=True)
    assert isinstance(config.lease_seconds, float)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 'many'", ["genux.toml: port", "whole number from 0 to 65535", "'many'"]),
        ("port = 70000", ["genux.toml: port", "70000"]),
        ("keep_reports_days = 1000000", ["genux.toml: keep_reports_days", "0 to 36500"]),
        ("port = true", ["genux.toml: port", "True"]),
        ("web_threads = 2.5", ["genux.toml: web_threads", "whole number", "2.5"]),
        ("lease_seconds = -1", ["genux.toml: lease_seconds", "-1"]),
        ("lease_seconds = inf", ["genux.toml: lease_seconds", "inf"]),
        ("secure_cookies = 1", ["genux.toml: secure_cookies", "true or false"]),
        ("host = 7", ["genux.toml: host", "text", "7"]),
        ("log_format = 'xml'", ["genux.toml: log_format", "auto or text or json", "'xml'"]),
        ("web_thread = 2", ["genux.toml: web_thread", "did you mean web_threads?"]),
        ("zzz = 2", ["genux.toml: zzz", "no such setting"]),
        ("port = ", ["genux.toml", "not TOML"]),
    ],
)
def test_an_error_names_file_key_and_value(config_file, text, named):
    with pytest.raises(ConfigError) as caught:
        Config.from_env(config_file(text))
    assert [word for word in named if word not in str(caught.value)] == []


def test_an_error_shows_no_secret(config_file):
    with pytest.raises(ConfigError, match=r"genux\.toml: admin_password: must be text$"):
        Config.from_env(config_file("admin_password = 31337"))


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml.*No such file"):
        Config.from_env({"GENUX_CONFIG": str(tmp_path / "gone.toml")})
