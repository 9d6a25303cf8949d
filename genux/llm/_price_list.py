"""The public price list: genai-prices, dated and offline."""

import datetime as dt
import functools
import importlib
from decimal import Decimal
from typing import Any, NamedTuple

from genux.llm._rule_cost import STANDARD_TIERS
from genux.wire import Tokens

__all__ = ["Quote", "list_price"]

_MILLION = Decimal(1_000_000)
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


def list_price(tokens: Tokens, provider: str, model: str, tier: str, at: dt.datetime, *, makes_images: bool) -> Quote:
    """What the public list asks for a usage; arguments are those of `genux.llm.pricing.price_tokens`.

    Args:
        tokens: the usage.
        provider: genai-prices provider id; empty finds it by the model's name.
        model: the model that served.
        tier: the service tier, as the response named it.
        at: when the call began, aware.
        makes_images: whether the output is images; then each kind of token must have a rate of its own.
    """
    # DeepSeek's prices change with the hour, all others' with the date at most.
    rates = _resolve(provider, model, tier, at if provider == "deepseek" else at.astimezone(dt.UTC).date())
    if makes_images and not (isinstance(rates, _Rates) and rates.tells_images_of(tokens)):
        return Quote(None, "unsupported_modality")
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
        self._has_output_images = "output_image_mtok" in stated
        self.by_tokens = bool(_TOKEN_PRICES & stated.keys())
        self._input = _steps(stated.get("input_mtok"))
        self._cached = _steps(stated.get("cache_read_mtok")) or self._input
        self._cache_write = _steps(stated.get("cache_write_mtok")) or self._input
        self._output = _steps(stated.get("output_mtok"))

    def tells_images_of(self, tokens: Tokens) -> bool:
        """Whether the usage of a call that made images is split as finely as its rates are."""
        if not self.has_images or (tokens.cached and tokens.input_image):
            return False  # cached tokens of images and of text have different rates, and one count
        return tokens.output_image > 0 or not self._has_output_images

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
