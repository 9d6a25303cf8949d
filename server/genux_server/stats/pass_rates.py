"""How often all, or any, of several trials of a task succeed."""

import math
from collections.abc import Sequence

import msgspec
from scipy import special

from genux_server.model import Message
from genux_server.stats.common import FloatArray, array, refuse

__all__ = ["PassRate", "pass_all"]


class PassRate(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates over tasks, each with its error between tasks (None with one task).

    `pass_all`: that k trials of a task all succeed (pass^k). `pass_any`: that at least one does (pass@k).
    """

    k: int
    n_tasks: int
    pass_all: float | None = None
    pass_all_se: float | None = None
    pass_any: float | None = None
    pass_any_se: float | None = None
    not_computable: Message | None = None


def pass_all(successes: Sequence[int], trials: Sequence[int], *, k: int = 1) -> PassRate:
    """Unbiased estimates that all, or any, of k trials of a task succeed.

    pass^k = mean C(c, k) / C(n, k); pass@k = 1 - mean C(n - c, k) / C(n, k).

    Args:
        successes: per task.
        trials: per task; tasks with fewer than k make the result not computable.
        k: at least 1.

    References:
        Yao, Shinn, Razavi and Narasimhan (2024), tau-bench, section 3 (pass^k); Chen et al. (2021) (pass@k).
    """
    c, n = array(successes, "successes"), array(trials, "trials")
    if c.shape != n.shape or (c < 0).any() or (c > n).any():
        raise ValueError("every task needs successes between 0 and its trials")
    if k < 1:
        raise ValueError("k must be at least 1")
    known = PassRate(k=k, n_tasks=c.size)
    if c.size == 0 or (n < k).any():
        reason = refuse("too_few_trials", f"Every task needs at least {k} trials.", k=k)
        return msgspec.structs.replace(known, not_computable=reason)
    every = special.binom(c, k) / special.binom(n, k)
    none = special.binom(n - c, k) / special.binom(n, k)

    def error(x: FloatArray) -> float | None:
        return math.sqrt(float(x.var(ddof=1)) / x.size) if x.size > 1 else None

    return msgspec.structs.replace(
        known,
        pass_all=float(every.mean()),
        pass_all_se=error(every),
        pass_any=1 - float(none.mean()),
        pass_any_se=error(none),
    )
