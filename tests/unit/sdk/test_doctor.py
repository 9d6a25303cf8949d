import datetime as dt
import json
import time
from email.utils import format_datetime

import pytest

import genux
from genux import doctor
from genux._transport import Response
from genux.doctor import diagnose
from genux.errors import TransportError


class Answering:
    def __init__(self, status=200, kind="server", skew_seconds=0.0, body=None, key="k"):
        self.key = key
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=skew_seconds)
        whoami = {"project": "shop", "environment": "prod", "kind": kind, "server_time": at.isoformat()}
        self.response = Response(
            status, {"date": format_datetime(at, usegmt=True)}, json.dumps(whoami).encode() if body is None else body
        )

    def send(self, method, path, body, headers):
        assert (method, path, headers) == ("GET", "/v1/whoami", {"Authorization": f"Bearer {self.key}"})
        return self.response


def found(**settings):
    findings = {finding.code: finding for finding in diagnose(**{"api_key": "k", **settings})}
    assert all(finding.advice for finding in findings.values() if finding.status != "ok"), findings
    return findings


def test_a_healthy_machine_has_no_problem(tmp_path, gx):
    findings = found(transport=Answering())
    assert findings["key"].message == "a server key of shop/prod"
    assert findings["clock"].status == "ok"
    assert not [finding for finding in findings.values() if finding.status == "problem"]


def test_without_a_url_it_is_local_mode():
    assert [finding.code for finding in diagnose()] == ["local_mode"]


@pytest.mark.parametrize(
    ("transport", "code"),
    [
        (Answering(status=401), "key_refused"),
        (Answering(status=403), "key_refused"),
        (Answering(kind="browser"), "key_kind"),
        (Answering(status=404, body=b"<html>"), "wrong_url"),
        (Answering(status=200, body=b"[]"), "wrong_url"),
        (Answering(skew_seconds=4_000), "clock"),
    ],
)
def test_what_is_wrong_with_the_service_is_a_problem_with_advice(transport, code):
    assert found(transport=transport)[code].status == "problem"


def test_a_clock_that_is_a_little_off_is_a_warning():
    assert found(transport=Answering(skew_seconds=-60))["clock"].status == "warning"


def test_an_unreachable_service_is_a_problem():
    finding = found(url="http://127.0.0.1:1")["unreachable"]
    assert finding.status == "problem"
    assert "Connection refused" in finding.message


def test_a_missing_key_is_a_problem():
    class Unasked:
        def send(self, *_args):
            raise TransportError("down")

    assert found(transport=Unasked(), api_key="")["no_key"].status == "problem"


def test_a_broken_file_and_a_forced_variant_are_told(tmp_path, monkeypatch):
    path = tmp_path / "genux.yaml"
    path.write_text("experiments: 5")
    monkeypatch.setenv("GENUX_FORCE", "a=b,c")
    findings = found(config=path)
    assert findings["config"].status == "problem"
    assert str(path) in findings["config"].message
    assert (findings["forced"].status, findings["environment"].status) == ("warning", "warning")
    path.write_text("experiments: []")
    assert found(config=path)["config"].status == "ok"


def test_the_outbox_is_looked_at_without_disturbing_it(service, tmp_path):
    service.reachable = False
    gx = genux.Client(transport=service, api_key="k")
    with gx.unit("user-1"):
        gx.track("clicked")
    gx.flush(0.05)
    (directory,) = (tmp_path / "outbox").iterdir()
    (directory / "parked").mkdir()
    (directory / "parked" / "x.jsonl").write_text("{}\n")
    findings = found(transport=Answering(), status=gx.status())
    assert "1 batch waiting" in findings["outbox"].message
    assert findings["parked"].status == "problem"
    assert findings["no_snapshot"].status == "warning"
    assert findings["outbox_ephemeral"].status == "warning"
    assert findings["dropped"].status == "ok"
    service.reachable = True
    assert gx.flush()
    assert len(service.events) == 1


def test_an_old_batch_means_that_nobody_ships(tmp_path):
    found(transport=Answering())
    from genux._options import resolve

    directory = resolve("", "k", None, None, has_transport=True).directory
    directory.mkdir(parents=True)
    stamp = f"{int((time.time() - 4_000) * 1_000):012x}"
    (directory / f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000.jsonl").write_text("{}\n")
    outbox = found(transport=Answering())["outbox"]
    assert (outbox.status, "the oldest 67 min old" in outbox.message) == ("warning", True)


def test_events_stranded_by_a_rotated_key_are_told_and_may_be_moved(service, tmp_path):
    service.reachable = False
    old = genux.Client(transport=service, api_key="old", exit_flush_seconds=0)
    with old.unit("user-1"):
        old.track("clicked")
    old.close()
    (folder,) = (tmp_path / "outbox").iterdir()
    finding = found(transport=Answering())["other_outbox"]
    assert finding.status == "warning"
    assert f"{folder}: 1 batch waiting, 4 KiB of disk, the oldest 0 s old" in finding.message
    assert "other_outbox" not in found(transport=Answering(key="old"), api_key="old")
    service.reachable = True
    new = genux.Client(transport=service, api_key="k")
    with new.unit("user-2"):
        new.track("clicked")
    assert new.flush()
    for segment in folder.glob("*.jsonl"):
        segment.rename(new._delivery.outbox.directory / segment.name)
    assert new.flush()
    assert sorted(event.unit_id for event in service.events) == ["user-1", "user-2"]
    assert "other_outbox" not in found(transport=Answering())


def test_what_a_process_lost_is_a_problem(gx):
    gx.track("outside of any unit")
    assert found(transport=Answering(), status=gx.status())["dropped"].message == "events dropped: no_unit 1"


def test_the_command_prints_and_tells_by_its_exit_code(capsys, monkeypatch):
    assert doctor.main() == 0
    monkeypatch.setenv("GENUX_URL", "http://127.0.0.1:1")
    assert doctor.main() == 1
    assert "PROBLEM  unreachable" in capsys.readouterr().out
