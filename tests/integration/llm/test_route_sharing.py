"""What a route does when many share it: pools per arm, limits, waits that are cancelled, forks, other clients."""

import asyncio
import gc
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from genux.llm import CallContext, Route, Target, manual_call, wrap
from genux.wire import AssignmentRef
from genux_server.demo.model_server import Fault, ModelServerConfig, create_model_app, serve_in_thread

PRIMARY, SECOND = "gpt-5-mini", "gpt-5-nano"
ASKED = {"model": PRIMARY, "messages": [{"role": "user", "content": "Names are bound once."}]}


@pytest.fixture
def serve():
    stops = []

    def start(**config):
        app = create_model_app(ModelServerConfig(**{"slowness": 0.0, **config}))
        url, stop = serve_in_thread(app)
        stops.append(stop)
        return f"{url}/v1", app.extensions["genux_model_server"].ledger

    yield start
    for stop in stops:
        stop()


def client_of(base_url, recorder, route, kind=OpenAI, **options):
    return wrap(kind(base_url=base_url, api_key="sk-own", **options), recorder, stream_usage=True, route=route)


def in_arm(recorder, arm):
    experiment, _, variant = arm.partition(":")
    assignments = (AssignmentRef(experiment=experiment, variant=variant),)
    recorder.call_started = lambda _: CallContext(unit_id="u", assignments=assignments)


def test_the_storm_of_one_arm_does_not_reach_the_keys_of_another(serve, recorder):
    base_url, _ = serve(requests_per_minute=5, retry_after_seconds=30)
    targets = [Target(key="sk-a", arms=("entry:chat",)), Target(key="sk-b", arms=("entry:action",)), Target(key="sk-c")]
    route = Route("pools", targets, total_seconds=5)
    client = client_of(base_url, recorder, route)
    in_arm(recorder, "entry:chat")
    for _ in range(9):
        client.chat.completions.create(**ASKED)
    assert [call.attempts[-1].target for call in recorder.calls] == ["target-1"] * 5 + ["target-3"] * 4
    recorder.calls.clear()
    in_arm(recorder, "entry:action")
    for _ in range(4):
        client.chat.completions.create(**ASKED)
    assert [[each.target for each in call.attempts] for call in recorder.calls] == [["target-2"]] * 4
    recorder.calls.clear()
    in_arm(recorder, "entry:none")
    client.chat.completions.create(**ASKED)
    assert recorder.only().attempts[0].target == "target-3"
    assert [target.rate_limited for target in route.status().targets] == [1, 0, 0]


def test_no_more_are_in_flight_than_a_target_takes_streams_included(serve, recorder):
    base_url, _ = serve(slowness=0.3, jitter=0.0)
    route = Route("narrow", [Target(key="sk-a", max_concurrent=2)])
    client = client_of(base_url, recorder, route)
    most = 0
    done = threading.Event()

    def watch():
        nonlocal most
        while not done.is_set():
            most = max(most, route.status().targets[0].in_flight)
            time.sleep(0.005)

    def work(streaming):
        reply = client.chat.completions.create(**ASKED, stream=streaming)
        return len(list(reply)) if streaming else 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, [True, False] * 5))
    done.set()
    watcher.join()
    assert most == 2
    assert {call.status for call in recorder.calls} == {"ok"}
    assert any(call.attempts[0].waited_seconds for call in recorder.calls)
    assert (route.status().waiting, route.status().targets[0].in_flight) == (0, 0)


def test_a_stream_that_nobody_reads_gives_its_slot_back_when_it_is_collected(serve, recorder):
    base_url, _ = serve()
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)], total_seconds=5)
    client = client_of(base_url, recorder, route)
    stream = client.chat.completions.create(**ASKED, stream=True)
    assert route.status().targets[0].in_flight == 1
    del stream
    gc.collect()
    assert recorder.only().status == "abandoned"
    assert route.status().targets[0].in_flight == 0
    client.chat.completions.create(**ASKED)


