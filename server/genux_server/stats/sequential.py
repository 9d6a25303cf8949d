"""Asymptotic confidence sequences: intervals that hold at every look at once, on the absolute scale.

References:
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024). Time-uniform central limit theory and asymptotic
    confidence sequences. Annals of Statistics 52 (6). Tuning: Howard, Ramdas, McAuliffe and Sekhon (2021), section 3.5.
"""

import math

from scipy import special

from genux_server.stats.contrast import Contrast
from genux_server.stats.estimates import Estimate
from genux_server.stats.means import standardised_contrast

__all__ = [
    "always_valid",
    "anytime_p_value",
    "multiplier",
    "one_sided_multiplier",
    "tuning",
    "tuning_approximate",
]


def tuning(n_units: float, alpha: float = 0.05) -> float:
    """The mixture variance rho^2 that makes the interval narrowest at `n_units` (exact, by Lambert's W).

    rho^2 = (-W_{-1}(-alpha^2 / e) - 1) / n_units, with the two arms' units counted together.
    """
    return (-float(special.lambertw(-(alpha**2) / math.e, -1).real) - 1.0) / n_units


def tuning_approximate(n_units: float, alpha: float = 0.05) -> float:
    """The closed form that approximates `tuning`, as used by GrowthBook and Eppo; for comparison."""
    return (-2.0 * math.log(alpha) + math.log(1.0 - 2.0 * math.log(alpha))) / n_units


def multiplier(n_units: float, rho2: float, alpha: float = 0.05) -> float:
    """How many standard errors the two-sided interval reaches at `n_units`, both arms together."""
    scaled = n_units * rho2
    return math.sqrt(2.0 * (scaled + 1.0) / scaled * (0.5 * math.log1p(scaled) - math.log(alpha)))


def one_sided_multiplier(n_units: float, rho2: float, alpha: float = 0.05) -> float:
    """How many standard errors the one-sided bound lies away; tune `rho2` at 2 alpha."""
    scaled = n_units * rho2
    return math.sqrt(2.0 * (scaled + 1.0) / scaled * math.log1p(math.sqrt(scaled + 1.0) / (2.0 * alpha)))


def anytime_p_value(z: float, n_units: float, rho2: float) -> float:
    """Smallest alpha whose two-sided sequence, with `rho2` kept, excludes 0 now; worked in logarithms."""
    scaled = n_units * rho2
    log_p = 0.5 * math.log1p(scaled) - 0.5 * z * z * scaled / (scaled + 1.0)
    return math.exp(min(0.0, log_p))


def always_valid(control: Estimate, treatment: Estimate, rho2: float, alpha: float = 0.05) -> Contrast | None:
    """Treatment against control, valid at every look.

    Args:
        control: control's estimate.
        treatment: treatment's estimate.
        rho2: from `tuning`, fixed before the data.
        alpha: error rate over all looks together.

    Returns:
        The contrast, or None when neither arm varies.
    """
    se = math.sqrt(control.variance + treatment.variance)
    if se == 0.0:
        return None
    n_units = control.n + treatment.n
    p_value = anytime_p_value((treatment.value - control.value) / se, n_units, rho2)
    return standardised_contrast(control, treatment, multiplier(n_units, rho2, alpha), p_value, alpha)
