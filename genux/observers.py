"""Hear what genux measures at the moment it happens: for integrations with tracers and error trackers.

```python
class Printer(genux.observers.Observer):
    def call_started(self, started):
        return lambda call: print(call.requested_model, call.status, call.latency_seconds)

stop = genux.observers.observe(Printer())
```

Observers hold for the whole process. What one raises is counted and logged once, and reaches neither the host nor the
other observers; what it takes, the host waits for.
"""

from collections.abc import Callable

import msgspec

from genux.wire import AssignmentRef, Call

__all__ = ["CallStarted", "Exposed", "Observer", "observe"]


class Exposed(msgspec.Struct, frozen=True, kw_only=True):
    """A unit met a variant. Told every time, while the event is recorded only the first time in a process.

    Attributes:
        assignment: what it met.
        in_force: all that the unit met in this stretch of work, this one included.
        unit_id: what was randomised.
        unit_kind: such as `user`.
    """

    assignment: AssignmentRef
    in_force: tuple[AssignmentRef, ...]
    unit_id: str
    unit_kind: str


class CallStarted(msgspec.Struct, frozen=True, kw_only=True):
    """An LLM call is about to be made.

    Attributes:
        call_id: of the `Call` to come.
        parent_call_id: the call inside which this one is made, whose attempt it is; empty for a call of its own.
        operation: as in `Call`.
        provider: as in `Call`.
        requested_model: as in `Call`.
        assignments: variants in force.
    """

    call_id: str
    parent_call_id: str
    operation: str
    provider: str
    requested_model: str
    assignments: tuple[AssignmentRef, ...]


class Observer:
    """What can be heard; override what is wanted. Called in the context (`contextvars`) of the host's own code."""

    def exposed(self, exposed: Exposed) -> None:
        """A unit met a variant."""

    def call_started(self, started: CallStarted) -> Callable[[Call], None] | None:
        """A call, or an attempt inside a call, is about to be made.

        Returns:
            What to call once with the finished call, in any thread, context or finaliser, so it must wait for no lock
            that its own thread may hold; attempts are part of their call's record and are not told again. None when
            the end is of no interest.
        """


_observers: tuple[Observer, ...] = ()


def observe(observer: Observer) -> Callable[[], None]:
    """Have an observer hear every client of this process.

    Returns:
        Ends it.
    """
    global _observers  # noqa: PLW0603 replaced whole, so that whoever iterates needs no lock
    _observers = (*_observers, observer)

    def stop() -> None:
        global _observers  # noqa: PLW0603 as above
        _observers = tuple(other for other in _observers if other is not observer)

    return stop


def current_observers() -> tuple[Observer, ...]:
    """Those to be told now."""
    return _observers
