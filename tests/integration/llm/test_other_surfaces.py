"""Everything beside chat and responses: one record each, exact usage, and what the bare client gives.

A row is a surface as its caller uses it. Each is asked plainly, for the raw response and for a streamed body, where it
can also for events, under every outcome.
"""

import asyncio
import io

import pytest
from llm_harness import both, connected, each, entered, settled, shown
from openai import AsyncOpenAI, OpenAI

from genux.llm import price, wrap
from genux.wire import Tokens

# Old methods say so; a caller who has not moved on yet is measured all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

PICTURE = {"created": 1, "data": [{"b64_json": "aGk="}], "model": "gpt-image-1"}
PICTURE_USAGE = {
    "input_tokens": 60,
    "output_tokens": 1_000,
    "total_tokens": 1_060,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 50},
}
HEARD = {
    "type": "tokens",
    "input_tokens": 1_000,
    "output_tokens": 100,
    "total_tokens": 1_100,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 1_000},
}
FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 3,
    "created_at": 1,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "processed",
}
BATCH = {
    "id": "batch_9",
    "object": "batch",
    "completion_window": "24h",
    "created_at": 1,
    "endpoint": "/v1/responses",
    "input_file_id": "file-1",
    "status": "validating",
}
TEXT = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
USED = {"prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500}


def text_chunks(request):
    asked = (request.get("stream_options") or {}).get("include_usage")
    if not request.get("stream"):
        return {
            **TEXT,
            "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}],
            "usage": USED,
        }
    texts = [("H", None), ("i", None), ("", "stop")]
    chunks = [
        {**TEXT, "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}]}
        for text, reason in texts
    ]
    return (
        [*({**chunk, "usage": None} for chunk in chunks), {**TEXT, "choices": [], "usage": USED}] if asked else chunks
    )


def pictures(request):
    if not request.get("stream"):
        return {**PICTURE, "usage": PICTURE_USAGE}
    common = {"b64_json": "aGk=", "created_at": 1, "size": "1024x1024", "quality": "low", "background": "opaque"}
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, "output_format": "png", **common}
    done = {"type": "image_generation.completed", "output_format": "png", **common, "usage": PICTURE_USAGE}
    return [partial, {**partial, "partial_image_index": 1}, done]


def transcript(request):
    if not request.get("stream"):
        return {"text": "Hi there", "usage": HEARD}
    delta = {"type": "transcript.text.delta", "delta": "Hi "}
    return [delta, {**delta, "delta": "there"}, {"type": "transcript.text.done", "text": "Hi there", "usage": HEARD}]


def listing(request):
    return {"object": "list", "data": [FILE], "has_more": False, "first_id": "file-1", "last_id": "file-1"}


def sound():
    return ("hi.wav", io.BytesIO(b"RIFF"), "audio/wav")


# name: (path, what the server answers, resource, method, arguments, operation, tokens, cost or the reason for none)
SURFACES = {
    "completions": (
        "/completions",
        text_chunks,
        lambda client: client.completions,
        "create",
        lambda: {"model": "gpt-3.5-turbo-instruct", "prompt": "Say hi"},
        "completions",
        Tokens(input=1_000, output=500),
        "0.0025",
    ),
    "embeddings": (
        "/embeddings",
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}],
            "usage": {"prompt_tokens": 500_000, "total_tokens": 500_000},
        },
        lambda client: client.embeddings,
        "create",
        lambda: {"model": "text-embedding-3-small", "input": ["a"]},
        "embeddings",
        Tokens(input=500_000),
        "0.01",
    ),
    "images": (
        "/images/generations",
        pictures,
        lambda client: client.images,
        "generate",
        lambda: {"model": "gpt-image-1", "prompt": "a cat"},
        "images",
        {"input": 60, "output": 1_000},
        "0.04055",  # 10 * 5 + 50 * 10 + 1,000 * 40, in millionths
    ),
    "edits": (
        "/images/edits",
        {**PICTURE, "usage": PICTURE_USAGE},
        lambda client: client.images,
        "edit",
        lambda: {"model": "gpt-image-1", "prompt": "a dog", "image": ("a.png", io.BytesIO(b"PNG"), "image/png")},
        "images",
        {"input": 60, "output": 1_000},
        "0.04055",  # 10 * 5 + 50 * 10 + 1,000 * 40, in millionths
    ),
    "speech": (
        "/audio/speech",
        b"RIFF....",
        lambda client: client.audio.speech,
        "create",
        lambda: {"model": "tts-1", "voice": "alloy", "input": "Hi"},
        "audio.speech",
        None,
        "unsupported_modality",
    ),
    "transcriptions": (
        "/audio/transcriptions",
        transcript,
        lambda client: client.audio.transcriptions,
        "create",
        lambda: {"model": "gpt-4o-transcribe", "file": sound()},
        "audio.transcriptions",
        Tokens(input=1_000, output=100, input_audio=1_000),
        "0.007",
    ),
    "translations": (
        "/audio/translations",
        "Hi there",
        lambda client: client.audio.translations,
        "create",
        lambda: {"model": "whisper-1", "file": sound(), "response_format": "text"},
        "audio.translations",
        None,
        "no_usage",
    ),
    "moderations": (
        "/moderations",
        {"id": "modr-1", "model": "omni-moderation-latest", "results": []},
        lambda client: client.moderations,
        "create",
        lambda: {"model": "omni-moderation-latest", "input": "Hi"},
        "moderations",
        None,
        "0",
    ),
    "upload": (
        "/files",
        FILE,
        lambda client: client.files,
        "create",
        lambda: {"file": ("in.jsonl", io.BytesIO(b"{}"), "application/jsonl"), "purpose": "batch"},
        "files.post",
        None,
        "0",
    ),
    "files": ("/files", listing, lambda client: client.files, "list", dict, "files.get", None, "0"),
    "download": (
        "/files/file-1/content",
        b'{"id": 1}',
        lambda client: client.files,
        "content",
        lambda: {"file_id": "file-1"},
        "files.get",
        None,
        "0",
    ),
    "deletion": (
        "/files/file-1",
        {"id": "file-1", "object": "file", "deleted": True},
        lambda client: client.files,
        "delete",
        lambda: {"file_id": "file-1"},
        "files.delete",
        None,
        "0",
    ),
    "batches": (
        "/batches",
        BATCH,
        lambda client: client.batches,
        "create",
        lambda: {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"},
        "batches.post",
        None,
        "0",
    ),
    "poll": (
        "/batches/batch_9",
        BATCH,
        lambda client: client.batches,
        "retrieve",
        lambda: {"batch_id": "batch_9"},
        "batches.get",
        None,
        "0",
    ),
    "token count": (
        "/responses/input_tokens",
        {"object": "response.input_tokens", "input_tokens": 12},
        lambda client: client.responses.input_tokens,
        "count",
        lambda: {"model": "gpt-5-mini", "input": "Hi"},
        "responses.count",
        None,
        "0",
    ),
    "compaction": (
        "/responses/compact",
        {
            "id": "resp_c",
            "object": "response.compaction",
            "created_at": 1,
            "output": [],
            "usage": {
                "input_tokens": 1_000_000,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 1_000_000,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 2_000_000,
            },
        },
        lambda client: client.responses,
        "compact",
        lambda: {"model": "gpt-5-mini", "input": "Hi"},
        "responses.compact",
        Tokens(input=1_000_000, output=1_000_000),
        "2.25",
    ),
}
STREAMED = ("completions", "images", "transcriptions")