def test_a_wait_that_is_cancelled_leaves_no_trace_but_a_record(serve, recorder):
    base_url, ledger = serve(slowness=2.0, jitter=0.0)
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)])

    async def run():
        async with client_of(base_url, recorder, route, AsyncOpenAI) as client:
            first = asyncio.create_task(client.chat.completions.create(**ASKED))
            second = asyncio.create_task(client.chat.completions.create(**ASKED))
            while route.status().waiting == 0:  # noqa: ASYNC110 - the route belongs to no loop that could set an event
                await asyncio.sleep(0.01)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert (await first).model == PRIMARY

    asyncio.run(run())
    assert sorted((call.status, len(call.attempts)) for call in recorder.calls) == [("cancelled", 0), ("ok", 1)]
    assert len(ledger.entries()) == 1
    assert (route.status().waiting, route.status().targets[0].in_flight) == (0, 0)


def test_a_slot_that_was_handed_to_a_cancelled_wait_is_not_lost(serve, recorder):
    base_url, _ = serve()
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)], total_seconds=5)
    held = route.take(route.plan(frozenset(), 60.0))

    async def run():
        async with client_of(base_url, recorder, route, AsyncOpenAI) as client:
            waiting = asyncio.create_task(client.chat.completions.create(**ASKED))
            while route.status().waiting == 0:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            route.give_back(held, 0)
            assert (route.status().waiting, route.status().targets[0].in_flight) == (0, 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert route.status().targets[0].in_flight == 0
            await client.chat.completions.create(**ASKED)

    asyncio.run(run())
    assert [call.status for call in recorder.calls] == ["cancelled", "ok"]


def test_waits_end_across_threads_and_loops(serve, recorder):
    base_url, _ = serve(slowness=0.3, jitter=0.0)
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)])
    sync = client_of(base_url, recorder, route)

    async def run():
        async with client_of(base_url, recorder, route, AsyncOpenAI) as client:
            return await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(3)))

    with ThreadPoolExecutor(4) as pool:
        loops = [pool.submit(asyncio.run, run()) for _ in range(2)]
        threads = [pool.submit(sync.chat.completions.create, **ASKED) for _ in range(2)]
        assert all(each.result(30) for each in loops + threads)
    assert len(recorder.calls) == 8
    assert {call.status for call in recorder.calls} == {"ok"}
    assert recorder.failures == []


