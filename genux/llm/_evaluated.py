"""What a host says of a call's quality: how retrieval went, which of it was used, how evaluators scored the answer."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from genux.errors import UsageError
from genux.llm._reported import count_of, name_of
from genux.wire import MAX_NAME_LENGTH, MAX_SCORES, MAX_USED_CHUNKS, Retrieval

__all__ = ["checked_score", "retrieval_of"]

_BUCKETS = 10


def retrieval_of(
    scores: Sequence[float], k: int | None, source: str, used: Iterable[str | int] | None = None
) -> Retrieval:
    """The facts of one retrieval step: counts and the spread of the scores, no text.

    Args:
        scores: one per chunk that was handed over.
        k: how many chunks there were, when not one per score.
        source: name of the index.
        used: ids or positions of the chunks that the answer drew on; None when nobody looked.

    Raises:
        UsageError: `bad_score`, a score is no finite number; `bad_usage`, k is no count.
    """
    numbers = [_finite("a retrieval score", score) for score in scores]
    chunks = None if used is None else [name for chunk in used if (name := name_of(chunk, MAX_NAME_LENGTH))]
    about = Retrieval(
        source=name_of(source),
        k=len(numbers) if k is None else count_of("k", k),
        n_used=None if chunks is None else len(chunks),
        used=[] if chunks is None else chunks[:MAX_USED_CHUNKS],
    )
    if not numbers:
        return about
    low, high = min(numbers), max(numbers)
    histogram = [0] * _BUCKETS
    width = (high - low) / _BUCKETS
    for number in numbers:
        histogram[min(int((number - low) / width), _BUCKETS - 1) if width else 0] += 1
    return Retrieval(
        source=about.source,
        k=about.k,
        n_used=about.n_used,
        used=about.used,
        score_min=low,
        score_mean=math.fsum(numbers) / len(numbers),
        score_max=high,
        histogram=histogram,
    )


def checked_score(scores: dict[str, float], name: Any, value: Any) -> None:
    """Adds an evaluator's score to those of a call.

    Raises:
        UsageError: `bad_score`; it has no usable name, is no finite number, or there are too many.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise UsageError("bad_score", f"a score's name must be text of 1 to {MAX_NAME_LENGTH} characters")
    if len(scores) >= MAX_SCORES and name not in scores:
        raise UsageError("bad_score", f"a call may have {MAX_SCORES} scores")
    scores[name_of(name)] = _finite(f"the score {name!a}", value)


def _finite(what: str, value: Any) -> float:
    # Scores come from vector libraries, whose numbers are of types of their own.
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e18:  # noqa: PLR2004 the wire's largest value
        raise UsageError("bad_score", f"{what} must be a number between -1e18 and 1e18, got {value!r:.50}")
    return number
