"""What a call cost: a project's own table first, then the dated, offline price list of genai-prices.

Unknown is `None` with a reason, never 0. Reasons: `no_usage`, `no_model`, `unknown_model`, `unpriced_tier`,
`unsupported_modality`, `inconsistent_usage`, `out_of_range`, `pricing_unavailable`, and for requests that cost nothing
`not_billed`.
"""

import datetime as dt
import functools
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import ParamSpec, TypeVar

import msgspec

from genux.llm._facts import is_unbilled
from genux.llm._price_list import Quote, list_price
from genux.llm._price_table import PriceTable
from genux.llm._rule_cost import cost_by_rule
from genux.specs import PriceRule
from genux.wire import Amounts, Attempt, Call, Tokens

__all__ = ["PriceRule", "PriceTable", "Quote", "price", "price_tokens"]

P = ParamSpec("P")
R = TypeVar("R")

_NO_AMOUNTS = Amounts()
_DECIMALS = Decimal(1).scaleb(-18)
_TOO_MUCH = Decimal(10) ** 12  # the wire's bound; only a rate that nobody meant gets there
_EXACT = Context(prec=80)


def _exact(function: Callable[P, R]) -> Callable[P, R]:
    """In a decimal context of our own: a host may have set that of its threads, for its own sums."""

    @functools.wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return in_context


@_exact
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
    if is_unbilled(call.operation, call.provider):
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
    quote = _in_range(quote)
    return msgspec.structs.replace(
        call, cost_usd=_text(quote.cost_usd), cost_reason=quote.reason, price_version=quote.version, attempts=attempts
    )


@_exact
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
        operation: as recorded. The list prices calls that make images only where the usage is split as its rates are.
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
    if amounts is not None and (operation != "images" or tokens is None):
        return Quote(None, "unsupported_modality")
    if tokens is None:
        return Quote(None, "no_usage")
    return list_price(tokens, provider, model, service_tier, at, makes_images=operation == "images")


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
    quote = _in_range(quote)
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


def _in_range(quote: Quote) -> Quote:
    if quote.cost_usd is not None and quote.cost_usd >= _TOO_MUCH:
        return Quote(None, "out_of_range", quote.version)
    return quote


def _text(cost: Decimal | None) -> str | None:
    if cost is None:
        return None
    text = f"{cost.quantize(_DECIMALS).normalize():f}"
    return text if text != "-0" else "0"
