"""Numbers as people read them: points, percentages, money, counts."""

import math

__all__ = ["SCALES", "number", "scaled", "usd"]

SCALES = ("points", "usd", "seconds", "number")
"""How a metric's figures are written: `points` for shares, US dollars, seconds, or a plain number."""


def _digits(value: float, significant: int) -> str:
    """Fixed notation with that many significant digits, thousands separated; scientific far from 1."""
    if value == 0.0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 15 or size < -6:
        return f"{value:.{significant - 1}e}"
    return f"{value:,.{max(0, significant - 1 - size)}f}"


def number(value: float, *, signed: bool = False) -> str:
    """Three significant digits, whole numbers in full."""
    text = f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else _digits(value, 3)
    return f"+{text}" if signed and value > 0 else text


def usd(value: float, *, signed: bool = False) -> str:
    """US dollars: cents from 1 dollar up, two significant digits below."""
    text = f"${abs(value):,.2f}" if abs(value) >= 1.0 or value == 0.0 else f"${_digits(abs(value), 2)}"
    return f"-{text}" if value < 0 else f"+{text}" if signed and value > 0 else text


def _share(value: float, *, signed: bool) -> str:
    """A share in hundredths, one decimal, more where one decimal would hide it."""
    hundredths = 100.0 * value
    decimals = 1 if abs(hundredths) >= 1.0 or hundredths == 0.0 else min(6, 1 - math.floor(math.log10(abs(hundredths))))
    return f"{hundredths:+.{decimals}f}" if signed and value else f"{hundredths:.{decimals}f}"


def scaled(value: float, scale: str, *, signed: bool = False, bare: bool = False) -> str:
    """A figure on its metric's scale; `bare` leaves the word or sign of the unit away."""
    if scale == "points":
        text = _share(value, signed=signed)
        return text if bare else f"{text} points" if signed else f"{text} %"
    if scale == "usd":
        return usd(value, signed=signed)
    text = number(value, signed=signed)
    return f"{text} s" if scale == "seconds" and not bare else text
