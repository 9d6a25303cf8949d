"""What the databases know, looked up when Prometheus asks: the same answer from every process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from genux_server.config import Config
from genux_server.service.health import Health, check
from genux_server.store import StorageError, Store

__all__ = ["Gauges"]


class Gauges(Collector):
    """Depth and lag of the inbox, the lake's chunk, the lease, the disk.

    While a database does not answer, `genux_up` is 0 and the rest is missing: an old number would look like a good one.

    Args:
        store: inbox and control store.
        config: where the data lies.
    """

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config

    def collect(self) -> Iterator[Metric]:
        """The families of this moment."""
        try:
            health = check(self._store, self._config)
        except StorageError:
            health = None
        yield GaugeMetricFamily("genux_up", "Whether both databases answer.", value=float(health is not None))
        if health is not None:
            yield from _families(health)
        yield GaugeMetricFamily(
            "genux_disk_free_bytes", "Free space under the data directory.", value=_free_bytes(self._config.data)
        )


def _families(health: Health) -> Iterator[Metric]:
    for name, text, value in (
        ("genux_inbox_batches", "Batches that wait for the lake.", health.waiting_batches),
        ("genux_inbox_bytes", "Compressed bytes that wait for the lake.", health.waiting_bytes),
        ("genux_inbox_oldest_seconds", "Age of the oldest batch that waits, 0 when none does.", health.oldest_seconds),
        ("genux_inbox_parked_batches", "Batches that cannot be read and were set aside.", health.parked_batches),
        ("genux_lake_chunk", "Number of the last published chunk.", health.lake_chunk),
        ("genux_worker_lease_held", "Whether a worker is at work.", float(health.worker)),
        ("genux_lake_writable", "Whether the lake's folder takes a file.", float(health.lake_writable)),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def _free_bytes(data: Path) -> float:
    try:
        return float(shutil.disk_usage(data).free)
    except OSError:
        return 0.0
