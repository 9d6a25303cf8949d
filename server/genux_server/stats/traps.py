"""Who is compared: everyone exposed against those who called, and arms that fell back to another model.

Each function gives the honest number beside the tempting one, and says in one word whether they part.
"""

from typing import Literal

import msgspec

from genux_server.model import Message
from genux_server.stats.common import check_alpha, check_counts, refuse
from genux_server.stats.estimates import Estimate
from genux_server.stats.means import welch
from genux_server.stats.proportions import score_contrast

__all__ = ["CallerMix", "DifferentialFallback", "among_callers", "differential_fallback"]

Status = Literal["ok", "warn", "unknown"]


class CallerMix(msgspec.Struct, frozen=True, kw_only=True):
    """Effect over everyone exposed (ITT) beside the difference among those who called.

    Attributes:
        status: `warn` when the arms differ in who calls, so that "among callers" compares different people.
        share_control, share_treatment, share_p_value: units with at least one call.
        itt_effect, with interval and p: over all exposed units, non-callers counted as 0: the effect.
        among_effect, with interval: a difference between two groups of callers: a description.
    """

    status: Status
    level: float
    share_control: float
    share_treatment: float
    share_effect: float
    share_p_value: float | None = None
    itt_effect: float | None = None
    itt_ci_lower: float | None = None
    itt_ci_upper: float | None = None
    itt_p_value: float | None = None
    among_effect: float | None = None
    among_ci_lower: float | None = None
    among_ci_upper: float | None = None
    message: Message | None = None
    not_computable: Message | None = None


class DifferentialFallback(msgspec.Struct, frozen=True, kw_only=True):
    """Units whose calls fell back to another model, by arm, and how far that can move the result.

    Attributes:
        status: `warn` when the arms fall back at different rates.
        itt_effect, with interval and p: everyone as assigned, whatever model answered: the effect of the arm as it ran.
        without_fallback_effect: difference among units that never fell back: a description.
        bound_lower, bound_upper: the effect if every unit that fell back had failed in treatment and succeeded in
            control, and the other way round: nothing that fallback did can lie outside.
    """

    status: Status
    level: float
    rate_control: float
    rate_treatment: float
    rate_effect: float
    rate_p_value: float | None = None
    itt_effect: float | None = None
    itt_ci_lower: float | None = None
    itt_ci_upper: float | None = None
    itt_p_value: float | None = None
    without_fallback_effect: float | None = None
    bound_lower: float | None = None
    bound_upper: float | None = None
    message: Message | None = None


def among_callers(  # noqa: PLR0913  two arms of exposed units and callers; all by name
    *,
    n_control: int,
    callers_control: int,
    mean_control: float,
    variance_control: float,
    n_treatment: int,
    callers_treatment: int,
    mean_treatment: float,
    variance_treatment: float,
    alpha: float = 0.05,
    alarm: float = 0.01,
) -> CallerMix:
    """Compares a per-caller metric over everyone exposed, and among callers with a label.

    The metric of a unit that never called counts as 0, so the moments over all units follow from those of callers:
    m = p m_1 and v = p v_1 + p (1 - p) m_1^2, up to the divisor.

    Args:
        n_control: exposed units in control.
        callers_control: those with at least one call.
        mean_control: of the metric among control's callers.
        variance_control: sample variance among them.
        n_treatment: exposed units in treatment.
        callers_treatment: those with at least one call.
        mean_treatment: among treatment's callers.
        variance_treatment: sample variance among them.
        alpha: one minus the level of the intervals.
        alarm: p-value of the difference in who calls under which the comparison among callers is warned of.

    Returns:
        Both comparisons; `not_computable` when an arm has fewer than 2 callers.
    """
    check_alpha(alpha)
    check_counts(callers_control, n_control, "control")
    check_counts(callers_treatment, n_treatment, "treatment")
    share_c, share_t = callers_control / n_control, callers_treatment / n_treatment
    share = score_contrast(callers_control, n_control, callers_treatment, n_treatment, alpha)
    differs = share is not None and share.p_value < alarm
    known = CallerMix(
        status="warn" if differs else "ok",
        level=1 - alpha,
        share_control=share_c,
        share_treatment=share_t,
        share_effect=share_t - share_c,
        share_p_value=None if share is None else share.p_value,
        message=Message(
            code="callers_differ" if differs else "callers_alike",
            args={"share_control": share_c, "share_treatment": share_t},
            text=f"{share_t:.1%} of treatment and {share_c:.1%} of control made a call"
            + ("; among callers the arms compare different people." if differs else "."),
        ),
    )
    if min(callers_control, callers_treatment) < 2:
        reason = refuse("too_few_units", "An arm has fewer than two callers.")
        return msgspec.structs.replace(known, status="unknown", not_computable=reason)
    itt = welch(
        _everyone(n_control, callers_control, mean_control, variance_control),
        _everyone(n_treatment, callers_treatment, mean_treatment, variance_treatment),
        alpha,
    )
    among = welch(
        Estimate(callers_control, mean_control, variance_control / callers_control, callers_control - 1),
        Estimate(callers_treatment, mean_treatment, variance_treatment / callers_treatment, callers_treatment - 1),
        alpha,
    )
    if itt is not None:
        known = msgspec.structs.replace(
            known, itt_effect=itt.effect, itt_ci_lower=itt.lower, itt_ci_upper=itt.upper, itt_p_value=itt.p_value
        )
    if among is not None:
        known = msgspec.structs.replace(
            known, among_effect=among.effect, among_ci_lower=among.lower, among_ci_upper=among.upper
        )
    return known


