"""Forced variants of one request: read from what a visitor's address says, signed unless one is developing."""

from collections.abc import Mapping, Sequence

from genux import tokens
from genux._context import Scope, current_forced
from genux._guard import Guard
from genux._overrides import overrides
from genux.errors import TokenError, UsageError
from genux.specs import TokenKey

__all__ = ["forcing"]

_MAX_LENGTH = 1_024


def forcing(text: str, token_keys: Sequence[TokenKey], guard: Guard, *, plain: bool) -> Scope[Mapping[str, str]]:
    """Force what `text` says on top of what is forced already; one that is refused is counted, and forces nothing.

    Args:
        text: as it came, from anybody.
        token_keys: that a token may be signed with.
        guard: where a refusal is counted.
        plain: whether text without a signature counts.
    """
    forced = current_forced.get()
    try:
        named = _read_token(text, token_keys) if tokens.is_token(text) else _read_plain(text, allowed=plain)
        forced = {**forced, **named}
    except Exception as error:  # noqa: BLE001 whatever a visitor wrote into an address
        guard.failed("forcing", error)
    return Scope(current_forced, forced)


def _read_token(text: str, token_keys: Sequence[TokenKey]) -> dict[str, str]:
    try:
        return tokens.read_force(token_keys, text, overrides.now())
    except TokenError as error:
        raise UsageError(f"token_{error.code}", str(error)) from None


def _read_plain(text: str, *, allowed: bool) -> dict[str, str]:
    """`experiment:variant`, several with commas in between."""
    if not allowed:
        raise UsageError("unsigned_force", "variants without a signature are forced only while developing")
    if len(text) > _MAX_LENGTH:
        raise UsageError("bad_force", f"forced variants take more than {_MAX_LENGTH} characters")
    forced: dict[str, str] = {}
    for item in text.split(","):
        experiment, _, variant = item.partition(":")
        if not (experiment and variant):
            raise UsageError("bad_force", f"{item[:80]!a} is not experiment:variant")
        forced[experiment] = variant
    return forced
