"""Which variant the current unit gets: the context, the overrides and the pure function put together."""

from collections.abc import Mapping

from genux._context import Unit, current_forced, current_unit
from genux._guard import Guard
from genux._overrides import overrides
from genux._snapshot import SnapshotStore
from genux.assignment import Assignment, CompiledSnapshot, assign, control, force

__all__ = ["Decider"]

_UNDECIDED = frozenset({"UNKNOWN_EXPERIMENT", "NO_SNAPSHOT", "NO_UNIT", "ERROR"})


class Decider:
    """Decides for the current unit.

    Args:
        snapshots: what is assigned from.
        guard: where answers that are no assignment are counted, and undecided ones said.
        forced: experiment -> variant, for every unit.
        first_wait_seconds: how long the first decision may wait for the very first snapshot.
    """

    def __init__(
        self, snapshots: SnapshotStore, guard: Guard, forced: dict[str, str], first_wait_seconds: float
    ) -> None:
        self._snapshots = snapshots
        self._guard = guard
        self._forced = forced
        self._first_wait_seconds = first_wait_seconds

    def decide(self, key: str) -> tuple[Assignment, Unit | None, str]:
        """The assignment, the context, and the id in it that the experiment randomises."""
        if self._first_wait_seconds:
            # Once only: a service that is down must not slow every request down.
            seconds, self._first_wait_seconds = self._first_wait_seconds, 0.0
            self._snapshots.arrived.wait(seconds)
        compiled = self._snapshots.compiled
        unit = current_unit.get()
        experiment = compiled.experiments.get(key)
        if unit is None:
            unit_id = ""
        elif experiment is None:
            unit_id = unit.unit_id
        else:
            unit_id = unit.ids.get(experiment.unit_kind, "")
        if unit is None or not unit_id:
            assignment = control(compiled, key, "NO_UNIT")
        else:
            forced_here = current_forced.get()
            forced = None
            if forced_here or self._forced or overrides.forced:
                forced = self._forced_variant(compiled, key, forced_here)
            assignment = forced or assign(compiled, key, unit_id, unit.attributes)
        if assignment.reason != "ASSIGNED":
            self._note(key, assignment)
        return assignment, unit, unit_id

    def _note(self, key: str, assignment: Assignment) -> None:
        reason = assignment.reason
        if reason == "FORCED":
            return
        self._guard.answered_control(reason)
        if reason in _UNDECIDED:
            self._guard.say_once(f"{reason}:{key}", f"`{key}` answers control: {reason}")

    def _forced_variant(
        self, compiled: CompiledSnapshot, key: str, forced_here: Mapping[str, str]
    ) -> Assignment | None:
        variant = overrides.forced.get(key) or forced_here.get(key) or self._forced.get(key)
        if variant is None:
            return None
        forced = force(compiled, key, variant)
        if forced is None:
            problem = f"`{key}` has no variant `{variant}` to be forced"
            self._guard.say_once(f"force:{key}", f"{problem}; assigning as usual")
            if key in overrides.forced:
                overrides.unknown.append(problem)
        return forced
