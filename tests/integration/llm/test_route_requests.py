"""What a request looks like at each target, and what an app sees when none may be asked."""

import threading

import openai
import pytest
from openai import OpenAI

from genux.llm import Route, Target, wrap

ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}


class Keyed(OpenAI):
    """A client of an API that knows idempotency keys, which keeps what it sends."""

    def __init__(self, **options):
        super().__init__(**options)
        self._idempotency_header = "Idempotency-Key"

    def _prepare_request(self, request):
        sent.append((request.headers["authorization"].removeprefix("Bearer "), request.headers["idempotency-key"]))


class Watched(OpenAI):
    """A client that keeps which credentials it sends where."""

    def _prepare_request(self, request):
        names = ("authorization", "api-key")
        sent.append((request.url.path.split("/")[1], *(request.headers.get(name) for name in names)))


sent: list[tuple[str, ...]] = []


@pytest.fixture
def along(scripted, recorder):
    sent.clear()
    targets = [
        Target(key="sk-a"),
        Target(key="sk-b"),
        Target(key="sk-c", model="gpt-5-nano"),
        Target(key="sk-d", model="gpt-5-nano"),
    ]
    client = Keyed(base_url=scripted.url("500"), api_key="k")
    return wrap(client, recorder, route=Route("r", targets, max_attempts=4))


def test_another_key_means_the_same_request_and_another_model_a_new_one(along, scripted):
    with pytest.raises(openai.InternalServerError):
        along.chat.completions.create(**ASKED)
    (a, first), (b, second), (c, third), (d, fourth) = sent
    assert [a, b, c, d] == ["sk-a", "sk-b", "sk-c", "sk-d"]
    assert first == second != third == fourth
    models = [request["model"] for _, _, request in scripted.requests[-4:]]
    assert models == ["gpt-5-mini", "gpt-5-mini", "gpt-5-nano", "gpt-5-nano"]


def test_the_callers_own_idempotency_key_goes_with_the_callers_own_model_only(along):
    with pytest.raises(openai.InternalServerError):
        along.chat.completions.create(**ASKED, extra_headers={"Idempotency-Key": "mine"})
    assert [key == "mine" for _, key in sent] == [True, True, False, False]


def test_a_model_in_the_extra_body_is_replaced_too(along, scripted):
    with pytest.raises(openai.InternalServerError):
        along.chat.completions.create(**ASKED, extra_body={"model": "gpt-5"})
    models = [request["model"] for _, _, request in scripted.requests[-4:]]
    assert models == ["gpt-5", "gpt-5", "gpt-5-nano", "gpt-5-nano"]


def test_the_caller_sees_the_options_that_it_gave(along):
    body = {**ASKED}
    with pytest.raises(openai.InternalServerError):
        along.chat.completions.create(**body)
    assert body == ASKED


@pytest.mark.parametrize(
    ("of_client", "of_request"),
    [
        ({}, {"Authorization": "Bearer mine"}),
        ({}, {"authorization": "Bearer mine", "Api-Key": "mine"}),
        ({"Authorization": "Bearer mine"}, {}),
        ({"AUTHORIZATION": "Bearer mine", "api-key": "mine"}, {"x-team": "1"}),
    ],
)
def test_credentials_in_the_callers_headers_go_to_the_callers_own_target_only(
    of_client, of_request, scripted, recorder
):
    sent.clear()
    targets = [
        Target(name="own"),
        Target(key="sk-a"),
        Target(key="sk-b", base_url=scripted.url("500")),
        Target(client=Watched(base_url=scripted.url("ok"), api_key="sk-c")),
    ]
    client = Watched(base_url=scripted.url("500"), api_key="k", default_headers=of_client)
    wrap(client, recorder, route=Route("r", targets)).chat.completions.create(**ASKED, extra_headers=of_request)
    own, *others = sent
    assert own[:2] == ("500", "Bearer mine")
    assert others == [("500", "Bearer sk-a", None), ("500", "Bearer sk-b", None), ("ok", "Bearer sk-c", None)]


def test_an_empty_key_from_a_function_does_not_become_the_callers_own(scripted, recorder):
    sent.clear()
    route = Route("r", [Target(key=lambda: "", base_url=scripted.url("ok"))], max_attempts=1)
    client = wrap(Watched(base_url=scripted.url("500"), api_key="sk-own"), recorder, route=route)
    with pytest.raises(TypeError, match="empty"):
        client.chat.completions.create(**ASKED)
    assert sent == []


