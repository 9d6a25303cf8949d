"""One `gen_ai` span for each call, alone and beside Sentry's own OpenAI integration, in both ways of sending traces."""

import asyncio
import contextlib
import gc

import openai
import pydantic
import pytest

import genux
from genux import testing

ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Name the capital of Norway, please."}]}
OPTIONS = {"include_usage": True}


class Answer(pydantic.BaseModel):
    title: str


def create(llm):
    llm.chat.completions.create(**ASKED)


def streamed(llm):
    list(llm.chat.completions.create(**ASKED, stream=True, stream_options=OPTIONS))


def helper(llm):
    with llm.chat.completions.stream(**ASKED, stream_options=OPTIONS) as stream:
        stream.until_done()


def parsed(llm):
    llm.chat.completions.parse(**ASKED, response_format=Answer)


def raw(llm):
    llm.chat.completions.with_raw_response.create(**ASKED).parse()


def response(llm):
    llm.responses.create(model="gpt-5-mini", input="Name the capital of Norway, please.")


def streamed_response(llm):
    list(llm.responses.create(model="gpt-5-mini", input="Name the capital of Norway, please.", stream=True))


def embedding(llm):
    llm.embeddings.create(model="text-embedding-3-small", input="Oslo")


CALLS = [create, streamed, helper, parsed, raw, response, streamed_response, embedding]


def only(spans):
    assert len(spans) == 1, spans
    return spans[0]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_call_is_one_span_with_what_genux_knows(call, traced, envelopes, gx, llm):
    with testing.recording() as seen, gx.unit("user-42"), gx.feature("reader"), traced():
        entry = gx.variant("ai-entry")
        call(llm)
    record = only(seen.calls)
    span = only(envelopes.generations)
    data = span["data"]
    assert data["genux.call_id"] == record.call_id
    assert data["genux.variant.ai-entry"] == entry.key
    assert (data["genux.feature"], data["genux.status"], data["genux.attempts"]) == ("reader", "ok", 1)
    assert data["gen_ai.request.model"] == record.requested_model
    assert data["gen_ai.response.model"] == record.served_model
    assert data["gen_ai.usage.input_tokens"] == record.tokens.input > 0
    assert data.get("gen_ai.usage.output_tokens", 0) == record.tokens.output
    if record.ttft_seconds:
        assert data["gen_ai.response.time_to_first_token"] > 0
    assert b"Norway" not in b"".join(envelopes.bodies)
    assert b"user-42" not in b"".join(envelopes.bodies)
    root = only([other for other in envelopes.spans if not other.get("parent_span_id")])
    assert span["parent_span_id"] == root["span_id"]
    assert span["trace_id"] == root["trace_id"]
    assert gx.status().failures == {}


def test_a_body_that_is_read_late_is_one_span_that_knows_its_call_and_variants(traced, envelopes, gx, llm):
    with testing.recording() as seen, gx.unit("user-1"), traced():
        entry = gx.variant("ai-entry")
        with llm.chat.completions.with_streaming_response.create(**ASKED) as reply:
            reply.parse()
    data = only(envelopes.generations)["data"]
    assert data["genux.call_id"] == only(seen.calls).call_id
    assert data["genux.variant.ai-entry"] == entry.key


def test_asynchronous_calls_in_parallel_are_children_of_their_own_roots(traced, envelopes, gx, model_url):
    async def request(number, llm):
        with gx.unit(f"user-{number}"), gx.feature(f"feature-{number}"), traced(f"request-{number}"):
            if number % 2:
                await llm.chat.completions.create(**ASKED)
            else:
                async for _ in await llm.chat.completions.create(**ASKED, stream=True):
                    pass

    async def serve():
        async with openai.AsyncOpenAI(base_url=f"{model_url}/v1", api_key="k") as client:
            llm = gx.wrap(client)
            # A task of its own for each, as a server makes them; Sentry forks its scopes there.
            import sentry_sdk

            async def isolated(number):
                with sentry_sdk.isolation_scope():
                    await request(number, llm)

            await asyncio.gather(*(isolated(number) for number in range(6)))

    asyncio.run(serve())
    spans = envelopes.spans
    names = {span["span_id"]: span.get("name") or span.get("transaction") for span in spans}
    found = {names[span["parent_span_id"]]: span["data"]["genux.feature"] for span in envelopes.generations}
    assert found == {f"request-{number}": f"feature-{number}" for number in range(6)}


