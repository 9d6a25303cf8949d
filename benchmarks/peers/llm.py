# Run in an environment that holds the library it is asked for; most of them publish no types.
# ruff: noqa: ANN001, ANN003, ANN201, ANN202
"""CPU that one library adds to a chat call and to a chunk of a stream; run by benchmarks/llm_peers.py.

    python peers/llm.py LIBRARY URL ROUNDS

A library that measures one client takes turns with a bare one beside it. One that patches the openai module leaves no
bare client in its process: it takes turns with a twin process of the same environment, which never loads it.
`caller` is this thread's CPU for a call, `process` adds the round's other CPU until the library's flush is over, and
what the library wants around ten calls (a transaction, a unit).
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from openai import OpenAI

MODEL = "gpt-5-mini"
MESSAGES = [{"role": "user", "content": "Say fifty words."}]
CALLS, STREAMS, CHUNKS = 30, 10, 50
N_CHECKED = 10


@dataclass
class Measured:
    """`create` is `chat.completions.create` or what stands for it; `around` is entered for each ten calls."""

    create: object
    flush: object
    around: object = contextlib.nullcontext
    kwargs: tuple = ()


def client(url, cls=OpenAI, **kwargs):
    return cls(api_key="key", base_url=f"{url}/v1", **kwargs)


def genux(url, keys=()):
    import genux

    folder = Path(tempfile.mkdtemp())
    path = folder / "genux.yaml"
    path.write_text(json.dumps({"experiments": [{"key": "ai-entry", "variants": [{"key": "chat"}, {"key": "none"}]}]}))
    gx = genux.Client(url, "key", config=path, directory=folder)

    @contextlib.contextmanager
    def around():
        with gx.unit("user-42", country="KR"):
            gx.variant("ai-entry")
            yield

    route = gx.route("summaries", [genux.Target(key=key) for key in keys]) if keys else None
    return Measured(gx.wrap(client(url), route=route).chat.completions.create, lambda: gx.flush(20.0), around)


def genux_route(url):
    return genux(url, keys=("key-1", "key-2"))


def posthog(url):
    from posthog import Posthog
    from posthog.ai.openai import OpenAI as PosthogOpenAI

    events = Posthog("phc_key", host=url)
    measured = client(url, PosthogOpenAI, posthog_client=events)
    return Measured(measured.chat.completions.create, events.flush, kwargs=(("posthog_distinct_id", "user-42"),))


def langfuse(url):
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=url)
    from langfuse.openai import OpenAI as LangfuseOpenAI

    return Measured(client(url, LangfuseOpenAI).chat.completions.create, langfuse.flush)


def _tracing(url):
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    trace.set_tracer_provider(provider)
    return provider


def otel(url):
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider = _tracing(url)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return Measured(client(url).chat.completions.create, provider.force_flush)


def openllmetry(url):
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    provider = _tracing(url)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return Measured(client(url).chat.completions.create, provider.force_flush)


def sentry(url, **options):
    import sentry_sdk

    sentry_sdk.init(dsn=url.replace("://", "://public@") + "/1", traces_sample_rate=1.0, **options)

    def around():
        return sentry_sdk.start_transaction(op="http.server", name="GET /summary")

    return Measured(client(url).chat.completions.create, lambda: sentry_sdk.flush(20.0), around)


def sentry_off(url):
    from sentry_sdk.integrations.openai import OpenAIIntegration

    return sentry(url, disabled_integrations=[OpenAIIntegration()])


def litellm(url):
    import litellm

    def create(*, model, **kwargs):
        return litellm.completion(model=f"openai/{model}", api_base=f"{url}/v1", api_key="key", **kwargs)

    return Measured(create, lambda: None)


def litellm_router(url):
    from litellm import Router

    targets = [{"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": key} for key in ("key-1", "key-2")]
    router = Router(model_list=[{"model_name": MODEL, "litellm_params": target} for target in targets])
    return Measured(router.completion, lambda: None)


def bare_twin(url):
    return bare(url)


def bare(url):
    return Measured(client(url).chat.completions.create, lambda: None)


LIBRARIES = {  # distributions to name; whether it measures one client; whether it records at all
    "genux": (("genux",), True, True),
    "genux_route": (("genux",), True, True),
    "posthog": (("posthog",), True, True),
    "langfuse": (("langfuse",), False, True),
    "otel": (("opentelemetry-instrumentation-genai-openai",), False, True),
    "openllmetry": (("opentelemetry-instrumentation-openai",), False, True),
    "sentry": (("sentry-sdk",), False, True),
    "sentry_off": (("sentry-sdk",), False, False),
    "litellm": (("litellm",), True, False),
    "litellm_router": (("litellm",), True, False),
    "bare": ((), True, False),
    "bare_twin": ((), False, False),
}


def call(measured, model=MODEL):
    reply = measured.create(model=model, messages=MESSAGES, **dict(measured.kwargs))
    assert reply.usage.completion_tokens == CHUNKS


def stream(measured, model=MODEL):
    options = {"include_usage": True}
    chunks = measured.create(
        model=model, messages=MESSAGES, stream=True, stream_options=options, **dict(measured.kwargs)
    )
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content) == CHUNKS


def timed(measured, work, n):
    """Microseconds of CPU for each: of this thread in each ten, and of whatever else works until all is sent."""
    tens = []
    process = time.process_time_ns()
    for _ in range(n // 10):
        with measured.around():
            caller = time.thread_time_ns()
            for _ in range(10):
                work(measured)
            tens.append((time.thread_time_ns() - caller) / 1e4)
    measured.flush()
    process = (time.process_time_ns() - process) / n / 1e3
    return tens, process - statistics.fmean(tens)


def a_round(measured):
    return timed(measured, call, CALLS), timed(measured, stream, STREAMS)


def least(rounds, kind):
    """Of many rounds on a machine with other work, which only ever adds."""
    caller = min(us for each in rounds for us in each[kind][0])
    return {"caller": caller, "process": caller + min(each[kind][1] for each in rounds)}


def warm(measured):
    for work in (call, stream):
        timed(measured, work, 10)


@contextlib.contextmanager
def floor_here(url):
    """Rounds of a bare client in this process."""
    plain = bare(url)
    warm(plain)
    yield lambda: a_round(plain)


@contextlib.contextmanager
def floor_beside(url):
    """Rounds of a bare client in a twin process, which sleeps in between."""
    command = [sys.executable, __file__, "twin", url, "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as twin:

        def a_round_there():
            print(file=twin.stdin, flush=True)
            return json.loads(twin.stdout.readline())

        yield a_round_there
        twin.stdin.close()


def be_twin(url):
    plain = bare(url)
    warm(plain)
    for _ in sys.stdin:
        print(json.dumps(a_round(plain)), flush=True)


def record(measured):
    """Calls of models whose names are marks: the sink must hear of each."""
    with measured.around():
        for mark in range(N_CHECKED):
            (stream if mark % 2 else call)(measured, f"mark-{mark:04d}x")
    measured.flush()
    time.sleep(0.5)


def main():
    name, url, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if name == "twin":
        be_twin(url)
        return
    distributions, is_interleaved, is_recording = LIBRARIES[name]
    measured = globals()[name](url)
    warm(measured)
    with floor_here(url) if is_interleaved else floor_beside(url) as floor:
        pairs = [(floor(), a_round(measured)) for _ in range(rounds)]
    if is_recording:
        record(measured)
    floors, ours = zip(*pairs, strict=True)
    bare_call, bare_stream = least(floors, 0), least(floors, 1)
    figures = {"bare call": bare_call["caller"], "bare stream": bare_stream["caller"]}
    for key in ("caller", "process"):
        a_call = least(ours, 0)[key] - bare_call[key]
        a_stream = least(ours, 1)[key] - bare_stream[key]
        figures |= {f"{key} a call": a_call, f"{key} a chunk": (a_stream - a_call) / CHUNKS}
    versions = ", ".join(f"{distribution} {version(distribution)}" for distribution in distributions)
    result = {"versions": versions, "openai": version("openai"), "checked": N_CHECKED if is_recording else 0}
    print()
    print(json.dumps(result | {"figures": figures}), flush=True)


if __name__ == "__main__":
    main()
