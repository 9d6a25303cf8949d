"""`/v1/units`: what is kept of one unit, to hand over or to forget. Admin keys only.

Ids travel in bodies: addresses end up in the logs of every proxy on the way.
"""

import msgspec
from flask import Blueprint, Response

from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import units

__all__ = ["register"]


class _Unit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit_id: str
    unit_kind: str = "user"


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.post("/v1/units/erase")(erase_unit)
    api.get("/v1/units/erasures/<int:erasure_id>")(get_erasure)
    api.post("/v1/units/export")(export_unit)


def erase_unit() -> Response:
    """Ask that a unit be forgotten in the key's environment; the worker does it soon."""
    caller = principal("admin")
    unit = read_body(_Unit)
    asked = units.request_erasure(services().store, caller.scope, unit.unit_kind, unit.unit_id)
    response = json_response(asked, 202)
    response.headers["Location"] = f"/v1/units/erasures/{asked.id}"
    return response


def get_erasure(erasure_id: int) -> Response:
    """How far it is; done when `done_at` is set."""
    caller = principal("admin")
    return json_response(units.find_erasure(services().store, caller.scope, erasure_id))


def export_unit() -> Response:
    """Everything that is kept of a unit, a JSON object a line."""
    caller = principal("admin")
    unit = read_body(_Unit)
    rows = units.export(services().store, services().lake, caller.scope, unit.unit_kind, unit.unit_id)
    return Response(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), mimetype="application/x-ndjson")
