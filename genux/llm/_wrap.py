"""`wrap`: measures an OpenAI client in place.

Every HTTP resource of openai ends in the client's `request`, looked up at call time. So the client gets a subclass of
its own class, made for it, that overrides `request` and a few neighbours; the object, its attributes and whatever it
returns stay what they were. Websocket surfaces (`connect()`) do not pass through `request`; they are not measured, and
that is said.
"""

import functools
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar

from genux.errors import UsageError
from genux.llm._exchange import Exchange, Meter
from genux.llm._journey import Journey
from genux.llm._recorder import Recorder
from genux.llm._route import Route
from genux.llm._routing import Routing, travel, travel_async
from genux.llm._steps import Send

__all__ = ["wrap"]

_METER = "_genux_meter"
_MARK = "_genux_measured"
_MODULE_CLIENTS = ("_ModuleClient", "_AzureModuleClient", "_BedrockModuleClient")
_WEBSOCKET_BASE = "websocket_base_url"
# Methods that ask for a websocket's address because one is about to be opened.
_CONNECTING = frozenset({"_configure_realtime", "_prepare_url"})

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
    if _METER in getattr(client, "__dict__", {}):
        return
    openai: Any = sys.modules.get("openai")
    if client is openai and openai is not None:
        _measure_module(openai, recorder, provider=provider, stream_usage=stream_usage)
        return
    if openai is None or not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise UsageError("not_openai", f"not an OpenAI client but {type(client).__name__}; returned untouched")
    base: Any = type(client)
    if _MARK not in vars(base):
        # `type(measured_client)(...)` is of a measured class already, and only lacks its meter.
        client.__class__ = _measured(base, issubclass(base, openai.AsyncOpenAI))
    vars(client)[_METER] = _meter_for(base, recorder, provider=provider, stream_usage=stream_usage)


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
        if base is None or _MARK in vars(base):
            continue
        meter = _meter_for(base, recorder, provider=provider, stream_usage=stream_usage)
        kind = _born_measured(base, meter)
        setattr(openai, name, kind)
        built = vars(openai).get("_client")
        if type(built) is base:
            built.__class__ = kind
            vars(built)[_METER] = meter.copy()


def _born_measured(base: Any, meter: Meter) -> type:
    @functools.wraps(base.__init__)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        vars(self).setdefault(_METER, meter.copy())

    namespace = {**_namespace(base, asynchronous=False), "__init__": construct}
    return types.new_class(base.__name__, (base,), {}, lambda target: target.update(namespace))


def _send_along(client: Any, route: Route) -> None:
    meter: Meter | None = vars(client).get(_METER)
    if meter is None:
        raise UsageError("no_client_to_route", "a route needs a client; the module's own goes without")

    def copy(source: Any, options: dict[str, Any], provider: str) -> Any:
        twin = source.with_options(**options)
        vars(twin).pop(_METER, None)
        _measure(twin, meter.recorder, provider=provider, stream_usage=meter.stream_usage)
        return twin

    meter.routing = Routing(route, copy)


def _depart(client: Any, options: Any, stream: object) -> Journey | None:
    meter: Meter | None = vars(client).get(_METER)
    if meter is None or meter.routing is None or isinstance(options.post_parser, Exchange):
        return None
    try:
        return meter.routing.journey(meter, client, options, streaming=bool(stream))
    except Exception as error:  # noqa: BLE001 - the request goes out without a route
        meter.recorder.failed("route", error)
        return None


def _unmeasured(client: Any) -> Any:
    """The class that the client would be of, had it not been measured."""
    return next(each for each in type(client).__mro__ if _MARK in vars(each)).__bases__[0]


def _begin(client: Any, options: Any, stream: object) -> Exchange | None:
    meter: Meter | None = vars(client).get(_METER)
    if meter is None:
        return None
    try:
        exchange = Exchange(meter, client, options, streaming=bool(stream))
        exchange.enter()
    except Exception as error:  # noqa: BLE001 - the request goes out unmeasured
        meter.recorder.failed("begin", error)
        return None
    return exchange


def _sync_request(base: Any) -> Callable[..., Any]:
    @functools.wraps(base.request)
    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        journey = _depart(self, options, kwargs.get("stream"))
        if journey is not None:

            def carry(leg: Send) -> Any:
                if leg.exchange is None:
                    return base.request(self, cast_to, options, *args, **kwargs)
                return send(_unmeasured(leg.client), leg.client, leg.exchange, cast_to, args, kwargs)

            return travel(journey, carry)
        exchange = _begin(self, options, kwargs.get("stream"))
        if exchange is None:
            return base.request(self, cast_to, options, *args, **kwargs)
        return send(base, self, exchange, cast_to, args, kwargs)

    def send(base: Any, client: Any, exchange: Exchange, cast_to: Any, args: Any, kwargs: Any) -> Any:
        while True:
            try:
                result = base.request(client, cast_to, exchange.options, *args, **kwargs)
            except BaseException as error:
                if exchange.guarded("usage", exchange.try_again_plain, error):
                    continue
                exchange.raised(error)
                raise
            exchange.returned(result)
            return result

    return request


