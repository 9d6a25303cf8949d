"""Loaded by pytest inside openai-python's own tests: counts requests and outcomes, and may measure every client."""

import functools
import gc
import json
import os
from pathlib import Path

import openai
from openai._base_client import AsyncAPIClient, SyncAPIClient

from genux.errors import UsageError
from genux.llm import CallContext, _exchange, wrap


class Book:
    """What was asked for, what was recorded, and what failed inside genux."""

    def __init__(self):
        self.n_requests = 0
        self.n_second_tries = 0
        self.started = []
        self.finished = []
        self.failures = []
        self.outcomes = {}

    def call_started(self, call_id):
        self.started.append(call_id)
        return CallContext()

    def call_finished(self, call):
        self.finished.append(call.call_id)

    def failed(self, where, error):
        if isinstance(error, UsageError):
            return  # the tests of websockets open some, and genux says that it does not measure them
        self.failures.append(f"{where}: {type(error).__name__}: {error}")


book = Book()


def counted(request):
    # The class's own `request`, below whatever a measured client puts on top.
    @functools.wraps(request)
    def count(*args, **kwargs):
        book.n_requests += 1
        return request(*args, **kwargs)

    return count


for base in (SyncAPIClient, AsyncAPIClient):
    base.request = counted(base.request)

if os.environ["GENUX_SUITE_MODE"] == "measured":

    def measuring(construct):
        @functools.wraps(construct)
        def build(self, *args, **kwargs):
            construct(self, *args, **kwargs)
            wrap(self, book)

        return build

    def noticing(try_again_plain):
        def notice(self, error):
            again = try_again_plain(self, error)
            book.n_second_tries += bool(again)
            return again

        return notice

    for kind in (openai.OpenAI, openai.AsyncOpenAI):
        kind.__init__ = measuring(kind.__init__)
    _exchange.Exchange.try_again_plain = noticing(_exchange.Exchange.try_again_plain)


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        book.outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish():
    gc.collect()
    Path(os.environ["GENUX_SUITE_OUT"]).write_text(
        json.dumps(
            {
                "requests": book.n_requests - book.n_second_tries,
                "started": len(set(book.started)),
                "finished": len(book.finished),
                "distinct": len(set(book.finished)),
                "failures": book.failures,
                "outcomes": book.outcomes,
            }
        )
    )
