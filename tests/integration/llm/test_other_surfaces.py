"""Everything beside chat and responses: one record each, exact usage, and what the bare client gives.

A row is a surface as its caller uses it. Each is asked plainly, for the raw response and for a streamed body, where it
can also for events, under every outcome.
"""

import asyncio

import pytest
from llm_harness import both, connected, each, entered, settled, shown
from llm_surfaces import SURFACES
from openai import AsyncOpenAI, OpenAI

from genux.llm import price, wrap

# Old methods say so; a caller who has not moved on yet is measured all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

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