def _async_request(base: Any) -> Callable[..., Any]:
    @functools.wraps(base.request)
    async def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        journey = _depart(self, options, kwargs.get("stream"))
        if journey is not None:

            async def carry(leg: Send) -> Any:
                if leg.exchange is None:
                    return await base.request(self, cast_to, options, *args, **kwargs)
                return await send(_unmeasured(leg.client), leg.client, leg.exchange, cast_to, args, kwargs)

            return await travel_async(journey, carry)
        exchange = _begin(self, options, kwargs.get("stream"))
        if exchange is None:
            return await base.request(self, cast_to, options, *args, **kwargs)
        return await send(base, self, exchange, cast_to, args, kwargs)

    async def send(base: Any, client: Any, exchange: Exchange, cast_to: Any, args: Any, kwargs: Any) -> Any:
        while True:
            try:
                result = await base.request(client, cast_to, exchange.options, *args, **kwargs)
            except BaseException as error:
                if exchange.guarded("usage", exchange.try_again_plain, error):
                    continue
                exchange.raised(error)
                raise
            exchange.returned(result)
            return result

    return request


def _neighbours(base: Any) -> dict[str, Any]:
    """The overrides that are the same for sync and async: each looks, then lets the original answer."""
    original_process = "_process_response"
    original_retry = "_calculate_retry_timeout"

    @functools.wraps(getattr(base, original_process))
    def process_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = getattr(kwargs.get("options"), "post_parser", None)
        if isinstance(exchange, Exchange):
            exchange.arrived(kwargs.get("response"))
        return getattr(base, original_process)(self, *args, **kwargs)

    @functools.wraps(getattr(base, original_retry))
    def calculate_retry_timeout(self: Any, remaining_retries: int, options: Any, *args: Any, **kwargs: Any) -> Any:
        seconds = getattr(base, original_retry)(self, remaining_retries, options, *args, **kwargs)
        exchange = getattr(options, "post_parser", None)
        if isinstance(exchange, Exchange):
            exchange.guarded("retry", exchange.retried, seconds, sys.exception())
        return seconds

    def shallow_copy(self: Any) -> Any:
        original = getattr(base, "__copy__", None)
        if original is not None:
            return original(self)
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def reduce(self: Any, protocol: Any) -> Any:
        # A pickle names classes, and the measured one has no name to find it by: it is restored unmeasured.
        return _without_us(base, type(self), base.__reduce_ex__(self, protocol))

    # Looked up on `base` at call time, so that a subclass or a test that replaces a method there is heard.
    return {
        original_process: process_response,
        original_retry: calculate_retry_timeout,
        "copy": _copying(base, "copy"),
        "with_options": _copying(base, "with_options"),
        "__copy__": shallow_copy,
        "__reduce_ex__": reduce,
        _WEBSOCKET_BASE: _WebsocketBase(),
    }


def _copying(base: Any, name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(base, name))
    def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        twin = getattr(base, name)(self, *args, **kwargs)
        meter: Meter | None = vars(self).get(_METER)
        if meter is not None and type(twin) is type(self):
            vars(twin)[_METER] = meter.copy()
        return twin

    return copy


def _without_us(base: type, measured: type, reduced: Any) -> Any:
    if not isinstance(reduced, tuple):
        return reduced
    function, arguments, *rest = reduced
    if rest and isinstance(rest[0], dict):
        rest[0] = {name: value for name, value in rest[0].items() if name != _METER}
    return (function, tuple(base if argument is measured else argument for argument in arguments), *rest)


@functools.cache
def _measured(base: type, asynchronous: bool) -> type:  # noqa: FBT001 - a cache key
    namespace = _namespace(base, asynchronous=asynchronous)
    return types.new_class(base.__name__, (base,), {}, lambda target: target.update(namespace))


def _namespace(base: type, *, asynchronous: bool) -> dict[str, Any]:
    return {
        **_neighbours(base),
        "request": _async_request(base) if asynchronous else _sync_request(base),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__slots__": (),
        _MARK: True,
    }


class _WebsocketBase:
    """Stands for the plain attribute of this name, which every websocket surface reads before it connects."""

    def __get__(self, client: Any, kind: type) -> Any:
        if client is None:
            return self
        meter: Meter | None = vars(client).get(_METER)
        if meter is not None and sys._getframe(1).f_code.co_name in _CONNECTING:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a copy reads it too
            meter.recorder.failed("connect", UsageError("websocket_unmeasured", "a websocket is not measured"))
        try:
            return vars(client)[_WEBSOCKET_BASE]
        except KeyError:
            raise AttributeError(_WEBSOCKET_BASE) from None

    def __set__(self, client: Any, value: Any) -> None:
        vars(client)[_WEBSOCKET_BASE] = value
