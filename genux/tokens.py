"""Signed tokens: resume tokens refer to a call or an exposure, force tokens say which variants to show.

    token     = "g1." + base64url(claims) + "." + base64url(HMAC-SHA256(secret, "g1." + base64url(claims)))
    claims    = JSON {"k": key id, "e": expiry in Unix seconds, and one of
                      "c": call id | "x": exposure id | "f": {experiment: variant};
                      beside "c", "m": the model that answered, when it is known}

Base64 is without padding. The claim is what a token is good for, and it has one only: a resume token forces nothing,
and a force token resumes nothing. A token holds no unit id, so a browser or a queue may carry it; whoever holds a
resume token can report outcomes for that one call until it expires, and nothing else.
"""

import base64
import binascii
import datetime as dt
import hmac
from collections.abc import Mapping, Sequence

import msgspec

from genux.errors import TokenError
from genux.specs import TokenKey

__all__ = ["Reference", "is_token", "mint", "mint_force", "read", "read_force"]

_PREFIX = "g1."
_MAX_LENGTH = 1_024
_MAX_MODEL_LENGTH = 128


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a token refers to: a call or an exposure, one of the two; and the model that answered, if known."""

    call_id: str = ""
    exposure_id: str = ""
    served_model: str = ""
    expires_at: dt.datetime


class _Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    k: str
    c: str = ""
    x: str = ""
    f: dict[str, str] = msgspec.field(default_factory=dict)
    m: str = ""
    e: int


def mint(
    token_keys: Sequence[TokenKey],
    *,
    call_id: str = "",
    exposure_id: str = "",
    expires_at: dt.datetime,
    served_model: str = "",
) -> str:
    """Sign a reference with the newest key.

    Args:
        token_keys: newest first.
        call_id: the call referred to, or
        exposure_id: the exposure referred to.
        expires_at: aware; the token is refused from then on.
        served_model: that answered the call; left out when it has more than 128 characters.

    Raises:
        TokenError: `unknown_key` when there is no key, `malformed` unless exactly one reference is given.
    """
    if bool(call_id) == bool(exposure_id):
        raise TokenError("malformed", "a resume token refers to a call or to an exposure, one of the two")
    model = served_model if len(served_model) <= _MAX_MODEL_LENGTH else ""
    return _mint(token_keys, _Claims(k="", c=call_id, x=exposure_id, m=model, e=int(expires_at.timestamp())))


def mint_force(token_keys: Sequence[TokenKey], variants: Mapping[str, str], expires_at: dt.datetime) -> str:
    """Sign which variants to show, with the newest key.

    Args:
        token_keys: newest first.
        variants: experiment -> variant.
        expires_at: aware; the token is refused from then on.

    Raises:
        TokenError: `unknown_key` when there is no key, `malformed` when no variant is named or too many are.
    """
    if not variants:
        raise TokenError("malformed", "a force token names at least one variant")
    token = _mint(token_keys, _Claims(k="", f=dict(variants), e=int(expires_at.timestamp())))
    if len(token) > _MAX_LENGTH:
        raise TokenError("malformed", f"these variants make a token of over {_MAX_LENGTH} characters")
    return token


def read(token_keys: Sequence[TokenKey], token: str, now: dt.datetime) -> Reference:
    """Check a token and return what it refers to.

    Args:
        token_keys: every key that is still honoured; during a rotation the old and the new one.
        token: from `mint`.
        now: aware.

    Raises:
        TokenError: with code `malformed`, `unknown_key`, `bad_signature`, `expired`, or `wrong_kind`.
    """
    claims = _checked(token_keys, token, now)
    if claims.f:
        raise TokenError("wrong_kind", "this token forces variants; it refers to no call")
    return Reference(
        call_id=claims.c,
        exposure_id=claims.x,
        served_model=claims.m,
        expires_at=dt.datetime.fromtimestamp(claims.e, dt.UTC),
    )


def read_force(token_keys: Sequence[TokenKey], token: str, now: dt.datetime) -> dict[str, str]:
    """Check a token and return the variants that it forces, by experiment; arguments are those of `read`.

    Raises:
        TokenError: with code `malformed`, `unknown_key`, `bad_signature`, `expired`, or `wrong_kind`.
    """
    claims = _checked(token_keys, token, now)
    if not claims.f:
        raise TokenError("wrong_kind", "this is a resume token; it forces no variant")
    return claims.f


def is_token(text: str) -> bool:
    """Whether it is meant as a token, be it good or not."""
    return text.startswith(_PREFIX)


def _mint(token_keys: Sequence[TokenKey], claims: _Claims) -> str:
    if not token_keys:
        raise TokenError("unknown_key", "there is no key to sign a token with")
    key = token_keys[0]
    body = _PREFIX + _encode(msgspec.json.encode(msgspec.structs.replace(claims, k=key.id)))
    return f"{body}.{_encode(_sign(key, body))}"


def _checked(token_keys: Sequence[TokenKey], token: str, now: dt.datetime) -> _Claims:
    claims, body, signature = _parse(token)
    key = next((key for key in token_keys if key.id == claims.k), None)
    if key is None:
        raise TokenError("unknown_key", f"the token was signed with the key `{claims.k}`, which is not honoured here")
    if not hmac.compare_digest(_sign(key, body), signature):
        raise TokenError("bad_signature", "the token's signature does not fit its content")
    expires_at = dt.datetime.fromtimestamp(claims.e, dt.UTC)
    if now >= expires_at:
        raise TokenError("expired", f"the token expired at {expires_at.isoformat()}")
    return claims


def _parse(token: str) -> tuple[_Claims, str, bytes]:
    try:
        if len(token) > _MAX_LENGTH or not token.startswith(_PREFIX):
            raise TokenError("malformed", "this is no genux token")
        body, _, signature = token.rpartition(".")
        claims = msgspec.json.decode(_decode(body[len(_PREFIX) :]), type=_Claims)
        dt.datetime.fromtimestamp(claims.e, dt.UTC)
        if [bool(claims.c), bool(claims.x), bool(claims.f)].count(True) != 1:
            raise TokenError("malformed", "the token is good for nothing, or for two things")
        return claims, body, _decode(signature)
    except (AttributeError, TypeError, ValueError, OverflowError, OSError, msgspec.DecodeError) as error:
        raise TokenError("malformed", f"this is no genux token: {error}") from None


def _sign(key: TokenKey, body: str) -> bytes:
    return hmac.digest(key.secret.encode(), body.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
