"""What holds for every experiment of an environment: layers, holdouts, exclusions."""

import msgspec
from sqlalchemy.orm import Session

from genux.config import snapshot_rules
from genux.errors import ServiceError
from genux.specs import AssignmentRules, ExperimentSpec
from genux.wire import Holdout
from genux_server.service import audit, snapshot
from genux_server.service.plain import plain
from genux_server.service.scope import Scope
from genux_server.store import Store, experiments

__all__ = ["get", "put"]


def get(store: Store, scope: Scope) -> AssignmentRules:
    """The environment's rules."""
    with store.reading() as session:
        return _stored(session, scope.environment_id)


def put(store: Store, scope: Scope, rules: AssignmentRules) -> AssignmentRules:
    """Replace the environment's rules, with an audit line and a new snapshot, or not at all.

    Exclusions may change at any time: they leave out a unit whatever its variant. A layer that a started experiment
    divides keeps its salt and scheme, and no holdout takes a variant away from units that have met it.

    Raises:
        ServiceError: `contradicts` when rules and experiments do not agree, `frozen` when started experiments would
            lose units; the message names the place.
    """
    with store.writing() as session:
        environment = experiments.lock_environment(session, scope.environment_id)
        before = _stored(session, scope.environment_id)
        environment.assignment_rules = msgspec.json.encode(rules).decode()
        session.flush()
        snapshot.check_contents(session, scope.environment_id, {})
        rows = experiments.list_experiments(session, scope.environment_id, ("running", "paused"))
        for row in rows:
            _refuse_to_move(msgspec.json.decode(row.spec, type=ExperimentSpec), before, rules)
        audit.record(
            session, scope, "rules.update", scope.environment, {"before": plain(before), "after": plain(rules)}
        )
        snapshot.refresh_version(session, scope.environment_id)
    return rules


def _refuse_to_move(spec: ExperimentSpec, before: AssignmentRules, after: AssignmentRules) -> None:
    layers_before, holdouts_before = snapshot_rules(before)
    layers, holdouts = snapshot_rules(after)
    if spec.layer is not None:
        old, new = (next(each for each in found if each.key == spec.layer.key) for found in (layers_before, layers))
        if old != new:
            index = layers.index(new)
            raise ServiceError(
                "frozen",
                f"$.layers[{index}]: `{spec.key}` has started in the layer `{new.key}`, so its salt and scheme can no "
                "longer change: other units would take part than those that have met a variant.",
                409,
            )
    kept_out = {holdout.salt: holdout.share for holdout in holdouts_before if _covers(holdout, spec)}
    for index, holdout in enumerate(holdouts):
        if _covers(holdout, spec) and holdout.share > kept_out.get(holdout.salt, 0.0):
            raise ServiceError(
                "frozen",
                f"$.holdouts[{index}]: `{spec.key}` has started, and the holdout `{holdout.key}` would take a variant "
                "away from units that have met it. Name in `experiments` only those that have not started.",
                409,
            )


def _covers(holdout: Holdout, spec: ExperimentSpec) -> bool:
    named = not holdout.experiments or spec.key in holdout.experiments
    return named and holdout.unit_kind == spec.unit_kind


def _stored(session: Session, environment_id: int) -> AssignmentRules:
    return msgspec.json.decode(experiments.environment(session, environment_id).assignment_rules, type=AssignmentRules)
