"""The keys that sign and check resume and force tokens: the service's, and until they have come, the process's own."""

import os
from collections.abc import Sequence

from genux._guard import Guard
from genux._snapshot import SnapshotStore
from genux.specs import TokenKey

__all__ = ["Signing"]


class Signing:
    """Which keys tokens are made and read with.

    Args:
        snapshots: bring the service's keys, newest first.
        guard: says it where a token is made that no other process will honour.
        is_local: there is no service, so that this process's own key is all there will be.
    """

    def __init__(self, snapshots: SnapshotStore, guard: Guard, *, is_local: bool) -> None:
        self._snapshots = snapshots
        self._guard = guard
        self._is_local = is_local
        self._own = TokenKey(id=f"process-{os.urandom(4).hex()}", secret=os.urandom(32).hex())

    def to_mint(self, what: str) -> Sequence[TokenKey]:
        """Keys to sign `what` with, such as a `resume token`."""
        keys = self._snapshots.compiled.token_keys
        if keys or self._is_local:
            return keys or (self._own,)
        message = f"no signing key has come from the service yet; other processes will refuse this {what}"
        self._guard.say_once(f"process_key {what}", message)
        return (self._own,)

    def to_read(self) -> Sequence[TokenKey]:
        """Every key that a token may have been signed with."""
        return (*self._snapshots.compiled.token_keys, self._own)
