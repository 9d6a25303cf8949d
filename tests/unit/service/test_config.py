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
