"""The text of a prompt and of an answer. Read only where the host opted in; see `CallContext.keep_text`."""

from collections.abc import Iterator, Mapping
from typing import Any

from genux.llm._facts import fields_of

__all__ = ["answer_of", "prompt_of"]

_PROMPT = ("instructions", "messages", "input", "prompt")
_ANSWER = ("choices", "output", "text")
_INSIDE = ("message", "content", "text")
_BETWEEN = "\n\n"


def prompt_of(asked: Mapping[str, Any]) -> str:
    """The text of a request's body, without images, files, audio and tools."""
    return _BETWEEN.join(text for name in _PROMPT for text in _texts(asked.get(name)))


def answer_of(answer: Any) -> str:
    """The text of a parsed answer."""
    fields = fields_of(answer)
    return _BETWEEN.join(text for name in _ANSWER for text in _texts(fields.get(name)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        fields = fields_of(value)
        for name in _INSIDE:
            yield from _texts(fields.get(name))
