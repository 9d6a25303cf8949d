"""The service is killed (-9) in the middle of a demonstration and started again: every visitor counts exactly once."""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import msgspec
import openai
import pytest

import genux
from genux import testing
from genux_server.demo.corpus import articles
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread
from genux_server.demo.play import Feature, play
from genux_server.demo.stage import Service
from genux_server.demo.visitors import BASE_ACCEPTED, EXPERIMENT_KEY, experiment_spec, metric_specs, visits

N_VISITORS = 600
N_KILLS = 3


class Killable:
    """`genux serve` in a process group of its own, on one data folder and one port."""

    def __init__(self, data):
        self.keys = data / "keys.json"
        self.log = (data / "service.log").open("ab")
        self.command = [sys.executable, "-c", "from genux_server.cli import main; main()", "serve"]
        self.command += ["--data", str(data), "--print-keys-json", str(self.keys)]

    def start(self, port):
        self.process = subprocess.Popen(
            [*self.command, "--port", str(port)],
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("GENUX_")},
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
                self.service = msgspec.json.decode(self.keys.read_bytes(), type=Service)
                with urllib.request.urlopen(self.service.url + "/readyz", timeout=2):
                    return
            time.sleep(0.1)
        pytest.fail("the service did not start")

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self):
        self.kill()
        self.start(port=int(self.service.url.rsplit(":", 1)[1]))

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.log.close()


@pytest.fixture
def killable(tmp_path):
    service = Killable(tmp_path)
    try:
        service.start(port=0)
        yield service
    finally:
        service.close()


@pytest.fixture
def model():
    url, stop = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.1)))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="local") as client:
        yield client
    stop()


@pytest.mark.slow
def test_a_killed_service_counts_every_visitor_exactly_once(killable, model, tmp_path):
    service = killable.service
    spec = experiment_spec(effect=0.06, aa=False, model="gpt-5-nano", visitors=N_VISITORS)
    service.start_experiment(spec, metric_specs())
    gx = genux.Client(service.url, service.server_key, directory=tmp_path / "outbox")
    assert gx.ready(30)
    n_done = 0
    gate = threading.Condition()

    def progress(_called):
        nonlocal n_done
        with gate:
            n_done += 1
            gate.notify_all()

    def keep_killing():
        for i in range(1, N_KILLS + 1):
            with gate:
                gate.wait_for(lambda i=i: n_done >= i * N_VISITORS // (N_KILLS + 1))
            killable.restart()

    killer = threading.Thread(target=keep_killing)
    killer.start()
    with testing.recording() as seen:
        play(
            Feature(gx, gx.wrap(model), tuple(a.text for a in articles())),
            visits(N_VISITORS, 1, now=dt.datetime.now(dt.UTC)),
            {"ask-ai": BASE_ACCEPTED, "summary": BASE_ACCEPTED + 0.06},
            threads=8,
            progress=progress,
        )
    killer.join()
    assert gx.flush(120)
    assert not gx.status().dropped
    gx.close()

    report = service.request("GET", f"/v1/experiments/{EXPERIMENT_KEY}/report?refresh=1")
    exposed = {e.unit_id: e.variant for e in seen.exposures}
    accepted = {t.unit_id for t in seen.tracks if t.name == "answer_accepted"}
    assert len(exposed) == N_VISITORS
    for arm in report["arms"]:
        assert arm["n_units"] == sum(v == arm["variant"] for v in exposed.values())
        assert arm["n_calls"] == sum(c.assignments[0].variant == arm["variant"] for c in seen.calls)
    primary = next(m for m in report["metrics"] if m["key"] == "accepted")
    for arm in primary["arms"]:
        assert arm["total"] == sum(exposed[unit] == arm["variant"] for unit in accepted)
