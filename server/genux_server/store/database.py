"""Connections: two engines on SQLite (control store, inbox), one on PostgreSQL."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from genux_server.store.inbox_tables import LakeState

__all__ = ["StorageError", "Store"]

BUSY_TIMEOUT_SECONDS = 10.0
_IMMEDIATE = "genux_immediate"


class StorageError(Exception):
    """The database could not do what was asked now: busy, full, gone. Nothing was kept; try again."""


class Store:
    """The control store and the inbox. One object a process; safe to share between threads, not across a fork.

    Args:
        control_url: SQLAlchemy URL of the control store.
        inbox_url: the same URL on PostgreSQL, a file of its own on SQLite.
    """

    def __init__(self, control_url: str, inbox_url: str) -> None:
        self.control = _engine(control_url, durable=False)
        self.inbox = self.control if inbox_url == control_url else _engine(inbox_url, durable=True)

    def close(self) -> None:
        """Close every pooled connection."""
        self.control.dispose()
        self.inbox.dispose()

    @contextmanager
    def reading(self) -> Generator[Session]:
        """A session on the control store whose changes are not kept.

        Raises:
            StorageError: the database is busy or gone.
        """
        with _translated(), Session(self.control, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Generator[Session]:
        """A session on the control store, committed at the end; it holds SQLite's one write lock from the start.

        Raises:
            StorageError: the database is busy or gone; nothing was kept.
        """
        with _translated(), Session(_immediate(self.control), expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def inbox_reading(self) -> Generator[sa.Connection]:
        """A connection to the inbox whose changes are not kept.

        Raises:
            StorageError: the database is busy or gone.
        """
        with _translated(), self.inbox.connect() as connection:
            yield connection

    def try_inbox_write(self) -> None:
        """Change nothing, but take every step of a write up to its commit.

        Raises:
            StorageError: the inbox takes no writes.
        """
        with _translated(), _immediate(self.inbox).connect() as connection:
            connection.execute(sa.update(LakeState).values(chunk=LakeState.chunk))
            connection.rollback()

    @contextmanager
    def inbox_writing(self) -> Generator[sa.Connection]:
        """A connection to the inbox, committed at the end; it holds SQLite's one write lock from the start.

        Raises:
            StorageError: the database is busy or gone; nothing was kept.
        """
        with _translated(), _immediate(self.inbox).begin() as connection:
            yield connection


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except IntegrityError:
        raise  # a caller's mistake, not the database's state
    except (DBAPIError, PoolTimeoutError) as error:
        raise StorageError(str(error.__cause__ or error)) from error


def _immediate(engine: sa.Engine) -> sa.Engine:
    return engine.execution_options(**{_IMMEDIATE: True})


def _engine(url: str, *, durable: bool) -> sa.Engine:
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=10,
            pool_timeout=BUSY_TIMEOUT_SECONDS,
            connect_args={"connect_timeout": int(BUSY_TIMEOUT_SECONDS)},  # a lost host would be waited for without end
            hide_parameters=True,  # an error's text reaches the log, and parameters hold what people typed and sent
        )
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, hide_parameters=True)

    def connect(dbapi_connection: sqlite3.Connection, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # the driver's own BEGIN comes too late for DDL and for reads
        for pragma in (
            "journal_mode = WAL",
            # NORMAL can lose an acknowledged commit on power loss, which an acknowledged batch must survive.
            f"synchronous = {'FULL' if durable else 'NORMAL'}",
            "foreign_keys = ON",
        ):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later fails at once when another wrote in between: no timeout
        # applies. Taking the write lock at the start makes it wait its turn.
        immediate = connection.get_execution_options().get(_IMMEDIATE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine
