"""Imports on the background thread, which a fork waits out."""

import logging
import os
import threading
from importlib import import_module
from types import ModuleType

__all__ = ["load"]

# A fork in the middle of another thread's import leaves the module locked for ever in the child; a server that makes
# its client and then forks its workers would meet just that moment. Hooks before a fork run last registered first, so
# logging, whose lock an import takes to make a logger, registers its own first: a fork waits here before it holds that.
logging.getLogger("genux")
_loading = threading.Lock()
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


def load(name: str) -> ModuleType:
    """The module of that name, imported when it is not yet.

    Raises:
        ImportError: as `import` does.
    """
    with _loading:
        return import_module(name)
