"""Simulated visitors. What they do is drawn from stated probabilities; what the model answers is not simulated here.

A blank chat box loses people at every step before the first prompt; a one-click action has one step. The shares below
are made up for the demonstration, and everything that shows them says so. The planted truth is the share of exposed
visitors who accept an answer: `BASE_ACCEPTED` under the chat box, `BASE_ACCEPTED + effect` under the button.
"""

import dataclasses
import datetime as dt
import random
from collections.abc import Iterator

from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec

__all__ = [
    "BASE_ACCEPTED",
    "EXPERIMENT_KEY",
    "MAX_EFFECT",
    "Journey",
    "Visit",
    "experiment_spec",
    "journey",
    "metric_specs",
    "visits",
]

EXPERIMENT_KEY = "ai-entry"
BASE_ACCEPTED = 0.15
DAYS = 14
WINDOW_SECONDS = 3_600.0

_SEEN = 0.95
_FOCUS, _START, _SEND = 0.62, 0.66, 0.85
_CLICK = 0.46
_REACH = {"chat": _FOCUS * _START * _SEND * _SEEN, "action": _CLICK * _SEEN}
MAX_EFFECT = _REACH["action"] - BASE_ACCEPTED
"""No more people can accept an answer than see one."""

_CHAT_SECONDS, _CLICK_SECONDS, _READ_SECONDS = 14.0, 4.0, 12.0
_QUESTIONS = (
    "What is this about?",
    "What are the rules I must follow?",
    "When would I use this?",
    "Is there an example?",
    "What happens if it fails?",
)
_COUNTRIES = ("KR", "US", "DE", "BR")


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A visitor before anyone knows which variant they meet: who, when, and their dice."""

    unit_id: str
    country: str
    arrived_at: dt.datetime
    article: int
    question: str
    dice: tuple[float, ...]
    pace: float


@dataclasses.dataclass(frozen=True, slots=True)
class Journey:
    """What a visitor does on a surface: `(event name, seconds since arrival)` before and after the model's answer.

    `before` is followed by a call of the model exactly when `asks`; `after` happens only if the call succeeded.
    """

    before: tuple[tuple[str, float], ...]
    asks: bool
    after: tuple[tuple[str, float], ...]

    @property
    def accepts(self) -> bool:
        """Whether the visitor accepts the answer, if one comes."""
        return any(name == "answer_accepted" for name, _ in self.after)


def visits(n: int, seed: int, *, now: dt.datetime) -> Iterator[Visit]:
    """Yields `n` visits over the `DAYS` days that end two conversion windows before `now`, in order of arrival."""
    rng = random.Random(seed)  # noqa: S311  visitors' dice, not secrets
    end = now - dt.timedelta(seconds=2 * WINDOW_SECONDS)
    span = dt.timedelta(days=DAYS)
    for at in sorted(rng.random() for _ in range(n)):
        yield Visit(
            unit_id=f"visitor-{seed}-{rng.getrandbits(48):012x}",
            country=rng.choice(_COUNTRIES),
            arrived_at=end - span + at * span,
            article=rng.getrandbits(30),
            question=rng.choice(_QUESTIONS),
            dice=tuple(rng.random() for _ in range(5)),
            pace=rng.lognormvariate(0.0, 0.5),
        )


def journey(visit: Visit, surface: str, accepted_share: float) -> Journey:
    """Plays a visit on a surface (`chat` or `action`).

    Args:
        visit: the visitor and their dice.
        surface: `chat` or `action`.
        accepted_share: planted share of exposed visitors who accept an answer, 0 to what the surface lets through.
    """
    shown = [("surface_shown", 0.0)]
    gates: tuple[tuple[str, float], ...]
    if surface == "chat":
        gates = (("surface_focused", _FOCUS), ("input_started", _START), ("prompt_sent", _SEND))
        think = _CHAT_SECONDS * visit.pace
    else:
        gates = (("prompt_sent", _CLICK),)
        think = _CLICK_SECONDS * visit.pace
    asks = True
    for step, (die, (name, share)) in enumerate(zip(visit.dice, gates, strict=False), start=1):
        if die >= share:
            asks = False
            break
        shown.append((name, think * step / len(gates)))
    after: list[tuple[str, float]] = []
    if asks:
        answered = think + 1.0
        after.append(("answer_started", answered))
        if visit.dice[3] < _SEEN:
            after.append(("answer_seen", answered + 1.0))
            if visit.dice[4] < accepted_share / _REACH[surface]:
                after.append(("answer_accepted", answered + _READ_SECONDS * visit.pace))
    return Journey(before=tuple(shown), asks=asks, after=tuple(after))


def experiment_spec(*, effect: float, aa: bool, model: str, visitors: int) -> ExperimentSpec:
    """The demonstration's experiment; `aa` shows the same chat box under both names."""
    summary = VariantSpec(
        key="summary",
        surface="chat" if aa else "action",
        label="Ask AI again" if aa else "Summary",
        model=model,
        prompt="ask" if aa else "summarize",
        prompt_version="1",
    )
    truth = (
        "both variants are the same chat box, so there is nothing to find"
        if aa
        else f"a planted effect of {100 * effect:+.1f} points on accepted answers"
    )
    return ExperimentSpec(
        key=EXPERIMENT_KEY,
        question="Should people meet an empty chat box, or one button that says Summary?",
        hypothesis="People who face a blank page do not know what to ask; one click helps more of them.",
        variants=[
            VariantSpec(key="ask-ai", surface="chat", label="Ask AI", model=model, prompt="ask", prompt_version="1"),
            summary,
        ],
        control="ask-ai",
        primary="accepted",
        secondaries=["asked", "cost_per_visitor"],
        guardrails=["error_rate", "latency_p95"],
        plan=Plan(horizon_units=visitors, looks=1),
        simulated=f"Visitors and behaviour are simulated, with {truth}. The calls to the model were really made.",
    )


def metric_specs() -> list[MetricSpec]:
    """The demonstration's metrics."""
    return [
        MetricSpec(
            key="accepted",
            label="accepted answers",
            numerator=Measure(event="answer_accepted"),
            window_seconds=WINDOW_SECONDS,
        ),
        MetricSpec(
            key="asked",
            label="prompts sent",
            numerator=Measure(event="prompt_sent"),
            window_seconds=WINDOW_SECONDS,
        ),
        MetricSpec(
            key="cost_per_visitor",
            label="LLM cost per visitor",
            kind="mean",
            numerator=Measure(source="call", field="cost_usd", aggregate="sum"),
            direction="decrease",
            unit="usd",
            window_seconds=WINDOW_SECONDS,
        ),
        MetricSpec(
            key="error_rate",
            label="failed calls",
            kind="ratio",
            numerator=Measure(source="call", field="errors", aggregate="sum"),
            denominator=Measure(source="call", aggregate="count"),
            direction="decrease",
            window_seconds=WINDOW_SECONDS,
            margin=0.02,
            margin_relative=False,
        ),
        MetricSpec(
            key="latency_p95",
            label="p95 latency",
            kind="quantile",
            quantile=0.95,
            numerator=Measure(source="call", field="latency_seconds"),
            direction="decrease",
            unit="s",
            window_seconds=WINDOW_SECONDS,
            # Wide, because a few hundred calls say little about their slowest twentieth.
            margin=0.5,
        ),
    ]
