"""Turns what happened into events, and hands each to the outbox and to whoever listens."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from genux._context import Unit
from genux._delivery import Delivery
from genux._guard import Guard
from genux._ids import uuid7
from genux._overrides import overrides
from genux.assignment import Assignment
from genux.errors import UsageError
from genux.observers import Exposed, current_observers
from genux.wire import (
    ASSIGNED_EVENT,
    MAX_ID_LENGTH,
    MAX_NAME_LENGTH,
    Alias,
    AssignmentRef,
    Event,
    Exposure,
    Track,
)

__all__ = ["Emitter", "checked_text"]

_MAX_REMEMBERED = 50_000
_MAX_VALUE = 1e18
_RATINGS = {"up": 1.0, True: 1.0, "down": -1.0, False: -1.0}
_EXPOSED_REASONS = frozenset({"ASSIGNED", "FORCED"})

_ExposureKey = tuple[str | int | bool | tuple[str, str], ...]


class Emitter:
    """Makes events and keeps them.

    Args:
        delivery: None in local mode, where events are counted and heard by listeners only.
        guard: where refused events are counted.
    """

    def __init__(self, delivery: Delivery | None, guard: Guard) -> None:
        self._delivery = delivery
        self._guard = guard
        self._encode = msgspec.json.Encoder().encode
        self._exposed: dict[_ExposureKey, str] = {}
        self._exposed_before: dict[_ExposureKey, str] = {}
        self.n_local = 0

    def emit(self, event: Event) -> bool:
        """Keep one event; False when it had to be dropped, which is counted.

        Raises:
            UsageError: `unencodable`, something in it is no JSON.
        """
        try:
            line = self._encode(event)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError("unencodable", f"cannot be written as JSON: {error}") from error
        for listener in overrides.listeners:
            listener(event)
        if self._delivery is None:
            self.n_local += 1
            return True
        return self._delivery.accept(line)

    def track(self, unit: Unit, name: str, value: Any, properties: dict[str, Any]) -> bool:
        """Something the unit did, or an outcome of the call or exposure that the unit was resumed from."""
        return self.emit(
            Track(
                event_id=uuid7(),
                at=overrides.now(),
                unit_id=unit.unit_id,
                unit_kind=unit.unit_kind,
                units=unit.units,
                properties=properties,
                name=checked_text(name, MAX_NAME_LENGTH, "bad_name", "an event's name"),
                value=_checked_value(value),
                call_id="" if unit.unit_id else unit.call_id,
                exposure_id="" if unit.unit_id else unit.exposure_id,
            )
        )

    def feedback(self, unit: Unit, call_id: str, rating: Any, properties: dict[str, Any]) -> bool:
        """What a person thought of an answer; in a unit too it names the call."""
        return self.emit(
            Track(
                event_id=uuid7(),
                at=overrides.now(),
                unit_id=unit.unit_id,
                unit_kind=unit.unit_kind,
                units=unit.units,
                properties=properties,
                name="feedback",
                value=_checked_rating(rating),
                call_id=call_id,
                exposure_id="" if unit.unit_id else unit.exposure_id,
            )
        )

    def expose(self, unit: Unit, unit_id: str, assignment: Assignment) -> None:
        """The unit met its variant: recorded the first time in this process, remembered in the unit every time.

        Inside other units it is recorded once for each, because an outcome resumed from it belongs to them as well.
        What is no variant of a running experiment (control for want of anything better, shipped) is no exposure.
        """
        if assignment.reason not in _EXPOSED_REASONS:
            return
        experiment, variant = assignment.experiment, assignment.variant
        key: _ExposureKey = (experiment, assignment.epoch, variant.key, assignment.forced, *unit.ids.items())
        exposure_id = self._exposed.get(key) or self._exposed_before.get(key)
        if exposure_id is None:
            exposure_id = uuid7()
            kept = self.emit(
                Exposure(
                    event_id=exposure_id,
                    at=overrides.now(),
                    unit_id=unit_id,
                    unit_kind=assignment.unit_kind,
                    units=_without(unit.ids, assignment.unit_kind),
                    experiment=experiment,
                    variant=variant.key,
                    epoch=assignment.epoch,
                    scheme=assignment.scheme,
                    reason=assignment.reason,
                    forced=assignment.forced,
                    surface=variant.surface,
                    attributes=self._writable(unit.attributes),
                )
            )
            if not kept:
                return
            self._remember(key, exposure_id)
        unit.exposure_id = exposure_id
        met = AssignmentRef(
            experiment=experiment, variant=variant.key, epoch=assignment.epoch, forced=assignment.forced
        )
        unit.assignments[experiment] = met
        if observers := current_observers():
            in_force = tuple(unit.assignments.values())
            told = Exposed(assignment=met, in_force=in_force, unit_id=unit_id, unit_kind=assignment.unit_kind)
            for observer in observers:
                try:
                    observer.exposed(told)
                except Exception as error:  # noqa: BLE001 an observer's failure is nobody else's
                    self._guard.failed("observer", error)

    def peeked(self, unit: Unit, unit_id: str, assignment: Assignment) -> None:
        """The unit was told its variant and has not met it: recorded the first time in this process.

        The report subtracts who was exposed, wherever that happened, so nothing here has to wait and see.
        """
        experiment, variant = assignment.experiment, assignment.variant.key
        if unit.peeked is None:
            unit.peeked = set()
        unit.peeked.add(experiment)
        if experiment in unit.assignments:
            return
        key: _ExposureKey = (ASSIGNED_EVENT, experiment, assignment.epoch, variant, unit_id)
        if key in self._exposed or key in self._exposed_before:
            return
        kept = self.emit(
            Track(
                event_id=uuid7(),
                at=overrides.now(),
                unit_id=unit_id,
                unit_kind=assignment.unit_kind,
                name=ASSIGNED_EVENT,
                properties={"experiment": experiment, "variant": variant, "epoch": assignment.epoch},
            )
        )
        if kept:
            self._remember(key, ASSIGNED_EVENT)

    def alias(self, anonymous_id: str, known_id: str, kind: str) -> None:
        """An anonymous unit turned out to be a known one."""
        self.emit(
            Alias(
                event_id=uuid7(),
                at=overrides.now(),
                unit_id=checked_text(anonymous_id, MAX_ID_LENGTH, "bad_unit", "a unit's id"),
                unit_kind=checked_text(kind, MAX_NAME_LENGTH, "bad_unit", "a unit's kind"),
                known_id=checked_text(known_id, MAX_ID_LENGTH, "bad_unit", "a unit's id"),
            )
        )

    def forget(self) -> None:
        """Record exposures anew, as a new process would."""
        self._exposed, self._exposed_before = {}, {}

    def _writable(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that can be written down: one that cannot is counted, and does not cost the exposure."""
        if not _unwritable(attributes):
            return dict(attributes)
        writable: dict[str, Any] = {}
        for name, value in attributes.items():
            if why := _unwritable({name: value}):
                error = UsageError("bad_attribute", f"the attribute {name!a} cannot be written as JSON: {why}")
                self._guard.failed("exposure", error)
            else:
                writable[name] = value
        return writable

    def _remember(self, key: _ExposureKey, exposure_id: str) -> None:
        """Two generations stand in for an LRU: no lock, no bookkeeping on a hit, bounded by twice the limit."""
        if len(self._exposed) >= _MAX_REMEMBERED:
            self._exposed_before, self._exposed = self._exposed, {}
        self._exposed[key] = exposure_id


