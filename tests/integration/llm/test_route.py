"""A routed client against a server that keeps its own books: who is served, who is called, and what it costs."""

import asyncio
import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from genux.llm import Route, Target, price, price_tokens, wrap
from genux.llm._target import key_id_of
from genux.wire import Tokens
from genux_server.demo._ledger import hashed
from genux_server.demo.model_server import Fault, ModelServerConfig, create_model_app, serve_in_thread

PRIMARY, SECOND = "gpt-5-mini", "gpt-5-nano"
ASKED = {"model": PRIMARY, "messages": [{"role": "user", "content": "Names are bound once. They stay bound twice."}]}
LIMITED = Fault(key="sk-a", status=429, code="rate_limit_exceeded", retry_after_seconds=30.0)
FLAKY = Fault(model=PRIMARY, share=0.5, status=500)


class Stand:
    """A running stand-in."""

    def __init__(self, url):
        self.url = url
        self.base_url = f"{url}/v1"

    def ledger(self):
        return httpx2.get(f"{self.url}/_ledger").json()["requests"]

    def of(self, key):
        return [entry for entry in self.ledger() if entry["key"] == hashed(key)]

    def control(self, **changes):
        httpx2.post(f"{self.url}/_control", json=changes).raise_for_status()


@pytest.fixture
def stand():
    stops = []

    def start(*faults, **config):
        app = create_model_app(ModelServerConfig(**{"slowness": 0.0, "faults": list(faults), **config}))
        url, stop = serve_in_thread(app)
        stops.append(stop)
        return Stand(url)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def routed(recorder):
    """A client of a stand-in whose requests go along a route."""
    clients = []

    def make(server, route, kind=OpenAI, **options):
        client = kind(base_url=server.base_url, api_key="sk-own", **options)
        clients.append(client)
        return wrap(client, recorder, provider="openai", stream_usage=True, route=route)

    yield make
    for client in clients:
        if isinstance(client, OpenAI):
            client.close()


def pair_and_fallback(**settings):
    targets = [Target(key="sk-a", name="a"), Target(key="sk-b", name="b"), Target(key="sk-c", model=SECOND, name="c")]
    return Route("summaries", targets, **settings)


def chat(client):
    return client.chat.completions.create(**ASKED).model


def stream(client):
    return {chunk.model for chunk in client.chat.completions.create(**ASKED, stream=True)}.pop()


def respond(client):
    return client.responses.create(model=PRIMARY, input=ASKED["messages"]).model


def respond_stream(client):
    with client.responses.stream(model=PRIMARY, input=ASKED["messages"]) as events:
        return events.get_final_response().model


async def achat(client):
    return (await client.chat.completions.create(**ASKED)).model


async def astream(client):
    models = [chunk.model async for chunk in await client.chat.completions.create(**ASKED, stream=True)]
    return models[0]


def books_agree(server, calls):
    """Every request that the server saw is an attempt, and both sides come to the same sum."""
    keys = {key_id_of(key): hashed(key) for key in ("sk-a", "sk-b", "sk-c", "sk-own")}
    entries = server.ledger()
    attempts = [attempt for call in calls for attempt in call.attempts]
    seen = Counter((keys[each.key_id], each.model, each.http_status) for each in attempts)
    assert seen == Counter((each["key"], each["model"], each["status"]) for each in entries)
    billed = sum(
        price_tokens(
            Tokens(input=each["input_tokens"], cached=each["cached_tokens"], output=each["output_tokens"]),
            provider="openai",
            model=each["model"],
            at=calls[0].at,
        ).cost_usd
        for each in entries
        if each["completed"]
    )
    priced = [price(call) for call in calls]
    assert sum(Decimal(call.cost_usd) for call in priced) == billed > 0
    of_attempts = [each.cost_usd for call in priced for each in call.attempts if each.cost_usd is not None]
    assert sum(map(Decimal, of_attempts)) == billed


