"""What a routed call costs: every attempt at its own model and provider."""

import datetime as dt
from decimal import Decimal

import pytest

from genux.llm import PriceRule, PriceTable, price
from genux.wire import Attempt, Call, Tokens

AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
USED = Tokens(input=1_000, output=100)
TABLE = PriceTable(
    [
        PriceRule(model="big", input_usd_per_million=Decimal(2), output_usd_per_million=Decimal(10)),
        PriceRule(model="small", provider="far", input_usd_per_million=Decimal(1), output_usd_per_million=Decimal(1)),
        PriceRule(model="own", usd_per_second=Decimal("0.5")),
    ]
)
BIG, SMALL = Decimal("0.003"), Decimal("0.0011")


def attempt(model, tokens=None, status="ok", **about):
    return Attempt(target=model, model=model, status=status, tokens=tokens, **about)


def call(*attempts, tokens=None, status="ok", **about):
    about = {"requested_model": "big", "served_model": attempts[-1].model, "provider": attempts[-1].provider, **about}
    return Call(
        event_id="0" * 32,
        call_id="0" * 32,
        at=AT,
        latency_seconds=9.0,
        status=status,
        tokens=tokens,
        attempts=list(attempts),
        **about,
    )


@pytest.mark.parametrize(
    ("made", "cost", "reason"),
    [
        (call(attempt("big", USED), tokens=USED), BIG, ""),
        (call(attempt("big", status="error"), attempt("small", USED, provider="far"), tokens=USED), SMALL, ""),
        (call(attempt("big", USED, "error"), attempt("small", USED, provider="far"), tokens=USED), BIG + SMALL, ""),
        (call(attempt("big", USED, "error"), attempt("big", status="error"), status="error"), BIG, ""),
        (call(attempt("big", USED, "error"), attempt("big")), None, "no_usage"),
        (call(attempt("who", USED, "error"), attempt("big", USED), tokens=USED), None, "unknown_model"),
        (call(attempt("big", status="error"), status="error"), None, "no_usage"),
        (call(attempt("big", status="error"), attempt("own", latency_seconds=2.0)), Decimal(1), ""),
    ],
)
def test_a_call_costs_what_its_attempts_used(made, cost, reason):
    priced = price(made, TABLE)
    assert (priced.cost_usd and Decimal(priced.cost_usd), priced.cost_reason) == (cost, reason)


def test_the_usage_that_a_person_states_for_an_enclosing_call_stands():
    stated = Tokens(input=5_000, output=0)
    assert Decimal(price(call(attempt("big", USED), tokens=stated), TABLE).cost_usd) == Decimal("0.01")
