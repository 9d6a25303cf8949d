"""`/v1/prices`: the project's own price table."""

import msgspec
from flask import Blueprint, Response

from genux.specs import PriceRule
from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import prices

__all__ = ["register"]


class _Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prices: list[PriceRule]


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/prices")(get_prices)
    api.put("/v1/prices")(put_prices)


def get_prices() -> Response:
    """The rules, in order of writing."""
    caller = principal("server", "admin")
    return json_response(_Prices(prices.get(services().store, caller.scope)))


def put_prices() -> Response:
    """Replace them all."""
    caller = principal("admin")
    return json_response(_Prices(prices.put(services().store, caller.scope, read_body(_Prices).prices)))
