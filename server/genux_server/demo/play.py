"""Plays simulated visitors against a real service through the real SDK: every call of the model is a real HTTP call."""

import contextvars
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import openai

import genux
from genux import testing
from genux_server.demo.visitors import EXPERIMENT_KEY, Visit, journey

__all__ = ["Feature", "play"]

_INSTRUCTIONS = {
    "ask": "Answer the reader's question from the article, in at most three sentences.",
    "summarize": "Summarize the article in three sentences.",
}

_clock: contextvars.ContextVar[dt.datetime | None] = contextvars.ContextVar("genux_demo_clock", default=None)


def _now() -> dt.datetime:
    return _clock.get() or dt.datetime.now(dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Feature:
    """The LLM feature under test, as an app would write it: articles, a wrapped client, a genux client."""

    gx: genux.Client
    llm: openai.OpenAI
    articles: tuple[str, ...]

    def serve(self, visit: Visit, accepted_share: dict[str, float]) -> bool:
        """One visitor from arrival to leaving.

        Args:
            visit: who, when, and their dice.
            accepted_share: planted share of exposed visitors who accept an answer, by variant.

        Returns:
            Whether the model was called.
        """
        _clock.set(visit.arrived_at)
        with self.gx.unit(visit.unit_id, country=visit.country):
            entry = self.gx.variant(EXPERIMENT_KEY)
            plan = journey(visit, entry.surface, accepted_share[entry.key])
            self._track(visit, plan.before)
            if plan.asks and self._answer(visit, entry):
                self._track(visit, plan.after)
        return plan.asks

    def _track(self, visit: Visit, steps: Iterable[tuple[str, float]]) -> None:
        for name, seconds in steps:
            _clock.set(visit.arrived_at + dt.timedelta(seconds=seconds))
            self.gx.track(name)

    def _answer(self, visit: Visit, entry: genux.Assignment) -> bool:
        article = self.articles[visit.article % len(self.articles)]
        prompt = entry.get("prompt")
        question = f"{visit.question}\n\n{article}" if prompt == "ask" else article
        try:
            stream = self.llm.responses.create(
                model=entry.model, instructions=_INSTRUCTIONS[prompt], input=question, stream=True
            )
            for _ in stream:
                pass
        except openai.OpenAIError:
            return False
        return True


def play(
    feature: Feature,
    visits: Iterable[Visit],
    accepted_share: dict[str, float],
    *,
    threads: int,
    progress: Callable[[bool], None],
) -> None:
    """Plays all visits on a pool of threads; `progress` hears after each whether the model was called.

    Time is simulated for what visitors do (they came over the last two weeks), and real for how long the model takes.
    """
    with testing.clock(_now), ThreadPoolExecutor(threads) as pool:
        running: set[Future[bool]] = set()
        for visit in visits:
            if len(running) >= 4 * threads:
                running = _collect(running, progress)
            running.add(pool.submit(contextvars.copy_context().run, feature.serve, visit, accepted_share))
        while running:
            running = _collect(running, progress)


def _collect(running: set[Future[bool]], progress: Callable[[bool], None]) -> set[Future[bool]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        progress(future.result())
    return rest
