"""The store behind a sub-command, with its tables."""

from collections.abc import Generator
from contextlib import contextmanager

from genux_server import migrate
from genux_server.config import Config
from genux_server.store import Store

__all__ = ["opened"]


@contextmanager
def opened(config: Config, *, upgrade: bool = True) -> Generator[Store]:
    """The store that `config` names, closed at the end; its tables brought to this version unless told not to."""
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(config.control_url, config.inbox_url)
    try:
        if upgrade:
            migrate.upgrade(store)
        yield store
    finally:
        store.close()
