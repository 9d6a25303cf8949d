"""What every view needs: the services of this process, the caller's key, the body."""

from typing import TypeVar, cast

import msgspec
from flask import Response, current_app, g, request

from genux.errors import ServiceError
from genux_server.service import keys
from genux_server.service.keys import KeyKind, Principal
from genux_server.service.plain import plain
from genux_server.service.services import Services

__all__ = ["authenticated", "json_response", "principal", "read_body", "services"]

T = TypeVar("T")


def services() -> Services:
    """Store, lake and ingest of this process."""
    return cast("Services", current_app.extensions["genux"])


def principal(*kinds: KeyKind) -> Principal:
    """Who calls, by `Authorization: Bearer KEY`; of one of `kinds` when they are named.

    Raises:
        ServiceError: `no_key`, `unknown_key`, or `forbidden`.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ServiceError("no_key", "Send a key: `Authorization: Bearer KEY`.", 401)
    return authenticated(secret.strip(), *kinds)


def authenticated(secret: str, *kinds: KeyKind) -> Principal:
    """Who holds this key; of one of `kinds` when they are named.

    Raises:
        ServiceError: `unknown_key`, or `forbidden`.
    """
    found = keys.authenticate(services().store, secret)
    if found is None:
        raise ServiceError("unknown_key", "This key is unknown here, or was revoked.", 401)
    if kinds:
        keys.require(found, *kinds)
    g.snapshot_version = found.snapshot_version
    g.actor = found.scope.actor
    return found


def read_body(kind: type[T]) -> T:
    """The JSON body as `kind`.

    Raises:
        ServiceError: `invalid`; the message names the place.
    """
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceError("invalid", str(error), 400) from None


def json_response(value: object, status: int = 200) -> Response:
    """Any struct, list or dict as JSON, every field written out."""
    return Response(msgspec.json.encode(plain(value)), status=status, mimetype="application/json")
