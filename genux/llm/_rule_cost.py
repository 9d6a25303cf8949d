"""The arithmetic of a project's own price rules."""

from decimal import Decimal

from genux.specs import PriceRule
from genux.wire import Amounts, Tokens

__all__ = ["STANDARD_TIERS", "cost_by_rule"]

STANDARD_TIERS = frozenset({"", "auto", "default", "on_demand", "standard"})
"""Names of the service tier that has the model's ordinary price."""

_MILLION = Decimal(1_000_000)
_SECONDS_PER_MINUTE = Decimal(60)
_RULES_BY_TOKENS = tuple(name for name in PriceRule.__struct_fields__ if name.endswith("_usd_per_million"))


def cost_by_rule(
    rule: PriceRule, tokens: Tokens | None, amounts: Amounts, tier: str, latency_seconds: float
) -> tuple[Decimal | None, str]:
    """What a rule asks for a call, or null and the reason why it cannot say.

    Args:
        rule: the one that holds for the model.
        tokens: the usage; null when unknown.
        amounts: what was used beside tokens.
        tier: the service tier that answered.
        latency_seconds: how long the machine was busy.
    """
    multiplier = Decimal(1) if tier in STANDARD_TIERS else rule.tier_multipliers.get(tier)
    if multiplier is None:
        return None, "unpriced_tier"
    costs = [
        amount * rate
        for amount, rate in (
            (Decimal(repr(latency_seconds)), rule.usd_per_second),
            (Decimal(amounts.images), rule.usd_per_image),
            (Decimal(repr(amounts.audio_seconds)) / _SECONDS_PER_MINUTE, rule.usd_per_audio_minute),
            (Decimal(amounts.characters) / _MILLION, rule.usd_per_million_characters),
        )
        if rate is not None and amount
    ]
    if any(getattr(rule, name) is not None for name in _RULES_BY_TOKENS):
        if tokens is None:
            return None, "no_usage"
        of_tokens = _tokens_by_rule(rule, tokens)
        if isinstance(of_tokens, str):
            return None, of_tokens
        costs.append(of_tokens)
    elif rule.usd_per_second is None and not costs:
        return None, "no_usage"
    return sum(costs, Decimal(0)) * multiplier, ""


def _tokens_by_rule(rule: PriceRule, tokens: Tokens) -> Decimal | str:
    """The cost, or the reason why there is none. Cached tokens are taken for text."""
    total = Decimal(0)
    for whole, ordinary, parts in (
        (
            tokens.input,
            rule.input_usd_per_million,
            (
                (tokens.cached, rule.cached_usd_per_million),
                (tokens.cache_write, rule.cache_write_usd_per_million),
                (tokens.input_audio, rule.input_audio_usd_per_million),
                (tokens.input_image, rule.input_image_usd_per_million),
            ),
        ),
        (
            tokens.output,
            rule.output_usd_per_million,
            (
                (tokens.output_audio, rule.output_audio_usd_per_million),
                (tokens.output_image, rule.output_image_usd_per_million),
            ),
        ),
    ):
        priced = [(count, rate) for count, rate in parts if rate is not None]
        plain = whole - sum(count for count, _ in priced)
        if plain < 0:
            return "inconsistent_usage"
        for count, rate in [*priced, (plain, ordinary)]:
            if count and rate is None:
                return "unsupported_modality"
            total += count * (rate or 0) / _MILLION
    return total
