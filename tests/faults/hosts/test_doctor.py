"""`genux doctor`, the command, on a machine beside a real service: it finds what is wrong, and only that."""

import http.server
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

GENUX = [sys.executable, "-c", "from genux_server.cli import main; main()"]


@pytest.fixture
def doctor(host):
    """The findings by code, and the exit status; also that the command says the same to a person."""

    def look(**settings):
        ran = host([*GENUX, "doctor", "--json"], **settings)
        assert not ran.err
        findings = {finding["code"]: finding for finding in json.loads(ran.out)}
        told = host([*GENUX, "doctor"], COLUMNS="400", **settings)
        assert told.returncode == ran.returncode == any(f["status"] == "problem" for f in findings.values())
        assert all(f" {code} " in told.out for code in findings), told.out
        assert all(finding["advice"] for finding in findings.values() if finding["status"] != "ok")
        return findings

    return look


def problems(findings):
    return {code for code, finding in findings.items() if finding["status"] == "problem"}


def the_outbox(tmp_path):
    (folder,) = (tmp_path / "outbox").iterdir()
    return folder


def test_a_machine_that_is_well(host, doctor):
    host("assert gx.ready(20)\ntrack(0, 10)\nassert gx.flush(20)")
    findings = doctor()
    assert not problems(findings)
    assert findings["key"]["message"] == "a server key of default/dev"
    assert findings["clock"]["message"] == "this clock is in step with the service's"
    assert "0 batches waiting" in findings["outbox"]["message"]
    assert findings["snapshot"]["status"] == "ok"
    assert {"parked", "losses", "no_snapshot", "unreachable"}.isdisjoint(findings)


def test_keys_that_are_refused_or_of_the_wrong_kind(service, doctor):
    assert problems(doctor(GENUX_API_KEY="gxs_made_up")) == {"key_refused"}
    assert problems(doctor(GENUX_API_KEY="")) == {"no_key", "key_refused"}
    findings = doctor(GENUX_API_KEY=service.keys["browser_key"])
    assert problems(findings) == {"key_kind"}
    assert findings["key_kind"]["message"] == "a browser key of default/dev"


def test_an_address_where_nobody_or_someone_else_answers(doctor, service):
    assert problems(doctor(GENUX_URL="http://127.0.0.1:9")) == {"unreachable"}
    assert problems(doctor(GENUX_URL=service.keys["url"] + "/elsewhere")) == {"wrong_url"}


@pytest.mark.slow
def test_what_waits_and_what_was_given_up_while_the_service_was_away(service, host, doctor, tmp_path):
    service.stop()
    host("track(0, 700)\nfor _ in range(1_234): genux.track('outside')\nos.kill(os.getpid(), signal.SIGKILL)")
    findings = doctor()
    assert problems(findings) == {"unreachable", "losses"}
    assert "no_unit 1,234" in findings["losses"]["message"]
    assert "3 batches waiting" in findings["outbox"]["message"]
    old = the_outbox(tmp_path) / f"{int((time.time() - 7_200) * 1e3):012x}"
    next(the_outbox(tmp_path).glob("*.jsonl")).rename(f"{str(old)[:-4]}-{str(old)[-4:]}-7000-8000-000000000000.jsonl")
    findings = doctor()
    assert findings["outbox"]["status"] == "warning"
    assert "the oldest 2 h old" in findings["outbox"]["message"]
    service.start()
    assert host("assert gx.flush(20)").returncode == 0
    assert not problems(doctor())


def test_a_batch_that_the_service_refused_for_good_with_its_words(host, doctor, tmp_path):
    host("track(0, 5)\nos.kill(os.getpid(), signal.SIGKILL)", GENUX_URL="http://127.0.0.1:9")
    (written,) = (tmp_path / "outbox").glob("*/*.jsonl")
    host("assert gx.ready(20)")
    (folder,) = (path for path in (tmp_path / "outbox").iterdir() if path != written.parent)
    written.rename(folder / "no-uuid.jsonl")
    host("gx.flush(5)")
    findings = doctor()
    assert problems(findings) == {"parked"}
    assert "1 batch that the service refused for good" in findings["parked"]["message"]
    assert "HTTP 400: " in findings["parked"]["message"]


def test_a_snapshot_that_nobody_confirmed_for_days(service, host, doctor, tmp_path):
    assert doctor()["no_snapshot"]["status"] == "warning"
    host("assert gx.ready(20)\nassert gx.flush(20)")
    cache = the_outbox(tmp_path) / "snapshot.json"
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps({**kept, "fetched_at": kept["fetched_at"] - 3 * 86_400}))
    finding = doctor()["snapshot"]
    assert finding["status"] == "warning"
    assert "3 d old" in finding["message"]


@pytest.mark.parametrize(("off_seconds", "status"), [(-4_000, "problem"), (60, "warning")])
def test_a_clock_that_is_wrong(service, doctor, off_seconds, status):
    """The service's own answers, with its clock moved on the way."""
    there = service.keys["url"]

    class Moved(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_args):
            pass

        def do_GET(self):
            request = urllib.request.Request(there + self.path, headers=dict(self.headers))
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
            self.send_response_only(200)
            self.send_header("Date", self.date_time_string(time.time() + off_seconds))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moved)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    finding = doctor(GENUX_URL=f"http://127.0.0.1:{server.server_port}")["clock"]
    server.shutdown()
    server.server_close()
    assert finding["status"] == status
    assert ("ahead of" in finding["message"]) == (off_seconds < 0)


def test_no_url_is_local_mode_and_a_memory_disk_is_told(doctor):
    assert list(doctor(GENUX_URL="", GENUX_API_KEY="")) == ["local_mode"]
    assert doctor(GENUX_DIR="/dev/shm/genux-nowhere")["outbox_ephemeral"]["status"] == "warning"
    assert not Path("/dev/shm/genux-nowhere").exists()
