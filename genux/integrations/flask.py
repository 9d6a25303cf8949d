"""Flask: the visitor of a request is the current unit, told inside the request, where `session` and `g` are at hand.

```python
genux.integrations.flask.init_app(app, lambda: flask.session.get("user_id"))
```

An app whose visitor stands in a header or cookie can do with `genux.middleware.WsgiUnit`.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask, g, request

from genux._client import Client
from genux.middleware import OWN_CONTEXT, WsgiUnit, scope_of

__all__ = ["init_app"]

_ENTERED = "_genux_entered"


def init_app(
    app: Flask,
    unit_of: Callable[[], str | None],
    *,
    attributes_of: Callable[[], dict[str, Any]] | None = None,
    kind: str = "user",
    client: Client | None = None,
    plain_force: bool | None = None,
) -> None:
    """Run the app's requests for a unit, from its next `before_request` function to the last part of a streamed answer.

    Args:
        app: functions that it has for `before_request` already run before the unit is asked for, so a login may stand
            there.
        unit_of: tells the current request's unit; None or empty for nobody.
        attributes_of: tells what targeting looks at.
        kind: what the unit is.
        client: the default one when None, looked up per request.
        plain_force: as for `WsgiUnit`.
    """
    attributes = None if attributes_of is None else _of_any_request(attributes_of)

    def enter() -> None:
        scope = scope_of(None, lambda _request: unit_of(), attributes, kind, client)
        scope.__enter__()
        # In a context of its own it is never left: a streamed answer outlives the request's teardown.
        if OWN_CONTEXT not in request.environ:
            g.setdefault(_ENTERED, []).append(scope)

    def leave(_error: BaseException | None) -> None:
        for scope in reversed(g.pop(_ENTERED, [])):
            scope.__exit__(None, None, None)

    app.before_request(enter)
    app.teardown_request(leave)
    measured = WsgiUnit(app.wsgi_app, lambda _environ: None, client=client, plain_force=plain_force)
    app.wsgi_app = measured  # type: ignore[method-assign]  # as Flask documents it


def _of_any_request(function: Callable[[], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda _request: function()