def checked_text(value: Any, max_length: int, code: str, what: str) -> str:
    """The value, when it is text that the wire can carry.

    Raises:
        UsageError: with the code; it is no text, empty, too long, or holds half a surrogate pair.
    """
    if not isinstance(value, str):
        raise UsageError(code, f"{what} must be text, got {type(value).__name__}")
    if not 1 <= len(value) <= max_length:
        raise UsageError(code, f"{what} must have 1 to {max_length} characters, got {len(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(code, f"{what} is not valid Unicode") from None
    return value


def _checked_value(value: Any) -> float:
    if type(value) is float and -_MAX_VALUE <= value <= _MAX_VALUE:
        return value
    if isinstance(value, str | bytes | bytearray):
        raise UsageError("bad_value", f"an event's value must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError("bad_value", f"an event's value must be a number, got {type(value).__name__}") from None
    if not math.isfinite(number) or abs(number) > _MAX_VALUE:
        raise UsageError("bad_value", f"an event's value must be between -1e18 and 1e18, got {number}")
    return number


def _checked_rating(rating: Any) -> float:
    value = _RATINGS.get(rating) if isinstance(rating, str | bool) else _checked_value(rating)
    if value is None or abs(value) > 1:
        raise UsageError("bad_rating", f"a rating is `up`, `down` or a number from -1 to 1, got {rating!r:.50}")
    return value


def _without(ids: dict[str, str], kind: str) -> dict[str, str]:
    return {other: unit_id for other, unit_id in ids.items() if other != kind} if len(ids) > 1 else {}


def _unwritable(attributes: Mapping[str, Any]) -> str:
    """Why they are no JSON; empty when they can be written down."""
    try:
        msgspec.json.encode(attributes)
    except Exception as error:  # noqa: BLE001 encoding runs code of the host's own objects
        return f"{type(error).__name__}: {error}"
    return ""
