"""`gx.route`: makes routes, and knows the state of all of them."""

import weakref
from collections.abc import Sequence
from typing import Any

from genux._status import RouteStatus
from genux.llm._route import KeyStates, Route, SayOnce
from genux.llm._target import Target

__all__ = ["Routes"]


class Routes:
    """The routes of one client. They share what is known of keys: one that cools on one route cools on all.

    Args:
        say_once: warns, once per topic.
    """

    def __init__(self, say_once: SayOnce) -> None:
        self._say_once = say_once
        self._routes: dict[str, Route] = {}
        # Forgotten with the last route that uses the key.
        self._keys: KeyStates = weakref.WeakValueDictionary()

    def __call__(self, name: str, targets: Sequence[Target], **settings: Any) -> Route:
        """A new route, which takes the place of one of the same name in the status.

        Args:
            name: in status and logs.
            targets: where requests may go, in order.
            **settings: of `Route`, such as `total_seconds`.

        Raises:
            ConfigError: a setting cannot be used.
        """
        route = Route(name, targets, **settings)
        route.adopt(self._keys, self._say_once)
        self._routes[name] = route
        return route

    def status(self) -> dict[str, RouteStatus]:
        """Every route's state by its name."""
        return {name: route.status() for name, route in list(self._routes.items())}
