"""Many metrics, one decision: the primary apart, the rest adjusted."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from statsmodels.stats.multitest import multipletests

from genux_server.stats.common import check_alpha

__all__ = ["Adjusted", "AdjustedFamily", "adjust_p_values"]


class Adjusted(msgspec.Struct, frozen=True, kw_only=True):
    """One hypothesis: its raw p-value, its adjusted one (None where there was none), and whether it is rejected."""

    key: str
    p_value: float | None
    p_adjusted: float | None
    rejected: bool


class AdjustedFamily(msgspec.Struct, frozen=True, kw_only=True):
    """A family of hypotheses after adjustment; `primary` stands apart at its full alpha."""

    method: str
    alpha: float
    n_hypotheses: int
    primary: Adjusted | None
    secondaries: list[Adjusted]


def adjust_p_values(
    p_values: Sequence[float | None],
    *,
    keys: Sequence[str] = (),
    primary: float | None = None,
    method: Literal["holm", "bh"] = "holm",
    alpha: float = 0.05,
) -> AdjustedFamily:
    """Adjusts the p-values of secondaries and segments; the primary metric is tested alone at alpha.

    Holm bounds the chance of any false claim and needs no independence; Benjamini-Hochberg bounds the expected share
    of false claims, under independence or positive dependence. A hypothesis without a p-value still counts: it was
    planned.

    Args:
        p_values: of the secondaries, each 0 to 1, None where not computable.
        keys: their names; numbered when not given.
        primary: the primary metric's p-value, never adjusted.
        method: `holm` or `bh`.
        alpha: error rate, 0 to 1.

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: a p-value outside 0 to 1, or keys of another length.

    References:
        Holm (1979); Benjamini and Hochberg (1995); computed by statsmodels `multipletests`.
    """
    check_alpha(alpha)
    names = list(keys) or [str(i + 1) for i in range(len(p_values))]
    if len(names) != len(p_values):
        raise ValueError(f"there are {len(names)} keys for {len(p_values)} p-values")
    for p in (*p_values, primary):
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"a p-value must lie between 0 and 1, not {p:g}")
    code = {"holm": "holm", "bh": "fdr_bh"}[method]
    adjusted = multipletests([1.0 if p is None else p for p in p_values], alpha=alpha, method=code)[1] if names else []
    return AdjustedFamily(
        method=method,
        alpha=alpha,
        n_hypotheses=len(names),
        primary=None if primary is None else _adjusted("primary", primary, primary, alpha),
        secondaries=[_adjusted(k, p, float(a), alpha) for k, p, a in zip(names, p_values, adjusted, strict=True)],
    )


def _adjusted(key: str, p: float | None, adjusted: float, alpha: float) -> Adjusted:
    if p is None:
        return Adjusted(key=key, p_value=None, p_adjusted=None, rejected=False)
    return Adjusted(key=key, p_value=p, p_adjusted=adjusted, rejected=adjusted <= alpha)