def api_of(surface, client, prefix=""):
    _, _, resource, method, arguments, *_ = SURFACES[surface]
    api = resource(client)
    return getattr(getattr(api, prefix) if prefix else api, method), arguments()


async def visible(value, seen):
    """Pages are walked, files read, and everything else looked at."""
    value = await settled(value)
    if hasattr(value, "iter_pages"):
        await each(value, seen)
    elif hasattr(value, "content"):
        seen.append((type(value), value.content))
    else:
        seen.append(shown(value))


async def plain(surface, client, seen, take):
    method, arguments = api_of(surface, client)
    await visible(method(**arguments), seen)


async def raw(surface, client, seen, take):
    method, arguments = api_of(surface, client, "with_raw_response")
    reply = await settled(method(**arguments))
    seen.append((type(reply), reply.status_code))
    await visible(reply.parse(), seen)


async def body(surface, client, seen, take):
    method, arguments = api_of(surface, client, "with_streaming_response")
    async with entered(method(**arguments)) as reply:
        seen.append((type(reply), await settled(reply.read())))


async def stream(surface, client, seen, take):
    method, arguments = api_of(surface, client)
    async with entered(await settled(method(**arguments, stream=True))) as events:
        seen.append(type(events))
        await each(events, seen, take and take + 1)


async def raw_stream(surface, client, seen, take):
    method, arguments = api_of(surface, client, "with_raw_response")
    reply = await settled(method(**arguments, stream=True))
    async with entered(await settled(reply.parse())) as events:
        await each(events, seen, take)


