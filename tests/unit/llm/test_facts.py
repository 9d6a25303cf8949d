"""Operations, providers and usage, as read from requests and responses."""

import pytest
from openai.types import CompletionUsage
from openai.types.responses import ResponseUsage

from genux.llm._facts import content_began, is_terminal, operation_of, provider_of, tokens_of
from genux.wire import Tokens


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("post", "/chat/completions", "chat"),
        ("post", "/responses", "responses"),
        ("post", "/embeddings", "embeddings"),
        ("post", "/images/generations", "images"),
        ("post", "/images/edits", "images"),
        ("post", "/audio/transcriptions", "audio.transcriptions"),
        ("post", "/moderations", "moderations"),
        ("get", "/responses/resp_123", "responses.get"),
        ("post", "/responses/resp_123/cancel", "responses.cancel"),
        ("post", "/responses/compact?beta=true", "responses.compact"),
        ("post", "/responses/input_tokens", "responses.count"),
        ("post", "/chat/completions/chatcmpl-1", "chat.update"),
        ("get", "/chat/completions/chatcmpl-1", "chat.get"),
        ("post", "/uploads/upload_1/complete", "uploads.complete"),
        ("post", "/threads/thread_1/runs", "threads.post"),
        ("post", "/files", "files.post"),
        ("post", "/batches?beta=true", "batches.post"),
        ("delete", "/files/file-1", "files.delete"),
        ("get", "/", "root.get"),
    ],
)
def test_an_operation_has_a_bounded_name_without_ids(method, path, operation):
    assert operation_of(method, path) == operation


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure"),
        ("openrouter.ai", "openrouter"),
        ("127.0.0.1", ""),
        ("", ""),
    ],
)
def test_the_host_names_the_provider(host, provider):
    assert provider_of(host) == provider


def test_usage_of_chat_and_responses_is_read_alike_from_models_and_mappings():
    chat = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10, "audio_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 3},
    }
    expected = Tokens(input=100, cached=40, cache_write=10, output=20, reasoning=12, input_audio=5, output_audio=3)
    assert tokens_of(chat) == tokens_of(CompletionUsage.model_validate(chat)) == expected
    response = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 120,
    }
    expected = Tokens(input=100, cached=40, cache_write=10, output=20, reasoning=12)
    assert tokens_of(response) == tokens_of(ResponseUsage.model_validate(response)) == expected


def test_cache_hits_of_compatible_servers_are_found_outside_the_details():
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_cache_hit_tokens": 8}
    assert tokens_of(usage) == tokens_of(CompletionUsage.model_validate(usage)) == Tokens(input=10, cached=8, output=1)


@pytest.mark.parametrize("usage", [{"type": "duration", "seconds": 3.0}, {}, None, "usage", {"prompt_tokens": "7"}])
def test_a_usage_without_counts_is_unknown_not_zero(usage):
    assert tokens_of(usage) is None


def choice(**fields):
    return {"choices": [{"index": 0, "finish_reason": None, **fields}]}


@pytest.mark.parametrize(
    ("event", "began"),
    [
        (choice(delta={"role": "assistant", "content": ""}), False),
        (choice(delta={"content": "Hi"}), True),
        (choice(delta={"tool_calls": [{"index": 0}]}), True),
        (choice(delta={"refusal": "no"}), True),
        (choice(delta={"reasoning_content": "hm"}), False),
        (choice(text="Hi"), True),
        ({"choices": []}, False),
        ({"type": "response.created"}, False),
        ({"type": "response.output_text.delta", "delta": "H"}, True),
        ({"type": "response.function_call_arguments.delta"}, True),
        ({"type": "response.reasoning_text.delta"}, False),
        ({"type": "response.reasoning_summary_text.delta"}, False),
        ({"type": "image_generation.partial_image"}, True),
        ({"event": "thread.message.delta"}, True),
    ],
)
def test_content_begins_with_the_answer_and_not_with_roles_or_reasoning(event, began):
    assert content_began(event) is began


@pytest.mark.parametrize(
    ("event", "terminal"),
    [
        (choice(delta={"content": "Hi"}), False),
        (choice(delta={}, finish_reason="stop"), True),
        ({"choices": [], "usage": {"prompt_tokens": 1}}, True),
        ({"type": "response.output_text.done"}, False),
        ({"type": "response.completed"}, True),
        ({"type": "response.incomplete"}, True),
    ],
)
def test_the_last_event_of_a_stream_is_known(event, terminal):
    assert is_terminal(event) is terminal


def test_counts_that_a_server_writes_with_a_point_are_counts():
    assert tokens_of({"prompt_tokens": 12.0, "completion_tokens": 3}) == Tokens(input=12, output=3)
    assert tokens_of({"prompt_tokens": 12.5, "completion_tokens": 3}) == Tokens(output=3)


def test_counts_that_no_wire_can_carry_are_not_known():
    usage = {"prompt_tokens": 5, "completion_tokens": 1e30, "prompt_tokens_details": {"cached_tokens": 2**60}}
    assert tokens_of(usage) == Tokens(input=5)
    assert tokens_of({"prompt_tokens": 2**60}) is None
