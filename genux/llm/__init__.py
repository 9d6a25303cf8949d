"""Measuring LLM calls: the OpenAI wrapper, calls measured by hand, and their prices.

Importing this loads neither openai nor the price list; `wrap` and `price` load them when first used.
"""

from genux.llm._manual import ManualCall, manual_call
from genux.llm._recorder import CallContext, Recorder
from genux.llm._route import Route
from genux.llm._routes import Routes
from genux.llm._target import Target
from genux.llm._wrap import wrap
from genux.llm.pricing import PriceRule, PriceTable, price, price_tokens

__all__ = [
    "CallContext",
    "ManualCall",
    "PriceRule",
    "PriceTable",
    "Recorder",
    "Route",
    "Routes",
    "Target",
    "manual_call",
    "price",
    "price_tokens",
    "wrap",
]
