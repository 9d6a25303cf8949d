"""Who is admitted, and by which shares: the coverage, which only rises, and the epochs.

An epoch is a set of units, those that its coverage newly admitted; docs/adr/0010 argues why.
"""

import datetime as dt
import secrets
from collections.abc import Mapping

import msgspec
from sqlalchemy.orm import Session

from genux.errors import ServiceError
from genux.specs import ExperimentSpec
from genux_server.service.experiments._rows import (
    ExperimentView,
    changed,
    check,
    current_spec,
    decode,
    encode,
    explicit,
    require_status,
)
from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store, experiments
from genux_server.store.control import Experiment, ExperimentEpoch

__all__ = ["open_first_epoch", "raise_coverage"]


def raise_coverage(
    store: Store, scope: Scope, key: str, coverage: float, allocation: Mapping[str, float] | None = None
) -> ExperimentView:
    """Admit a larger share of the eligible units. Nobody moves.

    Args:
        store: where the experiment is.
        scope: its environment.
        key: the experiment.
        coverage: share of the eligible units, 0 to 1.
        allocation: shares per variant for the newly admitted, which opens an epoch; None goes on with the shares in
            force.

    Raises:
        ServiceError: `not_found`, `wrong_status`, `invalid`, `coverage_falls`, or `no_room` for new shares without
            new units.
    """
    if not 0 <= coverage <= 1:
        raise ServiceError("invalid", "$.coverage: a share lies between 0 and 1.", 400)

    def change(session: Session, row: Experiment, epochs: list[ExperimentEpoch]) -> None:
        require_status(row, "draft", "running", "paused")
        before = current_spec(row, epochs)
        after = msgspec.structs.replace(before, coverage=coverage)
        if allocation is not None:
            after = msgspec.structs.replace(after, allocation=dict(allocation))
            check(after)
        if row.status == "draft":
            row.spec = encode(msgspec.structs.replace(decode(row), allocation=after.allocation))
        else:
            if coverage < row.coverage:
                raise ServiceError(
                    "coverage_falls",
                    f"Coverage of `{key}` is {row.coverage:g} and can only rise: lowering it would take a variant away "
                    "from units that have met it. Pause or stop the experiment instead.",
                    409,
                )
            if explicit(after).allocation != explicit(before).allocation:
                _require_room(row, coverage)
                epochs.append(_add_epoch(session, row, after, utcnow(), epochs[-1]))
        row.coverage = coverage

    detail: dict[str, object] = {"coverage": coverage}
    if allocation is not None:
        detail["allocation"] = dict(allocation)
    return changed(store, scope, key, "coverage", change, detail)


def open_first_epoch(session: Session, row: Experiment, spec: ExperimentSpec, now: dt.datetime) -> ExperimentEpoch:
    """The epoch that an experiment starts with, and the salt that it keeps for good."""
    return _add_epoch(session, row, spec, now, None)


def _require_room(row: Experiment, coverage: float) -> None:
    if coverage > row.coverage:
        return
    why = (
        f"New shares of `{row.key}` can only be for units that nothing has admitted yet: whoever has met a variant "
        "would be moved to another by them, and those who come often would be lost from one arm more than from the "
        "other, which biases the comparison. "
    )
    what = (
        f"Its coverage is {row.coverage:g}: raise it in the same change."
        if row.coverage < 1
        else "Its coverage is 1, so there is nobody left: stop it and start a new experiment with these shares."
    )
    raise ServiceError("no_room", why + what, 409)


def _add_epoch(
    session: Session, row: Experiment, spec: ExperimentSpec, now: dt.datetime, previous: ExperimentEpoch | None
) -> ExperimentEpoch:
    shares = explicit(spec).allocation
    epoch = ExperimentEpoch(
        project_id=row.project_id,
        experiment_id=row.id,
        number=1 if previous is None else previous.number + 1,
        allocation=msgspec.json.encode([shares[variant.key] for variant in spec.variants]).decode(),
        coverage_from=0.0 if previous is None else row.coverage,
        salt=_new_salt(spec) if previous is None else previous.salt,
        started_at=now,
    )
    experiments.add_epoch(session, epoch)
    return epoch


def _new_salt(spec: ExperimentSpec) -> str:
    """GrowthBook seeds with the key; ours is random, so that no two experiments split their units alike."""
    if spec.salt:
        return spec.salt
    return secrets.token_hex(8) if spec.scheme == "genux-1" else spec.key
