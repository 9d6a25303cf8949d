"""Quantiles of event-level values (p95 latency) whose events cluster in units.

Calls of one user resemble each other, so the textbook error of a quantile, which takes events for independent, is too
small, and finds differences that are not there (docs/statistics.md has how often). The correction multiplies it by how
much more the share of events below the quantile varies between units than coin tosses would.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from genux_server.model import Message
from genux_server.stats.common import (
    array,
    check_alpha,
    check_share,
    finite,
    log_two_sided,
    refuse,
    two_sided,
    z_tail,
)
from genux_server.stats.contrast import fieller

__all__ = [
    "QuantileComparison",
    "QuantileEstimate",
    "compare_quantiles",
    "estimate_from_ranks",
    "quantile_of_values",
    "too_few_units",
]


class QuantileEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A quantile of events, with an error that respects units.

    Attributes:
        quantile: which, 0 to 1.
        n_events, n_units: events, and units with at least one.
        value: the quantile; `se` its clustered standard error; `ci_lower`, `ci_upper` order statistics at the
            clustered distance, so that the interval follows the shape of the tail.
        design_effect: clustered over independent variance of the share below; 1 when events do not cluster.
    """

    method: str
    level: float
    quantile: float
    n_events: int
    n_units: int
    value: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    design_effect: float | None = None
    assumptions: str = "Units are independent; there are enough of them for a normal approximation (some hundred)."
    not_computable: Message | None = None


class QuantileComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The same quantile in two arms: difference by the normal, lift by Fieller at the same critical value."""

    method: str
    level: float
    quantile: float
    value_control: float | None = None
    value_treatment: float | None = None
    effect: float | None = None
    se: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    lift: float | None = None
    lift_ci_lower: float | None = None
    lift_ci_upper: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    log_p_value: float | None = None
    not_computable: Message | None = None


def quantile_of_values(
    values: Sequence[float], unit_ids: Sequence[int | str] = (), *, quantile: float = 0.95, alpha: float = 0.05
) -> QuantileEstimate:
    """A quantile of events, its clustered standard error, and an interval of order statistics.

    With n events, z the critical value and I = 1{value <= q}: L, U = n (nu -+ z sqrt(nu (1 - nu) / n)), and
    SE = (Y_U - Y_L) / 2z * sqrt(Var_cluster(mean I) / (nu (1 - nu) / n)).

    Args:
        values: `(n_events,)` finite values.
        unit_ids: `(n_events,)` whose event it is; every event its own unit when not given.
        quantile: nu, 0 to 1.
        alpha: one minus the level.

    Returns:
        The estimate; coded `too_few_units` under 2 units, `tail_too_thin` when the order statistics would lie outside
        the sample, `zero_variance` when they coincide.

    Raises:
        ValueError: lengths differ, or a value is not finite.

    References:
        Deng, Knoblich and Lu (2018), Applying the delta method in metric analytics, KDD, section 4.
    """
    check_alpha(alpha)
    check_share("quantile", quantile)
    y = array(values, "values")
    ids = np.asarray(unit_ids) if len(unit_ids) else np.arange(y.size)
    if ids.shape != y.shape:
        raise ValueError("values and unit_ids must have the same length")
    _, unit = np.unique(ids, return_inverse=True)
    n_units = int(unit.max()) + 1 if y.size else 0
    known = QuantileEstimate(
        method="clustered_quantile", level=1 - alpha, quantile=quantile, n_events=y.size, n_units=n_units
    )
    if n_units < 2:
        return msgspec.structs.replace(known, not_computable=too_few_units())
    ordered = np.sort(y)
    value = float(ordered[max(math.ceil(quantile * y.size - 1e-9), 1) - 1])
    below = np.bincount(unit, weights=y <= value, minlength=n_units)
    events = np.bincount(unit, minlength=n_units).astype(np.float64)
    # The share itself, not nu: with ties at the quantile the two differ.
    share = float(below.sum() / y.size)
    variance = float(((below - share * events) ** 2).sum()) / (n_units - 1) * n_units / y.size**2
    ranks = np.arange(1, y.size + 1)
    return estimate_from_ranks(known, value, variance, lambda rank: float(np.interp(rank, ranks, ordered)))


def too_few_units() -> Message:
    """The reason why one unit's events have no error."""
    return refuse("too_few_units", "The events come from fewer than two units, so nothing is known between units.")


def estimate_from_ranks(
    known: QuantileEstimate, value: float, variance: float, at: Callable[[float], float]
) -> QuantileEstimate:
    """Completes an estimate from the variance of the share below it and the order statistics.

    Args:
        known: which quantile, of how many events and units, at which level.
        value: the quantile.
        variance: clustered variance of the share of events below it.
        at: value of an order statistic, by its (fractional) rank from 1 to n.
    """
    nu, n = known.quantile, known.n_events
    known = msgspec.structs.replace(known, value=value)
    z = z_tail((1 - known.level) / 2)
    independent = nu * (1 - nu) / n
    low, high = n * (nu - z * math.sqrt(independent)), n * (nu + z * math.sqrt(independent))
    if low < 1 or high > n:
        text = f"{n} events are too few for the {nu:g} quantile: its interval reaches beyond the sample."
        return msgspec.structs.replace(known, not_computable=refuse("tail_too_thin", text, n_events=n, quantile=nu))
    design_effect = variance / independent
    se = (at(high) - at(low)) / (2 * z) * math.sqrt(design_effect)
    if se <= 0:
        reason = refuse(
            "zero_variance", "The values around the quantile do not vary, so there is no error to judge by."
        )
        return msgspec.structs.replace(known, not_computable=reason)
    spread = z * n * math.sqrt(variance)
    return msgspec.structs.replace(
        known,
        se=se,
        ci_lower=at(n * nu - spread) if n * nu - spread >= 1 else None,
        ci_upper=at(n * nu + spread) if n * nu + spread <= n else None,
        design_effect=design_effect,
    )


def compare_quantiles(control: QuantileEstimate, treatment: QuantileEstimate) -> QuantileComparison:
    """The difference of a quantile between two arms, normal reference, and its lift by Fieller.

    Args:
        control: control's estimate, from values or from a summary.
        treatment: treatment's, of the same quantile at the same level.

    Returns:
        The comparison; not computable when either estimate is not, for the same reason.

    Raises:
        ValueError: different quantiles or levels.
    """
    if control.quantile != treatment.quantile or control.level != treatment.level:
        raise ValueError("both estimates must be of the same quantile at the same level")
    known = QuantileComparison(
        method=treatment.method,
        level=control.level,
        quantile=control.quantile,
        value_control=control.value,
        value_treatment=treatment.value,
    )
    if control.value is None or treatment.value is None or control.se is None or treatment.se is None:
        return msgspec.structs.replace(known, not_computable=control.not_computable or treatment.not_computable)
    effect, se = treatment.value - control.value, math.hypot(control.se, treatment.se)
    z = effect / se
    critical = z_tail((1 - control.level) / 2)
    lift = low = high = None
    if control.value != 0:
        lift = effect / control.value
        low, high = fieller(treatment.value, treatment.se**2, control.value, control.se**2, critical)
    return msgspec.structs.replace(
        known,
        effect=effect,
        se=se,
        ci_lower=effect - critical * se,
        ci_upper=effect + critical * se,
        lift=None if lift is None else finite(lift),
        lift_ci_lower=None if low is None else low - 1,
        lift_ci_upper=None if high is None else high - 1,
        statistic=z,
        p_value=two_sided(z),
        log_p_value=log_two_sided(z),
    )
