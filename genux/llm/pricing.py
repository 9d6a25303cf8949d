"""What a call cost: a project's own table first, then the dated, offline price list of genai-prices.

Unknown is `None` with a reason, never 0. Reasons: `no_usage`, `no_model`, `unknown_model`, `unpriced_tier`,
`unsupported_modality`, `inconsistent_usage`, `pricing_unavailable`, and for requests that cost nothing `not_billed`.
"""

import datetime as dt
import functools
import importlib
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from genux.llm._facts import is_unbilled
from genux.llm._price_table import PriceTable
from genux.llm._rule_cost import STANDARD_TIERS, cost_by_rule
from genux.specs import PriceRule
from genux.wire import Amounts, Attempt, Call, Tokens

__all__ = ["PriceRule", "PriceTable", "Quote", "price", "price_tokens"]

_MILLION = Decimal(1_000_000)
_NO_AMOUNTS = Amounts()
_DECIMALS = Decimal(1).scaleb(-18)
# Without a known provider only names that nobody else can serve identify a price; open weights run anywhere.
_NAMED_BY_MODEL = frozenset({"anthropic", "google", "openai"})
_OPEN_WEIGHTS = ("gemma", "gpt-oss", "whisper")
_OPENAI_EMBEDDINGS = "text-embedding-"
_TOKEN_PRICES = frozenset({"input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok"})
_IMAGE_PRICES = frozenset({"input_image_mtok", "output_image_mtok", "cache_image_read_mtok"})
_AUDIO_PRICES = frozenset({"input_audio_mtok", "output_audio_mtok", "cache_audio_read_mtok"})


class Quote(NamedTuple):
    """A price: `cost_usd`, or `None` and why; and which list it came from."""

    cost_usd: Decimal | None
    reason: str = ""
    version: str = ""


def price(call: Call, table: PriceTable | None = None) -> Call:
    """The call with its cost, by the model that served it and the list of the day it began.

    The cost is that of `call.tokens`; when the call has none of its own but its attempts have, it is their sum, known
    only if each of them is. Along a route, what attempts used before one answered is added. Attempts with tokens are
    priced too.

    Args:
        call: as recorded.
        table: the project's own prices.

    Returns:
        A copy with `cost_usd`, `cost_reason` and `price_version`, and with priced attempts.
    """
    attempts = [_priced_attempt(attempt, call, table) for attempt in call.attempts]
    if is_unbilled(call.operation):
        quote = Quote(Decimal(0), "not_billed")
    elif call.tokens is None and any(attempt.tokens is not None for attempt in attempts) and not _answered(call):
        quote = _sum(attempts)
    else:
        latency_seconds = attempts[-1].latency_seconds if _answered(call) else call.latency_seconds
        quote = price_tokens(
            call.tokens,
            provider=call.provider,
            model=call.served_model or call.requested_model,
            at=call.at,
            service_tier=call.service_tier,
            latency_seconds=latency_seconds,
            operation=call.operation,
            amounts=call.amounts,
            table=table,
        )
        if _answered(call) and quote.cost_usd is not None:
            quote = _plus(quote, _sum(attempts[:-1]))
    return msgspec.structs.replace(
        call, cost_usd=_text(quote.cost_usd), cost_reason=quote.reason, price_version=quote.version, attempts=attempts
    )


def price_tokens(  # noqa: PLR0913 facts of one call, by name
    tokens: Tokens | None,
    *,
    provider: str,
    model: str,
    at: dt.datetime,
    service_tier: str = "",
    latency_seconds: float = 0.0,
    operation: str = "chat",
    amounts: Amounts | None = None,
    table: PriceTable | None = None,
) -> Quote:
    """Prices a usage.

    Args:
        tokens: the usage; `None` when unknown.
        provider: genai-prices provider id; empty finds it by the model's name.
        model: the model that served.
        at: when the call began, aware.
        service_tier: as the response named it: `default`, `flex`, `priority`, `batch`, ...
        latency_seconds: for rules that charge by the second.
        operation: as recorded; image usage is counted in units that tokens do not tell apart.
        amounts: what was used beside tokens; only the project's own table prices it.
        table: the project's own prices, which win over the public list.

    Returns:
        The quote, exact to the last digit of the list's rates.
    """
    day = at.astimezone(dt.UTC).date()
    if not model:
        return Quote(None, "no_model")
    rule = table.rule_for(provider, model, day) if table is not None else None
    if rule is not None and table is not None:
        return Quote(*cost_by_rule(rule, tokens, amounts or _NO_AMOUNTS, service_tier, latency_seconds), table.version)
    if amounts is not None:
        return Quote(None, "unsupported_modality")
    if tokens is None:
        return Quote(None, "no_usage")
    if operation == "images":
        return Quote(None, "unsupported_modality")
    # DeepSeek's prices change with the hour, all others' with the date at most.
    return _by_list(tokens, _resolve(provider, model, service_tier, at if provider == "deepseek" else day))


def _by_list(tokens: Tokens, rates: "_Rates | str") -> Quote:
    if isinstance(rates, str):
        return Quote(None, rates)
    if tokens.cached + tokens.cache_write > tokens.input:
        return Quote(None, "inconsistent_usage", rates.version)
    has_images = rates.has_images and (tokens.input_image or tokens.output_image)
    if tokens.input_audio or tokens.output_audio or has_images:
        return _by_modality(rates, tokens)
    cost = rates.of(tokens)
    return Quote(None, "unsupported_modality", rates.version) if cost is None else Quote(cost, "", rates.version)


