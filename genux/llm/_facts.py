"""What a request and a response say about themselves: operation, provider, model, usage. No text is read or kept."""

from collections.abc import Mapping
from typing import Any

from genux.wire import Tokens

__all__ = ["content_began", "fields_of", "is_terminal", "is_unbilled", "operation_of", "provider_of", "tokens_of"]

_OPERATIONS = {
    "/audio/speech": "audio.speech",
    "/audio/transcriptions": "audio.transcriptions",
    "/audio/translations": "audio.translations",
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/images/edits": "images",
    "/images/generations": "images",
    "/images/variations": "images",
    "/moderations": "moderations",
    "/responses": "responses",
    "/responses/compact": "responses.compact",
    "/responses/input_tokens": "responses.count",
}
# What a POST to something that exists already does to it, named by the last segment of its path.
_VERBS = frozenset({"cancel", "complete"})
_UNBILLED_VERBS = (".cancel", ".complete", ".count", ".delete", ".get", ".update")
# Nothing is generated here; what a batch costs is known when it is done.
_UNBILLED_FAMILIES = ("batches.post", "conversations.post", "files.post", "uploads.post", "webhook_endpoints.post")

# Host suffix -> provider id of genai-prices.
_PROVIDERS = (
    ("api.openai.com", "openai"),
    (".amazonaws.com", "aws"),
    (".openai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    ("openrouter.ai", "openrouter"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral"),
    ("api.deepseek.com", "deepseek"),
    ("api.fireworks.ai", "fireworks"),
    ("api.together.xyz", "together"),
    ("api.x.ai", "x-ai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "google"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cerebras.ai", "cerebras"),
)

_IMAGE_DONE = frozenset({"image_edit.completed", "image_generation.completed"})
_TERMINAL_EVENTS = _IMAGE_DONE | frozenset(
    {
        "error",
        "response.completed",
        "response.failed",
        "response.incomplete",
        "speech.audio.done",
        "transcript.text.done",
    }
)


def operation_of(method: str, path: str) -> str:
    """A short, bounded name of what is asked: `chat`, `responses`, ..., else `<first path segment>.<method>`."""
    bare = path.partition("?")[0].rstrip("/")
    if method == "post":
        known = _OPERATIONS.get(bare)
        if known is not None:
            return known
        last = bare.rpartition("/")[2]
        if last in _VERBS:
            method = last
        elif bare.startswith("/chat/completions/"):
            method = "update"
    return f"{bare.lstrip('/').partition('/')[0] or 'root'}.{method}"[:128]


def is_unbilled(operation: str, provider: str = "") -> bool:
    """Whether a request of this operation is free by itself, so that its cost is known to be 0.

    Moderations are at OpenAI (https://platform.openai.com/docs/guides/moderation: "free to use"); nobody else says so.
    """
    if operation == "moderations":
        return provider == "openai"
    return operation.endswith(_UNBILLED_VERBS) or operation in _UNBILLED_FAMILIES


def provider_of(host: str) -> str:
    """The genai-prices provider id of an API host; empty when the host is not a known one (a proxy, a local model)."""
    for suffix, provider in _PROVIDERS:
        if host == suffix.lstrip(".") or host.endswith(suffix):
            return provider
    return ""


def fields_of(item: Any) -> Mapping[str, Any]:
    """The declared fields of a pydantic model, or a plain mapping as it is.

    Reading `__dict__` costs 50 ns; `getattr` with a default on a pydantic model that lacks the field costs 2 us.
    """
    return item if isinstance(item, dict) else getattr(item, "__dict__", {})


_NOTHING: Mapping[str, Any] = {}
_MAX_COUNT = 2**53  # the wire's
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")


def _details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        details = usage.get(name)
        if details is not None:
            return fields_of(details)
    return _NOTHING


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some servers write counts with a point
    return value if isinstance(value, int) and value <= _MAX_COUNT else None


def _count(details: Mapping[str, Any], name: str) -> int:
    value = details.get(name)
    return max(_whole(value) or 0, 0) if value else 0


def tokens_of(usage: Any) -> Tokens | None:
    """Reads a `usage` object or mapping of any OpenAI surface.

    Args:
        usage: `usage` of chat, completions, responses, embeddings, images, transcriptions or speech.

    Returns:
        The counts, parts included in their wholes; `None` when it holds no token counts (such as a duration).
    """
    fields = fields_of(usage)
    whole_input = _whole(fields.get("prompt_tokens", fields.get("input_tokens")))
    whole_output = _whole(fields.get("completion_tokens", fields.get("output_tokens")))
    if whole_input is None and whole_output is None:
        return None
    into = _details(fields, _INPUT_DETAILS)
    out = _details(fields, _OUTPUT_DETAILS)
    cached = _count(into, "cached_tokens")
    if not cached:
        # Compatible servers report cache hits outside the details (DeepSeek, Moonshot); pydantic keeps them as extras.
        extra = fields if fields is usage else getattr(usage, "model_extra", None) or _NOTHING
        cached = _count(extra, "prompt_cache_hit_tokens") or _count(extra, "cached_tokens")
    return Tokens(
        input=max(whole_input or 0, 0),
        cached=cached,
        cache_write=_count(into, "cache_write_tokens"),
        output=max(whole_output or 0, 0),
        reasoning=_count(out, "reasoning_tokens"),
        input_audio=_count(into, "audio_tokens"),
        output_audio=_count(out, "audio_tokens"),
        input_image=_count(into, "image_tokens"),
        output_image=_count(out, "image_tokens"),
    )


def seconds_of(usage: Any) -> float:
    """The audio that a usage is counted in, in seconds; 0 where it is counted in tokens."""
    fields = fields_of(usage)
    seconds = fields.get("seconds") if fields.get("type") == "duration" else None
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 0.0


def images_in(fields: Mapping[str, Any]) -> int:
    """How many images an answer holds: a whole one, or the last event of a streamed one."""
    data = fields.get("data")
    if isinstance(data, list):
        return len(data)
    return int(str(fields.get("type", "")) in _IMAGE_DONE)


def content_began(fields: Mapping[str, Any]) -> bool:
    """Whether a stream event carries answer content: text, refusal, tool call or audio. Reasoning is not an answer."""
    kind = fields.get("type")
    if isinstance(kind, str):
        return (kind.endswith(".delta") and ".reasoning" not in kind) or kind.endswith(".partial_image")
    choices = fields.get("choices")
    if not choices:
        return str(fields.get("event", "")).endswith(".delta")
    for choice in choices:
        delta = fields_of(choice)
        if delta.get("text"):
            return True
        inner = fields_of(delta.get("delta"))
        if inner.get("content") or inner.get("tool_calls") or inner.get("refusal") or inner.get("function_call"):
            return True
        extra = getattr(delta.get("delta"), "model_extra", None)
        if extra and extra.get("audio"):
            return True
    return False


def is_terminal(fields: Mapping[str, Any]) -> bool:
    """Whether nothing but the end may follow this stream event, so that leaving here leaves nothing unread."""
    if fields.get("type") in _TERMINAL_EVENTS:
        return True
    choices = fields.get("choices")
    if choices is None:
        return False
    if not choices:
        return fields.get("usage") is not None
    return any(fields_of(choice).get("finish_reason") for choice in choices)