WAYS = [(surface, way) for surface in SURFACES for way in (plain, raw, body)]
STREAMS = [(surface, way) for surface in STREAMED for way in (stream, raw_stream)]


def table(rows):
    cases = [pytest.param(surface, way, id=f"{surface}-{way.__name__}") for surface, way in rows]
    kinds = pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
    return lambda test: kinds(pytest.mark.parametrize(("surface", "way"), cases)(test))


@pytest.fixture
def compared(scripted, recorder):
    """Runs a case bare and measured, finds no difference, and answers the record and how it ended for the caller."""

    def run(surface, way, kind, outcome, take=None, **options):
        path, answer, *_ = SURFACES[surface]
        scripted.answers[path] = answer if callable(answer) else lambda request: answer
        bare, measured = both(
            lambda client, seen: way(surface, client, seen, take), kind, scripted, outcome, recorder, **options
        )
        assert measured == bare
        assert len(bare[2]) == 1
        call = recorder.only()
        assert call.operation == SURFACES[surface][5]
        return call, bare

    return run


def counted(call, tokens):
    if isinstance(tokens, dict):
        return call.tokens is not None and all(getattr(call.tokens, name) == n for name, n in tokens.items())
    return call.tokens == tokens


@table(WAYS + STREAMS)
def test_an_answer_is_recorded_once_with_what_it_cost(surface, way, kind, compared):
    call, (_, error, _) = compared(surface, way, kind, "ok")
    *_, tokens, cost = SURFACES[surface]
    assert error is None
    assert (call.status, call.http_status, call.streaming) == ("ok", 200, way in (stream, raw_stream))
    if surface == "completions" and way is raw_stream:
        assert call.usage_reason == "not_requested", "the bytes of a raw stream are the caller's own"
        return
    assert counted(call, tokens), call.tokens
    priced = price(call)
    assert cost == (priced.cost_reason if priced.cost_usd is None else priced.cost_usd)
    if call.streaming:
        assert 0 < call.ttft_seconds < call.latency_seconds
        assert call.chunks == 3


@pytest.mark.parametrize(
    ("outcome", "error_type", "http_status"), [("429", "RateLimitError", 429), ("500", "InternalServerError", 500)]
)
@table(WAYS + STREAMS)
def test_a_refusal_is_an_error_with_its_status(surface, way, kind, outcome, error_type, http_status, compared):
    call, (_, error, _) = compared(surface, way, kind, outcome)
    assert error[0].__name__ == error_type
    assert (call.status, call.error_type, call.http_status) == ("error", error_type, http_status)
    assert (call.tokens, call.usage_reason) == (None, "failed")


@table([row for row in WAYS if row[1] is plain] + STREAMS)
def test_a_timeout_is_an_error_without_a_status(surface, way, kind, compared):
    call, (_, error, _) = compared(surface, way, kind, "timeout", timeout=0.1)
    assert error[0].__name__ == "APITimeoutError"
    assert (call.status, call.error_type, call.http_status) == ("error", "APITimeoutError", 0)


@table(WAYS + STREAMS)
def test_a_connection_cut_in_mid_answer_is_an_error(surface, way, kind, compared):
    call, (_, error, _) = compared(surface, way, kind, "cut")
    assert error is not None
    assert call.status == "error"
    assert call.error_type
    assert call.tokens is None


@table(STREAMS)
def test_leaving_a_stream_early_is_recorded_as_abandoned(surface, way, kind, compared):
    call, (seen, _, _) = compared(surface, way, kind, "ok", take=1)
    assert (call.status, call.usage_reason, call.error_type) == ("abandoned", "not_read", "")
    assert seen


@pytest.mark.parametrize(("surface", "way"), [row for row in WAYS if row[1] is not raw] + STREAMS)
def test_a_cancelled_task_is_recorded_as_cancelled(surface, way, scripted, recorder):
    async def run():
        client = wrap(connected(AsyncOpenAI, base_url=scripted.url("hang")), recorder)
        task = asyncio.create_task(way(surface, client, [], None))
        for _ in range(1_000):  # a surface is imported when it is first used, which can take a second
            if len(scripted.requests) > began:
                break
            await asyncio.sleep(0.01)
        # The server sends a few events at once, or nothing, and then stays silent.
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.close()

    path, answer, *_ = SURFACES[surface]
    scripted.answers[path] = answer if callable(answer) else lambda request: answer
    began = len(scripted.requests)
    asyncio.run(run())
    assert (recorder.only().status, recorder.only().error_type) == ("cancelled", "CancelledError")
