"""Whether a guardrail is harmed: non-inferiority with a margin, one-sided, at the validity of its comparison."""

from typing import Literal

from scipy import special

from genux.specs import MetricSpec
from genux_server.model import Comparison
from genux_server.stats.compare import Decided
from genux_server.stats.frame import Frame
from genux_server.stats.sequential import one_sided_multiplier, tuning

__all__ = ["GuardrailState", "guardrail_state"]

GuardrailState = Literal["safe", "harmed", "unclear", "quiet"]


def guardrail_state(frame: Frame, metric: MetricSpec, decided: Decided) -> GuardrailState:
    """Whether a guardrail is harmed, one-sided at the plan's alpha.

    Without a margin: `harmed` when the two-sided result is worse, else `quiet`. With one: `harmed` when the harm is
    shown to exceed the margin, `safe` when it is shown not to, else `unclear`. A relative margin is taken of control's
    figure with its own uncertainty: the tested quantity is treatment - (1 +- margin) control.
    """
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
