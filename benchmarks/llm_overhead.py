# A script that prints figures: nobody calls its functions.
# ruff: noqa: ANN001, ANN201, ANN202
"""CPU that `genux.llm.wrap` and a route add to a call and to a chunk of a stream, beside the bare client, over memory.

    python benchmarks/llm_overhead.py [--rounds 15] [--json PATH]

Over sockets, and beside other libraries: llm_peers.py.
"""

import asyncio
import gc
import json
import time

import httpx2
from _report import Report, parser
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from genux.llm import CallContext, Route, Target, price, wrap
from genux.llm._probe import Probe
from genux.llm._streams import Watched

ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300}
CHUNKS = 200
CONTEXT = CallContext(unit_id="user-42")


class Recorder:
    """The cheapest there can be, so that only the wrapper is measured."""

    last = None

    def call_started(self, _call_id):
        return CONTEXT

    def call_finished(self, call):
        self.last = call

    def failed(self, _where, error):
        raise error


def frame(kind, choice, usage=None):
    return {"id": "x", "object": kind, "created": 1, "model": "gpt-5-mini", "choices": [choice], "usage": usage}


WHOLE = json.dumps(
    frame(
        "chat.completion",
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}},
        USAGE,
    )
)
DELTA = frame("chat.completion.chunk", {"index": 0, "delta": {"content": "word "}, "finish_reason": None})
EVENTS = f"data: {json.dumps(DELTA)}\n\n" * CHUNKS + "data: [DONE]\n\n"


def answer(request):
    if b'"stream":true' in request.content:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=EVENTS)
    return httpx2.Response(200, headers={"content-type": "application/json"}, content=WHOLE)


def sync_client():
    return OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))


def async_client():
    return AsyncOpenAI(api_key="k", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))


def cpu_us(work, repeats):
    began = time.process_time_ns()
    for _ in range(repeats):
        work()
    return (time.process_time_ns() - began) / repeats / 1_000


def compare(bare, measured, repeats, rounds):
    """The least of each over interleaved rounds: whatever else the machine does only ever adds."""
    pairs = [(cpu_us(bare, repeats), cpu_us(measured, repeats)) for _ in range(rounds)]
    base = min(a for a, _ in pairs)
    return base, min(b for _, b in pairs) - base


def watched_chunk_us(rounds):
    """What passes a chunk on and looks at it, without openai's own 100 us of parsing and their noise."""
    chunks = [ChatCompletionChunk.model_validate({**DELTA, "usage": None}) for _ in range(CHUNKS)]

    def bare():
        for _ in iter(chunks):
            pass

    def measured():
        probe = Probe(Recorder(), operation="chat", provider="openai", model="m")
        probe.enter()
        for _ in Watched(iter(chunks), probe):
            pass
        probe.leave()

    _, added = compare(bare, measured, 50, rounds)
    return added / CHUNKS


def row(name, base, added, per=1):
    return {"what": name, "bare us": base, "added us": added / per, "ratio": 1 + added / base}


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    asked = arguments.parse_args()
    rounds, rows = asked.rounds, []
    recorder = Recorder()
    bare, measured = sync_client(), wrap(sync_client(), recorder)
    targets = [Target(key="sk-a"), Target(key="sk-b"), Target(key="sk-c", model="gpt-5-nano")]
    routed = wrap(sync_client(), recorder, route=Route("three targets", targets))
    gc.disable()

    def call(client):
        return lambda: client.chat.completions.create(**ASKED)

    def stream(client):
        def work():
            for _ in client.chat.completions.create(**ASKED, stream=True):
                pass

        return work

    base, added = compare(call(bare), call(measured), 60, rounds)
    rows.append(row("sync call", base, added))
    per_call = added
    _, added = compare(call(measured), call(routed), 60, rounds)
    rows.append(row("  and along a route", base, added))
    base, added = compare(stream(bare), stream(measured), 8, rounds)
    rows.append(row(f"sync stream, {CHUNKS} chunks", base, added))
    rows.append(row("  of that per chunk", base / CHUNKS, (added - per_call) / CHUNKS))
    _, added = compare(stream(measured), stream(routed), 8, rounds)
    rows.append(row("  and along a route", base, added))

    with asyncio.Runner() as runner:
        bare_async, measured_async = async_client(), wrap(async_client(), recorder)

        def awaited(client, streaming):
            async def work():
                reply = await client.chat.completions.create(**ASKED, stream=streaming)
                if streaming:
                    async for _ in reply:
                        pass

            return lambda: runner.run(work())

        base, added = compare(awaited(bare_async, False), awaited(measured_async, False), 40, rounds)
        rows.append(row("async call", base, added))
        per_call = added
        base, added = compare(awaited(bare_async, True), awaited(measured_async, True), 6, rounds)
        rows.append(row("  async per chunk", base / CHUNKS, (added - per_call) / CHUNKS))

    rows.append({"what": "looking at one chunk", "added us": watched_chunk_us(rounds)})
    gc.enable()
    finished = recorder.last
    price(finished)
    rows.append({"what": "price, model seen before", "added us": cpu_us(lambda: price(finished), 5_000)})
    report = Report(__file__)
    report.table("us of CPU", {"what": "", "bare us": ".1f", "added us": ".2f", "ratio": ".3f"}, rows)
    report.save(asked.json, rounds=rounds)


if __name__ == "__main__":
    main()
