"""Numbers as people read them: the digits their uncertainty deserves, a real minus sign, never 0 for unknown."""

import datetime as dt
import math

import msgspec

from genux_server.pages.text import gettext, ngettext

__all__ = [
    "DASH",
    "MINUS",
    "PERCENT",
    "Quantity",
    "count",
    "day",
    "days_between",
    "duration",
    "level",
    "lift",
    "lift_tick",
    "moment",
    "p_value",
    "quantity",
    "rate",
    "seconds",
    "usd",
]

MINUS = "\u2212"
PERCENT = "\u202f%"
DASH = "\u2013"
_SIGNIFICANT = 3
_MOST_DECIMALS = 6
_LARGE = 1e7
_MINUTE_SECONDS = 60
_HOUR_SECONDS = 3_600
_DAY_SECONDS = 86_400


class Quantity(msgspec.Struct, frozen=True):
    """How one metric's figures are written.

    Attributes:
        factor: what is shown is `factor` times what is stored.
        prefix, suffix: around a value, such as `$` or `%`.
        effect_suffix: after a difference of two values, such as ` points`.
        effect_decimals: fewest decimals of a difference.
    """

    factor: float = 1.0
    prefix: str = ""
    suffix: str = ""
    effect_suffix: str = ""
    effect_decimals: int = 0

    def value(self, x: float | None, lower: float | None = None, upper: float | None = None) -> str:
        """A value with the digits its interval deserves, or to three significant ones; `not known` for None."""
        if x is None:
            return gettext("not known")
        shown = x * self.factor
        own = _own_decimals(shown, money=self.prefix == "$")
        decimals = own if lower is None or upper is None or upper <= lower else self._decimals(lower, upper)
        return _write(shown, decimals, self.prefix, self.suffix)

    def interval(self, lower: float | None, upper: float | None) -> str:
        """The interval around a value; empty when there is none."""
        if lower is None and upper is None:
            return ""
        return self._range(lower, upper, self._decimals(lower, upper), self.suffix, signed=False)

    def total(self, x: float) -> str:
        """A sum over units, in the value's own unit; a share's sum is a count."""
        if self.suffix == PERCENT:
            return count(x)
        return _write(x, _own_decimals(x, money=self.prefix == "$"), self.prefix, self.suffix)

    def effect(self, x: float | None, lower: float | None, upper: float | None) -> tuple[str, str]:
        """A signed difference and its interval, with the digits that the interval deserves.

        A bound just beside zero gets up to two more, so that it does not read as zero.
        """
        if x is None:
            return gettext("not computable"), ""
        fewest = max(self.effect_decimals, self._decimals(x, lower, upper))
        bounds = [b * self.factor for b in (lower, upper) if b]
        decimals = next((d for d in range(fewest, fewest + 2) if all(round(b, d) for b in bounds)), fewest + 2)
        estimate = _write(x * self.factor, decimals, self.prefix, self.effect_suffix, signed=True)
        return estimate, self._range(lower, upper, decimals, self.effect_suffix, signed=True)

    def tick(self, x: float, step: float) -> str:
        """An axis label on the effect scale, with the decimals that `step` needs."""
        size = step * self.factor
        decimals = max(0, -math.floor(math.log10(size) + 1e-9))
        exact = math.isclose(size, round(size, decimals), rel_tol=1e-6)
        return _write(x * self.factor, decimals if exact else decimals + 1, self.prefix, "", signed=True)

    def _decimals(self, *values: float | None) -> int:
        shown = [v * self.factor for v in values if v is not None]
        width = max(shown) - min(shown) if len(shown) > 1 else 0.0
        if width > 0:
            return _clip(1 - math.floor(math.log10(width)))
        return _own_decimals(shown[0], money=False) if shown else 0

    def _range(self, lower: float | None, upper: float | None, decimals: int, suffix: str, *, signed: bool) -> str:
        def end(x: float, tail: str = "") -> str:
            return _write(x * self.factor, decimals, self.prefix, tail, signed=signed)

        if lower is None and upper is None:
            return gettext("unbounded both ways")
        if upper is None and lower is not None:
            return gettext("over %(bound)s, unbounded", bound=end(lower, suffix))
        if lower is None and upper is not None:
            return gettext("under %(bound)s, unbounded", bound=end(upper, suffix))
        assert lower is not None
        assert upper is not None
        return gettext("%(lower)s to %(upper)s", lower=end(lower), upper=end(upper, suffix))


_LIFT = Quantity(100.0, "", PERCENT, PERCENT)


def quantity(kind: str, unit: str) -> Quantity:
    """How a metric of this kind and unit is written: percent and points, dollars, seconds, or its own unit."""
    if kind in {"proportion", "retention"}:
        return Quantity(100.0, "", PERCENT, gettext(" points"), effect_decimals=1)
    plain = "s" if kind == "duration" else unit.strip()
    if plain.lower() in {"$", "usd", "us dollars", "dollars"}:
        return Quantity(1.0, "$", "", "")
    if plain.lower() in {"s", "sec", "second", "seconds"}:
        plain = "s"
    tail = f" {plain}" if plain else ""
    return Quantity(1.0, "", tail, tail)


