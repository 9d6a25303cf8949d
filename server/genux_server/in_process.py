"""The whole service in one process, for the tests of apps; found by `genux.testing` through its entry point."""

from pathlib import Path
from typing import TYPE_CHECKING

from genux_server import migrate
from genux_server.app import create_app
from genux_server.config import Config
from genux_server.service import bootstrap
from genux_server.service.worker import Worker
from genux_server.store import Store

if TYPE_CHECKING:
    from flask import Flask

    from genux_server.service.services import Services

__all__ = ["InProcessService"]


class InProcessService:
    """A service of its own over an empty directory: SQLite, Delta tables, no thread and no socket.

    Args:
        directory: where everything is kept.

    Attributes:
        app: answers HTTP, as WSGI.
        server_key: for SDKs.
        admin_key: for changes.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = Config(data=directory, archive_seconds=0.0)
        store = Store(config.control_url, config.inbox_url)
        migrate.upgrade(store)
        credentials = bootstrap.first_start(store, config)
        store.close()
        assert credentials is not None, "the directory holds a service already"
        self.app: Flask = create_app(config)
        self.server_key = credentials.server_key
        self.admin_key = credentials.admin_key
        services: Services = self.app.extensions["genux"]
        self._store = services.store
        # The one for good: it holds the lease, which a second one would wait for.
        self._worker = Worker(services.store, services.lake, config)

    def archive(self) -> None:
        """Carry everything that was accepted into the lake."""
        while self._worker.archive():
            pass

    def close(self) -> None:
        """Let go of the databases."""
        self._store.close()
