"""Does a gain on the cases an edit was tuned on hold on cases it has not seen, or is the edit a patch?"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from genux_server.model import Message
from genux_server.stats.common import Difference, FloatArray, array, check_alpha, make_difference, refuse

__all__ = ["Generality", "generality"]


class Generality(msgspec.Struct, frozen=True, kw_only=True):
    """Gain on the cases an edit was tuned on, against gain on cases it has not seen.

    Attributes:
        verdict: `general`: better on held-out cases; `worse`: worse on them; `patch`: better where it was tuned, and
            by more than on held-out cases; `not_shown`: better where tuned, held-out cases too few to tell; `no_gain`.
        dev_effect, held_out_effect, gap: mean paired differences and the first minus the second, with intervals.
    """

    level: float
    verdict: Literal["general", "worse", "patch", "not_shown", "no_gain"] | None = None
    n_dev: int = 0
    n_held_out: int = 0
    dev_effect: float | None = None
    dev_ci_lower: float | None = None
    dev_ci_upper: float | None = None
    held_out_effect: float | None = None
    held_out_ci_lower: float | None = None
    held_out_ci_upper: float | None = None
    held_out_p_value: float | None = None
    gap: float | None = None
    gap_ci_lower: float | None = None
    gap_ci_upper: float | None = None
    gap_p_value: float | None = None
    not_computable: Message | None = None


def generality(dev: Sequence[float], held_out: Sequence[float], *, alpha: float = 0.05) -> Generality:
    """Compares the gain where an edit was tuned with the gain on held-out cases.

    The best of many useless edits looks better on the cases that chose it. Only held-out cases can say "general", and
    they must do so at alpha / 2, because the verdict rests on two tests (held-out, and the gap). So a useless edit is
    called general in at most alpha / 4 of evaluations, however many edits were tried. Cases that motivated the edit
    belong to `dev`.

    Args:
        dev: `(n_dev,)` paired differences of case means, treatment minus control, where the edit was tuned or chosen;
            may be empty.
        held_out: `(n_held_out,)` the same on cases not looked at.
        alpha: error of each interval.

    Returns:
        Both effects, the gap (Welch), and a verdict. Coded `too_few_units` with fewer than 2 held-out cases,
        `zero_variance` when all held-out cases differ by the same amount, unless that is 0.

    Raises:
        ValueError: a value that is not finite.
    """
    check_alpha(alpha)
    d, h = array(dev, "dev"), array(held_out, "held_out")
    known = Generality(level=1 - alpha, n_dev=d.size, n_held_out=h.size)
    if h.size < 2:
        reason = refuse("too_few_units", "There are too few held-out cases to say whether the gain is general.")
        return msgspec.structs.replace(known, not_computable=reason)
    out = _mean(h, alpha)
    seen = _mean(d, alpha) if d.size else None
    gap = _gap(d, h, alpha) if d.size >= 2 else None
    known = msgspec.structs.replace(
        known,
        held_out_effect=out.effect,
        held_out_ci_lower=out.ci_lower,
        held_out_ci_upper=out.ci_upper,
        held_out_p_value=out.p_value,
    )
    if seen is not None:
        known = msgspec.structs.replace(
            known, dev_effect=seen.effect, dev_ci_lower=seen.ci_lower, dev_ci_upper=seen.ci_upper
        )
    if gap is not None:
        known = msgspec.structs.replace(
            known, gap=gap.effect, gap_ci_lower=gap.ci_lower, gap_ci_upper=gap.ci_upper, gap_p_value=gap.p_value
        )
    if out.not_computable and out.effect:
        return msgspec.structs.replace(known, not_computable=out.not_computable)
    return msgspec.structs.replace(known, verdict=_verdict(out, seen, gap, alpha))


def _verdict(
    held_out: Difference, dev: Difference | None, gap: Difference | None, alpha: float
) -> Literal["general", "worse", "patch", "not_shown", "no_gain"]:
    better = (held_out.statistic or 0.0) > 0
    if better and held_out.p_value is not None and held_out.p_value < alpha / 2:
        return "general"
    if held_out.ci_upper is not None and held_out.ci_upper < 0:
        return "worse"
    if dev is None or dev.ci_lower is None or dev.ci_lower <= 0:
        return "no_gain"
    return "patch" if gap is not None and gap.ci_lower is not None and gap.ci_lower > 0 else "not_shown"


def _mean(x: FloatArray, alpha: float) -> Difference:
    se = math.sqrt(float(x.var(ddof=1)) / x.size) if x.size > 1 else 0.0
    return make_difference(
        "paired_cases", float(x.mean()), se, alpha=alpha, n_treatment=x.size, n_control=x.size, df=x.size - 1
    )


def _gap(d: FloatArray, h: FloatArray, alpha: float) -> Difference:
    part_d, part_h = float(d.var(ddof=1)) / d.size, float(h.var(ddof=1)) / h.size
    spread = part_d**2 / (d.size - 1) + part_h**2 / (h.size - 1)
    return make_difference(
        "dev_to_held_out",
        float(d.mean() - h.mean()),
        math.sqrt(part_d + part_h),
        alpha=alpha,
        n_treatment=d.size,
        n_control=h.size,
        df=(part_d + part_h) ** 2 / spread if spread > 0 else d.size + h.size - 2,
    )
