"""What `wrap` records of a client in use, and what it never counts twice."""

import asyncio
import copy
import gc
import threading
import weakref

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from genux.llm import manual_call, price, wrap

MESSAGES = [{"role": "user", "content": "hello"}]
ASKED = {"model": "gpt-5-mini", "messages": MESSAGES}


class OwnClient(OpenAI):
    """A subclass with a method and a request of its own."""

    def hello(self):
        return self.chat.completions.create(**ASKED)

    def request(self, *args, **kwargs):
        self.seen = getattr(self, "seen", 0) + 1
        return super().request(*args, **kwargs)


class ServedByFriend(OpenAI):
    """Hands its requests to another client, as a fallback would."""

    def request(self, cast_to, options, **kwargs):
        return self.friend.request(cast_to, options, **kwargs)


def client_of(scripted, outcome="ok", kind=OpenAI, **options):
    return kind(base_url=scripted.url(outcome), api_key="k", **options)


def test_a_copy_is_measured_and_so_is_a_copy_of_it(scripted, recorder):
    client = wrap(client_of(scripted), recorder)
    for each in (client.with_options(timeout=5), client.copy().with_options(max_retries=0), copy.copy(client)):
        each.chat.completions.create(**ASKED)
    assert [call.status for call in recorder.calls] == ["ok"] * 3


def test_wrapping_twice_counts_once(scripted, recorder):
    client = wrap(wrap(client_of(scripted), recorder), recorder)
    client.chat.completions.create(**ASKED)
    sibling = wrap(type(client)(base_url=scripted.url("ok"), api_key="k"), recorder)
    sibling.chat.completions.create(**ASKED)
    assert len(recorder.calls) == 2
    assert recorder.calls[1].attempts == []


def test_a_subclass_keeps_its_own_request_and_methods(scripted, recorder):
    client = wrap(client_of(scripted, kind=OwnClient), recorder)
    client.hello()
    assert client.seen == 1
    assert recorder.only().status == "ok"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_request_made_for_another_request_is_its_attempt(streaming, scripted, recorder):
    client = wrap(client_of(scripted, kind=ServedByFriend), recorder)
    client.friend = wrap(client_of(scripted), recorder)
    reply = client.chat.completions.create(**ASKED, stream=streaming)
    if streaming:
        assert len(list(reply)) == 9
    assert len(recorder.only().attempts) == 1


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("complaint", ["Unrecognized request argument supplied: stream_options", "bad request"])
def test_a_server_that_refuses_to_report_usage_is_asked_once(complaint, kind, scripted, recorder):
    scripted.complaint = complaint
    url = f"{scripted.url('no-stream-options')}/{kind.__name__}/{len(complaint)}"
    began = len(scripted.requests)

    async def run():
        seen = []
        for _ in range(2):
            client = wrap(kind(base_url=url, api_key="k", max_retries=0), recorder, stream_usage=True)
            stream = client.chat.completions.create(**ASKED, stream=True)
            if kind is OpenAI:
                seen.append(len(list(stream)))
                client.close()
            else:
                seen.append(len([chunk async for chunk in await stream]))
                await client.close()
        return seen

    assert asyncio.run(run()) == [9, 9]
    assert [request.get("stream_options") for _, _, request in scripted.requests[began:]] == [
        {"include_usage": True},
        None,
        None,
    ]
    assert [(call.status, call.usage_reason, call.attempts) for call in recorder.calls] == [
        ("ok", "not_requested", [])
    ] * 2


def test_a_request_that_is_bad_by_itself_is_refused_as_it_would_be_without_us(scripted, recorder):
    url = f"{scripted.url('bad')}/never-seen"
    with pytest.raises(openai.BadRequestError, match="no such model"):
        wrap(OpenAI(base_url=url, api_key="k"), recorder, stream_usage=True).chat.completions.create(
            **ASKED, stream=True
        )
    assert (recorder.only().status, recorder.only().http_status) == ("error", 400)
    list(wrap(client_of(scripted), recorder, provider="openai").chat.completions.create(**ASKED, stream=True))
    assert scripted.requests[-1][2]["stream_options"] == {"include_usage": True}, "one server's refusal is its own"


def test_the_callers_own_stream_options_are_left_alone(scripted, recorder):
    client = wrap(client_of(scripted), recorder, stream_usage=True)
    chunks = list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.prompt_tokens == 1_861
    list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": False}))
    assert [call.usage_reason for call in recorder.calls] == ["", "not_requested"]
    assert recorder.calls[0].tokens.cached == 1_792


@pytest.mark.parametrize(("provider", "stream_usage"), [("openai", False), ("", None), ("openrouter", None)])
def test_nobody_is_asked_for_usage_against_the_apps_will_or_who_may_report_it_unasked(
    provider, stream_usage, scripted, recorder
):
    client = wrap(client_of(scripted), recorder, provider=provider, stream_usage=stream_usage)
    list(client.chat.completions.create(**ASKED, stream=True))
    assert "stream_options" not in scripted.requests[-1][2]
    assert recorder.only().usage_reason == "not_requested"


