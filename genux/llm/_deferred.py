"""Answers that are finished after the request that asked for them: background responses, batches, assistant runs.

Whoever fetches such an answer first carries its usage, under an operation of its own; every other look at it is a plain
`.get` without usage. In this process two maps see to it. Between processes the record's `event_id` does, which is made
from the answer's own id: of several records of one answer, whoever reads the events keeps the first.
"""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from genux.llm._facts import fields_of

if TYPE_CHECKING:
    from genux.llm._probe import Probe
    from genux.llm._recorder import CallContext

__all__ = ["account"]

_MAX_REMEMBERED = 20_000
_OPERATIONS = {"response": "responses.background", "batch": "batches.results", "thread.run": "threads.run"}
_UNFINISHED = frozenset(
    {"cancelling", "finalizing", "in_progress", "queued", "requires_action", "validating", "waiting"}
)
_ANSWERED = frozenset({"completed", "incomplete"})
_NAMESPACE = uuid.UUID("5f0c8d5e-6a1b-5c0e-9d43-0b7a1f6f2c11")


class _Origin(NamedTuple):
    """The call that asked, whose unit the answer belongs to."""

    context: "CallContext"
    feature: str
    model: str


# Plain dicts, whose single operations are atomic: the collector may get here while its own thread is in here.
_pending: dict[str, _Origin] = {}
_counted: dict[str, object] = {}


def account(probe: "Probe", answer: Mapping[str, Any]) -> None:
    """Decides whether the usage that an answer reports is this call's.

    Args:
        probe: a call about to finish. Its `usage` is taken away when it has been counted, or will be, elsewhere.
        answer: the fields of the object that came back: a response, a batch, a run, or anything else.
    """
    kind = answer.get("object")
    name = answer.get("id")
    if kind not in _OPERATIONS or not isinstance(name, str):
        if probe.operation.endswith((".get", ".update")):
            _take_away(probe, "counted_before")
        return
    key = f"{kind}:{name}:{answer.get('created_at')}"
    if probe.operation == "responses":
        _asked(probe, answer, key)
    else:
        _fetched(probe, answer, key, kind)


def _asked(probe: "Probe", answer: Mapping[str, Any], key: str) -> None:
    if probe.usage is None:
        _remember(_pending, key, _Origin(probe.context, probe.feature, probe.requested_model))
        if answer.get("status") in _UNFINISHED:
            probe.usage_reason = "deferred"
    elif answer.get("background"):
        _remember(_counted, key, None)


def _fetched(probe: "Probe", answer: Mapping[str, Any], key: str, kind: str) -> None:
    status = answer.get("status")
    if status in _UNFINISHED:
        _take_away(probe, "deferred")
        return
    ours = key in _pending
    if probe.usage is None and status not in _ANSWERED:
        return  # failed or cancelled, and nothing to pay that anyone told
    deferred = ours or kind != "response" or bool(answer.get("background"))
    if not deferred or not _first(key):
        _take_away(probe, "counted_before")
        return
    probe.operation = _OPERATIONS[kind]
    probe.event_id = str(uuid.uuid5(_NAMESPACE, key))
    if kind == "batch":
        probe.service_tier = "batch"
    if status == "failed":
        code = fields_of(answer.get("error")).get("code")
        probe.error_type = code if isinstance(code, str) and code else "response_failed"
    origin = _pending.pop(key, None)
    if origin is not None:
        probe.context, probe.feature, probe.requested_model = origin


def _take_away(probe: "Probe", reason: str) -> None:
    probe.usage = None
    probe.usage_reason = reason


def _first(key: str) -> bool:
    mine = object()
    return _remember(_counted, key, mine) is mine


ValueT = TypeVar("ValueT")


def _remember(entries: dict[str, ValueT], key: str, value: ValueT) -> ValueT:
    while len(entries) >= _MAX_REMEMBERED:
        try:
            del entries[next(iter(entries))]
        except (KeyError, RuntimeError, StopIteration):
            break  # another thread makes room at this moment
    return entries.setdefault(key, value)
