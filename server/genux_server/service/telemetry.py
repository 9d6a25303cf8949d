"""What this process counts about itself, for Prometheus.

Counters and histograms live in the process that counts; `genux serve` gives all of its processes one directory
(`PROMETHEUS_MULTIPROC_DIR`), so that whichever of them is asked answers for all. What the databases know (the inbox's
depth, the lake's chunk, the lease) is not counted but looked up when somebody asks: see `genux_server.service.gauges`.

Labels are bounded: whatever a sender can invent passes through `BoundedLabels`.
"""

import os
import re
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from genux.wire import BatchReply
from genux_server.service.call_meter import CallMeter
from genux_server.service.labels import OTHER, BoundedLabels

__all__ = ["MULTIPROCESS_VARIABLE", "Telemetry"]

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the directory that the processes of one service share; read by prometheus_client when it is imported."""

_MAX_REASONS = 50
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WORK_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


# They would be a second series for each, which many processes together do not show anyway.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types


class Telemetry:
    """The counters of one process. One object a process, shared by its threads.

    Attributes:
        failures: steps of the worker that failed and are tried again, by step.
        erased: events dropped on the way into the lake, as their unit was erased after they happened.
        calls: the meter of LLM calls, fed by the worker.
    """

    def __init__(self) -> None:
        self._own = own = CollectorRegistry()
        self._reasons = BoundedLabels(_MAX_REASONS)
        self._requests = Counter(
            "genux_http_requests", "Requests answered.", ("route", "method", "status"), registry=own
        )
        self._request_seconds = Histogram(
            "genux_http_request_seconds",
            "Time to answer a request.",
            ("route",),
            registry=own,
            buckets=_REQUEST_SECONDS,
        )
        self._batches = Counter(
            "genux_ingest_batches", "Batches: ok, duplicate, or why they were refused.", ("result",), registry=own
        )
        self._ingest_seconds = Histogram(
            "genux_ingest_seconds",
            "Time to judge and keep a batch, refused ones too.",
            registry=own,
            buckets=_REQUEST_SECONDS,
        )
        self._bytes = Counter("genux_ingest_bytes", "Bytes of batches as they came, compressed or not.", registry=own)
        self._accepted = Counter(
            "genux_ingest_events", "Events accepted, by the sender's trust.", ("trust",), registry=own
        )
        self._rejected = Counter("genux_ingest_rejected_events", "Events refused, by code.", ("code",), registry=own)
        self._dropped = Counter(
            "genux_sdk_dropped_events", "Events that SDKs say they gave up, by reason.", ("reason",), registry=own
        )
        self._foreign = Counter(
            "genux_cors_refused", "Requests of pages whose origin no key allows, by stage.", ("stage",), registry=own
        )
        self._chunk_batches = Counter("genux_lake_batches", "Batches carried into the lake.", registry=own)
        self.erased = Counter(
            "genux_lake_erased_events", "Events that came after their unit was erased, and were dropped.", registry=own
        )
        self._chunk_seconds = Histogram(
            "genux_lake_chunk_seconds",
            "Time from claiming a chunk to its publication.",
            registry=own,
            buckets=_WORK_SECONDS,
        )
        self._report_seconds = Histogram(
            "genux_report_refresh_seconds",
            "Time of the worker's reports that had to be computed.",
            registry=own,
            buckets=_WORK_SECONDS,
        )
        self.failures = Counter(
            "genux_worker_failures", "Steps of the worker that failed, and are tried again.", ("step",), registry=own
        )
        self.calls = CallMeter(own)
        # A rate needs the 0 before the first of a kind; of these the kinds are known.
        for result in ("ok", "duplicate", "over_budget", "storage_unavailable", "failed"):
            self._batches.labels(result)
        for stage in ("preflight", "request"):
            self._foreign.labels(stage)
        for step in ("step", "report", "erase", "batch"):
            self.failures.labels(step)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: the address with its parameters' names in it, never the address itself.
            method: as it came; unknown ones are `other`.
            status: of the answer.
            seconds: from its arrival in this process.
        """
        self._requests.labels(route, method if method in _METHODS else OTHER, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def batch(self, result: str, n_bytes: int, seconds: float) -> None:
        """A batch was answered: `ok`, `duplicate`, or the code it was refused with."""
        self._batches.labels(result).inc()
        self._bytes.inc(n_bytes)
        self._ingest_seconds.observe(seconds)

    def kept(self, reply: BatchReply, trust: str, dropped: Mapping[str, int]) -> None:
        """What a new batch held: events accepted and refused, and those that its sender gave up before."""
        self._accepted.labels(trust).inc(reply.accepted)
        for rejection in reply.rejected:
            self._rejected.labels(rejection.code).inc()
        for reason, count in dropped.items():
            (label,) = self._reasons(reason) if _REASON.fullmatch(reason) else (OTHER,)
            self._dropped.labels(label).inc(count)

    def foreign(self, stage: str) -> None:
        """A page on an origin that no key allows asked: at the `preflight` or with the `request` itself."""
        self._foreign.labels(stage).inc()

    def chunk(self, n_batches: int, seconds: float) -> None:
        """A chunk was published."""
        self._chunk_batches.inc(n_batches)
        self._chunk_seconds.observe(seconds)

    def report(self, seconds: float) -> None:
        """A report was computed by the worker."""
        self._report_seconds.observe(seconds)

    def exposition(self, lookups: Iterable[Collector] = ()) -> bytes:
        """Everything as Prometheus reads it: of all processes that share the directory, else of this one.

        Args:
            lookups: collectors of what is looked up, not counted.
        """
        found = self._own
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder:
            found = CollectorRegistry()
            MultiProcessCollector(found, folder)  # type: ignore[no-untyped-call]  # its constructor has no types
        parts = [generate_latest(found)]
        for lookup in lookups:
            extra = CollectorRegistry()
            extra.register(lookup)
            parts.append(generate_latest(extra))
        return b"".join(parts)