def test_a_stream_is_as_long_as_it_is_read(start_sentry, lifecycle, envelopes, gx, llm):
    start_sentry(traces_sample_rate=1.0, trace_lifecycle=lifecycle)
    import sentry_sdk

    root = sentry_sdk.traces.start_span if lifecycle == "stream" else sentry_sdk.start_transaction
    with testing.recording() as seen, root(name="request"):
        streamed(llm)
    span = only(envelopes.generations)
    assert span["op"] == "gen_ai.chat"
    assert (span.get("name") or span["description"]) == "chat gpt-5-mini"
    ends = span.get("end_timestamp") or span["timestamp"]
    assert ends - span["start_timestamp"] == pytest.approx(only(seen.calls).latency_seconds, abs=0.001)
    assert span["data"]["gen_ai.response.streaming"] is True


@pytest.mark.parametrize("leave", ["closed", "collected"])
def test_a_stream_left_early_is_a_span_too(leave, traced, envelopes, gx, llm):
    with testing.recording() as seen, traced():
        stream = llm.chat.completions.create(**ASKED, stream=True)
        next(iter(stream))
        if leave == "closed":
            stream.close()
        else:
            del stream
            gc.collect()
    assert only(seen.calls).status == "abandoned"
    assert only(envelopes.generations)["data"]["genux.status"] == "abandoned"


def test_a_cancelled_call_is_a_span_too(traced, envelopes, gx, model_url):
    async def visit():
        async with openai.AsyncOpenAI(base_url=f"{model_url}/v1", api_key="k") as client:
            llm = gx.wrap(client)
            with traced():
                stream = await llm.chat.completions.create(**ASKED, stream=True)
                await anext(aiter(stream))

                async def read():
                    async for _ in stream:
                        await asyncio.sleep(30)

                reading = asyncio.create_task(read())
                await asyncio.sleep(0.05)
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
                await stream.close()

    with testing.recording() as seen:
        asyncio.run(visit())
    span = only(envelopes.generations)
    assert span["data"]["genux.status"] == only(seen.calls).status
    assert only(seen.calls).status in {"cancelled", "abandoned"}


def test_a_call_that_fails_is_a_span_with_its_error(traced, envelopes, gx, llm):
    with traced(), contextlib.suppress(openai.NotFoundError):
        llm.chat.completions.create(**{**ASKED, "model": "no-such-model"})
    span = only(envelopes.generations)
    assert span["status"] in {"error", "internal_error"}
    assert span["data"]["error.type"] == "NotFoundError"
    assert span["data"]["genux.status"] == "error"


def test_a_call_measured_by_hand_is_a_span(traced, envelopes, gx):
    with traced(), gx.call(model="claude-sonnet-4-5", provider="anthropic") as call:
        call.first_token()
        call.usage(input_tokens=10, cached_tokens=4, output_tokens=3, reasoning_tokens=1, served_model="claude-x")
    data = only(envelopes.generations)["data"]
    assert data["gen_ai.provider.name"] == "anthropic"
    assert data["gen_ai.operation.name"] == "chat"
    assert (data["gen_ai.request.model"], data["gen_ai.response.model"]) == ("claude-sonnet-4-5", "claude-x")
    assert data["gen_ai.usage.input_tokens"] == 10
    assert data["gen_ai.usage.input_tokens.cached"] == 4
    assert data["gen_ai.usage.output_tokens"] == 3
    assert data["gen_ai.usage.output_tokens.reasoning"] == 1
    assert data["gen_ai.usage.total_tokens"] == 13


