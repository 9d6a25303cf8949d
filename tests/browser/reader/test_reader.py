"""A person clicks both surfaces of the example app, and the service's report shows what they did."""

import os
import runpy
import time
from pathlib import Path

import openai
import pytest
from werkzeug.serving import make_server

import genux
from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread
from genux_server.demo.stage import running_service

EXAMPLE = Path(__file__).parents[3] / "examples" / "reader" / "app.py"
WINDOW_SECONDS = 3.0


@pytest.fixture
def service(tmp_path):
    with running_service(tmp_path / "service") as running:
        running.start_experiment(
            ExperimentSpec(
                key="ai-entry",
                variants=[
                    VariantSpec(key="ask-ai", surface="chat", label="Ask AI", model="gpt-5-mini"),
                    VariantSpec(key="summary", surface="action", label="Summary", model="gpt-5-mini"),
                ],
                primary="accepted",
            ),
            [MetricSpec(key="accepted", numerator=Measure(event="answer_accepted"), window_seconds=WINDOW_SECONDS)],
        )
        yield running


@pytest.fixture
def reader_url(service, tmp_path, monkeypatch):
    """The example app over the service, with a local model, served on loopback."""
    import threading

    for name in [name for name in os.environ if name.startswith(("GENUX_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    model_url, stop_model = serve_in_thread(create_model_app(ModelServerConfig(slowness=0)))
    gx = genux.Client(service.url, service.server_key, directory=tmp_path / "outbox", strict=True)
    assert gx.ready(30)
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="local") as client:
        app = runpy.run_path(str(EXAMPLE))["create_app"](gx, gx.wrap(client))
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", gx
        server.shutdown()
        thread.join()
        server.server_close()
    gx.close()
    stop_model()


def visit_until_both_surfaces_were_used(browser, url):
    """Readers arrive one by one, each with a fresh browser profile, until both surfaces were clicked through."""
    used = {}
    n_readers = 0
    while set(used) != {"chat", "action"}:
        n_readers += 1
        assert n_readers < 30, "an even split should show both surfaces long before"
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        surface = page.locator("form").get_attribute("data-surface")
        if surface in used:
            context.close()
            continue
        if surface == "chat":
            page.get_by_label("Ask AI").fill("What does a generator remember?")
            page.get_by_role("button", name="Ask").click()
        else:
            page.get_by_role("button", name="Summary").click()
        used[surface] = page.locator(".answer").inner_text()
        page.get_by_role("button", name="This helped").click()
        page.get_by_role("heading", name="Thank you").wait_for()
        context.close()
    return used, n_readers


def test_both_surfaces_can_be_clicked_and_the_report_shows_exposure_call_and_outcome(chromium, service, reader_url):
    url, gx = reader_url
    answers, n_readers = visit_until_both_surfaces_were_used(chromium, url)
    assert all(len(answer) > 20 for answer in answers.values())
    assert gx.flush(30)
    time.sleep(WINDOW_SECONDS)
    report = service.request("GET", "/v1/experiments/ai-entry/report?refresh=1")
    arms = {arm["variant"]: arm for arm in report["arms"]}
    assert sum(arm["n_units"] for arm in arms.values()) == n_readers
    assert {name: arm["n_calls"] for name, arm in arms.items()} == {"ask-ai": 1, "summary": 1}
    assert all(arm["cost_usd"] > 0 for arm in arms.values())
    (accepted,) = report["metrics"]
    assert {arm["variant"]: arm["total"] for arm in accepted["arms"]} == {"ask-ai": 1, "summary": 1}
    steps = {(step["variant"], step["step"]): step["n_units"] for step in report["funnel"]}
    assert steps["summary", "prompt_sent"] == 1
