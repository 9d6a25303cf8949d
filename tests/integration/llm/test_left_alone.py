"""What `wrap` leaves as it was: types, signatures, pickles, memory, and whatever it cannot measure."""

import contextlib
import gc
import inspect
import pickle
import subprocess
import sys
import warnings

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import genux
from genux import testing
from genux.llm import wrap

MESSAGES = [{"role": "user", "content": "hello"}]
ASKED = {"model": "gpt-5-mini", "messages": MESSAGES}


class Slotted(OpenAI):
    """A subclass with an attribute of its own that is in no dictionary."""

    __slots__ = ("extra",)


class Reopened(OpenAI):
    """A subclass that can be pickled, which openai's own clients cannot."""

    def __getstate__(self):
        return {"api_key": self.api_key}

    def __setstate__(self, state):
        self.__init__(**state)


opened = []


@pytest.fixture(autouse=True)
def closed():
    yield
    while opened:
        client = opened.pop()
        if isinstance(client, OpenAI):
            client.close()


def client_of(scripted, outcome="ok", kind=OpenAI, **options):
    opened.append(kind(base_url=scripted.url(outcome), api_key="k", **options))
    return opened[-1]


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI, AzureOpenAI, AsyncAzureOpenAI, Slotted])
def test_a_measured_client_is_still_what_it_was(kind, scripted, recorder):
    azure = {"api_version": "2024-10-21"} if "Azure" in kind.__name__ else {}
    bare = client_of(scripted, kind=kind, **azure)
    client = wrap(client_of(scripted, kind=kind, **azure), recorder)
    assert isinstance(client, kind)
    assert type(client).__name__ == kind.__name__
    assert type(client).__module__ == kind.__module__
    for name in ("copy", "with_options", "request", "post"):
        assert inspect.signature(getattr(client, name)) == inspect.signature(getattr(bare, name))
    assert vars(client).keys() - {"_genux_meter"} == vars(bare).keys()


@pytest.mark.parametrize("thing", [object(), None, "client", OpenAI, pytest])
def test_anything_else_comes_back_untouched_and_is_reported(thing, recorder):
    assert wrap(thing, recorder) is thing
    assert [where for where, _ in recorder.failures] == ["wrap"]


def test_a_client_restored_from_a_pickle_is_a_plain_one(scripted, recorder):
    class Plain(OpenAI):
        def __reduce__(self):
            return (Slotted, (), {"api_key": "k"})

    reduced = wrap(client_of(scripted, kind=Plain), recorder).__reduce_ex__(4)
    assert pickle.loads(pickle.dumps(reduced[0])) is Slotted
    assert wrap(client_of(scripted, kind=Slotted), recorder).__reduce_ex__(2)[1][0] is Slotted


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_measured_client_is_pickled_as_the_bare_one(protocol, recorder):
    bare = Reopened(api_key="secret")
    measured = pickle.dumps(wrap(Reopened(api_key="secret"), recorder), protocol)
    assert b"genux" not in measured
    restored = pickle.loads(measured)
    assert type(restored) is type(pickle.loads(pickle.dumps(bare, protocol))) is Reopened
    assert restored.api_key == "secret"


@pytest.mark.parametrize("inside", ["_process_response", "_calculate_retry_timeout"])
def test_where_openai_has_changed_inside_the_client_stays_as_it_is_and_that_is_said(
    inside, scripted, recorder, monkeypatch
):
    class Future(OpenAI):
        pass

    home = next(kind for kind in Future.__mro__ if inside in vars(kind))
    client = client_of(scripted, kind=Future)
    before = dict(vars(client))
    module_clients = openai._ModuleClient, openai._AzureModuleClient
    with monkeypatch.context() as changed:
        changed.delattr(home, inside)
        assert wrap(client, recorder) is client
        wrap(openai, recorder)
    assert type(client) is Future
    assert vars(client) == before
    assert (openai._ModuleClient, openai._AzureModuleClient) == module_clients
    assert [(where, inside in str(error)) for where, error in recorder.failures] == [("wrap", True)] * 2
    assert client.chat.completions.create(**ASKED).choices
    assert recorder.calls == []


@contextlib.contextmanager
def found_by_the_collector():
    """What was not freed by itself in the block: the names of such types as hold a request or its answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever earlier tests left open is not this one's to report
        for _ in range(3):
            gc.collect()  # what is left may have finalisers, and is gone only after them
    gc.disable()
    names = []
    try:
        yield names
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = [type(item) for item in gc.garbage]
        names += [kind.__name__ for kind in kinds if kind.__module__.partition(".")[0] in ("genux", "openai")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("outcome", ["ok", "500"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_that_is_over_leaves_nothing_to_the_collector(outcome, streaming, scripted, recorder):
    client = wrap(client_of(scripted, outcome, max_retries=0), recorder, stream_usage=True)

    def use(create):
        with contextlib.suppress(openai.InternalServerError):
            reply = create(**ASKED, stream=streaming)
            if create is raw:
                reply = reply.parse()
            if streaming:
                assert len(list(reply)) >= 8

    raw = client.chat.completions.with_raw_response.create
    for create in (client.chat.completions.create, raw):
        use(create)
        with found_by_the_collector() as names:
            use(create)
        assert names == []
    assert len(recorder.calls) == 4


def test_a_server_of_ones_own_is_asked_for_usage_under_the_name_that_prices_know(scripted):
    gx = genux.Client("", config="")
    with client_of(scripted) as client, testing.recording() as heard:
        list(gx.wrap(client, provider="here", stream_usage=True).chat.completions.create(**ASKED, stream=True))
        genux.wrap(client_of(scripted), provider="there", stream_usage=False).chat.completions.create(**ASKED)
    assert [(call.provider, call.tokens.input) for call in heard.calls] == [("here", 1_861), ("there", 1_861)]
    gx.close()


@pytest.mark.slow
def test_a_type_checker_sees_the_clients_own_type(tmp_path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "from typing import assert_type\nimport genux\nfrom openai import AsyncAzureOpenAI, OpenAI\n"
        "gx = genux.Client()\nassert_type(gx.wrap(OpenAI()), OpenAI)\n"
        "assert_type(genux.wrap(AsyncAzureOpenAI()), AsyncAzureOpenAI)\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--cache-dir",
        str(tmp_path),
        str(snippet),
    ]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert checked.stdout == "Success: no issues found in 1 source file\n", checked.stdout + checked.stderr
