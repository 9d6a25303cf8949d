"""`Route`: which target a request goes to, and what is remembered of each. No I/O happens here.

One lock guards all that changes; nothing waits while it is held. A slot is given back from anywhere, also by the
garbage collector in the middle of our own bookkeeping, so that path takes no lock: it leaves the ticket in a deque,
and whoever holds the lock next clears the deque. Targets, waits and slots change together under that lock, so they
stand in one file; the choice of a target (`_trip`) and what a failure does (`_setbacks`) stand by themselves.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future
from typing import Literal

from genux._registry import notice_fork, tell_of_forks
from genux._status import RouteStatus, TargetStatus
from genux.errors import ConfigError, UsageError
from genux.llm._circuit import KeyState, Spot
from genux.llm._setbacks import Setbacks
from genux.llm._target import Target
from genux.llm._trip import Ticket, Trip, Wait, choose, in_order, why
from genux.llm._verdict import Verdict

__all__ = ["KeyStates", "Route", "SayOnce"]

# openai's own loop tries twice more.
_EXTRA_ATTEMPTS = 2

SayOnce = Callable[[str, str], None]
KeyStates = MutableMapping[tuple[str, int, object], KeyState]


class Route:
    """Targets in order, with what is known of each. Safe to share between threads, event loops and clients.

    Made by `gx.route(name, targets)`, or by itself.

    Args:
        name: in status and records.
        targets: at least one.
        total_seconds: everything together: attempts, waits, up to a stream's first token. Default: three times the
            caller's own timeout, which is what openai's three attempts may take without a route.
        max_attempts: of one request. Default: one for each target that it may go to, and two more.
        cooldown_seconds: first cooldown where the provider names none; each further one doubles.
        max_cooldown_seconds: longest cooldown, also when Retry-After asks for more.
        out_seconds: how long a key that is refused, or has no quota left, is left alone.
        tolerated_failures: server errors and timeouts in a row after which a target is still tried first.

    Raises:
        ConfigError: there is no target, two have one name, or a number is out of range.
    """

    def __init__(
        self,
        name: str,
        targets: Sequence[Target],
        *,
        total_seconds: float | None = None,
        max_attempts: int | None = None,
        cooldown_seconds: float = 1.0,
        max_cooldown_seconds: float = 120.0,
        out_seconds: float = 900.0,
        tolerated_failures: int = 2,
    ) -> None:
        if isinstance(targets, Target) or not all(isinstance(target, Target) for target in targets):  # pyright: ignore[reportUnnecessaryIsInstance] - not every app is checked for types
            raise ConfigError(f"the route `{name}` takes a list of `Target`")
        if not targets:
            raise ConfigError(f"the route `{name}` has no target")
        if max_attempts is not None and max_attempts < 1:
            raise ConfigError(f"the route `{name}` has a max_attempts below 1")
        if min(cooldown_seconds, max_cooldown_seconds, out_seconds) <= 0 or tolerated_failures < 0:
            raise ConfigError(f"the route `{name}` has a setting that is not positive")
        if total_seconds is not None and total_seconds <= 0:
            raise ConfigError(f"the route `{name}` has a total_seconds that is not positive")
        self.name = name
        self.total_seconds = total_seconds
        self._max_attempts = max_attempts
        self._setbacks = Setbacks(
            cooldown_seconds=cooldown_seconds,
            max_cooldown_seconds=max_cooldown_seconds,
            out_seconds=out_seconds,
            tolerated_failures=tolerated_failures,
        )
        self._say_once: SayOnce = _say_nothing
        self.clock: Callable[[], float] = time.monotonic
        keys: KeyStates = {}
        self._spots = [_spot(target, keys) for target in targets]
        self._names = [target.name or f"target-{position}" for position, target in enumerate(targets, start=1)]
        if len(set(self._names)) < len(self._names):
            raise ConfigError(f"the route `{name}` has two targets of one name")
        self._position = {spot: position for position, spot in enumerate(self._spots)}
        self._has_weights = any(target.weight for target in targets)
        self.has_arms = any(target.arms for target in targets)
        self.after_fork()
        tell_of_forks(self)

    def after_fork(self) -> None:
        """In a child: what was in flight or waited is the parent's. What cools, cools here too."""
        self._lock = threading.Lock()
        self._returned: deque[tuple[Ticket, int]] = deque()
        self._waiting: deque[tuple[Trip, Future[Ticket]]] = deque()
        self._n_waits = 0
        self._generation = getattr(self, "_generation", 0) + 1
        for spot in self._spots:
            spot.n_in_flight = 0
            spot.is_tried = False

    def adopt(self, keys: KeyStates, say_once: SayOnce) -> None:
        """Shares what is known of keys with other routes, and warns through `say_once`."""
        self._say_once = say_once
        for spot in self._spots:
            # What has neither key nor client is asked with those of whoever calls, which differ from route to route.
            if spot.target.key is not None or spot.target.client is not None:
                spot.key = keys.setdefault(spot.target.key_identity(), spot.key)

    @property
    def home(self) -> Target:
        """The first target: requests that refer to something kept at a provider go nowhere else."""
        return self._spots[0].target

    def name_of(self, spot: Spot) -> str:
        """The target's name."""
        return self._names[self._position[spot]]

    def plan(
        self, arms: frozenset[str], timeout_seconds: float, serves: Callable[[Target], bool] | None = None
    ) -> Trip:
        """Where a request may go.

        Args:
            arms: the arms that its unit is in, as `experiment:variant`.
            timeout_seconds: the caller's own timeout of one attempt.
            serves: whether a target can serve this request at all.

        Raises:
            UsageError: `no_target`, none can.
        """
        spots = self._spots
        if self.has_arms:
            own = [spot for spot in spots if not arms.isdisjoint(spot.target.arms)]
            spots = own + [spot for spot in spots if not spot.target.arms]
        if serves is not None:
            spots = [spot for spot in spots if serves(spot.target)]
        if not spots:
            raise UsageError("no_target", f"route `{self.name}` has no target for this request, which goes without")
        lineup, n_first = in_order(spots) if self._has_weights else (spots, 1)
        seconds = self.total_seconds
        if seconds is None:
            seconds = (1 + _EXTRA_ATTEMPTS) * timeout_seconds
        intended = frozenset([spot.target.model for spot in lineup[:n_first]])
        return Trip(lineup, self.clock() + seconds, intended, self._max_attempts or len(lineup) + _EXTRA_ATTEMPTS)

    def take(self, trip: Trip) -> Ticket | Wait | None:
        """A ticket to the best target, what to wait for, or `None` when nothing can serve the request in time."""
        now = self.clock()
        with self._lock:
            taken = self._take(trip, now)
        self._settle()
        return taken

    def stop_waiting(self, wait: Wait) -> Ticket | None:
        """The wait is over: the ticket that was handed over in the meantime, if any."""
        with self._lock:
            self._waiting = deque([each for each in self._waiting if each[1] is not wait.handed])
        self._settle()
        return wait.handed.result() if wait.handed.done() and not wait.handed.cancelled() else None

    def why_not(self, trip: Trip) -> tuple[str, str, float]:
        """Why nothing can be asked in time: code, sentence, and seconds until the first target can be (0: unknown)."""
        now = self.clock()
        with self._lock:
            spot = min(trip.lineup, key=lambda spot: spot.ready_at(now))
            code, at = why(spot, now), max(spot.ready_at(now), spot.key.cooling_until)
        self._settle()
        seconds = at - now if now < at < math.inf else 0.0
        message = f"route `{self.name}`: no target can be asked in time; the first, `{self.name_of(spot)}`: {code}"
        return code, message, seconds

    def arrived(self, ticket: Ticket) -> None:
        """The attempt brought an answer, or the first of a stream. Its slot stays taken until `give_back`."""
        with self._lock:
            spot = ticket.spot
            spot.n_ok += 1
            if ticket.taken_at >= spot.cooled_at:
                spot.cooled_at = -math.inf
                spot.n_faltered = 0
            if ticket.taken_at >= spot.key.cooled_at:
                spot.key.n_limited = 0
            self._end_recovery(ticket)
        self._settle()

    def failed(self, ticket: Ticket, trip: Trip, verdict: Verdict, model: str) -> None:
        """The attempt failed in a way that concerns the target.

        Args:
            ticket: of the attempt.
            trip: whose attempt it was.
            verdict: why, and what follows.
            model: that was asked for; other targets of the same model are left out when it does not exist.
        """
        now = self.clock()
        with self._lock:
            spot = ticket.spot
            spot.n_errors += 1
            spot.last_code = verdict.code
            if spot.target.model in trip.intended or not trip.detour:
                trip.detour = verdict.code
            if verdict.final_here:
                trip.given_up.add(spot)
            out_seconds = self._setbacks.befall(ticket, trip, verdict, model, now)
            self._end_recovery(ticket)
        self._settle()
        if out_seconds:
            # Outside the lock: what the host does with a log line is the host's, and may take its time.
            target = self.name_of(spot)
            self._say_once(
                f"route:{self.name}:{target}:{verdict.code}",
                f"route `{self.name}`: target `{target}` is out for {out_seconds:g} s ({verdict.code}); "
                "others serve meanwhile",
            )

    def give_back(self, ticket: Ticket, n_tokens: int) -> None:
        """The attempt is over, its stream ended. Never waits for a lock; may be called by a finaliser."""
        self._returned.append((ticket, n_tokens))
        self._settle()

    def status(self) -> RouteStatus:
        """Every target's state, now."""
        notice_fork()
        now = self.clock()
        with self._lock:
            targets = [self._status_of(spot, now) for spot in self._spots]
            status = RouteStatus(waits=self._n_waits, waiting=len(self._waiting), targets=targets)
        self._settle()
        return status

    # Slots. Called with the lock held, but for `_settle`.

    def _take(self, trip: Trip, now: float) -> Ticket | Wait | None:
        if now >= trip.deadline:
            return None
        spot, ready_at, busy = choose(trip, now)
        if spot is not None:
            return self._ticket(trip, spot, now)
        if ready_at >= trip.deadline and not busy:
            return None
        wait = Wait(Future(), min(ready_at, trip.deadline) - now)
        self._waiting.append((trip, wait.handed))
        self._n_waits += 1
        return wait

    def _settle(self) -> None:
        # Called after every use of the lock: who fails to get it leaves the work to who holds it.
        while self._returned and self._lock.acquire(blocking=False):
            try:
                while self._returned:
                    self._free(*self._returned.popleft())
            finally:
                self._lock.release()

    def _free(self, ticket: Ticket, n_tokens: int) -> None:
        now = self.clock()
        ticket.spot.tokens.add(now, n_tokens)
        if ticket.generation != self._generation:
            return
        ticket.spot.n_in_flight -= 1
        self._end_recovery(ticket)
        self._hand_over(now)

    def _ticket(self, trip: Trip, spot: Spot, now: float) -> Ticket:
        first = trip.lineup[0]
        if spot is not first and not trip.detour:
            trip.detour = why(first, now)
        spot.n_in_flight += 1
        spot.requests.add(now, 1)
        recovering = spot.is_recovering
        spot.is_tried = recovering
        return Ticket(spot, now, self._generation, recovering)

    def _end_recovery(self, ticket: Ticket) -> None:
        if ticket.tries_recovery and ticket.spot.is_tried and ticket.generation == self._generation:
            ticket.spot.is_tried = False
            self._hand_over(self.clock())

    def _hand_over(self, now: float) -> None:
        """Gives free slots to those who wait, the longest first."""
        still: deque[tuple[Trip, Future[Ticket]]] = deque()
        for trip, handed in self._waiting:
            spot = choose(trip, now)[0]
            if spot is None:
                still.append((trip, handed))
            elif handed.set_running_or_notify_cancel():
                handed.set_result(self._ticket(trip, spot, now))
        self._waiting = still

    def _status_of(self, spot: Spot, now: float) -> TargetStatus:
        target, key = spot.target, spot.key
        out_until = max(spot.out_until, key.out_until)
        cooling_until = max(spot.cooling_until, key.cooling_until)
        state: Literal["ready", "cooling", "out", "busy"]
        if out_until > now:
            state, until = "out", out_until
        elif cooling_until > now:
            state, until = "cooling", cooling_until
        else:
            until = spot.ready_at(now)
            state = "busy" if until > now else "ready"
        return TargetStatus(
            name=self.name_of(spot),
            model=target.model,
            state=state,
            ready_in_seconds=until - now if now < until < math.inf else 0.0,
            last_error=spot.last_code,
            ok=spot.n_ok,
            errors=spot.n_errors,
            rate_limited=spot.n_limited,
            in_flight=spot.n_in_flight,
        )


def _spot(target: Target, keys: KeyStates) -> Spot:
    return Spot(target, keys.setdefault(target.key_identity(), KeyState()))


def _say_nothing(_topic: str, _message: str) -> None:
    """A route by itself has nobody to tell; its status tells."""
