"""UUIDv7 (RFC 9562): ids that sort by the time of their making."""

import os
import time

__all__ = ["uuid7"]


def uuid7() -> str:
    """A new id. Randomness is the kernel's: after a fork, or a restored snapshot of a machine, ids still differ."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(9).hex()
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-8{noise[3:6]}-{noise[6:]}"
