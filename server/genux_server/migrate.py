"""Brings the store's tables to the revision that this code was written for, and back.

The scripts stand beside this file in an installed wheel, and at the top of the checkout in a clone.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from genux.errors import ConfigError
from genux_server.store import Store
from genux_server.store.control import ControlBase
from genux_server.store.inbox_tables import InboxBase

__all__ = ["difference", "downgrade", "head", "revisions", "upgrade"]

_LOCK = 0x67656E7578
"""PostgreSQL advisory lock: two services that start together migrate one after the other."""


def upgrade(store: Store, revision: str = "head") -> None:
    """Bring every database of the store up to `revision`; nothing happens where it is there already.

    A database that fails keeps its old revision: DDL is rolled back on SQLite and PostgreSQL alike.
    """
    _run(store, partial(command.upgrade, revision=revision))


def downgrade(store: Store, revision: str) -> None:
    """Take every database of the store back to `revision`; `base` drops all tables."""
    _run(store, partial(command.downgrade, revision=revision))


def head() -> str:
    """The revision that this code was written for."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def revisions(store: Store) -> set[str | None]:
    """The revisions that the databases are at; one element when they agree, None for an empty database."""
    found: set[str | None] = set()
    for engine, _, _ in _targets(store):
        with engine.connect() as connection:
            found.add(MigrationContext.configure(connection).get_current_revision())
    return found


def difference(store: Store) -> list[Any]:
    """What a new revision would have to change for the tables to equal the models; empty when they do."""
    found: list[Any] = []
    for engine, _, metadata in _targets(store):
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            found += compare_metadata(context, metadata)
    return found


def _targets(store: Store) -> list[tuple[sa.Engine, frozenset[str], sa.MetaData]]:
    if store.inbox is not store.control:
        return [
            (store.control, frozenset({"control"}), ControlBase.metadata),
            (store.inbox, frozenset({"inbox"}), InboxBase.metadata),
        ]
    both = sa.MetaData(naming_convention=ControlBase.metadata.naming_convention)
    for base in (ControlBase, InboxBase):
        for table in base.metadata.sorted_tables:
            table.to_metadata(both)
    return [(store.control, frozenset({"control", "inbox"}), both)]


def _run(store: Store, action: Callable[[AlembicConfig], None]) -> None:
    with ExitStack() as stack:
        targets = []
        for engine, parts, metadata in _targets(store):
            connection = stack.enter_context(engine.connect())
            if engine.dialect.name == "postgresql":
                # A migration that cannot have its lock soon gives up, instead of stopping ingest behind it.
                connection.execute(sa.text("SET lock_timeout = '10s'"))
                connection.execute(sa.text("SET statement_timeout = '15min'"))
                connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
                connection.commit()
                stack.callback(_unlock, connection)
            else:
                connection = connection.execution_options(genux_immediate=True)
            targets.append((connection, parts, metadata))
        config = _config()
        config.attributes["targets"] = targets
        action(config)


def _unlock(connection: sa.Connection) -> None:
    connection.rollback()
    connection.execute(sa.text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
    connection.execute(sa.text("RESET lock_timeout"))
    connection.execute(sa.text("RESET statement_timeout"))
    connection.commit()


def _config() -> AlembicConfig:
    beside = Path(__file__).parent / "migrations"
    checkout = Path(__file__).parents[2] / "migrations"
    for folder in (beside, checkout):
        if (folder / "env.py").is_file():
            config = AlembicConfig()
            config.set_main_option("script_location", str(folder).replace("%", "%%"))
            config.set_main_option("path_separator", "os")
            return config
    raise ConfigError("the migration scripts are missing from this installation; install genux again")
