"""The SDK against the real service, without a socket between them."""

import time

import genux
from genux import doctor


def client(transport, credentials, tmp_path, name="outbox"):
    gx = genux.Client(
        api_key=credentials.server_key, transport=transport, directory=tmp_path / name, flush_seconds=0.01
    )
    assert gx.ready(30)
    return gx


def test_assigned_exposed_tracked_and_resumed_events_are_all_accepted(transport, credentials, tmp_path, running):
    gx = client(transport, credentials, tmp_path)
    with gx.unit("user-1", country="KR", plan="pro"):
        entry = gx.variant(running)
        gx.track("answer_seen", page="home")
        token = gx.resume_token()
    gx.alias("anonymous-1", "user-1")
    assert entry.reason == "ASSIGNED"
    assert gx.flush(30)
    elsewhere = client(transport, credentials, tmp_path, "another machine")
    resumed = elsewhere.resume(token)
    resumed.track("answer_accepted", 2.5)
    assert resumed.refused == ""
    assert elsewhere.flush(30)
    assert (gx.status().shipped, gx.status().rejected) == (3, {})
    assert (elsewhere.status().shipped, elsewhere.status().rejected) == (1, {})
    assert elsewhere.peek(running).reason == "NO_UNIT"


def test_what_the_service_rejects_is_counted_by_code(transport, credentials, tmp_path):
    gx = client(transport, credentials, tmp_path)
    with gx.unit("user-1"):
        gx.track("fine")
        gx.track("nul", note="a\0b")
        gx.track("fine")
    assert gx.flush(30)
    status = gx.status()
    assert status.shipped + sum(status.rejected.values()) == 3
    assert status.parked == 0


def test_a_change_on_the_service_reaches_the_client_with_the_next_reply(
    transport, credentials, tmp_path, running, administer
):
    gx = client(transport, credentials, tmp_path)
    with gx.unit("user-1", country="KR"):
        assert gx.variant(running).reason == "ASSIGNED"
        administer("POST", f"/v1/experiments/{running}/stop")
        deadline = time.monotonic() + 30
        while gx.peek(running).reason != "STOPPED" and time.monotonic() < deadline:
            gx.track("visited")
            assert gx.flush(30)
        assert gx.peek(running).reason == "STOPPED"


def test_the_doctor_finds_nothing_wrong_and_names_a_wrong_key(transport, credentials, tmp_path, running):
    client(transport, credentials, tmp_path)

    def codes(key):
        found = doctor.diagnose(api_key=key, transport=transport, directory=tmp_path / "outbox")
        return {finding.code for finding in found if finding.status == "problem"}

    assert codes(credentials.server_key) == set()
    assert codes(credentials.browser_key) == {"key_kind"}
    assert codes(credentials.admin_key) == {"key_kind"}
    assert codes("sk_wrong") == {"key_refused"}