def lift(x: float | None, lower: float | None, upper: float | None) -> tuple[str, str]:
    """A relative effect and its interval in percent, such as `+23 %` and `+15 to +32 %`."""
    return _LIFT.effect(x, lower, upper)


def lift_tick(x: float, step: float) -> str:
    """A label of the lift axis, such as `+20%`."""
    return _LIFT.tick(x, step) + PERCENT


def count(n: float) -> str:
    """A whole number with separators; from ten million on to three digits, such as `1.25 bn`."""
    return _write(float(n), 0, "", "")


def rate(x: float | None) -> str:
    """A share of calls or units in percent, to a tenth or two significant digits; `not known` for None."""
    if x is None:
        return gettext("not known")
    shown = 100 * x
    decimals = 0 if shown in {0.0, 100.0} else _clip(max(1, 1 - math.floor(math.log10(abs(shown)))))
    return _write(shown, decimals, "", PERCENT)


def level(x: float) -> str:
    """A confidence level in percent, such as `95 %`."""
    return f"{100 * x:g}{PERCENT}"


def usd(x: float | None) -> str:
    """US dollars; an unknown amount is said, never shown as 0."""
    if x is None:
        return gettext("unknown")
    return _write(x, _own_decimals(x, money=True), "$", "")


def seconds(x: float | None) -> str:
    """A latency: milliseconds under one second, else seconds to three digits; a dash where no call has it."""
    if x is None:
        return DASH
    if 0 < x < 1:
        return f"{x * 1000:.0f} ms" if x >= 0.01 else f"{x * 1000:.1f} ms"  # noqa: PLR2004 - 10 ms
    return _write(x, _own_decimals(x, money=False), "", " s")


def p_value(p: float | None) -> str:
    """A p-value with its sign, such as `p = 0.023` or `p < 0.001`."""
    if p is None:
        return ""
    if p < 0.001:  # noqa: PLR2004 - below this the digits say nothing more
        return "p < 0.001"
    return f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"  # noqa: PLR2004 - two significant digits


def day(when: dt.date) -> str:
    """A date, such as `22 Nov 2026`."""
    return f"{when.day} {when:%b %Y}"


def moment(when: dt.datetime, *, to_seconds: bool = False) -> str:
    """A moment to the minute, or to the second, in UTC."""
    utc = when.astimezone(dt.UTC)
    return f"{day(utc.date())}, {utc:%H:%M:%S} UTC" if to_seconds else f"{day(utc.date())}, {utc:%H:%M} UTC"


def duration(length_seconds: float) -> str:
    """A stretch of time in its largest fitting unit, rounded down, such as `3 days`."""
    if length_seconds < _MINUTE_SECONDS:
        return ngettext("%(num)s second", "%(num)s seconds", int(length_seconds))
    if length_seconds < _HOUR_SECONDS:
        return ngettext("%(num)s minute", "%(num)s minutes", int(length_seconds // _MINUTE_SECONDS))
    if length_seconds < 2 * _DAY_SECONDS and length_seconds % _DAY_SECONDS:
        return ngettext("%(num)s hour", "%(num)s hours", int(length_seconds // _HOUR_SECONDS))
    return ngettext("%(num)s day", "%(num)s days", int(length_seconds // _DAY_SECONDS))


def days_between(first: dt.date, last: dt.date) -> str:
    """How many days from first to last, both counted."""
    return ngettext("%(num)s day", "%(num)s days", (last - first).days + 1)


def _own_decimals(shown: float, *, money: bool) -> int:
    size = abs(shown)
    if size == 0:
        return 2 if money else 0
    magnitude = math.floor(math.log10(size))
    if not money:
        return _clip(_SIGNIFICANT - 1 - magnitude)
    if magnitude < 0:
        return _clip(1 - magnitude)
    return 2 if size < 1_000 else 0  # noqa: PLR2004 - cents stop mattering at a thousand dollars


def _clip(decimals: int) -> int:
    return max(0, min(_MOST_DECIMALS, decimals))


def _write(x: float, decimals: int, prefix: str, suffix: str, *, signed: bool = False) -> str:
    size = abs(x)
    scaled, tail = size, ""
    if size >= 1e15:  # noqa: PLR2004 - beyond trillions words stop helping
        return f"{_sign(x, signed=signed)}{prefix}{size:.2e}{suffix}"
    for limit, word in ((1e12, " tn"), (1e9, " bn"), (_LARGE, " M")):
        if size >= limit:
            scaled = size / (1e6 if word == " M" else limit)
            tail, decimals = word, _own_decimals(scaled, money=False)
            break
    digits = f"{scaled:,.{decimals}f}"
    zero = float(digits.replace(",", "")) == 0
    sign = "" if zero else _sign(x, signed=signed)
    return f"{sign}{prefix}{digits}{tail}{suffix}"


def _sign(x: float, *, signed: bool) -> str:
    if x < 0:
        return MINUS
    return "+" if signed and x > 0 else ""