def test_only_text_is_asked_of_another_model(scripted, recorder):
    vectors = {"object": "list", "model": "embed-3", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    scripted.answers["/embeddings"] = {**vectors, "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}
    targets = [
        Target(key="sk-a", model="gpt-5"),
        Target(key="sk-b", base_url=scripted.url("500")),
        Target(key="sk-c", model="my-embed-3", fallback=False),
    ]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=Route("r", targets))
    client.embeddings.create(model="embed-3", input="x", encoding_format="float")
    client.chat.completions.create(**ASKED)
    vectors, chat = recorder.calls
    assert [each.target for each in vectors.attempts] == ["target-2", "target-3"]
    assert [request["model"] for _, path, request in scripted.requests[-3:] if "embed" in path] == [
        "embed-3",
        "my-embed-3",
    ]
    assert [each.target for each in chat.attempts] == ["target-1"]


@pytest.mark.parametrize("asked", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}])
def test_what_refers_to_an_earlier_answer_stays_where_that_is_kept(asked, scripted, recorder):
    far = Target(key="sk-b", base_url=scripted.url("ok"))
    route = Route("r", [Target(key="sk-a"), far], max_attempts=1)
    client = wrap(OpenAI(base_url=scripted.url("500"), api_key="k"), recorder, route=route)
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="gpt-5-mini", input="x", **asked)
    assert [each.target for each in recorder.only().attempts] == ["target-1"]


def test_when_all_are_busy_for_too_long_the_app_sees_a_timeout(scripted, recorder):
    route = Route("narrow", [Target(key="sk-a", max_concurrent=1)], total_seconds=0.3)
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=route)
    stream = client.chat.completions.create(**ASKED, stream=True)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**ASKED)
    assert (recorder.only().error_type, recorder.only().attempts) == ("APITimeoutError", [])
    list(stream)
    client.chat.completions.create(**ASKED)


def test_a_fallback_that_refuses_the_request_as_it_is_written_is_passed_over(scripted, recorder):
    targets = [
        Target(key="sk-a", base_url=scripted.url("500")),
        Target(key="sk-b", base_url=scripted.url("bad"), model="other"),
        Target(key="sk-c", base_url=scripted.url("ok"), model="third"),
    ]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=Route("r", targets))
    assert client.chat.completions.create(**ASKED).choices
    assert [each.http_status for each in recorder.only().attempts] == [500, 400, 200]
    assert recorder.only().fallback_reason == "server_error"


def test_what_the_first_target_answered_is_what_the_app_sees_when_the_fallback_refuses(scripted, recorder):
    targets = [Target(key="sk-a", base_url=scripted.url("500")), Target(key="sk-b", base_url=scripted.url("bad"))]
    route = Route("r", targets, max_attempts=2)
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=route)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**ASKED)
    call = recorder.only()
    assert [each.http_status for each in call.attempts] == [500, 400]
    assert (call.status, call.error_type, call.http_status) == ("error", "InternalServerError", 500)


def test_a_refusal_by_the_first_target_is_the_apps(scripted, recorder):
    targets = [Target(key="sk-a", base_url=scripted.url("bad")), Target(key="sk-b", base_url=scripted.url("ok"))]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=Route("r", targets))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ASKED)
    assert [each.http_status for each in recorder.only().attempts] == [400]


def test_a_client_of_its_own_keeps_its_own_timeout(scripted, recorder):
    hasty = OpenAI(base_url=scripted.url("timeout"), api_key="k", timeout=0.2)
    targets = [Target(client=hasty), Target(client=hasty.with_options(timeout=0.3)), Target(key="sk-b")]
    route = Route("r", targets, total_seconds=60)
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k", timeout=600), recorder, route=route)
    client.chat.completions.create(**ASKED)
    assert [each.error_type for each in recorder.only().attempts] == ["APITimeoutError", "APITimeoutError", ""]
    assert all(each.latency_seconds < 8 for each in recorder.only().attempts)


def test_a_stream_that_breaks_after_its_first_token_is_the_apps_to_see(scripted, recorder):
    targets = [Target(key="sk-a", base_url=scripted.url("cut")), Target(key="sk-b", base_url=scripted.url("ok"))]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=Route("r", targets))
    seen = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(chunk.choices for chunk in client.chat.completions.create(**ASKED, stream=True))
    assert [each.target for each in recorder.only().attempts] == ["target-1"]
    assert recorder.only().status == "error"


@pytest.mark.parametrize("outcome", ["timeout", "cut"])
def test_a_target_that_hangs_or_breaks_off_is_left_for_the_next(outcome, scripted, recorder):
    targets = [Target(key="sk-a", base_url=scripted.url(outcome)), Target(key="sk-b", base_url=scripted.url("ok"))]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k", timeout=0.5), recorder, route=Route("r", targets))
    assert client.chat.completions.create(**ASKED).choices
    first, second = recorder.only().attempts
    assert (first.status, first.error_type) == (
        "error",
        "APITimeoutError" if outcome == "timeout" else "APIConnectionError",
    )
    assert second.status == "ok"


def test_concurrent_requests_keep_their_attempts_apart(scripted, recorder):
    targets = [Target(key="sk-a", base_url=scripted.url("429")), Target(key="sk-b", base_url=scripted.url("ok"))]
    client = wrap(OpenAI(base_url=scripted.url("ok"), api_key="k"), recorder, route=Route("r", targets))
    threads = [threading.Thread(target=lambda: client.chat.completions.create(**ASKED)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.calls) == 8
    assert {call.attempts[-1].target for call in recorder.calls} == {"target-2"}
    assert {len(call.attempts) for call in recorder.calls} <= {1, 2}
