"""Surface x client x way of asking x outcome: one record each, and the caller sees what the bare client gives."""

import asyncio

import openai
import pydantic
import pytest
from llm_harness import both as compared
from llm_harness import connected, each, entered, settled, shown
from openai import AsyncOpenAI, OpenAI

from genux.llm import price, wrap
from genux.wire import Tokens

MODEL = "gpt-5-mini"
TOKENS = Tokens(input=1_861, cached=1_792, output=7)
COST = "0.00007605"  # (69 * 0.25 + 1,792 * 0.025 + 7 * 2) / 1e6
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Summarize: ..."}]}
RESPONSE = {"model": MODEL, "input": "Summarize: ..."}


class Summary(pydantic.BaseModel):
    title: str
    points: list[str]


def resource(client, surface):
    return (client.chat.completions, CHAT) if surface == "chat" else (client.responses, RESPONSE)


async def plain(client, surface, seen, take):
    api, request = resource(client, surface)
    seen.append(shown(await settled(api.create(**request))))


async def parsed(client, surface, seen, take):
    api, request = resource(client, surface)
    wanted = {"response_format": Summary} if surface == "chat" else {"text_format": Summary}
    seen.append(shown(await settled(api.parse(**request, **wanted))))


async def raw(client, surface, seen, take):
    api, request = resource(client, surface)
    reply = await settled(api.with_raw_response.create(**request))
    seen.extend([type(reply), reply.status_code, shown(await settled(reply.parse()))])


async def raw_unparsed(client, surface, seen, take):
    api, request = resource(client, surface)
    reply = await settled(api.with_raw_response.create(**request))
    seen.extend([reply.headers["content-type"], reply.http_response.json()])


async def body_streamed(client, surface, seen, take):
    api, request = resource(client, surface)
    async with entered(api.with_streaming_response.create(**request)) as reply:
        seen.extend([type(reply), shown(await settled(reply.parse()))])


async def body_read(client, surface, seen, take):
    api, request = resource(client, surface)
    async with entered(api.with_streaming_response.create(**request)) as reply:
        seen.append(await settled(reply.json()))


async def stream(client, surface, seen, take):
    api, request = resource(client, surface)
    async with entered(await settled(api.create(**request, stream=True))) as events:
        assert type(events) in (openai.Stream, openai.AsyncStream)
        await each(events, seen, take)


async def helper(client, surface, seen, take):
    api, request = resource(client, surface)
    async with entered(api.stream(**request)) as events:
        await each(events, seen, take)
        if take is None:
            last = events.get_final_completion() if surface == "chat" else events.get_final_response()
            seen.append(shown(await settled(last)))


async def raw_stream(client, surface, seen, take):
    api, request = resource(client, surface)
    reply = await settled(api.with_raw_response.create(**request, stream=True))
    async with entered(await settled(reply.parse())) as events:
        await each(events, seen, take)


async def lines(client, surface, seen, take):
    api, request = resource(client, surface)
    async with entered(api.with_streaming_response.create(**request, stream=True)) as reply:
        await each(reply.iter_lines(), seen, take)


WHOLE = [plain, parsed, raw, raw_unparsed, body_streamed, body_read]
STREAMED = [stream, helper, raw_stream, lines]


def both(way, surface, kind, scripted, outcome, recorder, *, take=None, **options):
    return compared(lambda client, seen: way(client, surface, seen, take), kind, scripted, outcome, recorder, **options)


def table(ways):
    ways = pytest.mark.parametrize("way", ways, ids=lambda way: way.__name__)
    surfaces = pytest.mark.parametrize("surface", ["chat", "responses"])
    kinds = pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
    return lambda test: ways(surfaces(kinds(test)))


