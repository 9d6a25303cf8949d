"""LLM calls of exposed units, by variant."""

from collections.abc import Sequence
from typing import Any

import ibis.expr.types as ir

from genux_server.model import CallFacts, Quantiles

__all__ = ["call_facts"]

_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_PLAIN = (
    "n_calls",
    "n_units",
    "n_errors",
    "n_rate_limited",
    "n_fallbacks",
    "n_cost_unknown",
    "n_usage_unknown",
    "cost_usd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
)
_TIMES = ("latency_seconds", "ttft_seconds")


def call_facts(calls: ir.Table, variants: Sequence[str]) -> list[CallFacts]:
    """How the calls that exposed units made from their first exposure on went, one entry per variant.

    Args:
        calls: each call once, with `unit_key`, `variant` and `since_us`.
        variants: every variant of the experiment, in its order.
    """
    made = calls.filter(calls.since_us >= 0)
    ok = made.status == "ok"
    totals = made.group_by("variant").agg(
        n_calls=made.count(),
        n_units=made.unit_key.nunique(),
        n_errors=made.count(where=made.status == "error"),
        n_rate_limited=made.count(where=made.n_rate_limited > 0),
        n_fallbacks=made.count(where=made.fallback),
        n_cost_unknown=made.count(where=made.cost_usd.isnull()),
        n_usage_unknown=made.count(where=made.input_tokens.isnull()),
        cost_usd=made.cost_usd.sum().cast("float64"),
        input_tokens=made.input_tokens.sum(),
        cached_tokens=made.cached_tokens.sum(),
        output_tokens=made.output_tokens.sum(),
        **{f"{time}:n": made[time].count(where=ok) for time in _TIMES},
        **{
            f"{time}:{name}": made[time].quantile(level, where=ok)
            for time in _TIMES
            for name, level in _QUANTILES.items()
        },
    )
    by_variant = {row["variant"]: row for row in totals.to_pyarrow().to_pylist()}
    served = _counts(made.filter(made.served_model != ""), "served_model")
    unpriced = _counts(made.filter(made.cost_usd.isnull()), "cost_reason")
    return [
        _facts(variant, by_variant[variant], served.get(variant, {}), unpriced.get(variant, {}))
        if variant in by_variant
        else CallFacts(variant=variant)
        for variant in variants
    ]


def _counts(rows: ir.Table, column: str) -> dict[str, dict[str, int]]:
    """Rows by variant and value of a column."""
    counted = rows.group_by("variant", column).agg(n=rows.count()).order_by("variant", column)
    found: dict[str, dict[str, int]] = {}
    for row in counted.to_pyarrow().to_pylist():
        found.setdefault(row["variant"], {})[row[column]] = row["n"]
    return found


def _facts(variant: str, row: dict[str, Any], models: dict[str, int], unpriced: dict[str, int]) -> CallFacts:
    values: dict[str, Any] = {name: row[name] or 0 for name in _PLAIN}
    for time in _TIMES:
        values[time] = Quantiles(n=row[f"{time}:n"], **{name: row[f"{time}:{name}"] for name in _QUANTILES})
    return CallFacts(variant=variant, served_models=models, cost_unknown_reasons=unpriced, **values)
