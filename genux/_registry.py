"""Which clients live in this process: the default one, and those that a fork or the interpreter's exit concerns."""

import atexit
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from genux import _ids

if TYPE_CHECKING:
    from genux._client import Client

__all__ = ["default_client", "forget", "notice_fork", "register", "tell_of_forks"]


class Forked(Protocol):
    """What a fork concerns that belongs to no client."""

    def after_fork(self) -> None:
        """Called in a child, before anything else there is done with it."""
        ...


_known: "weakref.WeakSet[Client]" = weakref.WeakSet()
_concerned: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_open: "set[Client]" = set()
_default: "Client | None" = None
_pid = os.getpid()
_noticing = threading.Lock()


def register(client: "Client") -> None:
    """A client was constructed: it is the default one from now on."""
    global _default  # noqa: PLW0603 the one piece of process-wide state, so that `genux.track()` needs no client
    _known.add(client)
    _open.add(client)
    _default = client


def tell_of_forks(concerned: Forked) -> None:
    """Have its `after_fork` called in every child, as long as it lives."""
    _concerned.add(concerned)


def forget(client: "Client") -> None:
    """A client was closed: it is the default one no longer."""
    global _default  # noqa: PLW0603 as above
    _open.discard(client)
    if _default is client:
        _default = None


def expose_anew() -> None:
    """Every client records exposures as though it had recorded none."""
    for client in list(_known):
        client.expose_anew()


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


def notice_fork() -> None:
    """Start afresh in a child that was forked by code which runs no hooks of Python's, as uWSGI is.

    Called before a lock of ours is taken, which a thread of the parent may hold for ever, and before a file of ours is
    written, which is the parent's.
    """
    if os.getpid() == _pid:
        return
    with _noticing:
        if os.getpid() != _pid:
            _ids.after_fork()
            _after_fork()


def _after_fork() -> None:
    global _pid  # noqa: PLW0603 the process that this state belongs to
    for client in list(_known):
        client.after_fork()
    for concerned in list(_concerned):
        concerned.after_fork()
    _pid = os.getpid()  # last: other threads of the child wait for it


def _at_exit() -> None:
    """Every client has the time that it allows the exit, all of them counted from the same moment."""
    began = time.monotonic()
    for client in list(_open):
        client.at_exit(time.monotonic() - began)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
