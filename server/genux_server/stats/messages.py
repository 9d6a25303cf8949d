"""Every sentence of a report as a code, its arguments and English text, so that translation needs no new code."""

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genux_server.model import Message
from genux_server.stats.templates import TEMPLATES
from genux_server.stats.wording import decimals_for, number, once_in, p_value, percent, scaled, usd

__all__ = ["joined", "message"]

_UNSCALED: Mapping[str, Callable[[float], str]] = {
    "": number,
    "count": lambda value: f"{round(value):,}",
    "lift": lambda value: f"{100.0 * value:+,.0f} %",
    "number": number,
    "once": once_in,
    "p": p_value,
    "percent": percent,
    "usd": usd,
}


class _Formatter(string.Formatter):
    """Writes numbers by the names that `templates` lists; figures of the metric all with the same decimals."""

    def __init__(self, scale: str, decimals: int | None) -> None:
        self._scale = scale
        self._decimals = decimals

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, str):
            return value
        if value is None:
            return "no bound"
        if format_spec in _UNSCALED:
            return _UNSCALED[format_spec](value)
        if format_spec == "level":
            return scaled(value, self._scale)
        return scaled(value, self._scale, decimals=self._decimals, signed=True, bare=format_spec == "bound")


def message(
    code: str,
    args: Mapping[str, str | float | None] | None = None,
    /,
    *,
    scale: str = "number",
    **more: str | float | None,
) -> Message:
    """A sentence by its code.

    Args:
        code: key of `TEMPLATES`.
        args: the template's arguments; a number that is not finite becomes None.
        scale: how figures of the metric in question are written, one of `wording.SCALES`.
        **more: further arguments.
    """
    clean = {name: _plain(value) for name, value in {**(args or {}), **more}.items()}
    bounds = [clean.get(name) for name in ("lower", "upper", "harm_lower", "harm_upper")]
    decimals = decimals_for([bound for bound in bounds if isinstance(bound, float)], scale)
    return Message(code=code, args=dict(clean), text=_Formatter(scale, decimals).vformat(TEMPLATES[code], (), clean))


def _plain(value: str | float | None) -> str | float | None:
    """A number as JSON can hold it: numpy's floats as Python's, infinite or NaN as None."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def joined(first: Message, rest: Sequence[Message]) -> Message:
    """Several sentences as one message: the first one's code, everyone's arguments (`<code>.<name>` for the others)."""
    args = dict(first.args)
    for part in rest:
        args |= {f"{part.code}.{name}": value for name, value in part.args.items()}
    return Message(code=first.code, args=args, text=" ".join(part.text for part in (first, *rest)))