@pytest.mark.parametrize("ask", [chat, stream, respond, respond_stream])
@pytest.mark.parametrize("threads", [1, 6])
def test_with_a_limited_key_and_a_failing_model_everyone_is_served_and_the_books_agree(
    ask, threads, stand, routed, recorder
):
    server = stand(LIMITED, FLAKY)
    route = pair_and_fallback()
    client = routed(server, route)
    ask(client)
    with ThreadPoolExecutor(threads) as pool:
        models = list(pool.map(lambda _: ask(client), range(20)))
    assert set(models) == {PRIMARY, SECOND}
    assert recorder.failures == []
    assert {call.status for call in recorder.calls} == {"ok"}
    assert len(recorder.calls) == 21
    assert len(server.of("sk-a")) == 1
    for call in recorder.calls:
        assert call.requested_model == PRIMARY
        assert call.fallback == (call.served_model == SECOND)
        assert bool(call.fallback_reason) == call.fallback
    books_agree(server, recorder.calls)
    state = {target.name: target for target in route.status().targets}
    assert (state["a"].state, state["a"].last_error, state["a"].rate_limited) == ("cooling", "rate_limited", 1)
    assert 0 < state["a"].ready_in_seconds <= 30
    assert sum(target.ok for target in state.values()) == 21
    assert [target.in_flight for target in state.values()] == [0, 0, 0]


@pytest.mark.parametrize("ask", [achat, astream])
def test_the_same_from_coroutines_in_several_loops(ask, stand, routed, recorder):
    server = stand(LIMITED, FLAKY)
    route = pair_and_fallback()

    async def storm(n):
        client = routed(server, route, AsyncOpenAI)
        async with client:
            return await asyncio.gather(*(ask(client) for _ in range(n)))

    assert asyncio.run(storm(1)) != []
    with ThreadPoolExecutor(2) as pool:
        models = [model for each in pool.map(lambda _: asyncio.run(storm(12)), range(2)) for model in each]
    assert set(models) == {PRIMARY, SECOND}
    assert recorder.failures == []
    assert {call.status for call in recorder.calls} == {"ok"}
    assert len(server.of("sk-a")) == 1
    books_agree(server, recorder.calls)


def test_a_key_comes_back_when_its_time_is_over_and_not_before(stand, routed, recorder):
    server = stand(Fault(key="sk-a", status=429, code="rate_limit_exceeded", retry_after_seconds=0.4))
    client = routed(server, pair_and_fallback())
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        chat(client)
    arrivals = [entry["at"] for entry in server.of("sk-a")]
    assert len(arrivals) >= 3
    assert min(later - earlier for earlier, later in itertools.pairwise(arrivals)) >= 0.4
    assert not any(call.fallback for call in recorder.calls)
    assert {call.served_model for call in recorder.calls} == {PRIMARY}


def test_what_a_server_asks_for_is_capped(stand, routed):
    server = stand(Fault(key="sk-a", status=429, code="rate_limit_exceeded", retry_after_seconds=3_600.0))
    route = pair_and_fallback(max_cooldown_seconds=5.0)
    chat(routed(server, route))
    assert 0 < route.status().targets[0].ready_in_seconds <= 5.0


def test_when_everything_cools_the_request_waits_for_the_first_to_come_back(stand, routed, recorder):
    server = stand(Fault(key="sk-a", status=429, code="rate_limit_exceeded", retry_after_seconds=0.3))
    route = Route("one", [Target(key="sk-a")])
    client = routed(server, route)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, client)
        while not server.of("sk-a"):
            time.sleep(0.01)
        server.control(faults=[])
        assert answer.result(10) == PRIMARY
    first, second = recorder.only().attempts
    assert (first.status, first.http_status, first.error_type, first.waited_seconds) == (
        "error",
        429,
        "RateLimitError",
        0.0,
    )
    assert 0.25 <= second.waited_seconds <= recorder.only().latency_seconds
    assert route.status().waits == 1


def test_the_total_budget_holds_and_the_last_error_is_what_the_app_sees(stand, routed, recorder):
    server = stand(Fault(status=429, code="rate_limit_exceeded", retry_after_seconds=30.0))
    client = routed(server, pair_and_fallback(total_seconds=1.0))
    began = time.monotonic()
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client)
    assert time.monotonic() - began < 1.0
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "30"
    assert [attempt.target for attempt in recorder.only().attempts] == ["a", "b", "c"]
    assert (recorder.only().status, recorder.only().error_type, recorder.only().fallback) == (
        "error",
        "RateLimitError",
        False,
    )