@table(WHOLE + STREAMED)
def test_an_answer_is_recorded_once_with_exact_usage_and_cost(way, surface, kind, scripted, recorder):
    bare, measured = both(way, surface, kind, scripted, "ok", recorder)
    assert measured == bare
    assert bare[1] is None
    call = recorder.only()
    assert (call.status, call.error_type, call.http_status) == ("ok", "", 200)
    assert (call.operation, call.provider, call.requested_model) == (surface, "openai", MODEL)
    assert call.streaming is (way in STREAMED)
    assert call.unit_id == "user-42"
    assert call.feature == "reader"
    assert call.assignments[0].variant == "summary"
    assert call.latency_seconds > 0
    if way is lines:
        assert call.tokens is None
        assert call.usage_reason in ("not_requested", "not_reported")
        assert price(call).cost_usd is None
        return
    if way is raw_stream and surface == "chat":
        assert call.usage_reason == "not_requested", "the bytes of a raw stream are the caller's own"
        return
    assert call.tokens == TOKENS
    assert call.served_model == "gpt-5-mini-2025-08-07"
    assert call.service_tier == "default"
    assert price(call).cost_usd == COST
    if way in STREAMED:
        assert 0 < call.ttfb_seconds < call.ttft_seconds < call.latency_seconds
        assert call.chunks == (9 if surface == "chat" else 15)


@pytest.mark.parametrize(
    ("outcome", "error_type", "http_status"), [("429", "RateLimitError", 429), ("500", "InternalServerError", 500)]
)
@table(WHOLE + STREAMED)
def test_a_refusal_is_an_error_with_its_status(
    way, surface, kind, outcome, error_type, http_status, scripted, recorder
):
    bare, measured = both(way, surface, kind, scripted, outcome, recorder)
    assert measured == bare
    assert bare[1][0].__name__ == error_type
    call = recorder.only()
    assert (call.status, call.error_type, call.http_status) == ("error", error_type, http_status)
    assert call.tokens is None
    assert call.usage_reason == "failed"
    assert price(call).cost_usd is None


@table([plain, parsed, raw, body_read, stream, helper, raw_stream, lines])
def test_a_timeout_is_an_error_without_a_status(way, surface, kind, scripted, recorder):
    bare, measured = both(way, surface, kind, scripted, "timeout", recorder, timeout=0.1)
    assert measured == bare
    assert bare[1][0] is openai.APITimeoutError
    call = recorder.only()
    assert (call.status, call.error_type, call.http_status) == ("error", "APITimeoutError", 0)
    assert call.latency_seconds >= 0.1


@table(WHOLE + STREAMED)
def test_a_connection_cut_in_mid_answer_is_an_error(way, surface, kind, scripted, recorder):
    bare, measured = both(way, surface, kind, scripted, "cut", recorder)
    assert measured == bare
    assert bare[1] is not None
    call = recorder.only()
    assert call.status == "error"
    assert call.error_type
    assert call.tokens is None
    if way in (stream, helper, raw_stream):
        assert call.error_type == bare[1][0].__name__
        assert call.http_status == 200
        assert call.chunks == 5


@table(STREAMED)
def test_leaving_a_stream_early_is_recorded_as_abandoned(way, surface, kind, scripted, recorder):
    bare, measured = both(way, surface, kind, scripted, "ok", recorder, take=3)
    assert measured == bare
    call = recorder.only()
    assert call.status == "abandoned"
    assert call.usage_reason == "not_read"
    assert call.error_type == ""


@pytest.mark.parametrize("surface", ["chat", "responses"])
@pytest.mark.parametrize(
    "way", [plain, parsed, raw, body_read, stream, helper, raw_stream, lines], ids=lambda w: w.__name__
)
def test_a_cancelled_task_is_recorded_as_cancelled(way, surface, scripted, recorder):
    async def run():
        client = wrap(connected(AsyncOpenAI, base_url=scripted.url("hang")), recorder)
        seen = []
        task = asyncio.create_task(way(client, surface, seen, None))
        # The server sends five events at once, or nothing, and then stays silent: half a second is past either.
        await asyncio.sleep(0.5)
        assert bool(seen) is (way in STREAMED)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.close()

    asyncio.run(run())
    call = recorder.only()
    assert (call.status, call.error_type) == ("cancelled", "CancelledError")


@table([stream, helper, raw_stream])
def test_an_exception_of_the_consumer_closes_the_stream_as_abandoned(way, surface, kind, scripted, recorder):
    class Stop(list):
        def append(self, item):
            super().append(item)
            if len(self) == 3:
                raise ZeroDivisionError

    async def run():
        client = wrap(connected(kind, base_url=scripted.url("ok")), recorder)
        with pytest.raises(ZeroDivisionError):
            await way(client, surface, Stop(), None)
        await settled(client.close())

    asyncio.run(run())
    assert recorder.only().status == "abandoned"
