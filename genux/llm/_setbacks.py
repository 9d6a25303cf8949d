"""What a failed attempt does to its target, its key and its request: who is left alone, and for how long."""

import random

from genux.llm._trip import Ticket, Trip
from genux.llm._verdict import Verdict

__all__ = ["Setbacks"]

_JITTER = 0.25


class Setbacks:
    """The times of a route. Called with its lock held.

    Args:
        cooldown_seconds: first cooldown where the provider names none; each further one doubles.
        max_cooldown_seconds: longest cooldown, also when Retry-After asks for more.
        out_seconds: how long a key that is refused, or has no quota left, is left alone.
        tolerated_failures: server errors and timeouts in a row after which a target is still tried first.
    """

    def __init__(
        self,
        *,
        cooldown_seconds: float,
        max_cooldown_seconds: float,
        out_seconds: float,
        tolerated_failures: int,
    ) -> None:
        self._cooldown_seconds = cooldown_seconds
        self._max_cooldown_seconds = max_cooldown_seconds
        self._out_seconds = out_seconds
        self._tolerated_failures = tolerated_failures

    def befall(self, ticket: Ticket, trip: Trip, verdict: Verdict, model: str, now: float) -> float:
        """Does what the verdict asks for.

        Args:
            ticket: of the attempt.
            trip: whose attempt it was.
            verdict: why it failed, and what follows.
            model: that was asked for; other targets of the same model are left out when it does not exist.
            now: monotonic seconds.

        Returns:
            How long a person should know that nothing is asked here, in seconds; 0 when it mends itself.
        """
        spot = ticket.spot
        match verdict.effect:
            case "cool_key":
                self._cool_key(ticket, verdict.retry_after_seconds, now)
            case "falter":
                self._falter(ticket, trip, verdict.retry_after_seconds, now)
            case "key_out":
                # A function may hand out another key next time, so it is asked again soon.
                seconds = self._cooldown_seconds if callable(spot.target.key) else self._out_seconds
                spot.key.out_until = now + seconds
                spot.key.out_code = verdict.code
                return seconds
            case "target_out":
                spot.out_until = now + self._out_seconds
                spot.cooled_at = now
                return self._out_seconds
            case "other_model":
                asked = (spot.target.model, model)
                trip.given_up.update(each for each in trip.lineup if each.target.model in asked)
            case "none":
                pass
        return 0.0

    def _cool_key(self, ticket: Ticket, retry_after_seconds: float | None, now: float) -> None:
        spot, key = ticket.spot, ticket.spot.key
        spot.n_limited += 1
        if ticket.taken_at >= key.cooled_at:
            # One episode, however many requests were in flight when it began.
            key.n_limited += 1
        seconds = self._cooldown(retry_after_seconds, key.n_limited)
        spot.cool(now, seconds)
        key.cooling_until = max(key.cooling_until, now + seconds)
        key.cooled_at = now

    def _falter(self, ticket: Ticket, trip: Trip, retry_after_seconds: float | None, now: float) -> None:
        spot = ticket.spot
        if ticket.taken_at >= spot.cooled_at:
            spot.n_faltered += 1
        n_here = trip.faltered[spot] = trip.faltered.get(spot, 0) + 1
        trip.not_before[spot] = now + self._cooldown(None, n_here)
        n_too_many = spot.n_faltered - self._tolerated_failures
        if retry_after_seconds is not None or n_too_many > 0:
            spot.cool(now, self._cooldown(retry_after_seconds, n_too_many))

    def _cooldown(self, asked_seconds: float | None, n_times: int) -> float:
        if asked_seconds is not None:
            return min(asked_seconds, self._max_cooldown_seconds)
        seconds = self._cooldown_seconds * 2.0 ** min(max(n_times - 1, 0), 30)
        return min(seconds, self._max_cooldown_seconds) * (1 + _JITTER * random.random())  # noqa: S311 - jitter
