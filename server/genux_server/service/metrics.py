"""Metrics: the project's measured quantities."""

from collections.abc import Collection

import msgspec

from genux.errors import ServiceError
from genux.specs import CALL_FIELDS, SCORE_PREFIX, MetricSpec
from genux.wire import OWN_EVENTS
from genux_server.service import audit
from genux_server.service.scope import Scope, not_found, utcnow
from genux_server.store import Store, experiments
from genux_server.store.control import Metric

__all__ = ["create", "get", "list_metrics", "put"]


def create(store: Store, scope: Scope, spec: MetricSpec) -> MetricSpec:
    """Keep a new metric.

    Raises:
        ServiceError: `invalid`, or `conflict` when the key is taken by another definition.
    """
    _check(spec)
    now = utcnow()
    with store.writing() as session:
        found = experiments.find_metric(session, scope.project_id, spec.key)
        if found is not None:
            if _decode(found) == spec:
                return spec
            raise ServiceError("conflict", f"There is another metric called `{spec.key}`.", 409)
        encoded = msgspec.json.encode(spec).decode()
        experiments.add_metric(
            session,
            Metric(project_id=scope.project_id, key=spec.key, spec=encoded, created_at=now, updated_at=now),
        )
        audit.record(session, scope, "metric.create", spec.key)
    return spec


def put(store: Store, scope: Scope, spec: MetricSpec) -> MetricSpec:
    """Change a metric. Reports are computed anew from the facts under the new definition; old ones stay as they were.

    Raises:
        ServiceError: `invalid`, or `not_found`.
    """
    _check(spec)
    with store.writing() as session:
        found = experiments.find_metric(session, scope.project_id, spec.key)
        if found is None:
            raise not_found("metric", spec.key)
        audit.record(session, scope, "metric.update", spec.key, {"before": msgspec.json.decode(found.spec)})
        found.spec = msgspec.json.encode(spec).decode()
        found.updated_at = utcnow()
    return spec


def get(store: Store, scope: Scope, key: str) -> MetricSpec:
    """One metric.

    Raises:
        ServiceError: `not_found`.
    """
    with store.reading() as session:
        found = experiments.find_metric(session, scope.project_id, key)
    if found is None:
        raise not_found("metric", key)
    return _decode(found)


def list_metrics(store: Store, scope: Scope, keys: Collection[str] | None = None) -> list[MetricSpec]:
    """The project's metrics by key, all or those named."""
    with store.reading() as session:
        return [_decode(metric) for metric in experiments.list_metrics(session, scope.project_id, keys)]


def _decode(metric: Metric) -> MetricSpec:
    return msgspec.json.decode(metric.spec, type=MetricSpec)


def _is_call_field(field: str) -> bool:
    return field in CALL_FIELDS or (field.startswith(SCORE_PREFIX) and field != SCORE_PREFIX)


def _check(spec: MetricSpec) -> None:
    if spec.kind == "ratio" and spec.denominator is None:
        raise ServiceError("invalid", f"$.denominator: the ratio `{spec.key}` needs one.", 400)
    if spec.kind in {"quantile", "duration"} and (spec.covariate_days or spec.cap_quantile < 1):
        raise ServiceError("invalid", f"$.kind: the {spec.kind} `{spec.key}` takes neither a covariate nor a cap.", 400)
    for name, measure in (("numerator", spec.numerator), ("denominator", spec.denominator)):
        if measure is not None and measure.source == "event" and not measure.event:
            raise ServiceError("invalid", f"$.{name}.event: name the event that `{spec.key}` measures.", 400)
        if measure is not None and measure.source == "event" and measure.event.startswith(OWN_EVENTS):
            raise ServiceError(
                "invalid", f"$.{name}.event: `{measure.event}` is how genux keeps its own books; no unit did it.", 400
            )
        if measure is not None and measure.source == "call" and not _is_call_field(measure.field):
            fields = ", ".join(CALL_FIELDS)
            raise ServiceError("invalid", f"$.{name}.field: a call has {fields}, and {SCORE_PREFIX}<name>.", 400)
        if measure is not None and measure.after_seconds >= spec.window_seconds:
            raise ServiceError(
                "invalid", f"$.{name}.after_seconds: it leaves nothing of the {spec.window_seconds:g} s window.", 400
            )
