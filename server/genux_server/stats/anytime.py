"""Regressions that may be read after every unit.

The tests replace the t and F tables of an ordinary fit; estimates and standard errors stay.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import statsmodels.api as sm
from scipy import optimize

from genux_server.model import Message
from genux_server.stats.common import array, check_alpha, finite, refuse

__all__ = [
    "AnytimeCoefficient",
    "AnytimeRegression",
    "AnytimeTest",
    "anytime_coefficient",
    "anytime_f_test",
    "anytime_regression",
    "best_g",
]


class AnytimeTest(msgspec.Struct, frozen=True, kw_only=True):
    """An F test that holds at every look. `log_e_value` is the logarithm of the evidence against the hypothesis."""

    statistic: float
    log_e_value: float
    p_value: float
    log_p_value: float


class AnytimeCoefficient(msgspec.Struct, frozen=True, kw_only=True):
    """One coefficient with a test and an interval that hold at every look; a bound of None is unbounded."""

    name: str
    level: float
    estimate: float
    se: float
    statistic: float
    log_e_value: float
    p_value: float
    log_p_value: float
    ci_lower: float | None
    ci_upper: float | None


class AnytimeRegression(msgspec.Struct, frozen=True, kw_only=True):
    """A least-squares fit read at any time: each coefficient, and all slopes together (None with robust errors)."""

    method: str
    n: int
    df: float
    g: float
    coefficients: list[AnytimeCoefficient] = msgspec.field(default_factory=list)
    overall: AnytimeTest | None = None
    not_computable: Message | None = None


def anytime_f_test(statistic: float, df: float, df_residual: float, n: int, *, g: float = 1.0) -> AnytimeTest:
    """The anytime-valid F test of a linear model.

    ln G = d/2 ln r + (nu + d)/2 [ln(1 + d F / nu) - ln(1 + r d F / nu)] with r = g / (g + n); p = min(1, 1 / G).

    Args:
        statistic: F, at least 0.
        df: d, the number of coefficients tested.
        df_residual: nu = n - number of all coefficients, over 0.
        n: units.
        g: precision of the prior on the standardised effect, over 0: larger looks for smaller effects.

    Raises:
        ValueError: a degree of freedom, n or g that is not positive, or F under 0.

    References:
        Lindon, Ham, Tingley and Bojinov (2022), arXiv 2210.08589; the R package avlm uses g = 1.
    """
    if df <= 0 or df_residual <= 0 or n <= 0 or g <= 0:
        raise ValueError("df, df_residual, n and g must be over 0")
    if not (math.isfinite(statistic) and statistic >= 0):
        raise ValueError("F must be finite and not negative")
    r = g / (g + n)
    x = df * statistic / df_residual
    log_e = 0.5 * df * math.log(r) + 0.5 * (df_residual + df) * (math.log1p(x) - math.log1p(r * x))
    log_p = min(0.0, -log_e)
    return AnytimeTest(statistic=statistic, log_e_value=log_e, p_value=math.exp(log_p), log_p_value=log_p)


def anytime_coefficient(
    estimate: float,
    se: float,
    n: int,
    n_coefficients: int,
    *,
    g: float = 1.0,
    alpha: float = 0.05,
    name: str = "treatment",
) -> AnytimeCoefficient:
    """The anytime-valid t test and interval of one coefficient, from its ordinary estimate and standard error.

    Args:
        estimate: least-squares estimate.
        se: its standard error, over 0 (a robust one makes the result asymptotic).
        n: units.
        n_coefficients: in the model, intercept included; under n.
        g: precision as in `anytime_f_test`; `best_g` chooses it for a planned n.
        alpha: error over all looks together.
        name: of the coefficient.

    Returns:
        The test with F = t^2 and d = 1; the interval is its inversion, unbounded while n is too small.
    """
    check_alpha(alpha)
    if not (math.isfinite(estimate) and 0 < se < math.inf):
        raise ValueError("the estimate must be finite and its standard error over 0")
    df = n - n_coefficients
    test = anytime_f_test((estimate / se) ** 2, 1, df, n, g=g)
    half = _radius(n, df, g, alpha) * se
    return AnytimeCoefficient(
        name=name,
        level=1 - alpha,
        estimate=estimate,
        se=se,
        statistic=estimate / se,
        log_e_value=test.log_e_value,
        p_value=test.p_value,
        log_p_value=test.log_p_value,
        ci_lower=finite(estimate - half),
        ci_upper=finite(estimate + half),
    )


def best_g(n: int, n_coefficients: int, *, alpha: float = 0.05) -> float:
    """The g, at least 1, that makes a coefficient's interval narrowest at a planned number of units.

    Args:
        n: units planned.
        n_coefficients: in the model, intercept included; under n.
        alpha: error over all looks together.
    """
    check_alpha(alpha)
    df = n - n_coefficients
    if df <= 0:
        raise ValueError("n must be over the number of coefficients")
    found = optimize.minimize_scalar(
        lambda log_g: _radius(n, df, math.exp(log_g), alpha), bounds=(0.0, math.log(n) + 5), method="bounded"
    )
    return math.exp(float(found.x))


def anytime_regression(
    outcome: Sequence[float],
    columns: Sequence[Sequence[float]],
    *,
    names: Sequence[str] = (),
    errors: Literal["classical", "HC2", "HC3"] = "classical",
    g: float = 1.0,
    alpha: float = 0.05,
) -> AnytimeRegression:
    """Least squares with an intercept, read at any time.

    Args:
        outcome: `(n,)` values.
        columns: one list of n values per regressor, without the intercept. For an experiment: treatment, covariates
            minus their means, and their products.
        names: of the regressors.
        errors: `classical` is exact for normal errors; HC2 and HC3 are asymptotic and need no equal variances.
        g: precision as in `anytime_f_test`.
        alpha: error over all looks together.

    Returns:
        Coefficients, the intercept first. Coded `too_few_units`, `collinear` or `zero_variance`.

    Raises:
        ValueError: lengths differ or a value is not finite.
    """
    check_alpha(alpha)
    y = array(outcome, "outcome")
    x = [array(column, "columns") for column in columns]
    labels = ["intercept", *(names or [f"x{i + 1}" for i in range(len(x))])]
    if any(column.shape != y.shape for column in x):
        raise ValueError("the outcome and every column must have the same length")
    if len(labels) != len(x) + 1:
        raise ValueError(f"there are {len(labels) - 1} names for {len(x)} columns")
    n, k = y.size, len(x) + 1
    empty = AnytimeRegression(method=f"anytime_regression_{errors.lower()}", n=n, df=n - k, g=g)
    if n <= k:
        reason = refuse("too_few_units", "There are too few units for this many coefficients.")
        return msgspec.structs.replace(empty, not_computable=reason)
    design = np.column_stack([np.ones(n), *x])
    if np.linalg.matrix_rank(design) < k:
        reason = refuse("collinear", "The columns explain each other.")
        return msgspec.structs.replace(empty, not_computable=reason)
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = sm.OLS(y, design).fit(cov_type="nonrobust" if errors == "classical" else errors)
        standard_errors = [float(se) for se in fit.bse]
    if not all(0 < se < math.inf for se in standard_errors):
        reason = refuse("zero_variance", "The fit is exact, so there is nothing to judge the coefficients by.")
        return msgspec.structs.replace(empty, not_computable=reason)
    coefficients = [
        anytime_coefficient(float(b), se, n, k, g=g, alpha=alpha, name=name)
        for b, se, name in zip(fit.params, standard_errors, labels, strict=True)
    ]
    overall = None
    if errors == "classical" and k > 1 and math.isfinite(fit.fvalue):
        overall = anytime_f_test(float(fit.fvalue), k - 1, n - k, n, g=g)
    return msgspec.structs.replace(empty, coefficients=coefficients, overall=overall)


def _radius(n: int, df: float, g: float, alpha: float) -> float:
    """Multiplier of the standard error: G reaches 1 / alpha at this |t|. Infinite while n is too small."""
    r = g / (g + n)
    q = math.exp((math.log(r) + 2 * math.log(alpha)) / (df + 1))
    return math.sqrt(df * (1 - q) / (q - r)) if q > r else math.inf
