"""The objects that one process shares between its requests."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from genux_server.config import Config
from genux_server.service.ingest import Ingest
from genux_server.service.telemetry import Telemetry
from genux_server.store import Store

if TYPE_CHECKING:
    from genux_server.lake import Lake

__all__ = ["Services"]


@dataclass(frozen=True)
class Services:
    """Store, ingest and lake of one process, opened from one configuration."""

    config: Config

    @cached_property
    def store(self) -> Store:
        """Control store and inbox."""
        return Store(self.config.control_url, self.config.inbox_url)

    @cached_property
    def ingest(self) -> Ingest:
        """The way into the inbox."""
        return Ingest(self.store, self.config, self.telemetry)

    @cached_property
    def telemetry(self) -> Telemetry:
        """The counters of this process."""
        return Telemetry()

    @cached_property
    def lake(self) -> "Lake":
        """The fact tables. Imported late: a process that only takes events in needs no Delta library."""
        from genux_server.lake import Lake

        return Lake(self.config.lake_path)
