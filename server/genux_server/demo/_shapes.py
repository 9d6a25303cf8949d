"""The JSON of OpenAI's API: chat completions, responses and embeddings, whole and as events."""

import dataclasses
from collections.abc import Iterator
from typing import Any

__all__ = ["Generation", "chat_body", "chat_events", "embedding_body", "error_body", "response_body", "response_events"]

Event = tuple[bool, dict[str, Any]]
"""Whether the event carries a token, and the event."""


@dataclasses.dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its token pieces and what is to be said about them. `cut` means that a token limit ended it."""

    number: int
    created: int
    model: str
    pieces: list[str]
    cut: bool
    input_tokens: int
    cached_tokens: int
    fingerprint: str

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def error_body(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """An error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def embedding_body(model: str, vectors: list[list[float] | str], input_tokens: int) -> dict[str, Any]:
    """`/v1/embeddings`."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _chat_usage(made: Generation) -> dict[str, Any]:
    return {
        "prompt_tokens": made.input_tokens,
        "completion_tokens": len(made.pieces),
        "total_tokens": made.input_tokens + len(made.pieces),
        "prompt_tokens_details": {"cached_tokens": made.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chat_frame(made: Generation, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-local-{made.number}",
        "object": kind,
        "created": made.created,
        "model": made.model,
        "service_tier": "default",
        "system_fingerprint": made.fingerprint,
    }


def _finish_reason(made: Generation) -> str:
    return "length" if made.cut else "stop"


def chat_body(made: Generation) -> dict[str, Any]:
    """`/v1/chat/completions`."""
    message: dict[str, Any] = {"role": "assistant", "content": made.text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(made)}
    return {**_chat_frame(made, "chat.completion"), "choices": [choice], "usage": _chat_usage(made)}


def chat_events(made: Generation, *, with_usage: bool) -> Iterator[Event]:
    """The chunks of a streamed chat completion, without the closing `[DONE]`."""
    frame = _chat_frame(made, "chat.completion.chunk")
    if with_usage:
        frame["usage"] = None

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}

    yield False, chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in made.pieces:
        yield True, chunk({"content": piece})
    yield False, chunk({}, _finish_reason(made))
    if with_usage:
        yield False, {**frame, "choices": [], "usage": _chat_usage(made)}


def _message(made: Generation, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_local_{made.number}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response(
    made: Generation, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": f"resp_local_{made.number}",
        "object": "response",
        "created_at": made.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {"served_by": made.fingerprint},
        "model": made.model,
        "output": output,
        "parallel_tool_calls": True,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "truncation": "disabled",
        "usage": usage,
    }


def response_body(made: Generation) -> dict[str, Any]:
    """`/v1/responses`."""
    status = "incomplete" if made.cut else "completed"
    usage = {
        "input_tokens": made.input_tokens,
        "input_tokens_details": {"cached_tokens": made.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": len(made.pieces),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": made.input_tokens + len(made.pieces),
    }
    return _response(made, status, [_message(made, status, [_output_text(made.text)])], usage)


def response_events(made: Generation) -> Iterator[Event]:
    """The events of a streamed response, each with its `sequence_number`."""
    for number, (is_token, event) in enumerate(_response_events(made)):
        yield is_token, {**event, "sequence_number": number}


def _response_events(made: Generation) -> Iterator[Event]:
    begun = _response(made, "in_progress", [], None)
    done = response_body(made)
    item = done["output"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield False, {"type": "response.created", "response": begun}
    yield False, {"type": "response.in_progress", "response": begun}
    added = _message(made, "in_progress", [])
    yield False, {"type": "response.output_item.added", "output_index": 0, "item": added}
    yield False, {"type": "response.content_part.added", **place, "part": _output_text("")}
    for piece in made.pieces:
        yield True, {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield False, {"type": "response.output_text.done", **place, "text": made.text, "logprobs": []}
    yield False, {"type": "response.content_part.done", **place, "part": item["content"][0]}
    yield False, {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield False, {"type": f"response.{done['status']}", "response": done}
