"""Calls measured by hand."""

import asyncio
import math
from typing import assert_type

import msgspec
import pytest

from genux.llm import CallContext, manual_call
from genux.wire import Call, Retrieval, Tokens


class Recorder:
    def __init__(self):
        self.calls = []
        self.failures = []

    def call_started(self, call_id):
        return CallContext(unit_id="user-1", feature="search")

    def call_finished(self, call):
        self.calls.append(call)

    def failed(self, where, error):
        self.failures.append((where, error))


@pytest.fixture
def recorder():
    return Recorder()


def test_a_block_is_a_call(recorder):
    with manual_call(recorder, model="claude-sonnet-4-5", provider="anthropic", operation="chat") as call:
        assert len(call.call_id) == 36
        call.first_token()
        call.usage(input_tokens=10, cached_tokens=4, output_tokens=3, served_model="claude-sonnet-4-5-20250929")
    (record,) = recorder.calls
    assert record.status == "ok"
    assert record.unit_id == "user-1"
    assert record.feature == "search"
    assert record.tokens == Tokens(input=10, cached=4, output=3)
    assert record.served_model == "claude-sonnet-4-5-20250929"
    assert 0 < record.ttft_seconds <= record.latency_seconds


def test_usage_may_be_the_providers_own_object(recorder):
    with manual_call(recorder, model="m") as call:
        call.usage({"prompt_tokens": 5, "completion_tokens": 2})
    assert recorder.calls[0].tokens == Tokens(input=5, output=2)


def test_without_a_report_the_usage_is_unknown(recorder):
    with manual_call(recorder, model="m", feature="chat"):
        pass
    assert recorder.calls[0].tokens is None
    assert recorder.calls[0].usage_reason == "not_reported"
    assert recorder.calls[0].feature == "chat"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "error"), (KeyboardInterrupt, "cancelled"), (asyncio.CancelledError, "cancelled")],
)
def test_an_exception_passes_and_is_recorded(error, status, recorder):
    with pytest.raises(error), manual_call(recorder, model="m"):
        raise error
    assert (recorder.calls[0].status, recorder.calls[0].error_type) == (status, error.__name__)


def test_a_failure_without_an_exception_can_be_reported(recorder):
    with manual_call(recorder, model="m") as call:
        call.failed("overloaded", 529)
    record = recorder.calls[0]
    assert (record.status, record.error_type, record.http_status) == ("error", "overloaded", 529)


def test_retrieval_is_kept_as_counts_and_a_histogram(recorder):
    with manual_call(recorder, model="m") as call:
        call.retrieval(scores=[0.0, 0.5, 1.0], source="docs")
    assert recorder.calls[0].retrieval == Retrieval(
        source="docs", k=3, score_min=0.0, score_mean=0.5, score_max=1.0, histogram=[1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    )


@pytest.mark.parametrize(("scores", "histogram"), [([], []), ([0.2, 0.2], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0])])
def test_retrieval_without_spread_has_no_false_histogram(scores, histogram, recorder):
    with manual_call(recorder, model="m") as call:
        call.retrieval(scores=scores, k=5)
    assert recorder.calls[0].retrieval.histogram == histogram
    assert recorder.calls[0].retrieval.k == 5


def test_unusable_scores_are_reported_and_the_call_is_kept(recorder):
    with manual_call(recorder, model="m") as call:
        call.retrieval(scores=["high"])
    assert len(recorder.failures) == 1
    assert recorder.calls[0].retrieval is None


def test_it_works_with_async_with_and_as_a_decorator(recorder):
    measured = manual_call(recorder, model="m")

    @measured
    def twice(number):
        return 2 * number

    @measured
    async def thrice(number):
        return 3 * number

    async def block():
        async with manual_call(recorder, model="m"):
            return await thrice(2)

    assert twice(4) == 8
    assert twice.__name__ == "twice"
    assert asyncio.run(block()) == 6
    assert [len(call.attempts) for call in recorder.calls] == [0, 1]
    assert measured.call_id == ""


def test_parallel_blocks_do_not_become_each_others_attempts(recorder):
    async def block():
        async with manual_call(recorder, model="m"):
            await asyncio.sleep(0.01)

    async def run():
        await asyncio.gather(block(), block(), block())

    asyncio.run(run())
    assert [call.attempts for call in recorder.calls] == [[], [], []]


def test_methods_after_the_block_do_nothing(recorder):
    with manual_call(recorder, model="m") as call:
        pass
    call.usage(input_tokens=1)
    call.first_token()
    call.retrieval(scores=[1])
    call.failed("late")
    assert recorder.calls[0].tokens is None
    assert recorder.failures == []


def test_which_chunks_were_used_is_kept_as_a_count_and_the_first_hundred(recorder):
    with manual_call(recorder, model="m") as call:
        call.retrieval(scores=[0.5], used=["doc-1", 7, "x" * 500])
    found = recorder.calls[0].retrieval
    assert (found.n_used, found.used) == (3, ["doc-1", "7", "x" * 128])
    with manual_call(recorder, model="m") as call:
        call.retrieval(scores=[], k=9, used=range(500))
    found = recorder.calls[1].retrieval
    assert (found.k, found.n_used, len(found.used), found.score_mean) == (9, 500, 100, None)
    for record in recorder.calls:
        assert msgspec.json.decode(msgspec.json.encode(record), type=Call) == record


