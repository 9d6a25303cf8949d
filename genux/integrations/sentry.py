"""Sentry: the variants in force on every error, and a `gen_ai` span for every LLM call.

```python
import sentry_sdk
from genux.integrations.sentry import GenuxIntegration

sentry_sdk.init(dsn="...", traces_sample_rate=0.1, integrations=[GenuxIntegration()])
```

An error carries a feature flag `genux.<experiment>:<variant>`, a tag `genux.<experiment>` (Sentry takes names of up to
32 characters) and a context `genux`. They live in Sentry's isolation scope: one per request under its web integrations;
a loop over jobs opens its own with `sentry_sdk.isolation_scope()`.

A call is one span, also beside Sentry's own OpenAI integration: where that has begun a span for the request, the facts
of genux are added to it; where it has none (`.parse`, images, audio, calls measured by hand), genux begins one. No
text of prompts or answers is sent from here, and no unit's id unless asked for.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.feature_flags import add_feature_flag
from sentry_sdk.integrations import Integration
from sentry_sdk.traces import StreamedSpan
from sentry_sdk.tracing import Span
from sentry_sdk.tracing_utils import has_span_streaming_enabled, has_tracing_enabled

from genux.observers import CallStarted, Exposed, Observer, observe
from genux.wire import AssignmentRef, Call, Tokens

__all__ = ["GenuxIntegration"]

_PREFIX = "genux."
_ORIGIN = "auto.ai.genux"
_CALL_ID = "genux.call_id"
_WRAPPER_OP = "genux.call"
_MAX_TAG_LENGTH = 32  # Sentry discards a tag with a longer name

# Names of genux -> those of the conventions, where they differ.
_OPERATIONS = {"completions": "text_completion"}
# Requests named after an HTTP method (`models.get`, `files.post`) generate nothing.
_HTTP_METHODS = frozenset({"delete", "get", "patch", "post", "put"})
# Spans that stand for one request; agents, tools and hand-overs contain requests.
_GENERATIONS = frozenset(
    f"gen_ai.{name}"
    for name in ("chat", "embeddings", "generate_content", "generate_text", "responses", "text_completion")
)

AnySpan: TypeAlias = Span | StreamedSpan
Attributes: TypeAlias = dict[str, str | int | float | bool]


class GenuxIntegration(Integration):
    """For `sentry_sdk.init(integrations=[...])`.

    Args:
        include_unit_id: put the unit's id into the context `genux`; personal data, for many hosts.
    """

    identifier = "genux"

    def __init__(self, *, include_unit_id: bool = False) -> None:
        self.include_unit_id = include_unit_id

    @staticmethod
    def setup_once() -> None:
        """Called by Sentry, once in a process."""
        observe(_Watching())


class _Watching(Observer):
    def __init__(self) -> None:
        self._open: WeakValueDictionary[str, _CallSpan] = WeakValueDictionary()

    def exposed(self, exposed: Exposed) -> None:
        integration = sentry_sdk.get_client().get_integration(GenuxIntegration)
        if integration is None:
            return
        scope = sentry_sdk.get_isolation_scope()
        experiments = {ref.experiment for ref in exposed.in_force}
        flags = {_flag(ref) for ref in exposed.in_force}
        for seen in scope.flags.get():
            name = seen["flag"]
            if name.startswith(_PREFIX) and seen["result"] and name not in flags:
                # Another unit was here before in the same scope.
                add_feature_flag(name, False)
                experiment = name.removeprefix(_PREFIX).rpartition(":")[0]
                if experiment not in experiments:
                    scope.remove_tag(_PREFIX + experiment)
        for ref in exposed.in_force:
            add_feature_flag(_flag(ref), True)
            if len(tag := _PREFIX + ref.experiment) <= _MAX_TAG_LENGTH:
                scope.set_tag(tag, ref.variant)
        context: dict[str, Any] = {
            "experiments": {
                ref.experiment: {"variant": ref.variant, "epoch": ref.epoch, "forced": ref.forced}
                for ref in exposed.in_force
            },
            "unit_kind": exposed.unit_kind,
        }
        if integration.include_unit_id:
            context["unit_id"] = exposed.unit_id
        scope.set_context("genux", context)

    def call_started(self, started: CallStarted) -> Callable[[Call], None] | None:
        client = sentry_sdk.get_client()
        if client.get_integration(GenuxIntegration) is None or not has_tracing_enabled(client.options):
            return None
        streaming = has_span_streaming_enabled(client.options)
        current: AnySpan | None = traces.get_current_span() if streaming else sentry_sdk.get_current_span()
        theirs = current if current is not None and _awaits_facts(current) else None
        if started.parent_call_id:
            outer = self._open.get(started.parent_call_id)
            if outer is not None and theirs is not None:
                outer.has_inner_spans = True
                _annotate(theirs, {_CALL_ID: started.parent_call_id, **_variants(started.assignments)})
            return None
        if started.operation.rpartition(".")[2] in _HTTP_METHODS:
            return None
        span = theirs
        if span is None:
            name = f"{_operation(started.operation)} {started.requested_model}".rstrip()
            span = _begin(current, f"gen_ai.{_operation(started.operation)}", name, streaming=streaming)
        _annotate(span, {_CALL_ID: started.call_id, **_variants(started.assignments)})
        call_span = _CallSpan(span, own=theirs is None)
        self._open[started.call_id] = call_span
        return call_span.finish


class _CallSpan:
    """The span of one call, ours or that of another integration.

    Attributes:
        has_inner_spans: another integration made spans of the call's attempts. They hold the tokens, so that this one
            must not be counted as a generation too.
    """

    def __init__(self, span: AnySpan, *, own: bool) -> None:
        self._span = span
        self._own = own
        self._started_at = dt.datetime.now(dt.UTC)
        self.has_inner_spans = False

    def finish(self, call: Call) -> None:
        span = self._span
        if self.has_inner_spans:
            _set_op(span, _WRAPPER_OP)
            _annotate(span, _facts(call))
        else:
            _annotate(span, {**_facts(call), **_generation(call)})
        if self._own:
            _set_status(span, call)
        elif call.status in {"ok", "error"}:
            return  # theirs to end; a stream that was left early they would never end
        ended_at = self._started_at + dt.timedelta(seconds=call.latency_seconds)
        if isinstance(span, StreamedSpan):
            span.end(ended_at)
        else:
            span.finish(end_timestamp=ended_at)


def _begin(parent: AnySpan | None, op: str, name: str, *, streaming: bool) -> AnySpan:
    """A span that is not the current one: a stream may end in another context, or never.

    Without a parent it is the root of its own trace, as in Sentry's own integrations.
    """
    if streaming:
        return traces.start_span(name, attributes={"sentry.op": op, "sentry.origin": _ORIGIN}, active=False)
    if isinstance(parent, Span) and parent.containing_transaction is not None:
        return parent.start_child(op=op, name=name, origin=_ORIGIN)
    return sentry_sdk.start_transaction(op=op, name=name, origin=_ORIGIN)


def _awaits_facts(span: AnySpan) -> bool:
    """Whether it is the span of a request that no call of ours was made for yet."""
    if isinstance(span, StreamedSpan):
        attributes = span.get_attributes()
        return attributes.get("sentry.op") in _GENERATIONS and _CALL_ID not in attributes
    return span.op in _GENERATIONS and _CALL_ID not in span.to_json().get("data", {})


def _annotate(span: AnySpan, attributes: Attributes) -> None:
    for name, value in attributes.items():
        if isinstance(span, StreamedSpan):
            span.set_attribute(name, value)
        else:
            span.set_data(name, value)


def _set_op(span: AnySpan, op: str) -> None:
    if isinstance(span, StreamedSpan):
        span.set_attribute("sentry.op", op)
    else:
        span.op = op


def _set_status(span: AnySpan, call: Call) -> None:
    if isinstance(span, StreamedSpan):
        span.status = "error" if call.status == "error" else "ok"
    else:
        span.set_status({"error": "internal_error", "cancelled": "cancelled"}.get(call.status, "ok"))


def _flag(ref: AssignmentRef) -> str:
    """Flags of Sentry are true or false, variants have names."""
    return f"{_PREFIX}{ref.experiment}:{ref.variant}"


def _variants(assignments: Iterable[AssignmentRef]) -> Attributes:
    return {f"genux.variant.{ref.experiment}": ref.variant for ref in assignments}


def _operation(operation: str) -> str:
    return _OPERATIONS.get(operation, operation)


def _facts(call: Call) -> Attributes:
    """What genux knows and the conventions have no name for."""
    facts: Attributes = {
        _CALL_ID: call.call_id,
        "genux.status": call.status,
        "genux.attempts": max(len(call.attempts), 1),
        "genux.fallback": call.fallback,
    }
    if call.feature:
        facts["genux.feature"] = call.feature
    if call.cost_usd is not None:
        facts["genux.cost_usd"] = float(call.cost_usd)
    return facts | _variants(call.assignments)


def _generation(call: Call) -> Attributes:
    """The call in the words of the `gen_ai` conventions of OpenTelemetry and Sentry; of text, nothing."""
    facts: Attributes = {
        "gen_ai.operation.name": _operation(call.operation),
        "gen_ai.response.streaming": call.streaming,
    }
    for name, value in (
        ("gen_ai.provider.name", call.provider),
        ("gen_ai.request.model", call.requested_model),
        ("gen_ai.response.model", call.served_model),
        ("gen_ai.response.time_to_first_token", call.ttft_seconds),
        ("error.type", call.error_type),
    ):
        if value:
            facts[name] = value
    tokens = call.tokens or _sum(attempt.tokens for attempt in call.attempts if attempt.tokens is not None)
    if tokens is not None:
        facts["gen_ai.usage.input_tokens"] = tokens.input
        facts["gen_ai.usage.output_tokens"] = tokens.output
        facts["gen_ai.usage.total_tokens"] = tokens.input + tokens.output
        for name, count in (
            ("gen_ai.usage.input_tokens.cached", tokens.cached),
            ("gen_ai.usage.input_tokens.cache_write", tokens.cache_write),
            ("gen_ai.usage.output_tokens.reasoning", tokens.reasoning),
        ):
            if count:
                facts[name] = count
    return facts


def _sum(parts: Iterable[Tokens]) -> Tokens | None:
    known = list(parts)
    if not known:
        return None
    return Tokens(
        input=sum(part.input for part in known),
        cached=sum(part.cached for part in known),
        cache_write=sum(part.cache_write for part in known),
        output=sum(part.output for part in known),
        reasoning=sum(part.reasoning for part in known),
    )
