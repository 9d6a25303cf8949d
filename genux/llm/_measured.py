"""The class of a measured client: its own, with `request` and a few neighbours overridden.

Every HTTP resource of openai ends in the client's `request`, looked up at call time. Websocket surfaces (`connect()`)
do not pass through it; they are not measured, and that is said.
"""

import copyreg
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from genux.errors import UsageError
from genux.llm._exchange import Exchange, Meter
from genux.llm._journey import Journey
from genux.llm._routing import travel, travel_async
from genux.llm._steps import Send

__all__ = ["METER", "is_measured", "measured_class"]

METER = "_genux_meter"
"""The attribute of a measured client that holds its meter; without it the client is as it was."""

_MARK = "_genux_measured"
_WEBSOCKET_BASE = "websocket_base_url"
# Methods that ask for a websocket's address because one is about to be opened.
_CONNECTING = frozenset({"_configure_realtime", "_prepare_url"})


def is_measured(kind: type) -> bool:
    """Whether a class was made here."""
    return _MARK in vars(kind)


def measured_class(base: type, *, asynchronous: bool, **more: Any) -> type:
    """A subclass that is named like its base and adds no attributes but these.

    Args:
        base: a client's class.
        asynchronous: whether its requests are awaited.
        **more: further methods.

    Raises:
        AttributeError: openai has changed inside, and what is to be overridden is not there.
    """
    namespace = {
        **_neighbours(base),
        **more,
        "request": _async_request(base) if asynchronous else _sync_request(base),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__slots__": (),
        _MARK: True,
    }
    return types.new_class(base.__name__, (base,), {}, lambda target: target.update(namespace))


def _depart(meter: Meter, client: Any, options: Any, stream: object) -> Journey | None:
    if meter.routing is None or isinstance(options.post_parser, Exchange):
        return None
    try:
        return meter.routing.journey(meter, client, options, streaming=bool(stream))
    except Exception as error:  # noqa: BLE001 - the request goes out without a route
        meter.recorder.failed("route", error)
        return None


def _unmeasured(client: Any) -> Any:
    """The class that the client would be of, had it not been measured."""
    return next(each for each in type(client).__mro__ if is_measured(each)).__bases__[0]


def _begin(meter: Meter, client: Any, options: Any, stream: object) -> Exchange | None:
    try:
        exchange = Exchange(meter, client, options, streaming=bool(stream))
        exchange.enter()
    except Exception as error:  # noqa: BLE001 - the request goes out unmeasured
        meter.recorder.failed("begin", error)
        return None
    return exchange


def _send(base: Any, client: Any, exchange: Exchange, cast_to: Any, args: Any, kwargs: Any) -> Any:
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


def _sync_request(base: Any) -> Callable[..., Any]:
    @functools.wraps(base.request)
    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        meter: Meter | None = vars(self).get(METER)
        if meter is None:
            return base.request(self, cast_to, options, *args, **kwargs)
        journey = _depart(meter, self, options, kwargs.get("stream"))
        if journey is not None:

            def carry(leg: Send) -> Any:
                if leg.exchange is None:
                    return base.request(self, cast_to, options, *args, **kwargs)
                return _send(_unmeasured(leg.client), leg.client, leg.exchange, cast_to, args, kwargs)

            return travel(journey, carry)
        exchange = _begin(meter, self, options, kwargs.get("stream"))
        if exchange is None:
            return base.request(self, cast_to, options, *args, **kwargs)
        return _send(base, self, exchange, cast_to, args, kwargs)

    return request


async def _send_async(base: Any, client: Any, exchange: Exchange, cast_to: Any, args: Any, kwargs: Any) -> Any:
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


def _async_request(base: Any) -> Callable[..., Any]:
    @functools.wraps(base.request)
    async def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        meter: Meter | None = vars(self).get(METER)
        if meter is None:
            return await base.request(self, cast_to, options, *args, **kwargs)
        journey = _depart(meter, self, options, kwargs.get("stream"))
        if journey is not None:

            async def carry(leg: Send) -> Any:
                if leg.exchange is None:
                    return await base.request(self, cast_to, options, *args, **kwargs)
                return await _send_async(_unmeasured(leg.client), leg.client, leg.exchange, cast_to, args, kwargs)

            return await travel_async(journey, carry)
        exchange = _begin(meter, self, options, kwargs.get("stream"))
        if exchange is None:
            return await base.request(self, cast_to, options, *args, **kwargs)
        return await _send_async(base, self, exchange, cast_to, args, kwargs)

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
        meter: Meter | None = vars(self).get(METER)
        if meter is not None and type(twin) is type(self):
            vars(twin)[METER] = meter.copy()
        return twin

    return copy


def _without_us(base: type, measured: type, reduced: Any) -> Any:
    if not isinstance(reduced, tuple):
        return reduced
    function, arguments, *rest = reduced
    if function is copyreg.__newobj__:  # type: ignore[attr-defined] # pyright: ignore[reportUnknownMemberType] - typeshed has it not
        # A pickle insists that this one makes an object of the class that it is asked to write.
        function = base.__new__
    if rest and isinstance(rest[0], dict):
        rest[0] = {name: value for name, value in rest[0].items() if name != METER}
    return (function, tuple(base if argument is measured else argument for argument in arguments), *rest)


class _WebsocketBase:
    """Stands for the plain attribute of this name, which every websocket surface reads before it connects."""

    def __get__(self, client: Any, kind: type) -> Any:
        if client is None:
            return self
        meter: Meter | None = vars(client).get(METER)
        if meter is not None and sys._getframe(1).f_code.co_name in _CONNECTING:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a copy reads it too
            meter.recorder.failed("connect", UsageError("websocket_unmeasured", "a websocket is not measured"))
        try:
            return vars(client)[_WEBSOCKET_BASE]
        except KeyError:
            raise AttributeError(_WEBSOCKET_BASE) from None

    def __set__(self, client: Any, value: Any) -> None:
        vars(client)[_WEBSOCKET_BASE] = value
