"""The service reports its own errors to an operator's Sentry. Sentry patches a process, so each test has its own."""

import json
import os
import subprocess
import sys
import time

WEB = """
from genux_server.app import create_app
from genux_server.config import Config
app = create_app(Config.from_env())
app.config["WTF_CSRF_ENABLED"] = False
app.add_url_rule("/v1/broken", "broken", lambda: 1 / 0, methods=["POST"])
reply = app.test_client().post("/v1/broken", json={"unit_id": "user-42"}, headers={"Authorization": "Bearer sk_secret"})
assert reply.status_code == 500
import sentry_sdk
sentry_sdk.flush()
"""
WORKER = """
from genux_server.cli import main
from genux_server.lake import Lake
def fail(*_args, **_options):
    raise OSError("the disk is gone")
Lake.append = fail
main()
"""


def environment(config, envelopes):
    return {**os.environ, **config.to_env(), "SENTRY_DSN": envelopes.dsn}


def test_an_error_of_the_service_arrives_without_what_others_sent(sqlite_config, envelopes):
    subprocess.run([sys.executable, "-c", WEB], env=environment(sqlite_config, envelopes), check=True, timeout=60)
    (event,) = envelopes.errors
    (error,) = event["exception"]["values"]
    assert error["type"] == "ZeroDivisionError"
    assert all("vars" not in frame for frame in error["stacktrace"]["frames"])
    assert event["request"]["url"] == "http://localhost/v1/broken"
    for secret in (b"user-42", b"sk_secret"):
        assert secret not in b"".join(envelopes.bodies)


def test_an_error_of_the_worker_arrives(sqlite_config, envelopes, batch_in_inbox):
    command = [sys.executable, "-c", WORKER, "worker"]
    with subprocess.Popen(command, env=environment(sqlite_config, envelopes)) as process:
        deadline = time.monotonic() + 60
        while not envelopes.errors and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
    event = envelopes.errors[0]
    assert event["exception"]["values"][0]["value"] == "the disk is gone"
    assert json.dumps(event).count("user-42") == 0