def test_the_clients_own_retries_are_attempts_of_one_call(scripted, recorder):
    client = wrap(client_of(scripted, "429-once", max_retries=2), recorder, provider="openai")
    client.chat.completions.create(**ASKED)
    call = recorder.only()
    assert (call.status, call.http_status) == ("ok", 200)
    first, second = call.attempts
    assert (first.status, first.error_type, first.http_status) == ("error", "RateLimitError", 429)
    assert first.waited_seconds == 0.01
    assert (second.status, second.http_status, second.waited_seconds) == ("ok", 200, 0)
    assert call.latency_seconds >= first.latency_seconds + first.waited_seconds + second.latency_seconds - 0.001
    assert price(call).cost_usd == "0.00007605"


@pytest.mark.parametrize("raw", [False, True])
def test_a_stream_that_nobody_reads_is_recorded_when_it_is_collected(raw, scripted, recorder):
    client = wrap(client_of(scripted), recorder)
    api = client.chat.completions.with_raw_response if raw else client.chat.completions
    stream = api.create(**ASKED, stream=True)
    assert recorder.calls == []
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None
    assert recorder.only().status == "abandoned"


def test_a_stream_read_to_its_end_and_then_closed_is_one_call(scripted, recorder):
    client = wrap(client_of(scripted), recorder, stream_usage=True)
    stream = client.chat.completions.create(**ASKED, stream=True)
    list(stream)
    stream.close()
    assert list(stream) == []
    response = stream.response
    del stream
    gc.collect()
    assert recorder.only().status == "ok"
    assert "close" not in vars(response)


def test_leaving_after_the_last_content_is_not_leaving_early(scripted, recorder):
    client = wrap(client_of(scripted), recorder)
    with client.responses.create(model="gpt-5-mini", input="x", stream=True) as stream:
        for event in stream:
            if event.type == "response.completed":
                break
    call = recorder.only()
    assert call.status == "ok"
    assert call.tokens.input == 1_861


def test_no_text_reaches_the_record(scripted, recorder):
    client = wrap(client_of(scripted), recorder, stream_usage=True)
    secret = "the patient's name is Kim"
    list(
        client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": secret}], stream=True)
    )
    client.responses.create(model="gpt-5-mini", input=secret, instructions=secret)
    assert len(recorder.calls) == 2
    for call in recorder.calls:
        assert "Kim" not in repr(call)
        assert "Names" not in repr(call)


def test_calls_from_many_threads_are_each_recorded(scripted, recorder):
    client = wrap(client_of(scripted), recorder, stream_usage=True)

    def work():
        for _ in range(5):
            list(client.chat.completions.create(**ASKED, stream=True))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.calls) == len({call.call_id for call in recorder.calls}) == 30
    assert {call.tokens.output for call in recorder.calls} == {7}


def test_concurrent_async_calls_do_not_become_each_others_attempts(scripted, recorder):
    async def run():
        async with wrap(client_of(scripted, kind=AsyncOpenAI), recorder) as client:
            await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(8)))

    asyncio.run(run())
    assert len(recorder.calls) == 8
    assert not any(call.attempts for call in recorder.calls)


def test_requests_inside_a_manual_call_are_its_attempts_and_its_cost(scripted, recorder):
    client = wrap(client_of(scripted), recorder, provider="openai")
    with manual_call(recorder, model="agent", operation="agent"):
        client.chat.completions.create(**ASKED)
        client.responses.create(model="gpt-5-mini", input="x")
    call = price(recorder.only())
    assert [attempt.cost_usd for attempt in call.attempts] == ["0.00007605", "0.00007605"]
    assert call.cost_usd == "0.0001521"


@pytest.mark.parametrize("broken", ["call_started", "call_finished"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_failing_recorder_does_not_reach_the_host(broken, streaming, scripted, recorder):
    def fail(*args):
        raise RuntimeError(broken)

    setattr(recorder, broken, fail)
    client = wrap(client_of(scripted), recorder)
    reply = client.chat.completions.create(**ASKED, stream=streaming)
    assert len(list(reply)) == 9 if streaming else reply.choices
    assert [str(error) for _, error in recorder.failures] == [broken]


def test_a_request_that_is_no_generation_costs_nothing(scripted, recorder):
    wrap(client_of(scripted), recorder).models.list()
    call = price(recorder.only())
    assert (call.operation, call.cost_usd, call.cost_reason) == ("models.get", "0", "not_billed")


def test_a_stream_that_ends_before_its_last_event_says_so(scripted, recorder):
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
    begun = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini", "choices": [choice]}
    scripted.answers["/chat/completions"] = lambda request: [begun, begun]
    client = wrap(client_of(scripted), recorder, stream_usage=True)
    assert len(list(client.chat.completions.create(**ASKED, stream=True))) == 2
    assert (recorder.only().status, recorder.only().usage_reason) == ("ok", "ended_early")
