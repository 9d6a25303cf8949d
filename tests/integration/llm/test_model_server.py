"""The local stand-in, asked by the real client: its shapes, its faults, and its ledger against what genux measured."""

import httpx2
import openai
import pydantic
import pytest

from genux.llm import wrap
from genux_server.demo.corpus import articles
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

MODEL = "gpt-5-mini"
ARTICLE = articles()[9].text
PROMPT = "Summarize in 2 sentences:\n\n" + ARTICLE


class Digest(pydantic.BaseModel):
    title: str
    points: list[str]


@pytest.fixture
def served():
    """Starts a stand-in with a configuration; returns its URL."""
    stops = []

    def start(**config):
        url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.0, **config)))
        stops.append(stop)
        return url

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def connect(recorder):
    clients = []

    def client(url, **options):
        clients.append(wrap(openai.OpenAI(base_url=f"{url}/v1", api_key="k", **options), recorder, stream_usage=True))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def ledger(url):
    return httpx2.get(f"{url}/_ledger").json()["requests"]


def test_what_genux_measured_equals_what_the_server_counted(served, connect, recorder):
    url = served()
    client = connect(url)
    messages = [{"role": "user", "content": PROMPT}]
    client.chat.completions.create(model=MODEL, messages=messages)
    list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
    client.responses.create(model=MODEL, input=PROMPT)
    list(client.responses.create(model=MODEL, input=PROMPT, stream=True))
    client.chat.completions.parse(model=MODEL, messages=messages, response_format=Digest)
    client.embeddings.create(model="text-embedding-3-small", input=["a b c", "d"])
    measured = [(c.tokens.input, c.tokens.cached, c.tokens.output) for c in recorder.calls]
    counted = [(e["input_tokens"], e["cached_tokens"], e["output_tokens"]) for e in ledger(url)]
    assert measured == counted
    assert all(entry["completed"] and entry["status"] == 200 for entry in ledger(url))
    assert [cached > 0 for _, cached, _ in counted] == [False, True, True, True, True, False]


def test_both_surfaces_streamed_or_not_give_the_same_text(served, connect):
    client = connect(served())
    messages = [{"role": "user", "content": PROMPT}]
    whole = client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content
    chunks = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    response = client.responses.create(model=MODEL, input=PROMPT)
    with client.responses.stream(model=MODEL, input=PROMPT) as stream:
        final = stream.get_final_response()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert response.output_text == final.output_text == whole
    assert response.status == "completed"


def test_structured_output_parses_on_both_surfaces(served, connect):
    client = connect(served())
    chat = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}], response_format=Digest
    )
    response = client.responses.parse(model=MODEL, input=PROMPT, text_format=Digest)
    assert chat.choices[0].message.parsed == response.output_parsed
    assert response.output_parsed.title in ARTICLE


def test_a_token_limit_cuts_the_answer_and_says_so(served, connect):
    client = connect(served())
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}], max_completion_tokens=5
    )
    response = client.responses.create(model=MODEL, input=PROMPT, max_output_tokens=5)
    assert (chat.choices[0].finish_reason, chat.usage.completion_tokens) == ("length", 5)
    assert (response.status, response.usage.output_tokens) == ("incomplete", 5)


def test_it_says_that_it_is_a_stand_in(served, connect):
    client = connect(served())
    assert {model.owned_by for model in client.models.list()} == {"genux-local-stand-in"}
    reply = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    assert reply.system_fingerprint == "genux-local-stand-in"


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_embeddings_come_in_both_encodings(encoding_format, served, connect):
    reply = connect(served()).embeddings.create(
        model="text-embedding-3-small", input="a cat", dimensions=8, encoding_format=encoding_format
    )
    vector = reply.data[0].embedding
    assert len(vector) == (8 if encoding_format == "float" else 44)


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        ({"model": "gpt-9", "messages": []}, openai.NotFoundError),
        ({"model": MODEL, "messages": "hello"}, openai.BadRequestError),
    ],
)
def test_a_wrong_request_gets_openais_error(request_of, error, served, connect):
    with pytest.raises(error):
        connect(served(), max_retries=0).chat.completions.create(**request_of)


def test_a_request_without_a_key_is_refused(served):
    reply = httpx2.post(f"{served()}/v1/responses", json={"model": MODEL, "input": "x"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")


def fates(url, connect, recorder, n):
    client = connect(url, max_retries=0)
    for _ in range(n):
        try:
            client.responses.create(model=MODEL, input="Is it? " * 3)
        except openai.APIStatusError:
            continue
    return [entry["status"] for entry in ledger(url)]


def test_faults_come_in_their_shares_and_are_the_same_in_every_run(served, connect, recorder):
    config = {"seed": 7, "rate_limit_share": 0.3, "server_error_share": 0.2}
    first = fates(served(**config), connect, recorder, 60)
    assert first == fates(served(**config), connect, recorder, 60)
    assert 8 <= first.count(429) <= 30
    assert 4 <= first.count(500) <= 22
    assert [call.http_status for call in recorder.calls] == first * 2


def test_a_key_has_its_own_rate_limit(served, connect):
    url = served(requests_per_minute=2, retry_after_seconds=3.5)
    client = connect(url, max_retries=0)
    for _ in range(2):
        client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.RateLimitError) as refused:
        client.responses.create(model=MODEL, input="x")
    assert refused.value.response.headers["retry-after"] == "3.5"
    client.with_options(api_key="another").responses.create(model=MODEL, input="x")


def test_faults_are_switched_at_runtime(served, connect):
    url = served()
    client = connect(url, max_retries=0)
    assert httpx2.post(f"{url}/_control", json={"down": True}).json()["down"] is True
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model=MODEL, input="x")
    httpx2.post(f"{url}/_control", json={"down": False})
    client.responses.create(model=MODEL, input="x")
    assert httpx2.post(f"{url}/_control", json={"speed": 2}).status_code == 400
    assert httpx2.post(f"{url}/_control", json={"down": "maybe"}).status_code == 400


def test_control_and_ledger_answer_this_machine_only():
    client = create_model_app().test_client()
    for path in ("/_control", "/_ledger"):
        assert client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 403
        assert client.get(path).status_code == 200
