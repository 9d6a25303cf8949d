"""LLM calls by variant, as time series: counted by the worker when it has carried them into the lake.

A batch is answered without anybody looking into its calls. Later the worker, which has the batches in hand anyway,
decodes the few fields below from those that hold a call. Series therefore follow the moment of arrival in the lake,
seconds after the call, or days after it when an outbox had to wait. Reports, not these series, decide anything.
"""

from collections.abc import Iterable, Mapping

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram

from genux_server.model import IngestedBatch
from genux_server.service.labels import OTHER, BoundedLabels

__all__ = ["MAX_VARIANTS", "CallMeter"]

MAX_VARIANTS = 200
"""Different experiments' variants with series of their own, in one process; the rest is `other`."""

_BY = ("project", "environment", "experiment", "variant")
_CALL_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_MARK = b'"call"'
_STATUSES = ("ok", "error", "cancelled", "abandoned")
_SERVER = "server"


class _Assignment(msgspec.Struct, gc=False):
    experiment: str
    variant: str
    forced: bool = False


class _Retrieval(msgspec.Struct, gc=False):
    score_mean: float | None = None
    score_max: float | None = None


class _Call(msgspec.Struct, tag_field="type", tag="call", gc=False):
    latency_seconds: float
    status: str = "ok"
    ttft_seconds: float | None = None
    cost_usd: str | None = None
    fallback: bool = False
    retrieval: _Retrieval | None = None
    assignments: list[_Assignment] = []


class _Exposure(msgspec.Struct, tag_field="type", tag="exposure", gc=False):
    pass


class _Track(msgspec.Struct, tag_field="type", tag="event", gc=False):
    pass


class _Alias(msgspec.Struct, tag_field="type", tag="alias", gc=False):
    pass


_decode = msgspec.json.Decoder(list[_Call | _Exposure | _Track | _Alias]).decode


class CallMeter:
    """Latency, cost, errors, fallbacks and retrieval scores of calls, by experiment and variant.

    A call outside every experiment has empty labels; a call in two experiments counts in both. Calls that were forced
    into a variant and calls that only a browser's key vouches for are left out.

    Args:
        registry: where the series live.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._bounded = BoundedLabels(MAX_VARIANTS)
        self._variants: dict[tuple[str, ...], _Variant] = {}
        self._calls = Counter("genux_llm_calls", "LLM calls, by how they ended.", (*_BY, "status"), registry=registry)
        self._cost = Counter("genux_llm_cost_usd", "Cost of LLM calls whose price is known.", _BY, registry=registry)
        self._unpriced = Counter(
            "genux_llm_unpriced_calls", "LLM calls whose cost is not known.", _BY, registry=registry
        )
        self._fallbacks = Counter(
            "genux_llm_fallbacks", "LLM calls that another target answered.", _BY, registry=registry
        )
        self._seconds = Histogram(
            "genux_llm_call_seconds",
            "Latency of LLM calls that succeeded.",
            _BY,
            registry=registry,
            buckets=_CALL_SECONDS,
        )
        self._ttft = Histogram(
            "genux_llm_ttft_seconds",
            "Time to the first token of streamed LLM calls.",
            _BY,
            registry=registry,
            buckets=_CALL_SECONDS,
        )
        self._scores = Histogram(
            "genux_retrieval_score",
            "Retrieval scores of LLM calls: their mean, and the best.",
            (*_BY, "of"),
            registry=registry,
            buckets=_SCORES,
        )

    def count(self, batches: Iterable[IngestedBatch], environments: Mapping[int, tuple[str, str]]) -> None:
        """Count the calls of batches that are in the lake.

        Args:
            batches: with the accepted events of each.
            environments: project and environment by the environment's number.
        """
        for batch in batches:
            if batch.trust == _SERVER and _MARK in batch.events:
                scope = environments.get(batch.environment_id, (OTHER, OTHER))
                for event in _decode(batch.events):
                    if isinstance(event, _Call) and not any(each.forced for each in event.assignments):
                        for place in [(each.experiment, each.variant) for each in event.assignments] or [("", "")]:
                            self._variant(*scope, *place).count(event)
        for variant in self._variants.values():
            variant.flush()

    def _variant(self, *labels: str) -> "_Variant":
        labels = self._bounded(*labels)
        found = self._variants.get(labels)
        if found is None:
            found = self._variants[labels] = _Variant(
                statuses={status: self._calls.labels(*labels, status) for status in _STATUSES},
                cost=self._cost.labels(*labels),
                unpriced=self._unpriced.labels(*labels),
                fallbacks=self._fallbacks.labels(*labels),
                seconds=self._seconds.labels(*labels),
                ttft=self._ttft.labels(*labels),
                mean_score=self._scores.labels(*labels, "mean"),
                best_score=self._scores.labels(*labels, "best"),
            )
        return found


class _Variant:
    """The series of one variant, looked up once; what only adds up is added up here, and told once a chunk."""

    def __init__(
        self,
        *,
        statuses: Mapping[str, Counter],
        cost: Counter,
        unpriced: Counter,
        fallbacks: Counter,
        seconds: Histogram,
        ttft: Histogram,
        mean_score: Histogram,
        best_score: Histogram,
    ) -> None:
        self._statuses = statuses
        self._sums: dict[Counter, float] = {}
        self._cost, self._unpriced, self._fallbacks = cost, unpriced, fallbacks
        self._seconds, self._ttft = seconds, ttft
        self._mean_score, self._best_score = mean_score, best_score

    def count(self, call: _Call) -> None:
        self._add(self._statuses[call.status], 1)
        if call.status == "ok":
            self._seconds.observe(call.latency_seconds)
        if call.ttft_seconds is not None:
            self._ttft.observe(call.ttft_seconds)
        if call.cost_usd is None:
            self._add(self._unpriced, 1)
        else:
            # A price list may hold rebates; a counter cannot go down, and money is added up exactly in reports.
            self._add(self._cost, max(float(call.cost_usd), 0.0))
        if call.fallback:
            self._add(self._fallbacks, 1)
        if call.retrieval is not None:
            if call.retrieval.score_mean is not None:
                self._mean_score.observe(call.retrieval.score_mean)
            if call.retrieval.score_max is not None:
                self._best_score.observe(call.retrieval.score_max)

    def flush(self) -> None:
        for counter, value in self._sums.items():
            counter.inc(value)
        self._sums.clear()

    def _add(self, counter: Counter, value: float) -> None:
        self._sums[counter] = self._sums.get(counter, 0.0) + value
