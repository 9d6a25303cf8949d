"""`/v1/text-capture`: whether the project keeps the text of prompts and answers."""

import msgspec
from flask import Blueprint, Response

from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import text

__all__ = ["register"]


class _TextCapture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allowed: bool


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/text-capture")(get_text_capture)
    api.put("/v1/text-capture")(put_text_capture)


def get_text_capture() -> Response:
    """Whether text is kept, if an SDK is told to send it."""
    caller = principal("server", "admin")
    return json_response(_TextCapture(text.is_allowed(services().store, caller.scope)))


def put_text_capture() -> Response:
    """Allow it, or forbid it."""
    caller = principal("admin")
    allowed = read_body(_TextCapture).allowed
    return json_response(_TextCapture(text.allow(services().store, caller.scope, allowed=allowed)))