def differential_fallback(  # noqa: PLR0913  a 2 x 2 x 2 table; all by name
    *,
    n_control: int,
    fallback_control: int,
    successes_fallback_control: int,
    successes_other_control: int,
    n_treatment: int,
    fallback_treatment: int,
    successes_fallback_treatment: int,
    successes_other_treatment: int,
    alpha: float = 0.05,
    alarm: float = 0.01,
) -> DifferentialFallback:
    """Tests whether arms fall back at different rates, and bounds what that can do to a success rate.

    Args:
        n_control: units in control.
        fallback_control: those with a call answered by a fallback model.
        successes_fallback_control: of these, units that succeeded.
        successes_other_control: successes among the others.
        n_treatment: units in treatment.
        fallback_treatment: those with a fallback.
        successes_fallback_treatment: of these, units that succeeded.
        successes_other_treatment: successes among the others.
        alpha: one minus the level of the interval.
        alarm: p-value of the difference in rates under which it is warned of.

    References:
        Manski (1990), Nonparametric bounds on treatment effects, for the bounds.
    """
    check_alpha(alpha)
    for arm, n, fell, won_fell, won in (
        ("control", n_control, fallback_control, successes_fallback_control, successes_other_control),
        ("treatment", n_treatment, fallback_treatment, successes_fallback_treatment, successes_other_treatment),
    ):
        check_counts(fell, n, arm)
        if not (0 <= won_fell <= fell and 0 <= won <= n - fell):
            raise ValueError(f"{arm}: more successes than units")
    rate_c, rate_t = fallback_control / n_control, fallback_treatment / n_treatment
    rates = score_contrast(fallback_control, n_control, fallback_treatment, n_treatment, alpha)
    differs = rates is not None and rates.p_value < alarm
    x_c = successes_fallback_control + successes_other_control
    x_t = successes_fallback_treatment + successes_other_treatment
    itt = score_contrast(x_c, n_control, x_t, n_treatment, alpha)
    clean_c, clean_t = n_control - fallback_control, n_treatment - fallback_treatment
    without = successes_other_treatment / clean_t - successes_other_control / clean_c if clean_c and clean_t else None
    low_t, low_c = successes_other_treatment / n_treatment, successes_other_control / n_control
    return DifferentialFallback(
        status="warn" if differs else "ok",
        level=1 - alpha,
        rate_control=rate_c,
        rate_treatment=rate_t,
        rate_effect=rate_t - rate_c,
        rate_p_value=None if rates is None else rates.p_value,
        itt_effect=x_t / n_treatment - x_c / n_control,
        itt_ci_lower=None if itt is None else itt.lower,
        itt_ci_upper=None if itt is None else itt.upper,
        itt_p_value=None if itt is None else itt.p_value,
        without_fallback_effect=without,
        bound_lower=low_t - (low_c + rate_c),
        bound_upper=low_t + rate_t - low_c,
        message=Message(
            code="fallback_differs" if differs else "fallback_alike",
            args={"rate_control": rate_c, "rate_treatment": rate_t},
            text=f"{rate_t:.1%} of treatment and {rate_c:.1%} of control were answered by a fallback model"
            + ("; the arms did not run what they are named after to the same degree." if differs else "."),
        ),
    )


def _everyone(n: int, callers: int, mean: float, variance: float) -> Estimate:
    """Mean over all exposed units, non-callers at 0, with its variance."""
    share = callers / n
    squares = (callers - 1) * variance + callers * (1 - share) * mean**2
    return Estimate(n, share * mean, squares / (n - 1) / n, n - 1)
