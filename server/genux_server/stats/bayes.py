"""The Bayesian view, for those who want it: chance to win and expected loss.

These numbers answer "how likely, given the prior and the data"; they do not bound how often one is wrong when one
stops at a look of one's choosing: with a flat prior, 200 looks and a 95 % rule most A/A tests end with a winner
(docs/statistics.md). So every result carries that label, and no verdict is built on it.
"""

import dataclasses
import math

import msgspec
import numpy as np
from scipy import special

from genux_server.model import Message
from genux_server.stats.common import FloatArray, check_alpha, check_counts, refuse, z_tail

__all__ = ["BayesianComparison", "bayesian_means", "bayesian_proportions"]

_LABEL = "Not error-controlled under peeking: stopping when the chance to win looks high inflates false winners."


class BayesianComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Treatment against control after the data.

    Attributes:
        level: of the equal-tailed credible interval.
        chance_to_win: posterior probability that treatment's figure is larger.
        expected_loss_treatment: mean shortfall if treatment is chosen and control is larger; likewise control.
        effect: posterior mean of the difference, with `ci_lower` and `ci_upper`.
        label: what the numbers do not promise; to be shown with them.
    """

    method: str
    level: float
    chance_to_win: float | None = None
    expected_loss_treatment: float | None = None
    expected_loss_control: float | None = None
    effect: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    label: str = _LABEL
    not_computable: Message | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Beta:
    """A Beta posterior."""

    a: float
    b: float

    def density(self, x: FloatArray) -> FloatArray:
        log = special.xlogy(self.a - 1, x) + special.xlog1py(self.b - 1, -x) - special.betaln(self.a, self.b)
        return np.asarray(np.exp(log))

    def below(self, x: FloatArray) -> FloatArray:
        return np.asarray(special.betainc(self.a, self.b, x))

    def above(self, x: FloatArray) -> FloatArray:
        return np.asarray(special.betaincc(self.a, self.b, x))

    def landmarks(self) -> FloatArray:
        """Points between which the density is smooth, from the 1e-15 tails inwards."""
        low = special.betaincinv(self.a, self.b, np.array([1e-15, 1e-6, 0.02, 0.5]))
        return np.concatenate([low, special.betainccinv(self.a, self.b, np.array([0.02, 1e-6, 1e-15]))])


def bayesian_proportions(
    x_control: int,
    n_control: int,
    x_treatment: int,
    n_treatment: int,
    *,
    prior_successes: float = 1.0,
    prior_failures: float = 1.0,
    alpha: float = 0.05,
) -> BayesianComparison:
    """Two proportions with independent Beta priors; integrals by Gauss-Legendre quadrature, not by simulation.

    P(T > C) = int f_C(x) P(T > x) dx, and E max(C - T, 0) = int P(T <= x) P(C > x) dx.

    Args:
        x_control: successes in control.
        n_control: units in control, at least 1.
        x_treatment: successes in treatment.
        n_treatment: units in treatment, at least 1.
        prior_successes: first parameter of the prior of either arm; 1 and 1 is uniform.
        prior_failures: its second parameter.
        alpha: one minus the level of the credible interval.

    Raises:
        ValueError: impossible counts, or a prior parameter that is not positive.
    """
    check_alpha(alpha)
    check_counts(x_control, n_control, "control")
    check_counts(x_treatment, n_treatment, "treatment")
    if min(prior_successes, prior_failures) <= 0:
        raise ValueError("prior parameters must be over 0")
    c = _Beta(x_control + prior_successes, n_control - x_control + prior_failures)
    t = _Beta(x_treatment + prior_successes, n_treatment - x_treatment + prior_failures)
    x, weight = _grid(c, t)
    lower, upper = (_difference_quantile(c, t, tail) for tail in (alpha / 2, 1 - alpha / 2))
    return BayesianComparison(
        method="beta_binomial",
        level=1 - alpha,
        chance_to_win=_chance(c, t, 0.0),
        expected_loss_treatment=float(weight @ (t.below(x) * c.above(x))),
        expected_loss_control=float(weight @ (c.below(x) * t.above(x))),
        effect=t.a / (t.a + t.b) - c.a / (c.a + c.b),
        ci_lower=lower,
        ci_upper=upper,
    )


def bayesian_means(
    effect: float, se: float, *, prior_mean: float = 0.0, prior_sd: float | None = None, alpha: float = 0.05
) -> BayesianComparison:
    """Any estimated difference with a normal likelihood and a normal or flat prior.

    Args:
        effect: estimated difference, treatment minus control.
        se: its standard error.
        prior_mean: of the effect.
        prior_sd: of the effect, over 0; flat when not given.
        alpha: one minus the level of the credible interval.

    Returns:
        The posterior; coded `zero_variance` when the standard error is 0.
    """
    check_alpha(alpha)
    if not (math.isfinite(effect) and math.isfinite(se) and se >= 0):
        raise ValueError("the effect must be finite and its standard error not negative")
    if prior_sd is not None and prior_sd <= 0:
        raise ValueError("prior_sd must be over 0")
    if se == 0:
        reason = refuse("zero_variance", "The values do not vary, so there is nothing to judge the effect by.")
        return BayesianComparison(method="normal", level=1 - alpha, effect=effect, not_computable=reason)
    # The data's weight against the prior's; as a ratio of errors it cannot overflow where their squares would.
    weight = 1.0 if prior_sd is None else 1 / (1 + (se / prior_sd) ** 2)
    mean = weight * effect + (1 - weight) * prior_mean
    sd = math.sqrt(weight) * se
    z = mean / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    half = z_tail(alpha / 2) * sd
    return BayesianComparison(
        method="normal",
        level=1 - alpha,
        chance_to_win=float(special.ndtr(z)),
        # The mean shortfall of a normal; near 1e-17 of its scale the difference of two equal terms is rounding.
        expected_loss_treatment=max(0.0, sd * density - mean * float(special.ndtr(-z))),
        expected_loss_control=max(0.0, sd * density + mean * float(special.ndtr(z))),
        effect=mean,
        ci_lower=mean - half,
        ci_upper=mean + half,
    )


def _grid(c: _Beta, t: _Beta, shift: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Quadrature nodes over the bulk of C and of T - shift, in pieces so that neither peak is missed."""
    cuts = np.unique(np.clip(np.concatenate([c.landmarks(), t.landmarks() - shift]), 0.0, 1.0))
    points, weights = np.polynomial.legendre.leggauss(64)
    half = np.diff(cuts)[:, None] / 2
    middle = (cuts[:-1] + cuts[1:])[:, None] / 2
    return (middle + half * points).ravel(), (half * weights).ravel()


def _chance(c: _Beta, t: _Beta, shift: float) -> float:
    """P(T - C > shift)."""
    x, weight = _grid(c, t, shift)
    total = float(weight @ (c.density(x) * t.above(np.clip(x + shift, 0.0, 1.0))))
    return min(1.0, max(0.0, total))


def _difference_quantile(c: _Beta, t: _Beta, q: float) -> float:
    low, high = -1.0, 1.0
    for _ in range(45):
        middle = (low + high) / 2
        if _chance(c, t, middle) > 1 - q:
            low = middle
        else:
            high = middle
    return (low + high) / 2