@pytest.mark.parametrize("inner", [create, parsed, streamed], ids=lambda call: call.__name__)
def test_tokens_of_a_request_inside_a_call_by_hand_are_counted_once(inner, traced, envelopes, gx, llm):
    with testing.recording() as seen, gx.unit("user-1"), traced():
        entry = gx.variant("ai-entry")
        with gx.call(model="router") as call:
            call_id = call.call_id
            inner(llm)
    (attempt,) = only(seen.calls).attempts
    generation = only(envelopes.generations)["data"]
    assert generation["gen_ai.usage.input_tokens"] == attempt.tokens.input
    assert (generation["genux.call_id"], generation["genux.variant.ai-entry"]) == (call_id, entry.key)
    ours = only([span for span in envelopes.spans if span.get("data", {}).get("genux.attempts")])
    assert ours["op"] == ("genux.call" if traced.beside and inner is not parsed else "gen_ai.chat")


def test_two_calls_inside_one_span_of_the_hosts_own_are_two_spans(traced, lifecycle, envelopes, gx, llm):
    import sentry_sdk

    def own():
        if lifecycle == "stream":
            return sentry_sdk.traces.start_span(name="mine", attributes={"sentry.op": "gen_ai.chat"})
        return sentry_sdk.start_span(op="gen_ai.chat", name="mine")

    with testing.recording() as seen, traced(), own():
        parsed(llm)
        parsed(llm)
    ids = sorted(span["data"]["genux.call_id"] for span in envelopes.generations)
    assert ids == sorted(call.call_id for call in seen.calls)


def test_an_agents_span_is_not_taken_for_a_call(traced, lifecycle, envelopes, gx, llm):
    import sentry_sdk

    def agent():
        if lifecycle == "stream":
            return sentry_sdk.traces.start_span(name="agent", attributes={"sentry.op": "gen_ai.invoke_agent"})
        return sentry_sdk.start_span(op="gen_ai.invoke_agent", name="agent")

    with traced(), agent():
        parsed(llm)
    by_op = {span["op"]: span for span in envelopes.generations}
    assert by_op.keys() == {"gen_ai.invoke_agent", "gen_ai.chat"}
    assert by_op["gen_ai.chat"]["parent_span_id"] == by_op["gen_ai.invoke_agent"]["span_id"]
    assert "genux.call_id" not in by_op["gen_ai.invoke_agent"]["data"]


def test_a_request_that_generates_nothing_is_no_span_of_ours(traced, envelopes, gx, llm):
    with traced():
        llm.models.list()
    assert envelopes.generations == []


def test_a_call_outside_of_any_trace_is_a_trace_of_its_own(traced, envelopes, gx, llm):
    create(llm)
    span = only(envelopes.generations)
    assert not span.get("parent_span_id")


def test_without_tracing_there_are_no_spans(start_sentry, lifecycle, envelopes, gx, llm):
    start_sentry(trace_lifecycle=lifecycle)
    create(llm)
    assert envelopes.spans == []
    assert genux.status().failures == {}


@pytest.mark.parametrize("call", [create, streamed], ids=lambda call: call.__name__)
def test_a_call_along_a_route_is_one_span_however_many_attempts_it_took(call, traced, envelopes, gx, model_url):
    route = gx.route("summaries", [genux.Target(model="no-such-model"), genux.Target(model="gpt-5-mini")])
    with (
        openai.OpenAI(base_url=f"{model_url}/v1", api_key="k") as client,
        testing.recording() as seen,
        traced(),
    ):
        call(gx.wrap(client, route=route))
    record = only(seen.calls)
    data = only(envelopes.generations)["data"]
    assert len(record.attempts) == data["genux.attempts"] == 2
    assert data["genux.fallback"] is record.fallback is True
    assert data["gen_ai.response.model"] == record.served_model
    assert data["gen_ai.usage.input_tokens"] == record.tokens.input > 0
