"""`wrap`: measures an OpenAI client in place.

The client gets a subclass of its own class, made for it (`_measured`); the object, its attributes and whatever it
returns stay what they were.
"""

import functools
import sys
from typing import Any, TypeVar

from genux.errors import UsageError
from genux.llm._exchange import Meter
from genux.llm._measured import METER, is_measured, measured_class
from genux.llm._recorder import Recorder
from genux.llm._route import Route
from genux.llm._routing import Routing

__all__ = ["wrap"]

_MODULE_CLIENTS = ("_ModuleClient", "_AzureModuleClient", "_BedrockModuleClient")

ClientT = TypeVar("ClientT")


def wrap(
    client: ClientT,
    recorder: Recorder,
    *,
    provider: str = "",
    stream_usage: bool | None = None,
    route: Route | None = None,
) -> ClientT:
    """Measures every request of an OpenAI client from now on.

    The client is changed in place and returned: its class becomes a subclass of the class it had, with the same name,
    so `isinstance` holds and `type(client) is OpenAI` does not. `copy` and `with_options` give measured clients. A
    client that is measured already keeps its first recorder, so that no call counts twice.

    Args:
        client: an `OpenAI`, `AsyncOpenAI`, `AzureOpenAI`, `AsyncAzureOpenAI`, an instance of a subclass, or the module
            `openai` itself, for the client behind `openai.chat.completions.create`, built already or not.
        recorder: receives one `Call` per request. May be called from any thread and from a finaliser.
        provider: genai-prices provider id; empty derives it from the host of the base URL.
        stream_usage: whether to ask chat streams for their usage when the caller did not, and hide the extra chunk.
            `None` asks OpenAI and Azure, `True` every server: right for those that report only when asked (vLLM,
            Ollama, LiteLLM). One that refuses is asked once per base URL, and the caller gets what it answers without.
        route: where its requests go from now on; the client's own `max_retries` then rests, as the route tries again.
            Requests about something kept at the provider (files, batches, stored responses) stay with the client.

    Returns:
        The same object. Something that is not such a client comes back untouched, and `recorder.failed` is told.
    """
    try:
        _measure(client, recorder, provider=provider, stream_usage=stream_usage)
        if route is not None:
            _send_along(client, route)
    except Exception as error:  # noqa: BLE001 - an unmeasured client beats a broken one
        recorder.failed("wrap", error)
    return client


def _measure(client: Any, recorder: Recorder, *, provider: str, stream_usage: bool | None) -> None:
    if METER in getattr(client, "__dict__", {}):
        return
    openai: Any = sys.modules.get("openai")
    if client is openai and openai is not None:
        _measure_module(openai, recorder, provider=provider, stream_usage=stream_usage)
        return
    if openai is None or not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise UsageError("not_openai", f"not an OpenAI client but {type(client).__name__}; returned untouched")
    kind: Any = type(client)
    meter = _meter_for(kind, recorder, provider=provider, stream_usage=stream_usage)
    if not is_measured(kind):
        # `type(measured_client)(...)` is of a measured class already, and only lacks its meter.
        client.__class__ = _measured(kind, issubclass(kind, openai.AsyncOpenAI))
    vars(client)[METER] = meter


@functools.cache
def _measured(base: type, asynchronous: bool) -> type:  # noqa: FBT001 - a cache key
    return measured_class(base, asynchronous=asynchronous)


def _meter_for(kind: type, recorder: Recorder, *, provider: str, stream_usage: bool | None) -> Meter:
    import openai

    if not provider and issubclass(kind, openai.AzureOpenAI | openai.AsyncAzureOpenAI):
        provider = "azure"
    stream_type: type = openai.AsyncStream if issubclass(kind, openai.AsyncOpenAI) else openai.Stream
    return Meter(recorder, provider=provider, stream_usage=stream_usage, stream_type=stream_type)


def _measure_module(openai: Any, recorder: Recorder, *, provider: str, stream_usage: bool | None) -> None:
    """The module builds its client on first use, and anew after a reset, from classes that it looks up in itself."""
    for name in _MODULE_CLIENTS:
        base = getattr(openai, name, None)
        if base is None or is_measured(base):
            continue
        meter = _meter_for(base, recorder, provider=provider, stream_usage=stream_usage)
        kind = _born_measured(base, meter)
        setattr(openai, name, kind)
        built = vars(openai).get("_client")
        if type(built) is base:
            built.__class__ = kind
            vars(built)[METER] = meter.copy()


def _born_measured(base: Any, meter: Meter) -> type:
    @functools.wraps(base.__init__)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        vars(self).setdefault(METER, meter.copy())

    return measured_class(base, asynchronous=False, __init__=construct)


def _send_along(client: Any, route: Route) -> None:
    meter: Meter | None = vars(client).get(METER)
    if meter is None:
        raise UsageError("no_client_to_route", "a route needs a client; the module's own goes without")

    def copy(source: Any, options: dict[str, Any], provider: str) -> Any:
        twin = source.with_options(**options)
        vars(twin).pop(METER, None)
        _measure(twin, meter.recorder, provider=provider, stream_usage=meter.stream_usage)
        return twin

    meter.routing = Routing(route, copy)
