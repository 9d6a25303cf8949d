"""The client's side of a measured LLM call. Imported by the first `wrap`."""

from genux._captured import TextCapture
from genux._context import current_call, current_feature, current_unit
from genux._events import Emitter
from genux._guard import Guard
from genux._overrides import overrides
from genux.llm._recorder import CallContext
from genux.wire import Call

__all__ = ["CallRecorder"]

_MAX_REMEMBERED = 1_000


class CallRecorder:
    """Stamps a call with the current unit and its variants, and keeps the record. See `genux.llm._recorder`."""

    def __init__(self, emitter: Emitter, guard: Guard, text: TextCapture | None = None) -> None:
        self._emitter = emitter
        self._guard = guard
        self._text = text
        self._served: dict[str, str] = {}
        self._served_before: dict[str, str] = {}

    def served_model(self, call_id: str) -> str:
        """The model that answered a call that ended not long ago; empty when it is not known, or not yet."""
        return self._served.get(call_id) or self._served_before.get(call_id, "")

    def call_started(self, call_id: str) -> CallContext:
        """A call begins, in the caller's context: remember it there as the current one."""
        unit = current_unit.get()
        current_call.set((unit, call_id))
        keep_text = None if self._text is None else self._text.now()
        if unit is None:
            return CallContext(at=overrides.now(), feature=current_feature.get(), keep_text=keep_text)
        return CallContext(
            at=overrides.now(),
            unit_id=unit.unit_id,
            unit_kind=unit.unit_kind,
            units=unit.units,
            feature=current_feature.get(),
            assignments=tuple(unit.assignments.values()),
            keep_text=keep_text,
        )

    def call_finished(self, call: Call) -> None:
        """A call ended, in whichever thread or finaliser noticed."""
        if call.served_model:
            # Two generations stand in for an LRU, so that no lock is waited for in a finaliser.
            if len(self._served) >= _MAX_REMEMBERED:
                self._served_before, self._served = self._served, {}
            self._served[call.call_id] = call.served_model
        try:
            self._emitter.emit(call)
        except Exception as error:  # noqa: BLE001 a measuring call never raises into the host
            self._guard.failed("call_finished", error, loses_event=True)

    def failed(self, where: str, error: BaseException) -> None:
        """Measuring failed inside the wrapper."""
        self._guard.failed(where, error)