def test_a_request_that_could_go_nowhere_in_time_is_refused_without_calling_anybody(stand, routed, recorder):
    server = stand(Fault(status=429, code="rate_limit_exceeded", retry_after_seconds=30.0))
    client = routed(server, pair_and_fallback(total_seconds=1.0))
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            chat(client)
    assert len(server.ledger()) == 3
    assert "`a`: rate_limited" in str(caught.value)
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 30
    assert (recorder.calls[1].status, recorder.calls[1].attempts) == ("error", [])


def test_a_slow_target_takes_no_more_than_the_budget(stand, routed):
    server = stand(slowness=100.0)
    client = routed(server, Route("slow", [Target(key="sk-a")], total_seconds=0.5))
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        chat(client)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(400, "bad", openai.BadRequestError), (422, "bad", openai.UnprocessableEntityError)],
)
def test_what_is_wrong_with_the_request_is_no_other_targets_business(status, code, error, stand, routed, recorder):
    server = stand(Fault(status=status, code=code))
    route = pair_and_fallback()
    with pytest.raises(error):
        chat(routed(server, route))
    assert len(server.ledger()) == len(recorder.only().attempts) == 1
    assert {target.state for target in route.status().targets} == {"ready"}


def test_a_model_that_is_not_there_is_asked_of_another_model_only(stand, routed, recorder):
    server = stand(Fault(model=PRIMARY, status=404, code="model_not_found"))
    assert chat(routed(server, pair_and_fallback())) == SECOND
    assert [(each.target, each.http_status) for each in recorder.only().attempts] == [("a", 404), ("c", 200)]
    assert recorder.only().fallback_reason == "model_not_found"


@pytest.mark.parametrize(
    ("status", "code", "why"), [(401, "invalid_api_key", "unauthorized"), (429, "insufficient_quota", "quota")]
)
def test_a_key_without_credit_or_rights_is_out_for_long_and_that_is_said_once(
    status, code, why, stand, routed, recorder
):
    server = stand(Fault(key="sk-a", status=status, code=code, retry_after_seconds=0.1))
    said = []
    route = pair_and_fallback()
    route.adopt({}, lambda _topic, message: said.append(message))
    client = routed(server, route)
    for _ in range(3):
        assert chat(client) == PRIMARY
    assert len(server.of("sk-a")) == 1
    assert len(said) == 1
    assert why in said[0]
    out = route.status().targets[0]
    assert (out.state, out.last_error) == ("out", why)
    assert out.ready_in_seconds > 800


@pytest.mark.parametrize("ask", [stream, respond_stream])
def test_an_error_inside_a_stream_before_its_first_token_goes_elsewhere(ask, stand, routed, recorder):
    server = stand(Fault(key="sk-a", status=200, code="server_error"))
    assert ask(routed(server, pair_and_fallback())) == PRIMARY
    first, second = recorder.only().attempts
    assert (first.target, first.status, first.http_status) == ("a", "error", 200)
    assert (second.target, second.status) == ("b", "ok")
    assert recorder.only().tokens == second.tokens
    assert recorder.only().ttft_seconds >= first.latency_seconds


def test_raw_responses_streaming_responses_parsing_and_copies_go_along_the_route(stand, routed, recorder):
    server = stand(LIMITED)
    client = routed(server, pair_and_fallback())
    assert client.chat.completions.with_raw_response.create(**ASKED).parse().model == PRIMARY
    with client.chat.completions.with_streaming_response.create(**ASKED) as response:
        assert response.parse().model == PRIMARY
    with client.with_options(timeout=20).chat.completions.with_streaming_response.create(**ASKED, stream=True) as raw:
        assert b"[DONE]" in raw.read()
    client.copy().embeddings.create(model="text-embedding-3-small", input="hello")
    assert recorder.failures == []
    assert [[each.target for each in call.attempts] for call in recorder.calls] == [["a", "b"], ["b"], ["b"], ["b"]]
    assert {call.status for call in recorder.calls} == {"ok"}
    assert {entry["key"] for entry in server.ledger()} == {hashed("sk-a"), hashed("sk-b")}


def test_what_is_kept_at_the_provider_stays_with_the_client(stand, routed, recorder):
    server = stand()
    routed(server, pair_and_fallback()).models.list()
    assert [entry["key"] for entry in server.ledger()] == [hashed("sk-own")]
    assert recorder.only().attempts == []
