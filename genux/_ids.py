"""UUIDv7 (RFC 9562, method 3): ids that sort by the time of their making, to a quarter of a microsecond."""

import os
import time

__all__ = ["uuid7"]

_MILLISECOND = 1_000_000


def uuid7() -> str:
    """A new id. Randomness is the kernel's: after a fork, or a restored snapshot of a machine, ids still differ."""
    now = time.time_ns()
    stamp = f"{now // _MILLISECOND:012x}{now % _MILLISECOND * 4_096 // _MILLISECOND:03x}"
    noise = os.urandom(8).hex()
    return f"{stamp[:8]}-{stamp[8:12]}-7{stamp[12:]}-8{noise[:3]}-{noise[3:15]}"
