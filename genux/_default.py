"""The measuring calls without a client in hand: they go to the one constructed last, or made from the environment."""

from typing import TYPE_CHECKING, Any, TypeVar

from genux._client import Client
from genux._context import carry
from genux._registry import default_client
from genux._resumed import Resumed
from genux._status import Status
from genux.assignment import Assignment

if TYPE_CHECKING:
    from genux._context import Scope, Unit
    from genux.llm import ManualCall, Route, Target

__all__ = [
    "Assignment",
    "Client",
    "Resumed",
    "Route",
    "Status",
    "Target",
    "alias",
    "call",
    "carry",
    "default_client",
    "executor",
    "expose",
    "feature",
    "feedback",
    "flush",
    "peek",
    "resume",
    "resume_token",
    "status",
    "track",
    "unit",
    "variant",
    "wrap",
]

C = TypeVar("C")


def unit(unit_id: str, /, *, kind: str = "user", **attributes: Any) -> "Scope[Unit | None]":
    """See `Client.unit`."""
    return default_client().unit(unit_id, kind=kind, **attributes)


def feature(name: str, /) -> "Scope[str]":
    """See `Client.feature`."""
    return default_client().feature(name)


def variant(key: str, /) -> Assignment:
    """See `Client.variant`."""
    return default_client().variant(key)


def peek(key: str, /) -> Assignment:
    """See `Client.peek`."""
    return default_client().peek(key)


def expose(assignment: Assignment, /) -> None:
    """See `Client.expose`."""
    default_client().expose(assignment)


def track(name: str, /, value: float = 1.0, **properties: Any) -> None:
    """See `Client.track`."""
    default_client().track(name, value, **properties)


def feedback(rating: float | str, /, **properties: Any) -> None:
    """See `Client.feedback`."""
    default_client().feedback(rating, **properties)


def alias(anonymous_id: str, known_id: str, /, *, kind: str = "user") -> None:
    """See `Client.alias`."""
    default_client().alias(anonymous_id, known_id, kind=kind)


def wrap(client: C, /, *, route: "Route | None" = None, provider: str = "", stream_usage: bool | None = None) -> C:
    """See `Client.wrap`."""
    return default_client().wrap(client, route=route, provider=provider, stream_usage=stream_usage)


def executor(pool: C, /) -> C:
    """See `Client.executor`."""
    return default_client().executor(pool)


def call(*, model: str, provider: str = "", operation: str = "chat", feature: str = "") -> "ManualCall":
    """See `Client.call`."""
    return default_client().call(model=model, provider=provider, operation=operation, feature=feature)


def resume_token(*, lifetime_seconds: float = 604_800.0) -> str:
    """See `Client.resume_token`."""
    return default_client().resume_token(lifetime_seconds=lifetime_seconds)


def resume(token: str, /) -> Resumed:
    """See `Client.resume`."""
    return default_client().resume(token)


def flush(timeout: float = 5.0) -> bool:
    """See `Client.flush`."""
    return default_client().flush(timeout)


def status() -> Status:
    """See `Client.status`."""
    return default_client().status()


def __getattr__(name: str) -> object:
    """What belongs to LLM calls is loaded when a route is made."""
    if name in ("Route", "Target"):
        from genux import llm

        return getattr(llm, name)
    raise AttributeError(f"module 'genux._default' has no attribute {name!r}")
