"""What calls cost and how long they take, when arms share a cache, a pool of keys, and users' patience.

Each function gives the honest number beside the tempting one, and says in one word whether they part.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from genux_server.model import Message, Moments
from genux_server.stats.common import FloatArray, array, check_alpha, check_counts, check_moments, check_share, refuse
from genux_server.stats.estimates import arm_estimates
from genux_server.stats.means import welch
from genux_server.stats.moments import total_of
from genux_server.stats.proportions import score_contrast

__all__ = [
    "CacheWarmth",
    "CompletedLatency",
    "SharedKeys",
    "TokenUse",
    "cache_warmth",
    "completed_latency",
    "shared_keys",
]

Status = Literal["ok", "warn", "unknown"]


class TokenUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An arm's tokens over all its calls, and the prices of its model in US dollars per million tokens.

    `cached_tokens` are part of `input_tokens`.
    """

    n_units: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    input_usd_per_million: float
    cached_usd_per_million: float
    output_usd_per_million: float


class CacheWarmth(msgspec.Struct, frozen=True, kw_only=True):
    """Cost per unit as billed, and as it would be if both arms hit the prompt cache alike. US dollars.

    Attributes:
        status: `warn` when the difference in cost changes sign or by more than a tenth of the control's cost.
        hit_rate_*: cached share of input tokens.
        cost_*: per unit, as billed; `repriced_*`: at `reference_hit_rate`.
    """

    status: Status
    hit_rate_control: float | None = None
    hit_rate_treatment: float | None = None
    reference_hit_rate: float | None = None
    cost_control_usd: float | None = None
    cost_treatment_usd: float | None = None
    cost_difference_usd: float | None = None
    repriced_control_usd: float | None = None
    repriced_treatment_usd: float | None = None
    repriced_difference_usd: float | None = None
    message: Message | None = None
    not_computable: Message | None = None


class SharedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Rate-limited calls by arm when both draw on one pool of keys.

    Attributes:
        status: `warn` when either arm is limited and the rates differ, or the pool is exhausted for both.
        rate_*: limited calls per call; `effect` their difference, clustered at the unit, with interval and p.
        share_of_calls_treatment, share_of_limits_treatment: who loads the pool, and who pays for it.
    """

    status: Status
    level: float
    rate_control: float | None = None
    rate_treatment: float | None = None
    effect: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    p_value: float | None = None
    share_of_calls_treatment: float | None = None
    share_of_limits_treatment: float | None = None
    message: Message | None = None
    not_computable: Message | None = None


class CompletedLatency(msgspec.Struct, frozen=True, kw_only=True):
    """A latency quantile among completed calls, and among all calls that started.

    A call that timed out or was abandoned is slow, and missing from the completed ones: the arm that loses its slow
    calls looks fast. If every unfinished call would have been slower than every finished one, the quantile nu of all
    is the quantile nu / share completed of the finished; `all_*` is that, and None when so few finished that it lies
    beyond them.
    """

    status: Status
    quantile: float
    completed_share_control: float
    completed_share_treatment: float
    completion_p_value: float | None = None
    completed_control_seconds: float | None = None
    completed_treatment_seconds: float | None = None
    all_control_seconds: float | None = None
    all_treatment_seconds: float | None = None
    message: Message | None = None


def cache_warmth(control: TokenUse, treatment: TokenUse, *, hit_rate: float | None = None) -> CacheWarmth:
    """Reprices both arms at one cache hit rate: a small arm's cache is cold, and shipping it would warm it.

    Args:
        control: control's tokens and prices.
        treatment: treatment's.
        hit_rate: cached share of input tokens to price at, 0 to 1; control's (the warm arm's) own when not given.

    Returns:
        Costs per unit as billed and repriced; `not_computable` without units or input tokens in an arm.

    Raises:
        ValueError: a negative count or price, or more cached tokens than input tokens.
    """
    for use in (control, treatment):
        if min(use.input_usd_per_million, use.cached_usd_per_million, use.output_usd_per_million) < 0:
            raise ValueError("prices must not be negative")
        if not 0 <= use.cached_tokens <= use.input_tokens or use.output_tokens < 0 or use.n_units < 0:
            raise ValueError("token counts must not be negative, and cached tokens are part of the input tokens")
    if hit_rate is not None and not 0 <= hit_rate <= 1:
        raise ValueError(f"hit_rate must lie between 0 and 1, not {hit_rate:g}")
    if min(control.n_units, treatment.n_units, control.input_tokens, treatment.input_tokens) == 0:
        reason = refuse("no_calls", "An arm has no units or no input tokens.")
        return CacheWarmth(status="unknown", not_computable=reason)
    hit_c, hit_t = control.cached_tokens / control.input_tokens, treatment.cached_tokens / treatment.input_tokens
    reference = hit_c if hit_rate is None else hit_rate
    billed_c, billed_t = _cost(control, hit_c), _cost(treatment, hit_t)
    even_c, even_t = _cost(control, reference), _cost(treatment, reference)
    billed, even = billed_t - billed_c, even_t - even_c
    parts = billed * even < 0 or abs(even - billed) > 0.1 * billed_c
    return CacheWarmth(
        status="warn" if parts else "ok",
        hit_rate_control=hit_c,
        hit_rate_treatment=hit_t,
        reference_hit_rate=reference,
        cost_control_usd=billed_c,
        cost_treatment_usd=billed_t,
        cost_difference_usd=billed,
        repriced_control_usd=even_c,
        repriced_treatment_usd=even_t,
        repriced_difference_usd=even,
        message=Message(
            code="cache_uneven" if parts else "cache_even",
            args={"hit_rate_control": hit_c, "hit_rate_treatment": hit_t, "repriced_difference_usd": even},
            text=f"The prompt cache served {hit_t:.0%} of treatment's and {hit_c:.0%} of control's input tokens. "
            f"Treatment costs {billed:+.6f} US dollars per unit against control as billed, {even:+.6f} at equal rates.",
        ),
    )


def shared_keys(control: Moments, treatment: Moments, *, alpha: float = 0.05, alarm: float = 0.01) -> SharedKeys:
    """Compares the rate of rate-limited calls between arms that draw on one pool of keys.

    When they share a pool, each arm's load slows the other: the effect of either is not that of shipping it alone.

    Args:
        control: moments over control's units of `y` (their rate-limited calls) and `d` (all their calls).
        treatment: the same for treatment.
        alpha: one minus the level of the interval.
        alarm: p-value of the difference under which it is warned of.

    Returns:
        Rates by the delta method at the unit; `not_computable` without calls in an arm or when none was limited.

    Raises:
        ValueError: moments without `d`.
    """
    check_alpha(alpha)
    check_moments(control)
    check_moments(treatment)
    if any("d" not in m.components for m in (control, treatment)):
        raise ValueError("the moments need the components y (limited calls) and d (calls)")
    known = SharedKeys(status="unknown", level=1 - alpha)
    estimates = arm_estimates({"control": control, "treatment": treatment}, adjust=False)
    if len(estimates) < 2:
        return msgspec.structs.replace(
            known, not_computable=refuse("no_calls", "An arm has too few units or no calls.")
        )
    c, t = estimates["control"], estimates["treatment"]
    limits_c, limits_t = total_of(control, "y"), total_of(treatment, "y")
    calls_c, calls_t = total_of(control, "d"), total_of(treatment, "d")
    known = msgspec.structs.replace(
        known, rate_control=c.value, rate_treatment=t.value, share_of_calls_treatment=calls_t / (calls_c + calls_t)
    )
    test = welch(c, t, alpha)
    if limits_c + limits_t == 0 or test is None:
        reason = refuse("no_events", "No call was rate-limited.")
        return msgspec.structs.replace(known, status="ok", not_computable=reason)
    differs = test.p_value < alarm
    return msgspec.structs.replace(
        known,
        status="warn" if differs else "ok",
        effect=test.effect,
        ci_lower=test.lower,
        ci_upper=test.upper,
        p_value=test.p_value,
        share_of_limits_treatment=limits_t / (limits_c + limits_t),
        message=Message(
            code="limits_differ" if differs else "limits_alike",
            args={"rate_control": c.value, "rate_treatment": t.value},
            text=f"{t.value:.2%} of treatment's and {c.value:.2%} of control's calls were rate-limited"
            + ("; give each arm its own keys before believing latency or errors." if differs else "."),
        ),
    )


def completed_latency(
    control_seconds: Sequence[float],
    started_control: int,
    treatment_seconds: Sequence[float],
    started_treatment: int,
    *,
    quantile: float = 0.95,
    alarm: float = 0.01,
) -> CompletedLatency:
    """A latency quantile among completed calls beside the one among all calls that started.

    Args:
        control_seconds: latency of control's completed calls.
        started_control: all its calls, completed or not; at least as many.
        treatment_seconds: the same for treatment.
        started_treatment: all its calls.
        quantile: nu, 0 to 1.
        alarm: p-value of the difference in completion under which it is warned of (calls taken as independent: a
            screen, not a test of the effect).
    """
    check_share("quantile", quantile)
    c, t = array(control_seconds, "control_seconds"), array(treatment_seconds, "treatment_seconds")
    check_counts(c.size, started_control, "control")
    check_counts(t.size, started_treatment, "treatment")
    share_c, share_t = c.size / started_control, t.size / started_treatment
    test = score_contrast(c.size, started_control, t.size, started_treatment)
    differs = test is not None and test.p_value < alarm
    return CompletedLatency(
        status="warn" if differs else "ok",
        quantile=quantile,
        completed_share_control=share_c,
        completed_share_treatment=share_t,
        completion_p_value=None if test is None else test.p_value,
        completed_control_seconds=_order_statistic(c, quantile),
        completed_treatment_seconds=_order_statistic(t, quantile),
        all_control_seconds=_order_statistic(c, quantile * started_control / max(c.size, 1)),
        all_treatment_seconds=_order_statistic(t, quantile * started_treatment / max(t.size, 1)),
        message=Message(
            code="completion_differs" if differs else "completion_alike",
            args={"share_control": share_c, "share_treatment": share_t},
            text=f"{share_t:.1%} of treatment's and {share_c:.1%} of control's calls completed"
            + ("; latency among completed calls leaves out the slowest of one arm." if differs else "."),
        ),
    )


def _cost(use: TokenUse, hit_rate: float) -> float:
    """US dollars per unit at a cache hit rate."""
    input_price = (1 - hit_rate) * use.input_usd_per_million + hit_rate * use.cached_usd_per_million
    return (use.input_tokens * input_price + use.output_tokens * use.output_usd_per_million) / 1e6 / use.n_units


def _order_statistic(values: FloatArray, quantile: float) -> float | None:
    """The smallest value with at least this share of the values at or below it; None beyond the sample."""
    rank = math.ceil(quantile * values.size - 1e-9)
    return float(np.sort(values)[max(rank, 1) - 1]) if values.size and rank <= values.size else None
