"""UUIDv7 (RFC 9562, method 3): ids that sort by the time of their making, to a quarter of a microsecond."""

import os
import random
import time

__all__ = ["after_fork", "uuid7"]

_MILLISECOND = 1_000_000
_VERSION = 7 << 76
_VARIANT = 1 << 63

# Not the module's own generator: a host that seeds that one would have us repeat ids from run to run.
_random = random.Random()  # noqa: S311 an id is no secret
_getrandbits = _random.getrandbits


def after_fork() -> None:
    """In a child: make other ids than the parent."""
    _random.seed()


os.register_at_fork(after_in_child=after_fork)


def uuid7() -> str:
    """A new id, unique across processes and forks."""
    now = time.time_ns()
    fraction = (now % _MILLISECOND << 12) // _MILLISECOND
    number = now // _MILLISECOND << 80 | _VERSION | fraction << 64 | _VARIANT | _getrandbits(60)
    text = number.to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
