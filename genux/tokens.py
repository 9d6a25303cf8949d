"""Resume tokens: a signed reference to a call or an exposure, for another process to report an outcome against.

    token     = "g1." + base64url(claims) + "." + base64url(HMAC-SHA256(secret, "g1." + base64url(claims)))
    claims    = JSON {"k": key id, "c": call id | "x": exposure id, "e": expiry in Unix seconds}

Base64 is without padding. A token holds no unit id, so a browser or a queue may carry it; whoever holds one can report
outcomes for that one call until it expires, and nothing else.
"""

import base64
import binascii
import datetime as dt
import hmac
from collections.abc import Sequence

import msgspec

from genux.errors import TokenError
from genux.specs import TokenKey

__all__ = ["Reference", "mint", "read"]

_PREFIX = "g1."
_MAX_LENGTH = 1_024


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a token refers to: a call or an exposure, one of the two."""

    call_id: str = ""
    exposure_id: str = ""
    expires_at: dt.datetime


class _Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    k: str
    c: str = ""
    x: str = ""
    e: int


def mint(token_keys: Sequence[TokenKey], *, call_id: str = "", exposure_id: str = "", expires_at: dt.datetime) -> str:
    """Sign a reference with the newest key.

    Args:
        token_keys: newest first.
        call_id: the call referred to, or
        exposure_id: the exposure referred to.
        expires_at: aware; the token is refused from then on.

    Raises:
        TokenError: `unknown_key` when there is no key, `malformed` unless exactly one reference is given.
    """
    if not token_keys:
        raise TokenError("unknown_key", "there is no key to sign a resume token with")
    if bool(call_id) == bool(exposure_id):
        raise TokenError("malformed", "a resume token refers to a call or to an exposure, one of the two")
    key = token_keys[0]
    claims = _Claims(k=key.id, c=call_id, x=exposure_id, e=int(expires_at.timestamp()))
    body = _PREFIX + _encode(msgspec.json.encode(claims))
    return f"{body}.{_encode(_sign(key, body))}"


def read(token_keys: Sequence[TokenKey], token: str, now: dt.datetime) -> Reference:
    """Check a token and return what it refers to.

    Args:
        token_keys: every key that is still honoured; during a rotation the old and the new one.
        token: from `mint`.
        now: aware.

    Raises:
        TokenError: with code `malformed`, `unknown_key`, `bad_signature` or `expired`.
    """
    claims, body, signature = _parse(token)
    key = next((key for key in token_keys if key.id == claims.k), None)
    if key is None:
        raise TokenError("unknown_key", f"the token was signed with the key `{claims.k}`, which is not honoured here")
    if not hmac.compare_digest(_sign(key, body), signature):
        raise TokenError("bad_signature", "the token's signature does not fit its content")
    expires_at = dt.datetime.fromtimestamp(claims.e, dt.UTC)
    if now >= expires_at:
        raise TokenError("expired", f"the token expired at {expires_at.isoformat()}")
    return Reference(call_id=claims.c, exposure_id=claims.x, expires_at=expires_at)


def _parse(token: str) -> tuple[_Claims, str, bytes]:
    try:
        if len(token) > _MAX_LENGTH or not token.startswith(_PREFIX):
            raise TokenError("malformed", "this is no genux resume token")
        body, _, signature = token.rpartition(".")
        claims = msgspec.json.decode(_decode(body[len(_PREFIX) :]), type=_Claims)
        dt.datetime.fromtimestamp(claims.e, dt.UTC)
        if bool(claims.c) == bool(claims.x):
            raise TokenError("malformed", "the token refers to nothing, or to two things")
        return claims, body, _decode(signature)
    except (AttributeError, TypeError, ValueError, OverflowError, OSError, msgspec.DecodeError) as error:
        raise TokenError("malformed", f"this is no genux resume token: {error}") from None


def _sign(key: TokenKey, body: str) -> bytes:
    return hmac.digest(key.secret.encode(), body.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
