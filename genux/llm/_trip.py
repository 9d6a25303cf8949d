"""One request on its way along a route: where it may go, and which target it goes to next."""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from genux.llm._circuit import Spot

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Ticket", "Trip", "Wait", "choose", "in_order", "why"]


class Ticket(NamedTuple):
    """The right to one attempt at a target, and to one of its slots until it is given back."""

    spot: Spot
    taken_at: float
    generation: int
    tries_recovery: bool


class Wait(NamedTuple):
    """No target may be asked now. `handed` gets a ticket when a slot comes free; otherwise ask again in `seconds`."""

    handed: "Future[Ticket]"
    seconds: float


class Trip:
    """One request on its way: where it may go, where it has been, and until when.

    Attributes:
        lineup: targets that it may go to, in its order of preference.
        deadline: `time.monotonic()` after which nothing more is begun.
        intended: models that an answer may come from without being a fallback; "" is the caller's own.
        n_attempts: attempts begun.
        max_attempts: that may be begun.
        detour: why no intended model has answered: how the last of them failed, else why the first was not asked.
    """

    __slots__ = (
        "deadline",
        "detour",
        "faltered",
        "given_up",
        "intended",
        "lineup",
        "max_attempts",
        "n_attempts",
        "not_before",
    )

    def __init__(self, lineup: list[Spot], deadline: float, intended: frozenset[str], max_attempts: int) -> None:
        self.lineup = lineup
        self.deadline = deadline
        self.intended = intended
        self.given_up: set[Spot] = set()
        self.not_before: dict[Spot, float] = {}
        self.faltered: dict[Spot, int] = {}
        self.n_attempts = 0
        self.max_attempts = max_attempts
        self.detour = ""

    def fallback_reason(self, spot: Spot, callers_model: str) -> str:
        """Why this target answered instead of an intended model; empty when it is one, or is declared to be."""
        is_fallback = spot.target.fallback
        if is_fallback is None:
            intended = {model or callers_model for model in self.intended}
            is_fallback = (spot.target.model or callers_model) not in intended
        return (self.detour or "other") if is_fallback else ""


def why(spot: Spot, now: float) -> str:
    """Why a target cannot be asked now."""
    if spot.key.out_until > now:
        return spot.key.out_code
    if max(spot.out_until, spot.cooling_until) > now:
        return spot.last_code
    return "rate_limited" if spot.key.cooling_until > now else "busy"


def choose(trip: Trip, now: float) -> tuple[Spot | None, float, bool]:
    """The target to ask now; else when the next is ready, and whether one may come free before.

    A key that cools under one model is left alone for its others too, unless no other key would be ready sooner: most
    providers count limits per model, so with one key alone its other models are worth asking.
    """
    soonest, busy = math.inf, False
    shaded: Spot | None = None
    other_key_at = math.inf
    for spot in trip.lineup:
        if spot in trip.given_up:
            continue
        at = max(spot.ready_at(now), trip.not_before.get(spot, 0.0))
        if spot.key.cooling_until > now:
            if at <= now:
                shaded = shaded or spot
        elif at <= now:
            return spot, at, False
        else:
            other_key_at = min(other_key_at, at)
        busy = busy or at == math.inf
        soonest = min(soonest, max(at, now))
    if shaded is not None and not other_key_at <= min(shaded.key.cooling_until, trip.deadline):
        return shaded, now, False
    return None, other_key_at if shaded is not None else soonest, busy


def in_order(spots: Sequence[Spot]) -> tuple[list[Spot], int]:
    """The order of one request, and how many targets share the first place. Neighbours with weights are drawn."""
    lineup: list[Spot] = []
    n_first = 0
    start = 0
    while start < len(spots):
        end = start + 1
        if spots[start].target.weight:
            while end < len(spots) and spots[end].target.weight:
                end += 1
        group = list(spots[start:end])
        if len(group) > 1:
            # Efraimidis and Spirakis (2006): whoever comes first of exponential arrivals at rates w is drawn in
            # proportion to w, without replacement.
            group.sort(key=lambda spot: random.expovariate(spot.target.weight))
        n_first = n_first or len(group)
        lineup += group
        start = end
    return lineup, n_first
