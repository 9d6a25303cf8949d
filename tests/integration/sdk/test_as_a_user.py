"""The tests that a product engineer writes for a small Flask app, with the public names of genux and nothing else.

The model is the local stand-in, spoken to over HTTP by the real openai client.
"""

import re

import flask
import openai
import pytest

import genux
from genux.errors import ConfigError, ServiceError
from genux.middleware import WsgiUnit

EXPERIMENTS = """
experiments:
  - key: ai-entry
    primary: accepted
    variants:
      - {key: none, surface: none}
      - {key: summary, surface: action, model: gpt-5-mini}
metrics:
  - {key: accepted, window_seconds: 0.001, numerator: {event: answer_accepted}}
"""


def make_app(llm):
    """The product: an article with a summary button in one arm, and a page that accepts the answer later."""
    app = flask.Flask("product")

    @app.get("/article")
    def article():
        entry = genux.variant("ai-entry")
        if entry.key == "none":
            return {"summary": None}
        with genux.feature("article"):
            reply = llm.responses.create(model=entry.get("model", "gpt-5"), input="Oslo is the capital of Norway.")
        return {"summary": reply.output_text, "token": genux.resume_token()}

    @app.post("/accept")
    def accept():
        refused = genux.resume(flask.request.get_json()["token"]).refused
        genux.resume(flask.request.get_json()["token"]).track("answer_accepted")
        return {"refused": refused}

    app.wsgi_app = WsgiUnit(app.wsgi_app, lambda environ: environ.get("HTTP_X_USER"))
    return app


@pytest.fixture
def experiments(tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text(EXPERIMENTS)
    return path


@pytest.fixture
def llm(model_url):
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="k") as client:
        yield client


@pytest.fixture
def browser(experiments, llm):
    """The app without any service: experiments come from the file that the team keeps in its repository."""
    gx = genux.Client(config=experiments)
    yield make_app(gx.wrap(llm)).test_client()
    gx.close()


@pytest.mark.genux({"ai-entry": "summary"})
def test_the_summary_arm_summarises_and_is_measured(browser, genux_recording):
    page = browser.get("/article", headers={"X-User": "ada"}).get_json()
    assert page["summary"]
    (exposure,) = genux_recording.exposures
    (call,) = genux_recording.calls
    assert (exposure.unit_id, exposure.variant, exposure.forced) == ("ada", "summary", True)
    assert (call.unit_id, call.feature, call.requested_model, call.status) == ("ada", "article", "gpt-5-mini", "ok")
    assert call.assignments[0].variant == "summary"


@pytest.mark.genux({"ai-entry": "none"})
def test_the_control_arm_calls_no_model(browser, genux_recording):
    assert browser.get("/article", headers={"X-User": "ada"}).get_json() == {"summary": None}
    assert genux_recording.calls == []


@pytest.mark.genux({"ai-entry": "summary"})
def test_an_answer_accepted_later_belongs_to_its_call_until_the_token_expires(browser, genux_recording, genux_clock):
    token = browser.get("/article", headers={"X-User": "ada"}).get_json()["token"]
    assert browser.post("/accept", json={"token": token}).get_json() == {"refused": ""}
    assert genux_recording.tracks[0].call_id == genux_recording.calls[0].call_id
    genux_clock.advance(8 * 86_400)
    assert browser.post("/accept", json={"token": token}).get_json() == {"refused": "expired"}
    assert len(genux_recording.tracks) == 1


def test_a_stranger_sees_the_page_of_control(browser, genux_recording):
    assert browser.get("/article").get_json() == {"summary": None}
    assert genux_recording.events == []


def test_what_the_app_measures_arrives_in_the_report(genux_service, experiments, llm):
    genux_service.apply(experiments)
    gx = genux_service.client()
    browser = make_app(gx.wrap(llm)).test_client()
    tokens = []
    for number in range(20):
        page = browser.get("/article", headers={"X-User": f"user-{number}"}).get_json()
        if page["summary"]:
            tokens.append(page["token"])
    assert 0 < len(tokens) < 20
    for token in tokens:
        assert browser.post("/accept", json={"token": token}).get_json() == {"refused": ""}
    report = genux_service.report("ai-entry")
    arms = {arm["variant"]: arm for arm in report["arms"]}
    assert {key: arm["n_units"] for key, arm in arms.items()} == {"none": 20 - len(tokens), "summary": len(tokens)}
    assert (arms["none"]["n_calls"], arms["summary"]["n_calls"]) == (0, len(tokens))
    assert arms["summary"]["cost_usd"] > 0
    assert gx.status().rejected == {}


def test_units_forced_into_a_variant_are_left_out_of_the_report(genux_service, experiments, llm, genux_force):
    genux_service.apply(experiments)
    gx = genux_service.client()
    genux_force({"ai-entry": "summary"})
    make_app(gx.wrap(llm)).test_client().get("/article", headers={"X-User": "tester"})
    assert genux_service.report("ai-entry")["n_units"] == 0


@pytest.mark.parametrize(
    ("variants", "error", "message"),
    [
        ("[{key: a}]", ConfigError, "experiments[0].variants"),
        ("[{key: a}, {key: b}]", ServiceError, "no metric called nothing"),
    ],
)
def test_a_mistake_in_the_file_is_said_by_name(variants, error, message, genux_service, tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text(f"experiments:\n  - {{key: ai-entry, variants: {variants}, primary: nothing}}\n")
    with pytest.raises(error, match=re.escape(message)):
        genux_service.apply(path)
