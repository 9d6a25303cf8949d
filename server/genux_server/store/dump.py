"""One consistent copy of the store's databases while others go on writing, and back."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from genux.errors import ConfigError, GenuxError
from genux_server.model import LakeVersions
from genux_server.store import inbox
from genux_server.store.database import Store

__all__ = ["DumpError", "dump", "is_empty", "load"]

_POSTGRESQL_FILE = "database.pgdump"


class DumpError(GenuxError):
    """The copy could not be made or read; the message says what the database's own tool said."""


@contextmanager
def dump(store: Store) -> Generator[tuple[LakeVersions, Callable[[Path], None]]]:
    """Hold the databases' state of this moment.

    Yields:
        The lake's published state at that moment, and what writes the databases of that moment into a folder.

    Raises:
        ConfigError: PostgreSQL's `pg_dump` is not at hand.
        DumpError: it failed.
        StorageError: a database is busy or gone.
    """
    held = _sqlite_moment(store) if store.control.dialect.name == "sqlite" else _postgresql_moment(store)
    with held as moment:
        yield moment


def load(store: Store, folder: Path) -> None:
    """Fill empty databases with what `dump` wrote.

    Raises:
        ConfigError: PostgreSQL's `pg_restore` is not at hand.
        DumpError: it failed; nothing was kept.
    """
    if store.control.dialect.name == "sqlite":
        for target in _sqlite_files(store):
            shutil.copyfile(folder / target.name, target)
        return
    url, environment = _connection_of(store)
    command = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", f"--dbname={url}"]
    _run("pg_restore", [*command, str(folder / _POSTGRESQL_FILE)], environment)


def is_empty(store: Store) -> bool:
    """Whether the databases hold no table. Asking makes no SQLite file."""
    if store.control.dialect.name == "sqlite":
        return not any(path.exists() for path in _sqlite_files(store))
    return not sa.inspect(store.control).get_table_names()


@contextmanager
def _sqlite_moment(store: Store) -> Generator[tuple[LakeVersions, Callable[[Path], None]]]:
    paths = _sqlite_files(store)
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True))) for path in paths]
        # Two files have no common moment of their own. Whoever holds both write locks makes one,
        # within milliseconds, and in WAL mode the two readers then keep it while others write on.
        with store.writing() as session, store.inbox_writing() as connection:
            session.connection()
            versions = inbox.lake_versions(connection)
            for source in sources:
                source.isolation_level = None
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()

        def write(folder: Path) -> None:
            for source, path in zip(sources, paths, strict=True):
                with closing(sqlite3.connect(folder / path.name)) as target:
                    source.backup(target)
                    (verdict,) = target.execute("PRAGMA quick_check").fetchone()
                    if verdict != "ok":
                        raise DumpError(f"the copy of {path.name} is damaged, and so may be the original: {verdict}")

        yield versions, write


@contextmanager
def _postgresql_moment(store: Store) -> Generator[tuple[LakeVersions, Callable[[Path], None]]]:
    with store.control.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        snapshot = connection.scalar(sa.select(sa.func.pg_export_snapshot()))
        versions = inbox.lake_versions(connection)

        def write(folder: Path) -> None:
            url, environment = _connection_of(store)
            command = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
            _run("pg_dump", [*command, f"--file={folder / _POSTGRESQL_FILE}", f"--dbname={url}"], environment)

        yield versions, write


def _sqlite_files(store: Store) -> list[Path]:
    return [Path(engine.url.database or "") for engine in (store.control, store.inbox)]


def _connection_of(store: Store) -> tuple[str, dict[str, str]]:
    """The URL for PostgreSQL's own tools; the password goes where no list of processes shows it."""
    url = store.control.url
    environment = dict(os.environ)
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    plain = url.set(drivername="postgresql")._replace(password=None)
    return plain.render_as_string(hide_password=False), environment


def _run(tool: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
    path = shutil.which(tool)
    if path is None:
        raise ConfigError(
            f"{tool} is not at hand; install PostgreSQL's client programs, of the server's version or newer"
        )
    done = subprocess.run([path, *arguments], env=environment, capture_output=True, text=True, check=False)  # noqa: S603  # PostgreSQL's own program, and no shell
    if done.returncode:
        raise DumpError(f"{tool} failed: {done.stderr.strip()}")
