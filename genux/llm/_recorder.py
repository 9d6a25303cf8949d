"""What the wrapper needs from whoever measures: a context to stamp on a call, and a place to put it."""

import datetime as dt
from typing import TYPE_CHECKING, Protocol

import msgspec

from genux.wire import AssignmentRef, Call, CallText

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallContext", "Recorder"]


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who a call is made for, read once when it begins; `at` is that moment, None for the wrapper's own clock."""

    at: dt.datetime | None = None
    unit_id: str = ""
    unit_kind: str = "user"
    units: dict[str, str] = msgspec.field(default_factory=dict)
    feature: str = ""
    assignments: tuple[AssignmentRef, ...] = ()
    keep_text: "Callable[[str, str], CallText | None] | None" = None
    """Makes the text of prompt and answer fit to be kept; None, as nearly always, leaves it unread."""


class Recorder(Protocol):
    """Receives measured calls. No method may raise or block on the network."""

    def call_started(self, call_id: str) -> CallContext:
        """A call begins: remember it as the current one (for `resume_token`), answer who it is for."""
        ...

    def call_finished(self, call: Call) -> None:
        """A call ended. `cost_usd` is still empty: calls are priced when they are shipped, off the host's threads.

        Also called by the garbage collector for a stream that was dropped: at any point of any thread, so an
        implementation must not wait for a lock that its own thread may hold.
        """
        ...

    def failed(self, where: str, error: BaseException) -> None:
        """Measuring failed inside genux: count it, log it once per place; the host's call goes on untouched."""
        ...
