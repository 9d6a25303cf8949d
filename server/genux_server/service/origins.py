"""Web origins: which pages may use a browser key.

A browser tells in `Origin` where a page came from, and no page can lie about it. So the list of a key keeps other
people's pages from sending with it; programs outside of a browser say what they like, which is one more reason why a
browser key vouches for nothing.
"""

import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from genux.errors import ServiceError

__all__ = ["ANY", "allows", "join_origins", "parse_origin", "split_origins"]

ANY = "*"
"""In a key's list: pages from everywhere."""

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """An origin as browsers write it: scheme and host in small letters, the port unless it is the scheme's own.

    Raises:
        ServiceError: `invalid`; it is no origin.
    """
    if text == ANY:
        return ANY
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    extra = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or extra:
        raise ServiceError(
            "invalid", f"{text!r} is no origin; write https://app.example.com (punycode, no path), or * for all.", 400
        )
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


def allows(origins: Collection[str], origin: str) -> bool:
    """Whether a key with these origins may be used by a page from `origin`, as its browser wrote it."""
    return ANY in origins or origin in origins


def join_origins(origins: Iterable[str]) -> str:
    """As they are stored: checked, each once, in order, with spaces, which no origin holds.

    Raises:
        ServiceError: `invalid`; one of them is no origin.
    """
    return " ".join(dict.fromkeys(map(parse_origin, origins)))


def split_origins(stored: str) -> tuple[str, ...]:
    """What `join_origins` joined."""
    return tuple(stored.split())
