"""Makes the visitor of a web request the current unit, in any WSGI or ASGI app.

```python
app.wsgi_app = genux.middleware.WsgiUnit(app.wsgi_app, lambda environ: environ.get("HTTP_X_USER"))
app = genux.middleware.AsgiUnit(app, lambda scope: scope.get("session", {}).get("user_id"))
```

The unit holds for streamed answers too. A request whose visitor is not known, or whose visitor cannot be told because
the given function raised, is served without a unit.

For quality assurance, `?genux_force=` in the address forces variants for that one request: a token from
`Client.force_token`, or `experiment:variant` while developing.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import Context, copy_context
from typing import Any

from genux._client import Client
from genux._registry import default_client

__all__ = ["AsgiUnit", "WsgiUnit"]

_PARAMETER = "genux_force"
OWN_CONTEXT = "genux.own_context"
"""In the environ of a request that runs in a context of its own, which ends with it."""

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
AsgiScope = MutableMapping[str, Any]
AsgiApp = Callable[[AsgiScope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class WsgiUnit:
    """A WSGI app whose requests run for a unit.

    Args:
        app: the app.
        unit_of: tells a request's unit from its environ; None or empty for nobody.
        attributes_of: tells what targeting looks at.
        kind: what the unit is.
        client: the default one when None, looked up per request.
        plain_force: whether `?genux_force=experiment:variant` counts without a signature; `GENUX_DEBUG=1` when None.
    """

    def __init__(
        self,
        app: WsgiApp,
        unit_of: Callable[[Environ], str | None],
        *,
        attributes_of: Callable[[Environ], dict[str, Any]] | None = None,
        kind: str = "user",
        client: Client | None = None,
        plain_force: bool | None = None,
    ) -> None:
        self._app = app
        self._unit_of = unit_of
        self._attributes_of = attributes_of
        self._kind = kind
        self._client = client
        self._plain_force = plain_force

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        scope = scope_of(environ, self._unit_of, self._attributes_of, self._kind, self._client)
        forced = _forced_of(environ.get("QUERY_STRING", ""), self._client, plain=self._plain_force)
        context = copy_context()
        environ[OWN_CONTEXT] = True
        context.run(scope.__enter__)
        context.run(forced.__enter__)
        parts = context.run(self._app, environ, start_response)
        file_wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(file_wrapper, type) and isinstance(parts, file_wrapper):
            return parts  # a file, which runs no code of the app's, and which the server sends in its own quick way
        return _InContext(context, parts)


class AsgiUnit:
    """An ASGI app whose requests and websockets run for a unit; its arguments are those of `WsgiUnit`."""

    def __init__(
        self,
        app: AsgiApp,
        unit_of: Callable[[AsgiScope], str | None],
        *,
        attributes_of: Callable[[AsgiScope], dict[str, Any]] | None = None,
        kind: str = "user",
        client: Client | None = None,
        plain_force: bool | None = None,
    ) -> None:
        self._app = app
        self._unit_of = unit_of
        self._attributes_of = attributes_of
        self._kind = kind
        self._client = client
        self._plain_force = plain_force

    async def __call__(
        self, scope: AsgiScope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Serve one connection; `lifespan` is nobody's."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        with (
            scope_of(scope, self._unit_of, self._attributes_of, self._kind, self._client),
            _forced_of(query, self._client, plain=self._plain_force),
        ):
            await self._app(scope, receive, send)


class _InContext:
    """The parts of an answer, made in the context of their request: a server asks for them after the app returned."""

    def __init__(self, context: Context, parts: Iterable[bytes]) -> None:
        self._context = context
        self._parts: Iterable[bytes] = parts
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(self._next)

    def _next(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._parts)
        return next(self._iterator)

    def __del__(self) -> None:
        # A generator that nobody closed ends here, and its `finally` belongs to the request too.
        with suppress(RuntimeError):  # collected while the context runs: it ends there by itself
            self._context.run(self._drop)

    def _drop(self) -> None:
        self._iterator, self._parts = None, ()

    def close(self) -> None:
        """Close what the app returned, as a server would."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            self._context.run(close)


def scope_of(
    request: Any,
    unit_of: Callable[[Any], str | None],
    attributes_of: Callable[[Any], dict[str, Any]] | None,
    kind: str,
    client: Client | None,
) -> AbstractContextManager[None]:
    """A request's unit, to be entered; nobody's when the functions of the host fail, which is counted."""
    client = client or default_client()
    try:
        unit_id = unit_of(request)
        attributes = attributes_of(request) if unit_id and attributes_of is not None else {}
        return client.unit(unit_id, kind=kind, **attributes) if unit_id else nullcontext()
    except Exception as error:  # noqa: BLE001 the host's function failed; the host's request goes on
        client.note("unit_of", error)
        return nullcontext()


def _forced_of(query: str, client: Client | None, *, plain: bool | None) -> AbstractContextManager[None]:
    """The variants that the address forces, to be entered."""
    if _PARAMETER not in query:
        return nullcontext()
    from urllib.parse import parse_qs

    try:
        texts = parse_qs(query).get(_PARAMETER)
    except ValueError:  # more fields than the parser takes
        return nullcontext()
    return (client or default_client()).forcing(texts[-1], plain=plain) if texts else nullcontext()
