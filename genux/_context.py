"""Who the running code works for: contextvars that a task inherits and a thread pool must be handed."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from genux.assignment import NO_ATTRIBUTES

if TYPE_CHECKING:
    from genux.wire import AssignmentRef

__all__ = ["Scope", "Unit", "carry", "current_call", "current_feature", "current_forced", "current_unit"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_UNITS: dict[str, str] = {}
_NOTHING_FORCED: Mapping[str, str] = {}


class Unit:
    """One stretch of work for one unit. Everything below shares the object, whichever task or thread it runs in.

    Attributes:
        unit_id: innermost unit, empty on a resumed outcome.
        unit_kind: of the innermost unit.
        ids: unit ids by kind, outer units included.
        units: those of the outer units.
        outer: the unit around this one, of another kind.
        attributes: what targeting looks at.
        assignments: variants met here, by experiment.
        exposure_id: the last exposure here; on a resumed outcome, the one it belongs to.
        call_id: on a resumed outcome, the call it belongs to.
        peeked: experiments whose variant was told here without an exposure; None for none.
    """

    __slots__ = (
        "assignments",
        "attributes",
        "call_id",
        "exposure_id",
        "ids",
        "outer",
        "peeked",
        "unit_id",
        "unit_kind",
        "units",
    )

    def __init__(
        self,
        unit_id: str,
        unit_kind: str = "user",
        *,
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
        outer: "Unit | None" = None,
        call_id: str = "",
        exposure_id: str = "",
    ) -> None:
        self.unit_id = unit_id
        self.unit_kind = unit_kind
        while outer is not None and unit_kind in outer.ids:
            # Another unit of the same kind takes its place: what is known of it, or stands inside it, is left behind.
            outer = outer.outer
        own = {unit_kind: unit_id} if unit_id else {}
        self.outer: Unit | None = outer
        self.units: dict[str, str] = _NO_UNITS if outer is None else outer.ids
        self.ids: dict[str, str] = own if outer is None else {**outer.ids, **own}
        self.attributes: Mapping[str, Any] = attributes if outer is None else {**outer.attributes, **attributes}
        self.assignments: dict[str, AssignmentRef] = {} if outer is None else dict(outer.assignments)
        self.call_id = call_id
        self.exposure_id = exposure_id
        self.peeked: set[str] | None = None


current_unit: ContextVar[Unit | None] = ContextVar("genux_unit", default=None)
current_call: ContextVar[tuple[Unit | None, str] | None] = ContextVar("genux_call", default=None)
current_feature: ContextVar[str] = ContextVar("genux_feature", default="")
current_forced: ContextVar[Mapping[str, str]] = ContextVar("genux_forced", default=_NOTHING_FORCED)


class Scope(Generic[T]):
    """Sets a context variable for the length of a `with` block; may be entered again."""

    __slots__ = ("_tokens", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value
        self._tokens: list[Token[T]] = []

    def __enter__(self) -> None:
        """Set the variable."""
        self._tokens.append(self._variable.set(self._value))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Restore what was there before.

        A generator that is finalised elsewhere leaves in another context than it entered, where there is nothing of
        ours to restore.
        """
        token = self._tokens.pop()
        try:
            self._variable.reset(token)
        except ValueError:
            return


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """Take the current unit, feature, call and forced variants along to another thread.

    A thread pool's workers inherit no context: `pool.submit(genux.carry(work), article)`. The result may be called from
    many threads at once, and any number of times.
    """
    unit, feature, call = current_unit.get(), current_feature.get(), current_call.get()
    forced = current_forced.get()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        with (
            Scope(current_unit, unit),
            Scope(current_feature, feature),
            Scope(current_call, call),
            Scope(current_forced, forced),
        ):
            return function(*args, **kwargs)

    return carried
