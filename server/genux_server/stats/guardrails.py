"""Whether a guardrail is harmed: non-inferiority with a margin, one-sided, at the validity of its comparison."""

import math
from typing import Literal

from scipy import special

from genux.specs import MetricSpec
from genux_server.model import Comparison
from genux_server.stats.compare import SHARE_KINDS, Decided
from genux_server.stats.frame import Frame
from genux_server.stats.moments import comoment, mean_of, merge, total_of
from genux_server.stats.sequential import one_sided_multiplier, tuning

__all__ = ["GuardrailState", "guardrail_state", "none_seen_bound"]

GuardrailState = Literal["safe", "harmed", "unclear", "quiet"]

_NONE_SEEN_UNITS = 100
"""With fewer units per arm, that a thing was never seen says little."""


def none_seen_bound(frame: Frame, metric: MetricSpec, treatment: str) -> float | None:
    """Upper bound of a harm that nobody met in either arm: the rule of three, 1 - alpha^(1/n), about 3 / n at 5 %.

    One-sided at the plan's alpha, and valid at every look as it stands: with harm of rate p it fails only if none is
    seen in the first n units with (1 - p)^n < alpha, whenever one looks. For a ratio n is Kish's effective number of
    units, (sum d)^2 / sum d^2: a unit's calls fail together or not at all, at worst, and a unit without any tells
    nothing.

    Args:
        frame: the experiment.
        metric: the guardrail.
        treatment: key of the variant.

    Returns:
        The bound, 0 to 1; None where the metric is no share or ratio to be kept low, something was seen, or an arm has
        fewer than 100 matured units.

    References:
        Hanley and Lippman-Hand (1983), If nothing goes wrong, is everything all right? JAMA 249. Kish (1965).
    """
    if metric.direction != "decrease" or metric.kind not in SHARE_KINDS | {"ratio"}:
        return None
    by_epoch = frame.moments(metric.key)
    arms = [merge(arms[key] for arms in by_epoch.values() if key in arms) for key in (frame.control, treatment)]
    if any(arm.n < _NONE_SEEN_UNITS or arm.minimum < 0.0 or arm.maximum > 0.0 for arm in arms):
        return None
    n = float(arms[1].n)
    if metric.kind == "ratio":
        squares = comoment(arms[1], "d", "d") + arms[1].n * mean_of(arms[1], "d") ** 2
        if squares == 0.0:
            return None
        n = total_of(arms[1], "d") ** 2 / squares
    return -math.expm1(math.log(frame.alpha) / n)


def guardrail_state(frame: Frame, metric: MetricSpec, decided: Decided) -> GuardrailState:
    """Whether a guardrail is harmed, one-sided at the plan's alpha.

    Without a margin: `harmed` when the two-sided result is worse, else `quiet`. With one: `harmed` when the harm is
    shown to exceed the margin, `safe` when it is shown not to, else `unclear`. A relative margin is taken of control's
    figure with its own uncertainty: the tested quantity is treatment - (1 +- margin) control.

    Where the harm was never seen in either arm there is nothing to compare; then `none_seen_bound` must lie within an
    absolute margin, and without one there is no harm to see.
    """
    bound = none_seen_bound(frame, metric, decided.comparison.variant)
    if bound is not None:
        if metric.margin is None or metric.margin_relative:
            return "quiet"
        return "safe" if bound < metric.margin else "unclear"
    c, t, contrast = decided.pair.control, decided.pair.treatment, decided.contrast
    if contrast is None or c is None or t is None:
        return "unclear"
    if metric.margin is None:
        return "harmed" if decided.comparison.beats_control is False else "quiet"
    sign = 1.0 if metric.direction == "increase" else -1.0
    if metric.margin_relative:
        # The tolerated figure is |control| worse by the margin; its uncertainty is control's, scaled.
        factor = 1.0 - sign * metric.margin * (1.0 if c.value >= 0.0 else -1.0)
        gain = sign * (t.value - factor * c.value)
        se = (t.variance + factor**2 * c.variance) ** 0.5
    else:
        gain = sign * (t.value - c.value) + metric.margin
        se = contrast.se
    reach = _one_sided_critical(frame, decided.comparison, contrast.df, c.n + t.n) * se
    if gain - reach > 0.0:
        return "safe"
    return "harmed" if gain + reach < 0.0 else "unclear"


def _one_sided_critical(frame: Frame, comparison: Comparison, df: float, n_units: int) -> float:
    if comparison.validity == "fixed":
        return float(-special.stdtrit(df, frame.alpha))
    rho2 = tuning(frame.tuned_units(comparison.variant), 2.0 * frame.alpha)
    return one_sided_multiplier(n_units, rho2, frame.alpha)
