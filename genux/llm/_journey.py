"""A call along a route: one loop, written once, that a sync and an async shell carry out step by step.

The loop is a generator. It yields what is to be done (`Send`, `Read`, `Close`, `Ask`, `Wait`) and is sent the result,
or has the exception thrown in. Each attempt is an `Exchange` of its own inside the call, so that streams, raw responses
and usage are observed as without a route; the call takes over what the attempt that answered has seen.
"""

import datetime as dt
import math
from collections.abc import Callable, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from genux.llm._ahead import MAX_HELD, AsyncReplay, Replay, is_preamble
from genux.llm._exchange import Exchange
from genux.llm._facts import fields_of
from genux.llm._lanes import Lanes, Parcel, refusal, seconds_of, within
from genux.llm._probe import Probe
from genux.llm._record import Status, attempt_of, call_of
from genux.llm._route import Route
from genux.llm._steps import END, Ask, Close, Read, Send, Step, Steps
from genux.llm._target import Target, key_id_of
from genux.llm._trip import Ticket, Wait
from genux.llm._verdict import REFUSED, Verdict, verdict_of, verdict_of_event

if TYPE_CHECKING:
    from genux.llm._exchange import Meter
    from genux.wire import Attempt, Call

__all__ = ["Journey"]

# Requests that any model of a language answers in its way.
_ANY_MODEL = frozenset({"chat", "completions", "responses"})

# A timeout of 0 would mean something else to the HTTP library.
_LEAST_SECONDS = 0.001


class _Fault(Exception):  # noqa: N818 - never seen outside
    """Something of ours failed between two attempts."""


class _Failed(NamedTuple):
    """What an attempt came to: an exception, or a stream whose only content is its failure."""

    error: BaseException | None
    stream: Any = None
    over: "tuple[Probe, Status, float] | None" = None
    is_refusal: bool = False