def test_evaluators_scores_are_the_last_of_each_name(recorder):
    with manual_call(recorder, model="m") as call:
        call.score("faithfulness", 0.2)
        call.score("faithfulness", 0.9)
        call.score("length", 12)
    assert recorder.calls[0].scores == {"faithfulness": 0.9, "length": 12.0}


@pytest.mark.parametrize("report", [("s", math.nan), ("s", "high"), ("s", 1e19), ("", 1), (None, 1), ("n" * 129, 1)])
def test_a_score_that_is_none_is_the_hosts_mistake_and_costs_nothing_else(recorder, report):
    with manual_call(recorder, model="m") as call:
        call.score("good", 1)
        call.score(*report)
        call.retrieval(scores=[math.inf])
    assert recorder.calls[0].scores == {"good": 1.0}
    assert [(where, error.code) for where, error in recorder.failures] == [
        ("score", "bad_score"),
        ("retrieval", "bad_score"),
    ]


def test_scores_are_bounded(recorder):
    with manual_call(recorder, model="m") as call:
        for number in range(70):
            call.score(f"s{number}", 1)
        call.score("s0", 2)
    assert len(recorder.calls[0].scores) == 64
    assert recorder.calls[0].scores["s0"] == 2
    assert len(recorder.failures) == 6


def test_a_decorated_function_keeps_its_signature_for_type_checkers(recorder):
    @manual_call(recorder, model="m")
    def add(left: int, right: int = 1) -> int:
        return left + right

    @manual_call(recorder, model="m")
    async def answer(question: str) -> str:
        return question.upper()

    assert_type(add(1, right=2), int)
    assert_type(asyncio.run(answer("why")), str)
    assert len(recorder.calls) == 2


@pytest.mark.parametrize(
    "report",
    [
        {"input_tokens": -1},
        {"input_tokens": 1, "output_tokens": 2.5},
        {"input_tokens": "12"},
        {"input_tokens": 1, "cached_tokens": -1},
        {"input_tokens": 1, "images": -1},
        {"input_tokens": 1, "characters": "many"},
        {"input_tokens": 1, "audio_seconds": math.nan},
        {"input_tokens": 1, "audio_seconds": math.inf},
        {"input_tokens": 1, "audio_seconds": "60"},
        {"input_tokens": 1, "audio_seconds": -1},
    ],
)
def test_a_usage_that_is_no_number_is_refused_as_a_whole_and_the_call_is_kept(report, recorder):
    with manual_call(recorder, model="m") as call:
        call.usage(**report)
    (record,) = recorder.calls
    assert (record.tokens, record.amounts, record.usage_reason) == (None, None, "not_reported")
    assert msgspec.json.decode(msgspec.json.encode(record), type=Call) == record
    assert [(where, error.code) for where, error in recorder.failures] == [("usage", "bad_usage")]


class Whole:
    """A whole number of another library's."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


class Score:
    """A score of another library's."""

    def __float__(self):
        return 0.5


def test_numbers_of_other_libraries_are_usage_and_scores_too(recorder):
    with manual_call(recorder, model="m") as call:
        call.usage(input_tokens=Whole(3), output_tokens=Whole(2), cached_tokens=None)
        call.retrieval(scores=[Score(), Score()], k=Whole(7))
        call.score("faithful", Score())
    (record,) = recorder.calls
    assert record.tokens == Tokens(input=3, output=2)
    assert (record.retrieval.score_mean, record.retrieval.k, record.scores) == (0.5, 7, {"faithful": 0.5})
    assert recorder.failures == []


def test_tokens_that_nobody_reported_are_unknown_and_not_none(recorder):
    with manual_call(recorder, model="m") as call:
        call.usage(served_model="m-2")
    with manual_call(recorder, model="m") as call:
        call.usage(input_tokens=0, output_tokens=0)
    unknown, none = recorder.calls
    assert (unknown.tokens, unknown.usage_reason, unknown.served_model) == (None, "not_reported", "m-2")
    assert none.tokens == Tokens()


@pytest.mark.parametrize("name", [None, 7, "x" * 5_000, "half a pair \ud800", ValueError("my secret")])
def test_a_name_that_is_no_text_costs_no_call(name, recorder):
    with manual_call(recorder, model=name, provider=name, operation=name, feature=name) as call:
        call.usage(input_tokens=1, served_model=name, service_tier=name)
        call.retrieval(scores=[1.0], source=name, used=[name, ""])
        call.failed(name, 99_999)
    (record,) = recorder.calls
    line = msgspec.json.encode(record)
    assert msgspec.json.decode(line, type=Call) == record
    assert record.status == "error"
    assert b"secret" not in line
    assert [error.code for _where, error in recorder.failures] == ["bad_usage"]
