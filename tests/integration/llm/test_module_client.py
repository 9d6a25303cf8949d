"""The client behind `openai.chat.completions.create`: measured whether it is built before, after or anew."""

import openai
import pytest

from genux.llm import wrap

ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
CLIENTS = ("_ModuleClient", "_AzureModuleClient", "_BedrockModuleClient")


@pytest.fixture
def module(monkeypatch, scripted):
    """The module with a configuration of its own, and afterwards as it was."""
    for name in filter(vars(openai).__contains__, CLIENTS):
        monkeypatch.setattr(openai, name, getattr(openai, name))
    monkeypatch.setattr(openai, "api_key", "k")
    monkeypatch.setattr(openai, "base_url", scripted.url("ok") + "/")
    monkeypatch.setattr(openai, "http_client", None)
    monkeypatch.setattr(openai, "_client", None)
    monkeypatch.setattr(openai, "api_type", "openai")
    yield openai
    if openai.http_client is not None:
        openai.http_client.close()


def test_a_module_client_built_later_is_measured(module, recorder):
    assert wrap(module, recorder, stream_usage=True) is module
    module.chat.completions.create(**ASKED)
    list(module.chat.completions.create(**ASKED, stream=True))
    assert [(call.operation, call.tokens.input) for call in recorder.calls] == [("chat", 1_861)] * 2
    assert recorder.failures == []


def test_a_module_client_built_before_is_measured_and_still_the_same_object(module, recorder):
    module.chat.completions.create(**ASKED)
    built = module._client
    wrap(module, recorder)
    module.chat.completions.create(**ASKED)
    assert module._client is built
    assert isinstance(built, module._ModuleClient)
    assert type(built).__name__ == "_ModuleClient"
    recorder.only()


def test_a_module_client_rebuilt_is_measured_with_its_new_settings(module, recorder, scripted):
    wrap(module, recorder)
    module.chat.completions.create(**ASKED)
    module._reset_client()
    module.base_url = scripted.url("500") + "/"
    module.max_retries = 0
    with pytest.raises(openai.InternalServerError):
        module.chat.completions.create(**ASKED)
    module.max_retries = openai.DEFAULT_MAX_RETRIES
    assert [call.status for call in recorder.calls] == ["ok", "error"]


def test_an_azure_module_client_is_measured_as_azure(module, recorder, monkeypatch, scripted):
    monkeypatch.setattr(openai, "api_type", "azure")
    monkeypatch.setattr(openai, "api_version", "2024-10-21")
    monkeypatch.setattr(openai, "azure_endpoint", None)
    wrap(module, recorder)
    module.chat.completions.create(**ASKED)
    assert recorder.only().provider == "azure"


def test_wrapping_the_module_twice_counts_once(module, recorder):
    wrap(wrap(module, recorder), recorder)
    module.chat.completions.create(**ASKED)
    wrap(module, recorder)
    module._client.with_options(max_retries=1).chat.completions.create(**ASKED)
    assert len(recorder.calls) == 2
    assert not any(call.attempts for call in recorder.calls)


def test_clients_of_ones_own_are_not_touched_by_it(module, recorder, scripted):
    wrap(module, recorder)
    with openai.OpenAI(base_url=scripted.url("ok"), api_key="k") as client:
        client.chat.completions.create(**ASKED)
    assert recorder.calls == []
