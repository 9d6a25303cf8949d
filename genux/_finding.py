"""What a look at the SDK's surroundings finds, and how it is put."""

from typing import Literal

import msgspec

__all__ = ["Finding", "counts_text", "span_text"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at.

    Attributes:
        code: a stable word, such as `key_refused`.
        status: `ok`; `warning`, it works but may not for long; `problem`, something is not measured.
        message: what was found.
        advice: what to do about it; empty when it is well.
    """

    code: str
    status: Literal["ok", "warning", "problem"]
    message: str
    advice: str = ""


def counts_text(counts: dict[str, int]) -> str:
    """Counts by reason, in words."""
    return ", ".join(f"{reason} {n_events:,}" for reason, n_events in sorted(counts.items()))


def span_text(seconds: float) -> str:
    """A time span in the unit that a person would use."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
