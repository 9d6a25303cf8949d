"""Imports on the background thread, which a fork waits out."""

import os
import threading
from importlib import import_module
from types import ModuleType

__all__ = ["load"]

# A fork in the middle of another thread's import leaves the module locked for ever in the child; a server that makes
# its client and then forks its workers would meet just that moment.
_loading = threading.Lock()
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


def load(name: str) -> ModuleType:
    """The module of that name, imported when it is not yet.

    Only for modules whose import takes no lock that a fork takes as well, as making a logger does: the forking thread
    would hold that one while it waits for ours.

    Raises:
        ImportError: as `import` does.
    """
    with _loading:
        return import_module(name)