class _Rates:
    """The prices of one model on one day, ready for arithmetic. Each is a step function of the input tokens."""

    def __init__(self, model_price: Any, version: str) -> None:
        stated = {name: value for name, value in vars(model_price).items() if value is not None}
        self.model_price = model_price
        self.version = version
        self.has_audio = bool(_AUDIO_PRICES & stated.keys())
        self.has_images = bool(_IMAGE_PRICES & stated.keys())
        self.by_tokens = bool(_TOKEN_PRICES & stated.keys())
        self._input = _steps(stated.get("input_mtok"))
        self._cached = _steps(stated.get("cache_read_mtok")) or self._input
        self._cache_write = _steps(stated.get("cache_write_mtok")) or self._input
        self._output = _steps(stated.get("output_mtok"))

    def of(self, tokens: Tokens) -> Decimal | None:
        """The cost of text tokens; `None` when a used kind has no price."""
        plain = tokens.input - tokens.cached - tokens.cache_write
        total = Decimal(0)
        for count, steps in (
            (plain, self._input),
            (tokens.cached, self._cached),
            (tokens.cache_write, self._cache_write),
            (tokens.output, self._output),
        ):
            if count:
                if not steps:
                    return None
                total += count * _at(steps, tokens.input)
        return total / _MILLION


Steps = tuple[tuple[int, Decimal], ...]


def _steps(value: Any) -> Steps:
    """`(above this many input tokens, rate for all of them)`, highest first."""
    if value is None:
        return ()
    if isinstance(value, Decimal):
        return ((-1, value),)
    return (*((tier.start, tier.price) for tier in reversed(value.tiers)), (-1, value.base))


def _at(steps: Steps, input_tokens: int) -> Decimal:
    return next(rate for start, rate in steps if input_tokens > start)


def _by_modality(rates: _Rates, tokens: Tokens) -> Quote:
    # The list's own arithmetic knows how modalities and caches overlap; they are rare enough for its 100 us.
    if (tokens.input_audio or tokens.output_audio) and not rates.has_audio:
        return Quote(None, "unsupported_modality", rates.version)
    from genai_prices import Usage

    counts = {
        "input_tokens": tokens.input,
        "cache_read_tokens": tokens.cached,
        "cache_write_tokens": tokens.cache_write,
        "output_tokens": tokens.output,
        "input_audio_tokens": tokens.input_audio,
        "output_audio_tokens": tokens.output_audio,
    }
    if rates.has_images:  # elsewhere a token of an image costs what any other does
        counts |= {"input_image_tokens": tokens.input_image, "output_image_tokens": tokens.output_image}
    try:
        total = rates.model_price.calc_price(Usage(**{name: count for name, count in counts.items() if count}))
    except ValueError:
        return Quote(None, "inconsistent_usage", rates.version)
    return Quote(total["total_price"], "", rates.version)


@functools.lru_cache(maxsize=4096)
def _resolve(provider: str, model: str, tier: str, when: dt.date) -> _Rates | str:
    """The rates of a model, or the reason why there are none.

    `when` is the day, or the instant where prices change within a day.
    """
    try:
        snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
        version = importlib.import_module("genai_prices").__version__
    except ImportError:
        return "pricing_unavailable"
    if not provider and model.startswith(_OPENAI_EMBEDDINGS):
        provider = "openai"
    try:
        found_provider, info = snapshot.find_provider_model(model, None, provider or None, None)
    except LookupError:
        return "unknown_model"
    if not provider and (found_provider.id not in _NAMED_BY_MODEL or model.lower().startswith(_OPEN_WEIGHTS)):
        return "unknown_model"
    at = when if isinstance(when, dt.datetime) else dt.datetime.combine(when, dt.time(), dt.UTC)
    context = _context(tier)
    if tier not in STANDARD_TIERS and not _has_variant(info, context, at):
        return "unpriced_tier"
    rates = _Rates(info.get_prices(at, context), f"genai-prices {version} {found_provider.id}/{info.id}")
    # Priced by the hour, the character or the image: a token count says nothing about the cost.
    return rates if rates.by_tokens or rates.has_audio else "unsupported_modality"


def _context(tier: str) -> dict[str, str]:
    if tier == "batch":
        return {"processing": "batch"}
    return {"service_tier": tier} if tier else {}


def _has_variant(info: Any, context: dict[str, str], at: dt.datetime) -> bool:
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _priced_attempt(attempt: Attempt, call: Call, table: PriceTable | None) -> Attempt:
    if attempt.tokens is None:
        return attempt
    quote = price_tokens(
        attempt.tokens,
        provider=attempt.provider or call.provider,
        model=attempt.model,
        at=call.at,
        service_tier=call.service_tier,
        latency_seconds=attempt.latency_seconds,
        operation=call.operation,
        table=table,
    )
    return msgspec.structs.replace(attempt, cost_usd=_text(quote.cost_usd), cost_reason=quote.reason)


def _answered(call: Call) -> bool:
    """Whether the call went along a route, whose last attempt is the answer."""
    last = call.attempts[-1] if call.attempts else None
    return last is not None and bool(last.target) and last.status != "error" and last.tokens == call.tokens


def _plus(quote: Quote, spent: Quote) -> Quote:
    if quote.cost_usd is None or spent.cost_usd is None:
        return Quote(None, spent.reason, quote.version)
    return quote._replace(cost_usd=quote.cost_usd + spent.cost_usd)


def _sum(attempts: list[Attempt]) -> Quote:
    billed = [attempt for attempt in attempts if attempt.tokens is not None]
    for attempt in billed:
        if attempt.cost_usd is None:
            return Quote(None, attempt.cost_reason)
    return Quote(sum((Decimal(attempt.cost_usd or 0) for attempt in billed), Decimal(0)), "", "attempts")


def _text(cost: Decimal | None) -> str | None:
    if cost is None:
        return None
    text = f"{cost.quantize(_DECIMALS).normalize():f}"
    return text if text != "-0" else "0"
