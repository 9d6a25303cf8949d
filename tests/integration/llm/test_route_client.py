"""Routes as a product engineer writes them: `gx.route`, `genux.Target`, status, token and events of a real client."""

import openai
import pytest

import genux
from genux import testing
from genux_server.demo.model_server import Fault, ModelServerConfig, create_model_app, serve_in_thread

ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Names are bound once."}]}


@pytest.fixture
def base_url():
    faults = [Fault(model="gpt-5-mini", status=503)]
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.0, faults=faults)))
    yield f"{url}/v1"
    stop()


@pytest.fixture
def gx():
    client = genux.Client("", config="")
    yield client
    client.close()


def test_a_fallback_shows_in_the_call_the_status_and_the_token(base_url, gx):
    targets = [genux.Target(key="sk-a"), genux.Target(key="sk-b", model="gpt-5-nano", provider="openai")]
    route = gx.route("summaries", targets, total_seconds=30)
    assert isinstance(route, genux.Route)
    with openai.OpenAI(base_url=base_url, api_key="k") as client, testing.recording() as heard:
        llm = gx.wrap(client, route=route)
        with gx.unit("user-42"):
            assert llm.chat.completions.create(**ASKED).model == "gpt-5-nano"
            token = gx.resume_token()
            stream = llm.chat.completions.create(**ASKED, stream=True)
            early = gx.resume_token()
            list(stream)
            late = gx.resume_token()
    call, streamed = heard.calls
    assert (call.unit_id, call.requested_model, call.served_model) == ("user-42", "gpt-5-mini", "gpt-5-nano")
    assert (call.fallback, call.fallback_reason) == (True, "server_error")
    assert streamed.fallback
    assert [gx.resume(each).served_model for each in (token, early, late)] == ["gpt-5-nano", "", "gpt-5-nano"]
    targets = gx.status().routes["summaries"].targets
    assert targets == gx.route.status()["summaries"].targets
    assert [(target.ok, target.errors, target.last_error) for target in targets] == [(0, 2, "server_error"), (2, 0, "")]
    assert gx.status().failures == {}


def test_a_variants_model_goes_through_a_target_that_names_none(base_url, gx):
    route = gx.route("any", [genux.Target(key="sk-a")])
    with openai.OpenAI(base_url=base_url, api_key="k") as client, testing.recording() as heard:
        genux.wrap(client, route=route).chat.completions.create(**{**ASKED, "model": "gpt-5"})
    assert heard.calls[0].served_model == "gpt-5"
    assert not heard.calls[0].fallback
