"""`Target`: one place that a request may go."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any

from genux.errors import ConfigError

__all__ = ["Target", "key_id_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """One place that a request may go: a key, a model, an address or a client of its own.

    What is not given stays the calling client's. Targets of one route are tried in the order written; neighbours that
    state a weight share the load in that proportion.

    Args:
        key: API key, or a function that is asked for it before each attempt (async for an async client). It takes the
            place of any credentials that the caller put into headers.
        base_url: address of an API of the same kind as the calling client's: Azure for an `AzureOpenAI`.
        model: replaces the model of a chat, completions or responses request; empty keeps the caller's, so that
            `variant.get("model")` works. Other requests (embeddings, images, audio, moderations) pass over a target
            whose model is not theirs, unless it says `fallback=False`. Nothing but the model is changed, so every
            target must take the caller's other parameters.
        client: an OpenAI client of its own, such as an `AzureOpenAI`. Sync clients serve sync callers, async ones
            async callers.
        provider: genai-prices provider id for its prices; empty derives it from the host.
        name: what status and records call it; default `target-<position>`.
        weight: share among its neighbours with weights; 0 stands alone, in order.
        arms: variants it is kept for, as `experiment:variant`. Units of those arms go to it first and then to the
            targets without arms; nobody else does.
        max_concurrent: requests in flight at once, streams until they end; 0 is no limit.
        requests_per_minute: requests begun in any minute; 0 is no limit.
        tokens_per_minute: input and output tokens in any minute, counted when an answer ends; 0 is no limit.
        fallback: whether an answer from here is a fallback. Default: when its model is none of those that the route
            begins with. Say False for the same model under another name, such as an Azure deployment.

    Raises:
        ConfigError: a limit or weight is negative, an arm is not `experiment:variant`, the key is empty, the address
            is none or has no key, so that the calling client's would go there, or the client is no OpenAI client.
    """

    key: str | Callable[[], Any] | None = dataclasses.field(default=None, repr=False)
    base_url: str = ""
    model: str = ""
    client: Any = dataclasses.field(default=None, repr=False)
    provider: str = ""
    name: str = ""
    weight: float = 0.0
    arms: tuple[str, ...] = ()
    max_concurrent: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    fallback: bool | None = None

    def __post_init__(self) -> None:
        """Refuses what could only be a mistake, while somebody is looking."""
        for field in ("weight", "max_concurrent", "requests_per_minute", "tokens_per_minute"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ConfigError(f"a target's {field} must be finite and not negative, got {getattr(self, field)}")
        # openai takes an empty key for none given, and uses the calling client's.
        if self.key == "" or not (self.key is None or callable(self.key) or isinstance(self.key, str)):  # pyright: ignore[reportUnnecessaryIsInstance] - not every app is checked for types
            raise ConfigError("a target's key is empty or no text; is its environment variable set?")
        if self.base_url and not str(self.base_url).startswith(("http://", "https://")):
            raise ConfigError(f"a target's base_url begins with http:// or https://, got {self.base_url!r}")
        if self.client is not None and not hasattr(self.client, "with_options"):
            raise ConfigError(f"a target's client is an OpenAI client, got {type(self.client).__name__}")
        if self.base_url and self.key is None and self.client is None:
            raise ConfigError("a target with an address of its own needs a key of its own: yours is not for strangers")
        if not all(":" in arm for arm in self.arms):
            raise ConfigError(f"a target's arms are a tuple of `experiment:variant`, got {self.arms!r}")

    def key_identity(self) -> tuple[str, int, object]:
        """Equal for two targets that spend the same key at the same address."""
        key = self.key if isinstance(self.key, str) else id(self.key)
        return (self.base_url, id(self.client), key)


@functools.lru_cache(maxsize=1_024)
def key_id_of(key: str) -> str:
    """A short hash that tells keys apart and gives none away: 12 hex digits of BLAKE2b. Empty for no key."""
    return hashlib.blake2b(key.encode(), digest_size=6).hexdigest() if key and not key.startswith("<") else ""