class Journey(Probe):
    """A call along a route.

    Args:
        meter: of the calling client.
        client: the calling client.
        options: of the request.
        lanes: the clients through which it reaches the targets.
        route: the route.
        operation: of the request.
        streaming: whether a stream was asked for.
    """

    covers_streams = True

    __slots__ = (
        "_client",
        "_has_answer",
        "_is_decided",
        "_key_id",
        "_lanes",
        "_last",
        "_leg_id",
        "_meter",
        "_options",
        "_over",
        "_parcel",
        "_route",
        "_ticket",
        "_trip",
        "_waited_seconds",
    )

    def __init__(
        self,
        meter: "Meter",
        client: Any,
        options: Any,
        *,
        lanes: Lanes,
        route: Route,
        operation: str,
        streaming: bool,
    ) -> None:
        parcel = Parcel(options)
        super().__init__(meter.recorder, operation=operation, provider=meter.locate(client)[1], model=parcel.model)
        self.streaming = streaming
        self._meter = meter
        self._client = client
        self._options = options
        self._lanes = lanes
        self._route = route
        self._parcel = parcel
        self._leg_id = 0
        self._over: tuple[Probe, Status, float] | None = None
        self._last: Probe | None = None
        self._is_decided = self._has_answer = False
        self._ticket: Ticket | None = None
        self._key_id = ""
        self._waited_seconds = 0.0
        arms: frozenset[str] = frozenset()
        if route.has_arms:
            arms = frozenset(f"{each.experiment}:{each.variant}" for each in self.context.assignments)
        self._trip = route.plan(arms, seconds_of(self._timeout_at(client)), self._serves)

    def _serves(self, target: Target) -> bool:
        if target.client is not None and hasattr(type(target.client), "__aenter__") != self._meter.asynchronous:
            return False
        if self._parcel.stays and not self._is_at_home(target):
            return False
        # Vectors of two models have nothing in common, and a chat model neither paints nor speaks.
        return self.operation in _ANY_MODEL or target.model in ("", self.requested_model) or target.fallback is False

    def _is_at_home(self, target: Target) -> bool:
        home = self._route.home
        return target.client is home.client and target.base_url == home.base_url

    # The loop

    def steps(self) -> Steps:
        """Carries the request to a target that answers, and returns what that one returned.

        Raises:
            Exception: what the last attempt raised.
        """
        try:
            return (yield from self._along())
        except _Fault as fault:
            self.fail("route", fault.__cause__ or fault)
        # As though there were no route.
        self._ticket, self._over, self._key_id = None, None, ""
        self._is_decided = self._has_answer = True
        exchange = self.guarded("begin", self._plain)
        result = yield Send(self._client, exchange)
        if exchange is None:
            self.guarded("call", self.finish, "ok", perf_counter())
        return result

    def _plain(self) -> Exchange:
        exchange = Exchange(self._meter, self._client, self._options, streaming=self.streaming)
        self._leg_id = id(exchange)
        exchange.enter()
        return exchange

    def _along(self) -> Steps:
        failed: _Failed | None = None
        while failed is None or (self._trip.n_attempts < self._trip.max_attempts and self._parcel.may_be_sent_again):
            ticket = yield from self._take()
            if ticket is None:
                break
            outcome = yield from self._attempt(ticket)
            if not isinstance(outcome, _Failed):
                return outcome
            if failed is None or not outcome.is_refusal:
                failed = outcome
        if failed is None:
            raise self._ours(self._refusal)
        self._over = failed.over
        self._decide(has_answer=False)
        if failed.error is not None:
            raise failed.error
        return failed.stream

    def _take(self) -> Generator[Step, Any, Ticket | None]:
        """A ticket for the next attempt; `None` when none can be had in time."""
        began = 0.0
        while True:
            taken = self._ours(self._route.take, self._trip)
            if isinstance(taken, Wait):
                began = began or perf_counter()
                try:
                    yield taken
                except BaseException:
                    handed = self._route.stop_waiting(taken)
                    if handed is not None:
                        self._route.give_back(handed, 0)
                    raise
                taken = self._ours(self._route.stop_waiting, taken)
                if taken is None:
                    continue
            self._waited_seconds = perf_counter() - began if began else 0.0
            return taken if isinstance(taken, Ticket) else None

    def _attempt(self, ticket: Ticket) -> Generator[Step, Any, Any]:
        self._ticket, self._over = ticket, None
        self._trip.n_attempts += 1
        key = ticket.spot.target.key
        if callable(key):
            answer = yield from self._asked_for_key(ticket, key)
            if isinstance(answer, _Failed):
                return answer
            key = answer
        try:
            send = self._ours(self._leg, ticket, key)
        except _Fault:
            self._route.give_back(ticket, 0)
            raise
        held: list[Any] = []
        failure: Verdict | None = None
        try:
            result = yield send
            if isinstance(result, self._meter.stream_type) and not self._parcel.stays:
                failure = yield from self._read_ahead(result, held)
        except BaseException as error:
            verdict = self.guarded("route", verdict_of, error, dt.datetime.now(dt.UTC))
            is_refusal = verdict is None and self._is_foreign(ticket, error)
            if is_refusal:
                verdict = REFUSED
            if verdict is None:
                self._decide(has_answer=False)
                raise
            self._fail(ticket, verdict)
            return _Failed(error, over=self._over, is_refusal=is_refusal)
        if failure is not None:
            yield Close(result)
            self._fail(ticket, failure)
            result._iterator = self._replay(held, None)  # noqa: SLF001 - what `next(stream)` delegates to
            return _Failed(None, result, self._over)
        self.guarded("route", self._route.arrived, ticket)
        self._decide(has_answer=True)
        if held:
            result._iterator = self._replay(held, result._iterator)  # noqa: SLF001 - as above
        return result

    def _is_foreign(self, ticket: Ticket, error: BaseException) -> bool:
        """Whether a fallback refuses what it was never meant for, such as a parameter that only the first one knows."""
        target = ticket.spot.target
        is_fallback = target.model not in self._trip.intended or not self._is_at_home(target)
        return is_fallback and self._trip.n_attempts > 1 and isinstance(getattr(error, "status_code", None), int)

    def _asked_for_key(self, ticket: Ticket, function: Callable[[], Any]) -> Generator[Step, Any, "str | _Failed"]:
        try:
            key = yield Ask(function)
        except BaseException as error:
            self._route.give_back(ticket, 0)
            if not isinstance(error, Exception):
                raise
            failed = _Failed(error)
        else:
            if isinstance(key, str) and key:
                return key
            self._route.give_back(ticket, 0)
            given = "an empty one" if isinstance(key, str) else type(key).__name__
            failed = _Failed(TypeError(f"a key must be text; the function of a target gave {given}"))
        self._fail(ticket, Verdict("key_function", "falter"))
        return failed

    def _read_ahead(self, stream: Any, held: list[Any]) -> Generator[Step, Any, Verdict | None]:
        """Reads on until the answer begins: a failure before that is the attempt's, and another may follow."""
        while len(held) < MAX_HELD:
            event = yield Read(stream._iterator)  # noqa: SLF001 - what `next(stream)` delegates to
            if event is END:
                break
            held.append(event)
            fields = fields_of(event)
            if fields.get("type") in ("error", "response.failed"):
                failure = fields_of(fields_of(fields.get("response")).get("error")) or fields
                verdict: Verdict | None = self.guarded("route", verdict_of_event, failure.get("code"))
                return verdict
            if not is_preamble(fields):
                break
        return None

    def _replay(self, held: list[Any], rest: Any) -> Any:
        return AsyncReplay(held, rest) if self._meter.asynchronous else Replay(held, rest)

    def _fail(self, ticket: Ticket, verdict: Verdict) -> None:
        model = ticket.spot.target.model or self.requested_model
        try:
            self._route.failed(ticket, self._trip, verdict, model)
        except Exception as error:  # noqa: BLE001 - what cannot be remembered of the target is at least not repeated
            self.fail("route", error)
            self._trip.given_up.add(ticket.spot)

    def _ours(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except Exception as error:
            raise _Fault(str(error)) from error

    def _leg(self, ticket: Ticket, key: str | None) -> Send:
        target = ticket.spot.target
        client = self._lanes.client(self._client, ticket.spot, key, self._meter.provider)
        self._key_id = key_id_of(client.api_key or "")
        timeout = None
        left = self._trip.deadline - self._route.clock()
        if left < math.inf and (self._route.total_seconds is not None or self._trip.n_attempts > 1):
            timeout = within(self._timeout_at(client), max(left, _LEAST_SECONDS))
        options = self._parcel.to_model(target)
        exchange = Exchange(vars(client)["_genux_meter"], client, options, streaming=self.streaming)
        self._parcel.address(exchange.options, target, timeout, self.call_id)
        self._leg_id = id(exchange)
        exchange.enter()
        return Send(client, exchange)

    def _timeout_at(self, client: Any) -> Any:
        timeout = self._options.timeout
        return client.timeout if _is_not_given(timeout) else timeout

    def as_attempts(self, status: Status, now: float) -> "list[Attempt]":  # noqa: ARG002 - they are complete
        """Each of its attempts is one of the enclosing call's."""
        return self.attempts

    def _refusal(self) -> Exception:
        """No target could be asked in time and none was: what the nearest one would say, about this request."""
        code, message, seconds = self._route.why_not(self._trip)
        return refusal(self._client, self._options, code, message, seconds)

    # The record

    def ended(self, error: BaseException) -> None:
        """The request ended in an exception; one that no attempt raised is the call's own."""
        if self.finished:
            self.leave()
        else:
            self.raised(error)

    def left(self, error: BaseException | None) -> None:
        """As for any call; but finalisers come in any order, and an attempt that is open tells how the call ended."""
        if not self._leg_id:
            super().left(error)

    def attempt_over(self, probe: Probe, status: Status, now: float) -> None:
        """An attempt ended; with the one that answered ends the call."""
        if id(probe) != self._leg_id:
            super().attempt_over(probe, status, now)
            return
        self._leg_id = 0
        latency_seconds = max(now - probe.started, 0.0)
        if self._ticket is None:
            attempt = attempt_of(probe, status, latency_seconds, probe.tokens)
        else:
            attempt = attempt_of(
                probe,
                status,
                latency_seconds,
                probe.tokens,
                target=self._route.name_of(self._ticket.spot),
                key_id=self._key_id,
                waited_seconds=self._waited_seconds,
            )
            n_tokens = 0 if probe.tokens is None else probe.tokens.input + probe.tokens.output
            self.guarded("route", self._route.give_back, self._ticket, n_tokens)
        self.attempts.append(attempt)
        if self._is_decided:
            self._take_over(probe, status, now)
        else:
            self._over = (probe, status, now)

    def _decide(self, *, has_answer: bool) -> None:
        """No other attempt follows: the call is what the last one was, or becomes."""
        self._is_decided = True
        self._has_answer = has_answer
        over, self._over = self._over, None
        if over is not None:
            self._take_over(*over)

    def _take_over(self, probe: Probe, status: Status, now: float) -> None:
        self._last = probe
        self.error_type = probe.error_type
        self.finish(status, now, probe.error_type)

    def record(self, status: Status, now: float) -> "Call":
        """The call as its last attempt saw it, from the beginning on, with every attempt."""
        last, self._last = self._last or self, None
        reason = ""
        if last is not self:
            last.call_id, last.started = self.call_id, self.started
            last.served_model = last.served_model or (last.requested_model if self._has_answer else "")
            last.requested_model = self.requested_model
        if self._has_answer and self._ticket is not None:
            reason = self._trip.fallback_reason(self._ticket.spot, self.requested_model)
        return call_of(last, status, now, routed=self.attempts, fallback_reason=reason)


def _is_not_given(value: object) -> bool:
    return type(value).__name__ in ("NotGiven", "Omit")
