"""Calls that are not made by an OpenAI client: one core, used with `with`, `async with` or as a decorator."""

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from genux.llm._decorated import decorated
from genux.llm._evaluated import checked_score, retrieval_of
from genux.llm._probe import Probe
from genux.llm._recorder import Recorder
from genux.llm._reported import name_of, report_usage, status_code_of
from genux.wire import MAX_NAME_LENGTH

__all__ = ["ManualCall", "manual_call"]

P = ParamSpec("P")
R = TypeVar("R")


class ManualCall:
    """A call measured by hand. Made by `manual_call`; every method may be called any number of times, or never.

    Requests of wrapped OpenAI clients made inside it become its attempts, so that nothing counts twice. Their usage is
    the call's unless `usage` was given.
    """

    def __init__(self, recorder: Recorder, *, model: str, provider: str, operation: str, feature: str) -> None:
        self._recorder = recorder
        self._about = {
            "model": name_of(model),
            "provider": name_of(provider),
            "operation": name_of(operation, MAX_NAME_LENGTH) or "chat",
            "feature": name_of(feature),
        }
        self._probe: Probe | None = None

    @property
    def call_id(self) -> str:
        """The call's id while it runs, else empty."""
        return self._probe.call_id if self._probe is not None else ""

    def __enter__(self) -> Self:
        try:
            probe = Probe(self._recorder, **self._about)
            probe.enter()
        except Exception as error:  # noqa: BLE001 - the host's block runs unmeasured
            self._recorder.failed("manual_call", error)
        else:
            self._probe = probe
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = perf_counter()
        probe, self._probe = self._probe, None
        if probe is None:
            return
        if error is not None:
            probe.raised(error)
        else:
            probe.leave()
            probe.guarded("manual_call", probe.finish, "ok", now)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function, coroutine function or generator: each of its calls is one measured call."""
        return decorated(function, lambda: ManualCall(self._recorder, **self._about))

    def pause(self) -> None:
        """What runs from now on is somebody else's: between two items of a stream, its reader's."""
        if self._probe is not None:
            self.first_token()
            self._probe.leave()

    def go_on(self) -> None:
        """What runs from now on is the call's again."""
        if self._probe is not None:
            self._probe.go_on()

    def usage(  # noqa: PLR0913 what may have been used, by name
        self,
        usage: Any = None,
        *,
        input_tokens: int | None = None,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int | None = None,
        reasoning_tokens: int = 0,
        images: int = 0,
        audio_seconds: float = 0.0,
        characters: int = 0,
        served_model: str = "",
        service_tier: str = "",
    ) -> None:
        """Reports what the call used; the last report counts. One with what is no number is refused as a whole.

        Args:
            usage: an OpenAI-shaped `usage` object or mapping; it replaces the token arguments.
            input_tokens: all input tokens, cached ones included.
            cached_tokens: those of them read from the provider's cache.
            cache_write_tokens: those of them written to the provider's cache.
            output_tokens: all output tokens, reasoning included.
            reasoning_tokens: those of them that were reasoning.
            images: images made.
            audio_seconds: length of audio transcribed.
            characters: length of text turned into speech.
            served_model: the model that answered, when it is not the one asked for.
            service_tier: `flex`, `priority`, `batch`, ... as the provider named it.
        """
        probe = self._probe
        if probe is not None:
            tokens = {
                "input_tokens": input_tokens,
                "cached_tokens": cached_tokens,
                "cache_write_tokens": cache_write_tokens,
                "output_tokens": output_tokens,
                "reasoning_tokens": reasoning_tokens,
            }
            probe.guarded("usage", report_usage, probe, usage, tokens, images, audio_seconds, characters)
            probe.served_model = name_of(served_model) or probe.served_model
            probe.service_tier = name_of(service_tier) or probe.service_tier

    def first_token(self) -> None:
        """The first content of the answer has arrived; later calls are ignored."""
        probe = self._probe
        if probe is not None and not probe.first_content_at:
            probe.streaming = True
            probe.first_content_at = perf_counter()

    def retrieval(
        self,
        *,
        scores: Sequence[float],
        k: int | None = None,
        source: str = "",
        used: Iterable[str | int] | None = None,
    ) -> None:
        """Reports what a retrieval step handed to the model. Counts and the spread of scores are kept, no text.

        Args:
            scores: one score per chunk that was handed over, in any unit.
            k: how many chunks there were; the number of scores when not given.
            source: name of the index or collection.
            used: ids or positions of the chunks that the answer drew on, such as those that it cites.
        """
        probe = self._probe
        if probe is not None:
            found = probe.guarded("retrieval", retrieval_of, scores, k, source, used)
            probe.retrieval = found or probe.retrieval

    def score(self, name: str, value: float) -> None:
        """Reports how an evaluator scored the answer, such as `faithfulness`; the last one of a name counts.

        An evaluator that runs later, or elsewhere, tracks its score on the call's resume token instead.
        """
        probe = self._probe
        if probe is not None:
            probe.guarded("score", checked_score, probe.scores, name, value)

    def text(self, *, prompt: str = "", answer: str = "") -> None:
        """Hands over what was asked and answered; kept only where the client captures text and the project keeps it."""
        probe = self._probe
        if probe is not None and probe.context.keep_text is not None:
            probe.prompt_text = prompt or probe.prompt_text
            probe.answer_text = answer or probe.answer_text

    def failed(self, error_type: str | BaseException, http_status: int = 0) -> None:
        """The call failed although no exception leaves the block. Of an exception its class is kept, not its words."""
        probe = self._probe
        if probe is not None:
            probe.error_type = name_of(error_type) or "failed"
            probe.http_status = probe.guarded("failed", status_code_of, http_status) or 0


def manual_call(
    recorder: Recorder, *, model: str, provider: str = "", operation: str = "chat", feature: str = ""
) -> ManualCall:
    """Measures a call to a model that is not reached through an OpenAI client.

    Args:
        recorder: receives one `Call` when the block ends.
        model: the model asked for.
        provider: genai-prices provider id, such as `anthropic`; empty finds the price by the model's name.
        operation: `chat`, `embeddings`, `retrieval`, ...
        feature: the part of the product the call serves; empty takes the surrounding context's.

    Returns:
        A context manager for `with` and `async with`, or a decorator.

    Examples:
        with manual_call(recorder, model="claude-sonnet-4-5", provider="anthropic") as call:
            reply = client.messages.create(...)
            call.usage(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)
    """
    return ManualCall(recorder, model=model, provider=provider, operation=operation, feature=feature)
