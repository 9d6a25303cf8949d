"""Which clients live in this process: the default one, and those that a fork or the interpreter's exit concerns."""

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genux._client import Client

__all__ = ["default_client", "forget", "register"]

_known: "weakref.WeakSet[Client]" = weakref.WeakSet()
_open: "set[Client]" = set()
_default: "Client | None" = None


def register(client: "Client") -> None:
    """A client was constructed: it is the default one from now on."""
    global _default  # noqa: PLW0603 the one piece of process-wide state, so that `genux.track()` needs no client
    _known.add(client)
    _open.add(client)
    _default = client


def forget(client: "Client") -> None:
    """A client was closed: it is the default one no longer."""
    global _default  # noqa: PLW0603 as above
    _open.discard(client)
    if _default is client:
        _default = None


def default_client() -> "Client":
    """The client constructed last, or one made from the environment. Never raises."""
    if _default is not None:
        return _default
    from genux._client import Client
    from genux.errors import ConfigError

    try:
        return Client()
    except ConfigError as error:
        return _instead(error, url=None)
    except Exception as error:  # noqa: BLE001 the caller is a measuring call of the host
        return _instead(error, url="")


def _instead(error: Exception, url: str | None) -> "Client":
    """A client with less than the environment asks for, that says why; at worst in local mode without experiments."""
    from genux._client import Client

    try:
        client = Client(url, config="")
    except Exception:  # noqa: BLE001 as above; local mode touches neither disk nor network
        client = Client("", config="")
    client.note("config", error)
    return client


def _after_fork() -> None:
    for client in list(_known):
        client.after_fork()


def _at_exit() -> None:
    for client in list(_open):
        client.at_exit()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
