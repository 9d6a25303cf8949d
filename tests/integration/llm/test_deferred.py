"""Answers that are finished later, and looked at more than once: their usage counts exactly once."""

import asyncio

import pytest
from openai import AsyncOpenAI, OpenAI

from genux.llm import CallContext, _deferred, manual_call, price, wrap

MODEL = "gpt-5-mini"
USAGE = {
    "input_tokens": 1_000_000,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 1_000_000,
    "output_tokens_details": {"reasoning_tokens": 250_000},
    "total_tokens": 2_000_000,
}
COST = "2.25"
HALF = "1.125"


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Every test meets a fresh process."""
    _deferred._pending.clear()
    _deferred._counted.clear()


@pytest.fixture
def client(scripted, recorder):
    with OpenAI(base_url=scripted.url("ok"), api_key="k", max_retries=0) as bare:
        yield wrap(bare, recorder, provider="openai")


def response(status, usage=None, *, background=True, **more):
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "background": background,
        "error": None,
        "model": "gpt-5-mini-2025-08-07",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": usage,
        **more,
    }


def batch(status, usage=None, **more):
    return {
        "id": "batch_1",
        "object": "batch",
        "completion_window": "24h",
        "created_at": 1_700_000_000,
        "endpoint": "/v1/responses",
        "input_file_id": "file-1",
        "status": status,
        "usage": usage,
        "model": MODEL,
        **more,
    }


def answers(scripted, path, *replies):
    """Each request to a path gets the next reply; the last one stays."""
    left = list(replies)
    scripted.answers[path] = lambda request: left.pop(0) if len(left) > 1 else left[0]


def facts(recorder):
    assert recorder.failures == []
    return [
        (call.operation, call.tokens and call.tokens.output, call.usage_reason, price(call).cost_usd)
        for call in recorder.calls
    ]


def test_a_background_response_is_paid_by_whoever_fetches_it_first_and_by_nobody_else(client, scripted, recorder):
    answers(scripted, "/responses", response("queued"))
    answers(scripted, "/responses/resp_1", response("in_progress"), response("completed", USAGE))
    assert client.responses.create(model=MODEL, input="x", background=True).status == "queued"
    seen = [client.responses.retrieve("resp_1") for _ in range(4)]
    assert [each.status for each in seen] == ["in_progress", "completed", "completed", "completed"]
    assert all(each.usage.output_tokens == 1_000_000 for each in seen[1:]), "the caller still sees it"
    assert facts(recorder) == [
        ("responses", None, "deferred", None),
        ("responses.get", None, "deferred", "0"),
        ("responses.background", 1_000_000, "", COST),
        ("responses.get", None, "counted_before", "0"),
        ("responses.get", None, "counted_before", "0"),
    ]
    assert price(recorder.calls[0]).cost_reason == "no_usage"


def test_the_answer_belongs_to_the_unit_that_asked(client, scripted, recorder):
    answers(scripted, "/responses", response("queued"))
    answers(scripted, "/responses/resp_1", response("completed", USAGE))
    client.responses.create(model=MODEL, input="x", background=True)
    recorder.call_started = lambda call_id: CallContext(unit_id="the worker that polls")
    client.responses.retrieve("resp_1")
    fetched = recorder.calls[-1]
    assert (fetched.unit_id, fetched.feature, fetched.requested_model) == ("user-42", "reader", MODEL)
    assert fetched.assignments == recorder.calls[0].assignments


def test_two_processes_that_fetch_one_answer_leave_one_event_id(client, scripted, recorder):
    answers(scripted, "/responses", response("queued"))
    answers(scripted, "/responses/resp_1", response("completed", USAGE))
    client.responses.create(model=MODEL, input="x", background=True)
    client.responses.retrieve("resp_1")
    _deferred._pending.clear()
    _deferred._counted.clear()
    client.responses.retrieve("resp_1")
    first, second = recorder.calls[1:]
    assert first.tokens == second.tokens
    assert first.event_id == second.event_id
    assert first.call_id != second.call_id
    assert len({call.event_id for call in recorder.calls}) == 2


def test_an_answer_in_the_foreground_is_never_paid_again(client, scripted, recorder):
    answers(scripted, "/responses", response("completed", USAGE, background=False))
    answers(scripted, "/responses/resp_1", response("completed", USAGE, background=False))
    client.responses.create(model=MODEL, input="x")
    client.responses.retrieve("resp_1")
    _deferred._counted.clear()
    client.responses.retrieve("resp_1")
    assert facts(recorder) == [
        ("responses", 1_000_000, "", COST),
        ("responses.get", None, "counted_before", "0"),
        ("responses.get", None, "counted_before", "0"),
    ]


def events(*responses):
    kinds = {"queued": "response.queued", "in_progress": "response.in_progress", "completed": "response.completed"}
    return [
        {"type": kinds[each["status"]], "sequence_number": number, "response": each}
        for number, each in enumerate(responses)
    ]


def test_a_background_stream_pays_for_itself(client, scripted, recorder):
    answers(scripted, "/responses", events(response("queued"), response("completed", USAGE)))
    answers(scripted, "/responses/resp_1", response("completed", USAGE))
    assert len(list(client.responses.create(model=MODEL, input="x", background=True, stream=True))) == 2
    client.responses.retrieve("resp_1")
    assert facts(recorder) == [
        ("responses", 1_000_000, "", COST),
        ("responses.get", None, "counted_before", "0"),
    ]


@pytest.mark.parametrize("background", [True, False])
def test_a_stream_left_early_is_paid_by_the_stream_that_takes_it_up(background, client, scripted, recorder):
    begun, done = (response(s, u, background=background) for s, u in (("in_progress", None), ("completed", USAGE)))
    delta = {
        "type": "response.output_text.delta",
        "sequence_number": 1,
        "delta": "x",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
        "logprobs": [],
    }
    answers(scripted, "/responses", [*events(begun), delta, *events(done)])
    answers(scripted, "/responses/resp_1", events(done))
    with client.responses.create(model=MODEL, input="x", background=background, stream=True) as stream:
        next(stream)
        next(stream)
    assert [event.type for event in client.responses.retrieve("resp_1", stream=True, starting_after=1)] == [
        "response.completed"
    ]
    client.responses.retrieve("resp_1", stream=True).close()
    assert facts(recorder) == [
        ("responses", None, "not_read", None),
        ("responses.background", 1_000_000, "", COST),
        ("responses.get", None, "not_read", "0"),
    ]
    assert recorder.calls[1].streaming


def test_async_polls_at_the_same_time_pay_once(scripted, recorder):
    answers(scripted, "/responses/resp_1", response("completed", USAGE))

    async def run():
        async with wrap(AsyncOpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, provider="openai") as client:
            await asyncio.gather(*(client.responses.retrieve("resp_1") for _ in range(6)))

    asyncio.run(run())
    assert sorted(facts(recorder)) == [
        ("responses.background", 1_000_000, "", COST),
        *[("responses.get", None, "counted_before", "0")] * 5,
    ]


@pytest.mark.parametrize("way", ["with_raw_response", "with_streaming_response"])
def test_raw_polls_are_read_like_any_other(way, client, scripted, recorder):
    answers(scripted, "/responses/resp_1", response("completed", USAGE))
    for _ in range(2):
        reply = getattr(client.responses, way).retrieve("resp_1")
        if way == "with_raw_response":
            assert reply.http_response.json()["status"] == "completed"
        else:
            with reply as body:
                body.parse()
        del reply
    assert facts(recorder) == [
        ("responses.background", 1_000_000, "", COST),
        ("responses.get", None, "counted_before", "0"),
    ]


def test_a_cancelled_response_costs_what_it_says(client, scripted, recorder):
    answers(scripted, "/responses", response("queued"))
    answers(scripted, "/responses/resp_1/cancel", response("cancelled", USAGE))
    client.responses.create(model=MODEL, input="x", background=True)
    client.responses.cancel("resp_1")
    client.responses.cancel("resp_1")
    assert facts(recorder) == [
        ("responses", None, "deferred", None),
        ("responses.background", 1_000_000, "", COST),
        ("responses.cancel", None, "counted_before", "0"),
    ]


def test_a_background_response_that_failed_is_an_error_once(client, scripted, recorder):
    failed = response("failed", USAGE, error={"code": "server_error", "message": "broken"})
    answers(scripted, "/responses/resp_1", failed)
    client.responses.retrieve("resp_1")
    client.responses.retrieve("resp_1")
    assert [(call.status, call.error_type) for call in recorder.calls] == [("error", "server_error"), ("ok", "")]
    assert facts(recorder)[0] == ("responses.background", 1_000_000, "", COST)


def test_a_batch_is_paid_once_at_the_price_of_batches(client, scripted, recorder):
    answers(scripted, "/batches", batch("validating"))
    answers(scripted, "/batches/batch_1", batch("in_progress"), batch("finalizing"), batch("completed", USAGE))
    client.batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
    for _ in range(4):
        client.batches.retrieve("batch_1")
    assert facts(recorder) == [
        ("batches.post", None, "deferred", "0"),
        ("batches.get", None, "deferred", "0"),
        ("batches.get", None, "deferred", "0"),
        ("batches.results", 1_000_000, "", HALF),
        ("batches.get", None, "counted_before", "0"),
    ]
    assert recorder.calls[3].service_tier == "batch"


def test_a_batch_without_usage_or_model_has_no_cost_and_says_why(client, scripted, recorder):
    answers(scripted, "/batches/batch_1", batch("completed"))
    answers(scripted, "/batches/batch_2", batch("completed", USAGE, id="batch_2", model=None))
    client.batches.retrieve("batch_1")
    client.batches.retrieve("batch_2")
    priced = [price(call) for call in recorder.calls]
    assert [(call.operation, call.cost_usd, call.cost_reason) for call in priced] == [
        ("batches.results", None, "no_usage"),
        ("batches.results", None, "no_model"),
    ]


def test_an_assistant_run_is_paid_when_it_is_seen_done(client, scripted, recorder):
    run = {"id": "run_1", "object": "thread.run", "created_at": 1, "thread_id": "t", "model": MODEL, "tools": []}
    used = {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000, "total_tokens": 2_000_000}
    answers(scripted, "/threads/t/runs", {**run, "status": "queued", "usage": None})
    answers(scripted, "/threads/t/runs/run_1", {**run, "status": "completed", "usage": used})
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.beta.threads.runs.create_and_poll(thread_id="t", assistant_id="a", poll_interval_ms=1)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.beta.threads.runs.retrieve("run_1", thread_id="t")
    assert [(call.operation, price(call).cost_usd) for call in recorder.calls][1:] == [
        ("threads.run", COST),
        ("threads.get", "0"),
    ]


def test_looking_at_a_stored_completion_or_labelling_it_costs_nothing(client, scripted, recorder):
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], store=True)
    client.chat.completions.retrieve("chatcmpl-local-1")
    client.chat.completions.update("chatcmpl-local-1", metadata={"a": "b"})
    assert [(call.operation, bool(call.tokens), price(call).cost_usd) for call in recorder.calls] == [
        ("chat", True, "0.00007605"),
        ("chat.get", False, "0"),
        ("chat.update", False, "0"),
    ]


def test_polls_inside_a_manual_call_make_its_cost_once(client, scripted, recorder):
    answers(scripted, "/responses", response("queued"))
    answers(scripted, "/responses/resp_1", response("completed", USAGE))
    with manual_call(recorder, model="agent", operation="agent"):
        client.responses.create(model=MODEL, input="x", background=True)
        client.responses.retrieve("resp_1")
        client.responses.retrieve("resp_1")
    assert price(recorder.only()).cost_usd == COST
    assert len(recorder.only().attempts) == 3


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(_deferred, "_MAX_REMEMBERED", 10)
    for number in range(100):
        _deferred._remember(_deferred._counted, str(number), object())
    assert list(_deferred._counted) == [str(number) for number in range(90, 100)]
