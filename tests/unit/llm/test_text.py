"""Which parts of requests and answers are text."""

import pytest
from openai.types.responses import Response

from genux.llm._text import answer_of, prompt_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"input": "why?"}, "why?"),
        ({"instructions": "be brief", "input": [{"role": "user", "content": "why?"}]}, "be brief\n\nwhy?"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, IMAGE]}]}, "what is it?"),
        ({"prompt": "once upon"}, "once upon"),
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, ""),
        ({"input": ["one", "two"]}, "one\n\ntwo"),
        ({"input": [1, 2, 3]}, ""),
        ({"model": "m"}, ""),
    ],
)
def test_the_text_of_a_request(asked, text):
    assert prompt_of(asked) == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "one"}}, {"text": "two"}]}, "one\n\ntwo"),
        ({"choices": [{"message": {"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}}]}, ""),
        ({"text": "transcribed"}, "transcribed"),
        ({"data": [{"embedding": [0.5]}]}, ""),
        (None, ""),
    ],
)
def test_the_text_of_an_answer(answer, text):
    assert answer_of(answer) == text


def test_the_text_of_an_answer_that_openai_parsed():
    part = {"type": "output_text", "text": "because", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    assert answer_of(Response.model_validate({"id": "r", "output": [message]} | REST)) == "because"


REST = {
    "created_at": 1,
    "model": "m",
    "object": "response",
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
}