def test_a_forked_child_has_all_slots_free_and_leaves_the_parents_alone(serve, recorder):
    base_url, _ = serve()
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)], total_seconds=5)
    client = client_of(base_url, recorder, route)
    stream = client.chat.completions.create(**ASKED, stream=True)
    child = os.fork()
    if child == 0:
        route.after_fork()
        free = route.status().targets[0].in_flight == 0
        del stream
        gc.collect()
        os._exit(0 if free and route.status().targets[0].in_flight == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert route.status().targets[0].in_flight == 1
    list(stream)
    assert route.status().targets[0].in_flight == 0


def test_a_target_may_have_an_address_and_a_client_of_its_own(scripted, recorder):
    azure = AzureOpenAI(base_url=scripted.url("ok"), api_key="az-key", api_version="2024-10-21")
    groq = Target(base_url=scripted.url("ok"), key="sk-b", provider="groq", max_concurrent=1)
    route = Route("far", [Target(key="sk-a"), groq, Target(client=azure)])
    client = client_of(scripted.url("500"), recorder, route)
    stream = client.chat.completions.create(**ASKED, stream=True)
    client.chat.completions.create(**ASKED)
    list(stream)
    azures, groqs = recorder.calls
    assert [(each.target, each.provider) for each in azures.attempts] == [("target-1", ""), ("target-3", "azure")]
    assert [(each.target, each.provider) for each in groqs.attempts] == [("target-1", ""), ("target-2", "groq")]
    assert (groqs.provider, azures.provider) == ("groq", "azure")
    assert {call.fallback for call in recorder.calls} == {False}
    assert "_genux_meter" not in vars(azure)
    assert type(azure) is AzureOpenAI


def test_a_client_of_the_other_kind_is_passed_over(serve, recorder):
    base_url, _ = serve()
    other = AsyncOpenAI(base_url=base_url, api_key="k")
    client = client_of(base_url, recorder, Route("mixed", [Target(client=other), Target(key="sk-a")]))
    client.chat.completions.create(**ASKED)
    assert [each.target for each in recorder.only().attempts] == ["target-2"]


def test_a_function_hands_out_the_key_of_each_attempt(serve, recorder):
    base_url, ledger = serve()
    keys = iter(["sk-1", "sk-2"])

    async def next_key():
        return next(keys)

    async def run():
        async with client_of(base_url, recorder, Route("vault", [Target(key=next_key)]), AsyncOpenAI) as client:
            for _ in range(2):
                await client.chat.completions.create(**ASKED)

    asyncio.run(run())
    assert len({entry.key for entry in ledger.entries()}) == 2
    assert len({call.attempts[0].key_id for call in recorder.calls}) == 2


def test_a_function_that_cannot_say_a_key_is_passed_over_and_seen_when_it_is_the_last(serve, recorder):
    base_url, _ = serve()

    def broken():
        raise LookupError("vault is sealed")

    route = Route("vault", [Target(key=broken), Target(key="sk-a")])
    client_of(base_url, recorder, route).chat.completions.create(**ASKED)
    assert [each.target for each in recorder.only().attempts] == ["target-2"]
    alone = client_of(base_url, recorder, Route("alone", [Target(key=broken)], max_attempts=1))
    with pytest.raises(LookupError, match="sealed"):
        alone.chat.completions.create(**ASKED)
    assert recorder.calls[1].error_type == "LookupError"


@pytest.mark.parametrize("seekable", [True, False])
def test_a_file_is_sent_again_from_its_beginning_or_not_at_all(seekable, scripted, recorder):
    lengths = []

    class Pipe(io.BytesIO):
        def seekable(self):
            return seekable

        def read(self, size=-1):
            lengths.append(len(data := super().read(size)))
            return data

    targets = [Target(key="sk-a", base_url=scripted.url("500")), Target(key="sk-b", base_url=scripted.url("ok"))]
    client = client_of(scripted.url("500"), recorder, Route("audio", targets))
    asked = {"model": "whisper-1", "file": ("a.wav", Pipe(b"RIFF" * 100))}
    if seekable:
        client.audio.transcriptions.create(**asked)
    else:
        with pytest.raises(openai.InternalServerError):
            client.audio.transcriptions.create(**asked)
    assert len(recorder.only().attempts) == 1 + seekable
    assert sum(lengths) == 400 * (1 + seekable)


def test_a_manual_calls_attempts_are_those_of_the_route(serve, recorder):
    base_url, _ = serve()
    client = client_of(base_url, recorder, Route("x", [Target(key="sk-a")]))
    with manual_call(recorder, model="agent", operation="agent"):
        client.chat.completions.create(**ASKED)
        client.chat.completions.create(**ASKED)
    assert [each.target for each in recorder.only().attempts] == ["target-1"] * 2


@pytest.mark.parametrize("where", ["take", "plan", "arrived", "give_back", "failed"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_fault_in_the_route_does_not_reach_the_app(where, streaming, serve, recorder, monkeypatch):
    base_url, _ = serve(faults=[Fault(key="sk-a")]) if where == "failed" else serve()
    route = Route("x", [Target(key="sk-a"), Target(key="sk-b")], total_seconds=3)
    client = client_of(base_url, recorder, route)

    def fail(*args):
        raise ZeroDivisionError(where)

    monkeypatch.setattr(route, where, fail)
    reply = client.chat.completions.create(**ASKED, stream=streaming)
    assert len(list(reply)) > 3 if streaming else reply.choices
    assert len(recorder.calls) == 1
    assert recorder.calls[0].status == "ok"
    assert {str(error) for _, error in recorder.failures} == {where}


def test_caller_settings_hold_along_the_route(serve, recorder):
    base_url, _ = serve()
    seen = []

    class Watching(OpenAI):
        def _prepare_request(self, request):
            seen.append(
                (request.headers["authorization"], request.headers.get("x-team"), request.extensions["timeout"])
            )

    client = client_of(base_url, recorder, Route("x", [Target(key="sk-a")]), Watching, default_headers={"x-team": "1"})
    client.chat.completions.create(**ASKED)
    client.with_options(default_headers={"x-team": "2"}, timeout=7).chat.completions.create(**ASKED)
    client.timeout = 9
    client.chat.completions.create(**ASKED, extra_headers={"x-team": "3"})
    assert [(key, team, timeout["read"]) for key, team, timeout in seen] == [
        ("Bearer sk-a", "1", 600),
        ("Bearer sk-a", "2", 7),
        ("Bearer sk-a", "3", 9),
    ]
