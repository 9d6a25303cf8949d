"""Moments of units, merged without loss: counts, means and centred comoments, never raw sums of squares."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from genux_server.model import Moments

__all__ = ["comoment", "covariance", "mean_of", "merge", "moments_from_arrays", "total_of"]


_ULPS_OF_A_SUM = 8
"""Rounding that n times a merged mean can carry: the anchor's, the shifts' and the product's, in ulps of the sum."""


def moments_from_arrays(values: Mapping[str, npt.ArrayLike]) -> Moments:
    """Moments of one batch of units.

    Args:
        values: component name to its `(n_units,)` finite values; `y` comes first.

    Returns:
        Their moments, centred in a second pass, so that a common offset costs no precision.

    Raises:
        ValueError: no component, `y` not first, or components of different lengths.
    """
    names = tuple(values)
    if not names or names[0] != "y":
        raise ValueError("the first component must be y")
    columns = [np.asarray(column, dtype=np.float64) for column in values.values()]
    n = int(columns[0].size)
    if any(column.shape != (n,) for column in columns):
        raise ValueError("components must be flat and of one length")
    if n == 0:
        return _empty(names)
    # The anchor keeps the sum small, so that the mean of values near 1e9 is right to the last digits.
    means = [float(column[0]) + float(np.mean(column - column[0])) for column in columns]
    centred = [column - mean for column, mean in zip(columns, means, strict=True)]
    comoments = tuple(float(np.dot(centred[i], centred[j])) for i in range(len(names)) for j in range(i, len(names)))
    return Moments(
        n=n,
        components=names,
        mean=tuple(means),
        comoments=comoments,
        minimum=float(columns[0].min()),
        maximum=float(columns[0].max()),
    )


def merge(parts: Iterable[Moments]) -> Moments:
    """Moments of the union of disjoint batches (Chan, Golub and LeVeque 1979, over any number of batches).

    Sums are exact (`math.fsum`), so that the order of the parts does not matter. Empty parts are skipped.

    Args:
        parts: moments over the same components.

    Returns:
        Their union; of no parts, the moments of no units.

    Raises:
        ValueError: parts with different components.
    """
    kept: list[Moments] = []
    names: tuple[str, ...] | None = None
    for part in parts:
        if names is None or (not kept and part.n):
            names = part.components
        if part.n == 0:
            continue
        if part.components != names:
            raise ValueError(f"cannot merge components {part.components} with {names}")
        kept.append(part)
    if not kept:
        return _empty(names or ("y",))
    if len(kept) == 1:
        return kept[0]
    return _union(kept)


def _union(parts: Sequence[Moments]) -> Moments:
    names = parts[0].components
    size = len(names)
    n = sum(part.n for part in parts)
    # The smallest mean is an anchor that does not depend on the order of the parts.
    anchors = [min(part.mean[i] for part in parts) for i in range(size)]
    means = tuple(
        anchors[i] + math.fsum(part.n * (part.mean[i] - anchors[i]) for part in parts) / n for i in range(size)
    )
    shifts = [tuple(part.mean[i] - means[i] for i in range(size)) for part in parts]
    comoments: list[float] = []
    at = 0
    for i in range(size):
        for j in range(i, size):
            within = (part.comoments[at] for part in parts)
            between = (part.n * shift[i] * shift[j] for part, shift in zip(parts, shifts, strict=True))
            comoments.append(math.fsum((*within, *between)))
            at += 1
    return Moments(
        n=n,
        components=names,
        mean=means,
        comoments=tuple(comoments),
        minimum=min(part.minimum for part in parts),
        maximum=max(part.maximum for part in parts),
    )


def _empty(names: tuple[str, ...]) -> Moments:
    size = len(names)
    return Moments(n=0, components=names, mean=(0.0,) * size, comoments=(0.0,) * (size * (size + 1) // 2))


def mean_of(moments: Moments, component: str) -> float:
    """Mean of one component; 0 when there are no units."""
    return moments.mean[moments.components.index(component)]


def total_of(moments: Moments, component: str) -> float:
    """Sum of one component over the units.

    A mean is rounded, and n times it misses a count of conversions by some ulps: a sum that close to a whole number
    is that number, so that a report says 53 people and not 53.00000000000001.
    """
    total = moments.n * mean_of(moments, component)
    if not abs(total) < 2**53:  # every such float is whole, or none at all
        return total
    nearest = float(round(total))
    return nearest if abs(total - nearest) <= _ULPS_OF_A_SUM * math.ulp(total) else total


def comoment(moments: Moments, first: str, second: str) -> float:
    """Sum over units of the product of two components' deviations from their means."""
    i, j = sorted((moments.components.index(first), moments.components.index(second)))
    size = len(moments.components)
    return moments.comoments[i * size - i * (i - 1) // 2 + j - i]


def covariance(moments: Moments, first: str, second: str) -> float:
    """Sample covariance of two components, divisor n - 1; 0 for fewer than two units."""
    if moments.n < 2:
        return 0.0
    return comoment(moments, first, second) / (moments.n - 1)
