"""An outcome reported against a resume token."""

from types import TracebackType
from typing import Any, Self

from genux._context import Scope, Unit, current_unit
from genux._events import Emitter
from genux._guard import Guard, guarded, nothing
from genux.errors import UsageError

__all__ = ["Resumed"]


class Resumed:
    """What a resume token gives: outcomes tracked here belong to the call or exposure that the token names.

    Used in a `with` block it makes that the current unit, so that `genux.track()` below reports against it too.

    Attributes:
        refused: why the token was refused, such as `expired`; empty when it was honoured. Tracking against a refused
            token is counted and dropped.
        served_model: the model that answered the call, also after a fallback; empty when the token does not say.
    """

    def __init__(
        self, unit: Unit | None, refused: str, emitter: Emitter, guard: Guard, *, served_model: str = ""
    ) -> None:
        self.refused = refused
        self.served_model = served_model
        self._unit = unit
        self._emitter = emitter
        self._guard = guard
        self._scope = Scope(current_unit, unit)

    @guarded(nothing, loses_event=True)
    def track(self, name: str, /, value: float = 1.0, **properties: Any) -> None:
        """Report an outcome, as `Client.track` does."""
        if self._unit is None:
            raise UsageError("refused_token", f"the outcome `{name}` has a resume token that is {self.refused}")
        self._emitter.track(self._unit, name, value, properties)

    @guarded(nothing, loses_event=True)
    def feedback(self, rating: "float | str", /, **properties: Any) -> None:
        """Report what a person thought of the answer, as `Client.feedback` does."""
        if self._unit is None:
            raise UsageError("refused_token", f"the feedback has a resume token that is {self.refused}")
        self._emitter.feedback(self._unit, self._unit.call_id, rating, properties)

    def __enter__(self) -> Self:
        """Make it the current unit."""
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Restore the unit that was current before."""
        self._scope.__exit__(kind, error, traceback)
