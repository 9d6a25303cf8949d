"""How many units, how small an effect, how many more days: for every kind of metric, at one look and sequentially."""

import math
from typing import Literal

import msgspec
from scipy import optimize

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_share, refuse, z_tail
from genux_server.stats.power import Baseline, Design, achieved_power, method_of, unit_variances

__all__ = [
    "DaysNeeded",
    "MinimumEffect",
    "RequiredUnits",
    "days_needed",
    "minimum_effect",
    "minimum_lift",
    "required_units",
]


_MOST_DAYS = 1e6
"""Twenty-seven centuries: as good as never."""


class RequiredUnits(msgspec.Struct, frozen=True, kw_only=True):
    """Units needed, in all and per arm (rounded up), the exact figure, and its ratio to one fixed look."""

    method: str
    effect: float
    power: float
    n_units: int
    n_control: int
    n_treatment: int
    exact: float
    inflation: float = 1.0


class MinimumEffect(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest effect found with the power asked for; `lift` relative to the baseline."""

    method: str
    n_units: float
    power: float
    effect: float | None = None
    lift: float | None = None
    not_computable: Message | None = None


class DaysNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """How many more days, of which `days_arriving` until enough units have come, the rest for windows to close."""

    days: int | None
    days_arriving: int | None = None
    units_missing: int = 0
    not_computable: Message | None = None


def required_units(
    baseline: Baseline,
    effect: float,
    *,
    share_treatment: float = 0.5,
    design: Design | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> RequiredUnits:
    """Matured units needed to find an effect.

    Args:
        baseline: the metric in control.
        effect: to find, treatment minus control, not 0.
        share_treatment: of the units, 0 to 1.
        design: how the data is looked at; one look when not given.
        power: chance to find it, over alpha.
        alpha: two-sided error over all looks.

    Raises:
        ValueError: an effect of 0, or power not over alpha.
    """
    check_share("power", power)
    check_share("share_treatment", share_treatment)
    if effect == 0 or power <= alpha:
        raise ValueError("the effect must not be 0 and power must be over alpha")
    plan = design or Design()
    exact = _units_for(baseline, effect, share_treatment, plan, power, alpha)
    fixed = exact if plan.kind == "fixed" else _units_for(baseline, effect, share_treatment, Design(), power, alpha)
    n_t, n_c = math.ceil(exact * share_treatment - 1e-6), math.ceil(exact * (1 - share_treatment) - 1e-6)
    return RequiredUnits(
        method=method_of(baseline, plan),
        effect=effect,
        power=power,
        n_units=n_t + n_c,
        n_control=n_c,
        n_treatment=n_t,
        exact=exact,
        inflation=exact / fixed,
    )


def minimum_effect(
    baseline: Baseline,
    n_units: float,
    *,
    share_treatment: float = 0.5,
    design: Design | None = None,
    direction: Literal["increase", "decrease"] = "increase",
    power: float = 0.8,
    alpha: float = 0.05,
) -> MinimumEffect:
    """The smallest effect in one direction that is found with the power asked for.

    Args:
        baseline: the metric in control.
        n_units: matured units of the two arms together at the end.
        share_treatment: of these, 0 to 1.
        design: how the data is looked at; one look when not given.
        direction: of the effect; for proportions and counts the two differ.
        power: chance to find it, over alpha.
        alpha: two-sided error over all looks.

    Returns:
        Effect and lift; coded `no_such_effect` when even the largest possible effect would be missed.
    """
    check_share("power", power)
    check_share("share_treatment", share_treatment)
    if power <= alpha or n_units <= 0:
        raise ValueError("power must be over alpha and n_units over 0")
    plan = design or Design()
    sign = 1.0 if direction == "increase" else -1.0
    known = MinimumEffect(method=method_of(baseline, plan), n_units=n_units, power=power)

    def gap(size: float) -> float:
        found = achieved_power(
            baseline, sign * size, n_units, share_treatment=share_treatment, design=plan, alpha=alpha
        )
        return found.power - power

    largest = _largest_effect(baseline, sign)
    high = min(_start(baseline, n_units, share_treatment), largest)
    while gap(high) < 0 and high < largest:
        high = min(2 * high, largest)
    if gap(high) < 0:
        reason = refuse("no_such_effect", "So few units would miss even the largest effect the metric allows.")
        return msgspec.structs.replace(known, not_computable=reason)
    size = sign * float(optimize.brentq(gap, high * 1e-6, high, xtol=high * 1e-12, rtol=1e-12))
    return msgspec.structs.replace(known, effect=size, lift=size / abs(baseline.mean) if baseline.mean else None)


def minimum_lift(
    baseline: Baseline,
    n_control: float,
    n_treatment: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> MinimumEffect:
    """The smallest lift found by a delta-method test of the relative difference, as peers' calculators state it.

    Solves D / sigma_rel(D) = z_{1 - alpha/2} + z_power with
    sigma_rel(D)^2 = (s_t(D)^2 / n_t + (1 + D)^2 s_c^2 / n_c) / m^2.
    genux decides on the absolute scale (`minimum_effect`); this is for comparison, and larger for lifts over 0 because
    the test's own error grows with the lift.

    Args:
        baseline: the metric in control; its mean must not be 0.
        n_control: matured units in control.
        n_treatment: matured units in treatment.
        power: chance to find it.
        alpha: two-sided error.
    """
    check_alpha(alpha)
    check_share("power", power)
    if baseline.mean <= 0 or min(n_control, n_treatment) <= 0:
        raise ValueError("the baseline's mean and both arms' units must be over 0")
    known = MinimumEffect(method=f"relative_{baseline.kind}", n_units=n_control + n_treatment, power=power)
    target = z_tail(alpha / 2) + z_tail(1 - power)

    def gap(lift: float) -> float:
        _, own_c, own_t = unit_variances(baseline, lift * baseline.mean, 0.5)
        sigma = math.sqrt(own_t / n_treatment + (1 + lift) ** 2 * own_c / n_control) / baseline.mean
        return lift - target * sigma

    largest = _largest_effect(baseline, 1.0) / baseline.mean
    high = min(1e-3, largest)
    while gap(high) < 0 and high < min(largest, 1e6):
        high = min(2 * high, largest)
    if gap(high) < 0:
        reason = refuse("no_such_effect", "So few units would miss a lift of any size: its error grows with it.")
        return msgspec.structs.replace(known, not_computable=reason)
    lift = float(optimize.brentq(gap, 0.0, high, xtol=1e-15))
    return msgspec.structs.replace(known, effect=lift * baseline.mean, lift=lift)


def days_needed(
    required_units: int, matured_units: int, units_per_day: float, *, pending_units: int = 0, window_days: float = 0.0
) -> DaysNeeded:
    """How many more days until enough units have matured, if they keep arriving at this pace.

    Args:
        required_units: matured units needed in the two arms together.
        matured_units: whose conversion window has closed.
        units_per_day: newly exposed units a day in the two arms together.
        pending_units: exposed, window still open.
        window_days: length of the conversion window.

    Returns:
        Days; coded `no_arrivals` when more units are needed and (practically) none arrive.
    """
    if min(required_units, matured_units, pending_units) < 0 or units_per_day < 0 or window_days < 0:
        raise ValueError("units, pace and window must not be negative")
    missing = max(0, required_units - matured_units - pending_units)
    if matured_units >= required_units:
        return DaysNeeded(days=0, days_arriving=0)
    if missing > units_per_day * _MOST_DAYS:
        text = f"{missing} more units are needed, and at this pace they never come."
        reason = refuse("no_arrivals", text, units_missing=missing)
        return DaysNeeded(days=None, units_missing=missing, not_computable=reason)
    arriving = math.ceil(missing / units_per_day) if missing else 0
    return DaysNeeded(days=arriving + math.ceil(window_days), days_arriving=arriving, units_missing=missing)


def _largest_effect(baseline: Baseline, sign: float) -> float:
    if baseline.kind == "proportion":
        return 1 - baseline.mean if sign > 0 else baseline.mean
    return baseline.mean if baseline.kind == "count" and sign < 0 else math.inf


def _start(baseline: Baseline, n_units: float, share_treatment: float) -> float:
    """A small effect to begin a search from: one standard error of no effect."""
    null, own_c, own_t = unit_variances(baseline, 0.0, share_treatment)
    variance = null if null is not None else max(own_c, own_t)
    return math.sqrt(variance / n_units / share_treatment / (1 - share_treatment))


def _units_for(
    baseline: Baseline, effect: float, share_treatment: float, plan: Design, power: float, alpha: float
) -> float:
    def gap(log_n: float) -> float:
        n = math.exp(log_n)
        return (
            achieved_power(baseline, effect, n, share_treatment=share_treatment, design=plan, alpha=alpha).power - power
        )

    _, own_c, own_t = unit_variances(baseline, effect, share_treatment)
    simple = (own_c / (1 - share_treatment) + own_t / share_treatment) * (z_tail(alpha / 2) + z_tail(1 - power)) ** 2
    at = math.log(simple / effect**2) if simple else 0.0
    low, high = at - 0.5, at + 0.5
    while gap(low) > 0:
        low -= 1.0
    while gap(high) < 0:
        high += 1.0
    return math.exp(float(optimize.brentq(gap, low, high, xtol=1e-10)))
