"""What a person writes: a new draft, and changes of it."""

from sqlalchemy.orm import Session

from genux.errors import ServiceError
from genux.specs import ExperimentSpec
from genux_server.service import audit, snapshot
from genux_server.service.experiments._rows import (
    ExperimentView,
    changed,
    check,
    current_spec,
    encode,
    explicit,
    view,
)
from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store, experiments
from genux_server.store.control import Experiment, ExperimentEpoch

__all__ = ["create", "require_metrics", "update"]

_FROZEN_FIELDS = (
    "variants",
    "control",
    "unit_kind",
    "targeting",
    "allocation",
    "coverage",
    "scheme",
    "salt",
    "layer",
    "prerequisites",
    "primary",
    "plan",
)


def create(store: Store, scope: Scope, spec: ExperimentSpec) -> ExperimentView:
    """Keep a new draft.

    Raises:
        ServiceError: `invalid`, `contradicts`, or `conflict` when the key is taken.
    """
    check(spec)
    now = utcnow()
    with store.writing() as session:
        experiments.lock_environment(session, scope.environment_id)
        if experiments.find_experiment(session, scope.environment_id, spec.key) is not None:
            raise ServiceError("conflict", f"There is an experiment called `{spec.key}` already.", 409)
        row = Experiment(
            project_id=scope.project_id,
            environment_id=scope.environment_id,
            key=spec.key,
            status="draft",
            spec=encode(spec),
            coverage=spec.coverage,
            shipped="",
            created_at=now,
            updated_at=now,
        )
        experiments.add_experiment(session, row)
        audit.record(session, scope, "experiment.create", spec.key)
        snapshot.check_contents(session, scope.environment_id, {spec.key: "$"})
        return view(row, [])


def update(store: Store, scope: Scope, spec: ExperimentSpec) -> ExperimentView:
    """Change an experiment. Once started, what assigns units and what decides is frozen.

    Raises:
        ServiceError: `invalid`, `contradicts`, `not_found`, `frozen`, or `unknown_metric`.
    """
    check(spec)

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        before = current_spec(row, epochs)
        if row.status == "draft":
            row.coverage = spec.coverage
        else:
            old, new = explicit(before), explicit(spec)
            names = [name for name in _FROZEN_FIELDS if getattr(old, name) != getattr(new, name)]
            if names:
                raise ServiceError(
                    "frozen",
                    f"`{spec.key}` has started: {', '.join(names)} can no longer change here. Coverage has an "
                    "address of its own, which also takes new shares for the units that it newly admits. Anything "
                    "else would move people between variants, and lose those who come often from one of them only; "
                    "another primary metric or plan after the fact would find something in anything. For those start "
                    "a new experiment.",
                    409,
                )
            require_metrics(session, scope, spec)
        row.spec = encode(spec)

    return changed(store, scope, spec.key, "update", change)


def require_metrics(session: Session, scope: Scope, spec: ExperimentSpec) -> None:
    """Refuse with `unknown_metric` a spec that names metrics which the project does not have."""
    named = {spec.primary, *spec.secondaries, *spec.guardrails}
    known = {metric.key for metric in experiments.list_metrics(session, scope.project_id, named)}
    if named - known:
        raise ServiceError("unknown_metric", f"There is no metric called {', '.join(sorted(named - known))} here.", 409)
