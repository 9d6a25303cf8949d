"""Sample ratio mismatch: do the arms hold the shares they were given?"""

import dataclasses
import math
from collections.abc import Sequence

from scipy import special

__all__ = ["SrmResult", "srm_chi_square", "srm_sequential"]


@dataclasses.dataclass(frozen=True, slots=True)
class SrmResult:
    """Evidence against the planned split.

    Attributes:
        p_value: at the validity of the test.
        statistic: chi-square, or the logarithm of the Bayes factor.
        df: degrees of freedom (0 for the sequential test).
    """

    p_value: float
    statistic: float
    df: int = 0


def srm_chi_square(epochs: Sequence[tuple[Sequence[int], Sequence[float]]]) -> SrmResult | None:
    """Pearson's chi-square over epochs, valid for one look. Arms with share zero count neither units nor degrees.

    Args:
        epochs: per epoch the units and the shares, in the same order of arms.

    Returns:
        The result, or None when no epoch has units in two or more arms' worth of shares.
    """
    statistic, df = 0.0, 0
    for counts, shares in epochs:
        pairs = [(count, share) for count, share in zip(counts, shares, strict=True) if share > 0.0]
        n, whole = sum(count for count, _ in pairs), math.fsum(share for _, share in pairs)
        if n == 0 or len(pairs) < 2:
            continue
        expected = [n * share / whole for _, share in pairs]
        statistic += math.fsum((count - e) ** 2 / e for (count, _), e in zip(pairs, expected, strict=True))
        df += len(pairs) - 1
    if df == 0:
        return None
    return SrmResult(float(special.chdtrc(df, statistic)), statistic, df)


def srm_sequential(
    epochs: Sequence[tuple[Sequence[int], Sequence[float]]], concentration: float = 1000.0
) -> SrmResult | None:
    """Sequential multinomial test, valid at every look: a Dirichlet alternative centred on the planned shares.

    Bayes factors of epochs multiply: each is a test martingale given the past.

    Args:
        epochs: per epoch the units and the shares, in the same order of arms.
        concentration: how tightly the alternative sits around the plan; larger looks for smaller mismatches.

    Returns:
        The result with the log Bayes factor, or None without units.

    References:
        Lindon and Malek (2022), Anytime-valid inference for multinomial count data. NeurIPS.
    """
    log_factor, seen = 0.0, 0
    for counts, shares in epochs:
        pairs = [(count, share) for count, share in zip(counts, shares, strict=True) if share > 0.0]
        n, whole = sum(count for count, _ in pairs), math.fsum(share for _, share in pairs)
        if n == 0 or len(pairs) < 2:
            continue
        seen += n
        log_factor += float(special.gammaln(concentration) - special.gammaln(concentration + n))
        for count, share in pairs:
            prior = concentration * share / whole
            log_factor += float(special.gammaln(prior + count) - special.gammaln(prior)) - count * math.log(
                share / whole
            )
    if seen == 0:
        return None
    return SrmResult(math.exp(min(0.0, -log_factor)), log_factor)
