"""Which variant a unit gets: a pure function of a snapshot, shared by the SDK, the service and the engine.

docs/assignment.md specifies it for other languages; `tests/conformance/assignment.json` checks them, and this one.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from genux._assigned import SCHEME, Assigner, Assignment, answer
from genux._compile import Compiler
from genux.errors import SnapshotError
from genux.specs import TokenKey, VariantSpec
from genux.wire import Reason, Snapshot, SnapshotExperiment

__all__ = [
    "NO_ATTRIBUTES",
    "SCHEME",
    "Assignment",
    "CompiledSnapshot",
    "assign",
    "compile_snapshot",
    "control",
    "force",
]

NO_ATTRIBUTES: Mapping[str, Any] = {}

_CONTROL = VariantSpec(key="control")


class CompiledSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot ready to assign from.

    Attributes:
        version: the snapshot's version; empty when there is none.
        assigners: one function per experiment.
        experiments: the experiments as configured.
        problems: experiment key -> why it has no function and answers control, `ERROR`.
        token_keys: sign resume tokens, newest first.
    """

    version: str = ""
    assigners: dict[str, Assigner] = msgspec.field(default_factory=dict)
    experiments: dict[str, SnapshotExperiment] = msgspec.field(default_factory=dict)
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    token_keys: tuple[TokenKey, ...] = ()


def compile_snapshot(snapshot: Snapshot) -> CompiledSnapshot:
    """Compile every experiment; one that is broken lands in `problems` and spoils no other."""
    compiled = CompiledSnapshot(version=snapshot.version, token_keys=tuple(snapshot.token_keys))
    compiler = Compiler(snapshot)
    for experiment in snapshot.experiments:
        key = experiment.key
        compiled.experiments[key] = experiment
        try:
            compiled.assigners[key] = compiler.compile(key)
        except SnapshotError as error:
            compiled.problems[key] = str(error)
    return compiled


def assign(compiled: CompiledSnapshot, key: str, unit_id: str, attributes: Mapping[str, Any]) -> Assignment:
    """The unit's variant in the experiment `key`. Pure and total: never raises, whatever the attributes hold.

    Args:
        compiled: from `compile_snapshot`.
        key: the experiment's key.
        unit_id: what is randomised.
        attributes: what targeting looks at; JSON values.

    Returns:
        An assignment; `UNKNOWN_EXPERIMENT` or `NO_SNAPSHOT` with a control when there is nothing to assign from.
    """
    assigner = compiled.assigners.get(key)
    if assigner is None:
        return control(compiled, key, "ERROR")
    try:
        return assigner(unit_id, attributes)
    except Exception:  # noqa: BLE001 total by contract: a hostile attribute (say, one whose __eq__ raises) is an ERROR
        return control(compiled, key, "ERROR")


def control(compiled: CompiledSnapshot, key: str, reason: Reason) -> Assignment:
    """The control of the experiment `key`, for the given reason.

    An experiment that is not in the snapshot answers a bare control called `control`, and says so instead of the
    reason asked for.
    """
    experiment = compiled.experiments.get(key)
    if experiment is None:
        missing: Reason = "UNKNOWN_EXPERIMENT" if compiled.version else "NO_SNAPSHOT"
        return Assignment(experiment=key, variant=_CONTROL, reason=missing)
    variant = next((variant for variant in experiment.variants if variant.key == experiment.control), _CONTROL)
    return answer(experiment, variant, reason)


def force(compiled: CompiledSnapshot, key: str, variant_key: str) -> Assignment | None:
    """The forced variant of an experiment, None when the experiment has no such variant.

    An experiment that the snapshot does not know gives a bare variant, so that tests run without a service.
    """
    experiment = compiled.experiments.get(key)
    if experiment is None:
        return Assignment(experiment=key, variant=VariantSpec(key=variant_key), reason="FORCED")
    for variant in experiment.variants:
        if variant.key == variant_key:
            return answer(experiment, variant, "FORCED")
    return None
