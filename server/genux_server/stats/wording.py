"""Numbers as people read them: points, percentages, money, counts."""

import math
from collections.abc import Sequence

__all__ = ["SCALES", "decimals_for", "number", "once_in", "p_value", "percent", "scaled", "usd"]

SCALES = ("points", "usd", "seconds", "number")
"""How a metric's figures are written: `points` for shares, US dollars, seconds, or a plain number."""

_MOST_DECIMALS = 8


def decimals_for(bounds: Sequence[float], scale: str) -> int | None:
    """Decimals that show two significant digits of an interval's width: more would be noise, fewer would hide it.

    Returns:
        The decimals, or None where there is no width to go by or fixed notation would not do.
    """
    if len(bounds) != 2 or bounds[0] == bounds[1]:
        return None
    width = abs(bounds[1] - bounds[0]) * (100.0 if scale == "points" else 1.0)
    if not 10.0**-_MOST_DECIMALS < width < 1e15:
        return None
    decimals = 1 - math.floor(math.log10(width))
    return min(_MOST_DECIMALS, max(1 if scale == "points" else 0, decimals))


def _significant(value: float, digits: int) -> str:
    """Fixed notation with that many significant digits, thousands separated; scientific far from 1."""
    if value == 0.0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 15 or size < -6:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def number(value: float) -> str:
    """Three significant digits; whole numbers in full."""
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else _significant(value, 3)


def percent(share: float) -> str:
    """A share as a percentage, one decimal, two significant digits under 1 %."""
    value = 100.0 * share
    return f"{_significant(value, 2) if abs(value) < 1.0 else f'{value:.1f}'.removesuffix('.0')} %"


def p_value(value: float) -> str:
    """A p-value with its sign of relation, two significant digits."""
    return "< 0.000001" if value < 1e-6 else f"= {value:.2g}"


def once_in(probability: float) -> str:
    """A probability as "once in N", N with three significant digits."""
    if probability <= 1e-9:
        return "once in over a thousand million"
    times = 1.0 / probability
    return f"once in {round(times, 2 - math.floor(math.log10(times))):,.0f}"


def usd(value: float) -> str:
    """US dollars: cents from 1 dollar up, two significant digits below."""
    size = abs(value)
    text = f"${size:,.2f}" if size >= 1.0 or size == 0.0 else f"${_significant(size, 2)}"
    return f"-{text}" if value < 0 else text


def scaled(value: float, scale: str, *, decimals: int | None = None, signed: bool = False, bare: bool = False) -> str:
    """A figure on its metric's scale.

    Args:
        value: the figure; a share for `points`.
        scale: one of `SCALES`.
        decimals: how many; None for as many as the figure itself asks for.
        signed: write the plus sign too.
        bare: leave the unit's word away (the dollar sign stays).
    """
    size = abs(value) * (100.0 if scale == "points" else 1.0)
    if decimals is not None:
        digits = f"{size:,.{decimals}f}"
    elif scale == "points":
        digits = f"{size:.1f}" if size >= 1.0 or size == 0.0 else _significant(size, 2)
    else:
        digits = usd(size).removeprefix("$") if scale == "usd" else number(size)
    # What rounds to zero has no sign.
    sign = "" if not digits.strip("0.,") else "-" if value < 0 else "+" if signed else ""
    if scale == "usd":
        return f"{sign}${digits}"
    word = {"points": "points" if signed else "%", "seconds": "s"}.get(scale, "")
    return f"{sign}{digits}" if bare or not word else f"{sign}{digits} {word}"
