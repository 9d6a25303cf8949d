"""Why the cost of some calls is not known, in words."""

from collections import Counter
from collections.abc import Sequence

from genux_server.model import ArmReport
from genux_server.pages.format import count
from genux_server.pages.text import gettext

__all__ = ["why_unpriced"]

_WHY = {
    "inconsistent_usage": "whose reported usage contradicts itself",
    "no_model": "that name no model",
    "no_usage": "whose usage was not reported",
    "out_of_range": "by a rate that cannot be meant",
    "pricing_failed": "whose price table could not be used",
    "pricing_unavailable": "without a price list beside their SDK",
    "unknown_model": "of a model that no price list has",
    "unpriced_tier": "in a service tier without a known price",
    "unsupported_modality": "for images or audio that no price list has",
}


def why_unpriced(arms: Sequence[ArmReport]) -> str:
    """`1,200 of a model that no price list has, 31 whose usage was not reported`, most frequent first."""
    reasons: Counter[str] = Counter()
    for arm in arms:
        reasons.update(arm.cost_unknown_reasons)
    found = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count(n)} {gettext(_WHY.get(reason, reason or 'for no stated reason'))}" for reason, n in found)
