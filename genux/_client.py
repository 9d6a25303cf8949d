"""The client: assigns, exposes, tracks, wraps. Nothing that it measures with raises into the host."""

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from genux import _registry, tokens
from genux._context import Scope, Unit, current_call, current_feature, current_unit
from genux._decide import Decider
from genux._delivery import Delivery
from genux._events import Emitter, checked_text
from genux._forcing import forcing
from genux._guard import Guard, answering, guarded, nothing
from genux._options import resolve
from genux._outbox import Outbox
from genux._overrides import overrides
from genux._prices import Pricing, own_table
from genux._resumed import Resumed
from genux._signing import Signing
from genux._snapshot import SnapshotStore
from genux._status import Status, status_of
from genux._transport import HttpTransport, Transport
from genux.assignment import Assignment, control
from genux.errors import TokenError, UsageError
from genux.wire import MAX_ID_LENGTH, MAX_NAME_LENGTH, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from genux._calls import CallRecorder
    from genux.llm import ManualCall, PriceTable, Route, Routes

__all__ = ["Client"]

C = TypeVar("C")

_MIB = 1_024 * 1_024


def _error(client: "Client", key: str) -> Assignment:
    return control(client._snapshots.compiled, key, "ERROR")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # stands in for two methods


class Client:
    """One project and environment, as one process sees them. Cheap to make, safe to share between threads.

    Without a url it works in local mode: experiments come from `config`, or everyone gets control; events are counted
    and heard by `genux.testing.recording()`, and kept nowhere.

    With one, the experiments are fetched in the background from construction on, and kept on disk for the next start.
    Until the first ones are there everyone gets control: on a fresh machine wait for them once with `gx.ready()`.

    Args:
        url: address of the service; default `GENUX_URL`.
        api_key: a server key; default `GENUX_API_KEY`.
        config: YAML file of experiments to assign from instead of the service's; default `GENUX_CONFIG`.
        directory: where the outbox lives; default `GENUX_DIR`, else below the user's state directory.
        flush_seconds: how long an event may wait before it is shipped.
        poll_seconds: time between two looks for a new snapshot.
        snapshot_wait_seconds: how long `variant()` may wait for the very first snapshot of this machine.
        exit_flush_seconds: how long the interpreter's exit may wait for the service; the rest stays on disk.
        timeout_seconds: of one request to the service.
        max_outbox_bytes: disk that the outbox may take; beyond it new events are dropped and counted.
        max_memory_bytes: memory that events may take while the disk refuses them.
        fsync: events survive a loss of power too, for the price of a write to the disk itself in every `track`.
        transport: another way to the service, such as `genux.testing.WsgiTransport`.
        prices: what models cost: a table, or the YAML file of one. Wins as a whole over the `prices` of `config`, and
            those over the project's table on the service. What no rule matches has the price of the public list.
        capture_text: keep the text of prompts and answers (of calls that do not stream) with their calls, cut to 16,384
            characters each, once the project on the service allows it too. Without this none is read.
        redact: given each text before anything else sees it; answers what may be kept. If it fails, nothing is.
        strict: raise out of measuring calls; default `GENUX_DEBUG=1`.

    Raises:
        ConfigError: the file of experiments, or of prices, cannot be used.
    """

    def __init__(  # noqa: PLR0913 settings, by name
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        config: str | Path | None = None,
        directory: str | Path | None = None,
        flush_seconds: float = 1.0,
        poll_seconds: float = 30.0,
        snapshot_wait_seconds: float = 0.0,
        exit_flush_seconds: float = 2.0,
        timeout_seconds: float = 10.0,
        max_outbox_bytes: int = 256 * _MIB,
        max_memory_bytes: int = 8 * _MIB,
        fsync: bool = False,
        transport: Transport | None = None,
        prices: "str | Path | PriceTable | None" = None,
        capture_text: bool = False,
        redact: "Callable[[str], str] | None" = None,
        strict: bool | None = None,
    ) -> None:
        options = resolve(url, api_key, config, directory, strict=strict, has_transport=transport is not None)
        local = _read_local(options.config)
        own_prices = own_table(prices)
        self._guard = Guard(strict=options.strict)
        for problem in options.problems:
            self._guard.say_once(problem, problem)
        self._exit_flush_seconds = exit_flush_seconds
        self._text = (capture_text, redact)
        self._snapshots = SnapshotStore(options.directory, poll_seconds, self._guard, local)
        self._delivery: Delivery | None = None
        if options.directory is not None:
            self._delivery = Delivery(
                outbox=Outbox(options.directory, max_outbox_bytes, max_memory_bytes, self._guard, fsync=fsync),
                api_key=options.api_key,
                transport=transport or HttpTransport(options.url, timeout_seconds),
                snapshots=self._snapshots,
                pricing=Pricing(own_prices, self._snapshots),
                guard=self._guard,
                flush_seconds=flush_seconds,
            )
        self._signing = Signing(self._snapshots, self._guard, is_local=self._delivery is None)
        self._emitter = Emitter(self._delivery, self._guard)
        wait_seconds = 0.0 if self._delivery is None else snapshot_wait_seconds
        self._decider = Decider(self._snapshots, self._guard, options.forced, wait_seconds)
        _registry.register(self)
        self._start()

    def unit(self, unit_id: str, /, *, kind: str = "user", **attributes: Any) -> Scope[Unit | None]:
        """Everything in the `with` block is done for this unit: a contextvar, so tasks inherit it.

        Args:
            unit_id: what is randomised. Anything but text of 1 to 256 characters is counted, and nothing in the block
                is measured.
            kind: such as `user`, `session`, `document`. Units of other kinds may stand inside one another; variants,
                events and calls belong to each of them, and an experiment finds the one of its kind.
            **attributes: what targeting looks at; JSON values.
        """
        try:
            checked_text(unit_id, MAX_ID_LENGTH, "bad_unit", "a unit's id")
            checked_text(kind, MAX_NAME_LENGTH, "bad_unit", "a unit's kind")
            return Scope(current_unit, Unit(unit_id, kind, attributes=attributes, outer=current_unit.get()))
        except UsageError as error:
            self._guard.failed("unit", error)
            if self._guard.strict:
                raise
            return Scope(current_unit, None)

    def feature(self, name: str, /) -> Scope[str]:
        """LLM calls in the `with` block belong to this feature."""
        try:
            return Scope(current_feature, checked_text(name, MAX_NAME_LENGTH, "bad_name", "a feature's name"))
        except UsageError as error:
            self._guard.failed("feature", error)
            if self._guard.strict:
                raise
            return Scope(current_feature, current_feature.get())

    @guarded(_error)
    def variant(self, key: str, /) -> Assignment:
        """The current unit's variant; call it where you render: the unit counts as exposed from now on.

        The first exposure of a unit in a process is recorded, repeats are not. Without a unit, a snapshot or such an
        experiment the answer is control, with the reason, counted; `gx.ready()` waits for the first snapshot.
        """
        self._start()
        assignment, unit, unit_id = self._decider.decide(key)
        if unit is not None:
            try:
                self._emitter.expose(unit, unit_id, assignment)
            except Exception as error:
                # Here and not in the decorator: an exposure that cannot be recorded changes no unit's variant.
                self._guard.failed("expose", error, loses_event=True)
                if self._guard.strict:
                    raise
        return assignment

    def peek(self, key: str, /) -> Assignment:
        """The current unit's variant, without exposing it; `expose` follows when the unit really meets it.

        Who never meets it is counted, by arm, in the report.
        """
        try:
            self._start()
            assignment, unit, unit_id = self._decider.decide(key)
            if assignment.reason == "ASSIGNED" and unit is not None and (unit.peeked is None or key not in unit.peeked):
                self._note_peek(unit, unit_id, assignment)
        except Exception as error:  # spelt out: the decorator would cost a fifth of the call
            self._guard.failed("peek", error)
            if self._guard.strict:
                raise
            return _error(self, key)
        return assignment

    @guarded(nothing, loses_event=True)
    def _note_peek(self, unit: Unit, unit_id: str, assignment: Assignment) -> None:
        """By itself: a peek that cannot be recorded changes no unit's variant."""
        self._emitter.peeked(unit, unit_id, assignment)

    @guarded(nothing, loses_event=True)
    def expose(self, assignment: Assignment, /) -> None:
        """The current unit meets the variant that `peek` gave; call it in the same unit."""
        unit = current_unit.get()
        unit_id = "" if unit is None else unit.ids.get(assignment.unit_kind, "")
        if unit is None or not unit_id:
            raise UsageError("no_unit", f"`{assignment.experiment}` was exposed outside of a {assignment.unit_kind}")
        self._emitter.expose(unit, unit_id, assignment)

    @guarded(nothing, loses_event=True)
    def track(self, name: str, /, value: float = 1.0, **properties: Any) -> None:
        """The current unit did something.

        Args:
            name: such as `answer_accepted`; `genux.wire.SURFACE_EVENTS` has the reserved ones.
            value: a finite number, in the unit of whoever measures it.
            **properties: JSON values.
        """
        unit = current_unit.get()
        if unit is None:
            raise UsageError("no_unit", f"`{name}` was tracked outside of a unit")
        self._emitter.track(unit, name, value, properties)

    @guarded(nothing, loses_event=True)
    def feedback(self, rating: float | str, /, **properties: Any) -> None:
        """What a person thought of the current call's answer: the event `feedback`, joined to the call.

        From another request or process it goes through the call's resume token: `gx.resume(token).feedback("up")`.

        Args:
            rating: `up` or True, `down` or False, or a number from -1 to 1.
            **properties: JSON values. A comment is text that a person wrote: leave it out unless you may keep it.
        """
        unit, call = current_unit.get(), current_call.get()
        if unit is None:
            raise UsageError("no_unit", "feedback was given outside of a unit")
        call_id = call[1] if call is not None and call[0] is unit else unit.call_id
        self._emitter.feedback(unit, call_id, rating, properties)

    @guarded(nothing, loses_event=True)
    def alias(self, anonymous_id: str, known_id: str, /, *, kind: str = "user") -> None:
        """An anonymous unit turned out to be a known one: both are analysed as the first seen."""
        self._emitter.alias(anonymous_id, known_id, kind)

    def wrap(
        self, client: C, /, *, route: "Route | None" = None, provider: str = "", stream_usage: bool | None = None
    ) -> C:
        """Measure every LLM call of an OpenAI client from now on; see `genux.llm.wrap`.

        Args:
            client: the client.
            route: from `gx.route(...)`: the keys, models and providers that its requests may go to.
            provider: whose prices hold, such as `openai`, or a name of your own that your price table uses; empty
                finds it by the host of the client's base URL, which says nothing for a proxy or a server of your own.
            stream_usage: whether chat streams are asked for their usage when the caller did not, with the extra chunk
                hidden. None asks OpenAI and Azure; True any server, as vLLM, Ollama and LiteLLM need; False none.

        Returns:
            The same object, measured, or untouched when it is no such client, which is counted.
        """
        from genux.llm import wrap

        return wrap(client, self._recorder, provider=provider, stream_usage=stream_usage, route=route)

    @cached_property
    def route(self) -> "Routes":
        """Makes routes, `gx.route("summaries", [genux.Target(...)])`, and tells their state, `gx.route.status()`."""
        from genux.llm import Routes

        return Routes(self._guard.say_once)

    def executor(self, pool: C, /) -> C:
        """Make a thread pool take the unit, feature and call along, whatever is submitted to it from now on.

        Needed for pools and for `loop.run_in_executor`, whose threads inherit no context; `asyncio.to_thread` and tasks
        inherit it by themselves. One function alone goes through `genux.carry`.

        Returns:
            The same pool; untouched, which is counted, when it is no `ThreadPoolExecutor`.
        """
        from genux._executor import make_carrying

        try:
            make_carrying(pool)
        except UsageError as error:
            self._guard.failed("executor", error)
            if self._guard.strict:
                raise
        return pool

    def call(self, *, model: str, provider: str = "", operation: str = "chat", feature: str = "") -> "ManualCall":
        """Measure a call to a model that is not reached through an OpenAI client; see `genux.llm.manual_call`."""
        from genux.llm import manual_call

        return manual_call(self._recorder, model=model, provider=provider, operation=operation, feature=feature)

    @cached_property
    def _recorder(self) -> "CallRecorder":
        from genux._calls import CallRecorder

        capture, redact = self._text
        if not capture:
            return CallRecorder(self._emitter, self._guard)
        from genux._captured import TextCapture

        is_local = self._delivery is None
        text = TextCapture(redact, lambda: is_local or self._snapshots.keeps_text, self._guard)
        return CallRecorder(self._emitter, self._guard, text)

    @guarded(answering(""))
    def resume_token(self, *, lifetime_seconds: float = 604_800.0) -> str:
        """A signed reference to the current LLM call, or else to the unit's last exposure, for another process.

        It carries the model that answered, once the call has ended.

        Args:
            lifetime_seconds: until it is refused; a week unless said otherwise.

        Returns:
            Text for a browser or a queue to carry; empty, and counted, when there is neither call nor exposure.
        """
        unit, call = current_unit.get(), current_call.get()
        call_id = call[1] if call is not None and call[0] is unit else ""
        exposure_id = "" if call_id or unit is None else unit.exposure_id
        if not (call_id or exposure_id):
            raise UsageError("nothing_to_resume", "there is neither a call nor an exposure to refer to")
        expires_at = overrides.now() + dt.timedelta(seconds=lifetime_seconds)
        return tokens.mint(
            self._signing.to_mint("resume token"),
            call_id=call_id,
            exposure_id=exposure_id,
            expires_at=expires_at,
            served_model=self._recorder.served_model(call_id) if call_id else "",
        )

    def resume(self, token: str, /) -> Resumed:
        """Report outcomes against a resume token; one that is refused is counted, as is what is tracked on it."""
        try:
            reference = tokens.read(self._signing.to_read(), token, overrides.now())
        except TokenError as error:
            self._guard.failed("resume", UsageError(f"token_{error.code}", str(error)))
            return Resumed(None, error.code, self._emitter, self._guard)
        unit = Unit("", call_id=reference.call_id, exposure_id=reference.exposure_id)
        return Resumed(unit, "", self._emitter, self._guard, served_model=reference.served_model)

    @guarded(answering(""))
    def force_token(self, variants: Mapping[str, str], /, *, lifetime_seconds: float = 86_400.0) -> str:
        """Signed text that shows these variants to whoever carries it, for quality assurance: `?genux_force=<token>`.

        `genux.middleware` reads it; elsewhere `with gx.forcing(token):` does. What it forces is flagged, and left out
        of every analysis.

        Args:
            variants: experiment -> variant.
            lifetime_seconds: until it is refused; a day unless said otherwise.

        Returns:
            Text for an address; empty, and counted, when no variant is named.
        """
        expires_at = overrides.now() + dt.timedelta(seconds=lifetime_seconds)
        try:
            return tokens.mint_force(self._signing.to_mint("force token"), variants, expires_at)
        except TokenError as error:
            raise UsageError(f"token_{error.code}", str(error)) from None

    def forcing(self, text: str, /, *, plain: bool | None = None) -> Scope[Mapping[str, str]]:
        """Variants are forced in the `with` block, and in the tasks that it starts, as `text` says.

        Args:
            text: a force token, or `experiment:variant` with commas in between where `plain` allows it. One that is
                refused is counted, and forces nothing.
            plain: whether unsigned text counts: only while developing, since anyone can write it into an address.
                `strict`, and with it `GENUX_DEBUG=1`, unless said otherwise.
        """
        is_plain_allowed = self._guard.strict if plain is None else plain
        return forcing(text, self._signing.to_read(), self._guard, plain=is_plain_allowed)

    def ready(self, timeout: float = 5.0) -> bool:
        """Wait until there is a snapshot to assign from; False when the time was up first. Timeout in seconds."""
        return self._snapshots.arrived.wait(timeout if self._start() else 0.0)

    @guarded(answering(False))
    def flush(self, timeout: float = 5.0) -> bool:
        """Ship everything kept until now, for hosts that freeze or end; timeout in seconds.

        Returns:
            True when all of it arrived. Otherwise it is still on disk, and goes out later.
        """
        return self._delivery is None or self._delivery.flush(timeout)

    @guarded(nothing)
    def close(self) -> None:
        """Flush within `exit_flush_seconds` and stop the background thread; what did not arrive stays on disk."""
        _registry.forget(self)
        self.at_exit()

    def status(self) -> Status:
        """The counts; see `Status`."""
        routes = self.route.status() if "route" in vars(self) else {}
        return status_of(self._guard, self._snapshots, self._delivery, self._emitter.n_local, routes)

    def note(self, where: str, error: BaseException) -> None:
        """Count and log a failure of measuring that an integration met."""
        self._guard.failed(where, error)

    def expose_anew(self) -> None:
        """Forget which exposures were recorded; for `genux.testing.recording()`."""
        self._emitter.forget()

    def at_exit(self, spent_seconds: float = 0.0) -> None:
        """The interpreter leaves: ship what can be shipped in time, less what the exit has spent already."""
        if self._delivery is not None:
            self._delivery.at_exit(max(0.0, self._exit_flush_seconds - spent_seconds))

    def after_fork(self) -> None:
        """In a child: no thread runs, no lock is held, what waited in memory is the parent's."""
        self._guard.after_fork()
        self._snapshots.after_fork()
        if self._delivery is not None:
            self._delivery.after_fork()

    def _start(self) -> bool:
        return self._delivery is not None and self._delivery.start()


def _read_local(path: str) -> Snapshot | None:
    if not path:
        return None
    from genux.config import load_config, snapshot_from_config

    return snapshot_from_config(load_config(path))
