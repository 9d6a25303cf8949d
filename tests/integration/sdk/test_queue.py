"""A queue between two processes: resume tokens are all that travels, and the outcome is still joined to its call."""

import datetime as dt
import json
import os
import subprocess
import sys
import threading

import pytest
from werkzeug.serving import make_server

from genux import testing

LONG_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
WORKER = """
import datetime as dt, json, sys
import genux
from genux import testing

gx = genux.Client(flush_seconds=0.01)
assert gx.ready(30)
with testing.frozen_clock(dt.datetime.fromisoformat(sys.argv[1])):
    for line in sys.stdin:
        job = json.loads(line)
        outcome = gx.resume(job["token"])
        outcome.track("answer_accepted")
        print(json.dumps([job["name"], outcome.refused]))
assert gx.flush(30)
print(json.dumps(["dropped", gx.status().dropped]))
"""


@pytest.fixture
def url(transport):
    """The service of `transport`, for other processes."""
    server = make_server("127.0.0.1", 0, transport._app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_process_reports_outcomes_of_calls_that_another_made(
    url, credentials, tmp_path, start, client, report_of
):
    start("on-users", {"key": "accepted", "numerator": {"event": "answer_accepted"}})
    gx = client()
    jobs = []
    with testing.frozen_clock(LONG_AGO):
        for n in range(3):
            with gx.unit(f"user-{n}"):
                gx.variant("on-users")
                with gx.call(model="in-house"):
                    jobs.append({"name": f"job {n}", "token": gx.resume_token()})
        with gx.unit("user-3"):
            gx.variant("on-users")
            jobs.append({"name": "expired", "token": gx.resume_token(lifetime_seconds=59)})
    assert gx.flush(30)
    token = jobs[0]["token"]
    jobs.append({"name": "tampered", "token": f"{token[:-4]}{'AAAA' if token[-4:] != 'AAAA' else 'BBBB'}"})

    done = subprocess.run(
        [sys.executable, "-c", WORKER, (LONG_AGO + dt.timedelta(minutes=1)).isoformat()],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env=os.environ | {"GENUX_URL": url, "GENUX_API_KEY": credentials.server_key, "GENUX_DIR": str(tmp_path / "w")},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["job 0", ""],
        ["job 1", ""],
        ["job 2", ""],
        ["expired", "expired"],
        ["tampered", "bad_signature"],
        ["dropped", {"refused_token": 2}],
    ]
    (accepted,) = report_of("on-users")["metrics"]
    assert (sum(arm["n_units"] for arm in accepted["arms"]), sum(arm["total"] for arm in accepted["arms"])) == (4, 3.0)
