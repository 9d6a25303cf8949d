"""Sentry as its users start it, with every integration that switches itself on, in a process of its own."""

import os
import subprocess
import sys

APP = """
import flask
import openai
import sentry_sdk
import genux
from genux.integrations.flask import init_app
from genux.integrations.sentry import GenuxIntegration
import sys

sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0, integrations=[GenuxIntegration()])
app = flask.Flask("product")
gx = genux.Client()
llm = gx.wrap(openai.OpenAI(base_url=sys.argv[2], api_key="k"))
ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Name the capital of Norway."}]}

@app.get("/whole/<user>")
def whole(user):
    genux.variant("ai-entry")
    llm.chat.completions.create(**ASKED)
    raise ValueError(user)

@app.get("/streamed/<user>")
def streamed(user):
    genux.variant("ai-entry")
    def parts():
        for chunk in llm.chat.completions.create(**ASKED, stream=True):
            yield chunk.choices[0].delta.content or "" if chunk.choices else ""
    return parts()

init_app(app, lambda: flask.request.view_args["user"])
browser = app.test_client()
assert browser.get("/whole/ada").status_code == 500
assert browser.get("/streamed/ada").get_data()
sentry_sdk.flush()
assert gx.status().failures == {}, gx.status()
"""


def test_a_flask_app_with_everything_on_sends_one_generation_per_call_and_flags_its_errors(
    envelopes, model_url, tmp_path
):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENUX_")}
    subprocess.run(
        [sys.executable, "-c", APP, envelopes.dsn, f"{model_url}/v1"],
        env={**environment, "GENUX_FORCE": "ai-entry=summary"},
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    (event,) = envelopes.errors
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert event["tags"]["genux.ai-entry"] == "summary"
    assert {"flag": "genux.ai-entry:summary", "result": True} in event["contexts"]["flags"]["values"]
    by_streaming = {span["data"]["gen_ai.response.streaming"]: span for span in envelopes.generations}
    assert len(envelopes.generations) == len(by_streaming) == 2
    # Sentry itself gives what happens while an answer is streamed a trace of its own.
    assert by_streaming[False]["trace_id"] == event["contexts"]["trace"]["trace_id"]
    for span in by_streaming.values():
        assert span["data"]["genux.status"] == "ok"
        assert span["data"]["genux.variant.ai-entry"] == "summary"
        assert span["data"]["gen_ai.response.model"].startswith("gpt-5-mini")
