"""Generators measured by the decorator: streams, whose reader's own calls are no part of them."""

import asyncio

import pytest

from genux.llm import CallContext, manual_call


class Recorder:
    def __init__(self):
        self.calls = []
        self.failures = []

    def call_started(self, _call_id):
        return CallContext(unit_id="user-1")

    def call_finished(self, call):
        self.calls.append(call)

    def failed(self, where, error):
        self.failures.append((where, error))


@pytest.fixture
def recorder():
    return Recorder()


def inside(recorder, model):
    with manual_call(recorder, model=model) as call:
        call.usage(input_tokens=1, output_tokens=1)


def streamed(recorder):
    """A generator that makes a call of its own before each of three items."""

    @manual_call(recorder, model="stream")
    def words(n):
        heard = []
        try:
            for number in range(n):
                inside(recorder, f"step-{number}")
                heard.append((yield number))
        finally:
            inside(recorder, "tidy")
        return heard

    return words


def streamed_async(recorder):
    @manual_call(recorder, model="stream")
    async def words(n):
        try:
            for number in range(n):
                await asyncio.sleep(0)
                inside(recorder, f"step-{number}")
                yield number
        finally:
            inside(recorder, "tidy")

    return words


def attempts(call):
    return [attempt.model for attempt in call.attempts]


def test_a_generator_is_one_call_that_ends_with_it_and_its_readers_calls_are_their_own(recorder):
    words = streamed(recorder)
    for number in words(2):
        assert words.__name__ == "words"
        inside(recorder, f"reader-{number}")
    assert [call.requested_model for call in recorder.calls] == ["reader-0", "reader-1", "stream"]
    stream = recorder.calls[-1]
    assert attempts(stream) == ["step-0", "step-1", "tidy"]
    assert (stream.status, stream.streaming) == ("ok", True)
    assert 0 < stream.ttft_seconds <= stream.latency_seconds
    assert recorder.failures == []


def test_an_async_generator_is_one_call_and_its_readers_calls_are_their_own(recorder):
    async def read():
        async for number in streamed_async(recorder)(2):
            inside(recorder, f"reader-{number}")

    asyncio.run(read())
    assert [call.requested_model for call in recorder.calls] == ["reader-0", "reader-1", "stream"]
    assert attempts(recorder.calls[-1]) == ["step-0", "step-1", "tidy"]
    assert (recorder.calls[-1].status, recorder.calls[-1].streaming) == ("ok", True)


def test_what_is_sent_thrown_and_returned_passes_through(recorder):
    generator = streamed(recorder)(2)
    assert (next(generator), generator.send("a")) == (0, 1)
    with pytest.raises(StopIteration) as end:
        generator.send("b")
    assert end.value.value == ["a", "b"]
    generator = streamed(recorder)(2)
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError("reader"))
    assert (recorder.calls[-1].status, recorder.calls[-1].error_type) == ("error", "KeyError")
    assert attempts(recorder.calls[-1]) == ["step-0", "tidy"]


def test_a_generator_that_its_reader_leaves_is_abandoned_and_tidies_up_inside_the_call(recorder):
    generator = streamed(recorder)(5)
    next(generator)
    generator.close()

    async def leave():
        left = streamed_async(recorder)(5)
        assert await anext(left) == 0
        await left.aclose()

    asyncio.run(leave())
    assert [call.status for call in recorder.calls] == ["abandoned", "abandoned"]
    assert [attempts(call) for call in recorder.calls] == [["step-0", "tidy"]] * 2
    inside(recorder, "after")
    assert recorder.calls[-1].requested_model == "after"


def test_a_generator_that_nobody_begins_to_read_is_no_call(recorder):
    streamed(recorder)(1)
    assert recorder.calls == []
