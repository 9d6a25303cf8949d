"""Whether a project keeps the text of prompts and answers: off until an administrator says so."""

from genux_server.service import audit


def test_permission_reaches_the_sdk_with_a_new_version_and_an_audit_line(server, admin, store, scope):
    assert server("GET", "/v1/text-capture").json == {"allowed": False}
    before = server("GET", "/v1/snapshot").json
    assert before["keeps_text"] is False
    assert admin("PUT", "/v1/text-capture", json={"allowed": True}).json == {"allowed": True}
    after = server("GET", "/v1/snapshot").json
    assert after["keeps_text"] is True
    assert after["version"] == server("GET", "/v1/whoami").headers["Genux-Snapshot"] != before["version"]
    admin("PUT", "/v1/text-capture", json={"allowed": False})
    assert server("GET", "/v1/snapshot").json["version"] == before["version"]
    assert [line.action for line in audit.history(store, scope)][:2] == ["text.forbid", "text.allow"]


def test_only_an_administrators_key_gives_permission(server, browser):
    assert server("PUT", "/v1/text-capture", json={"allowed": True}).status_code == 403
    assert browser("GET", "/v1/text-capture").status_code == 403
    assert server("GET", "/v1/text-capture").json == {"allowed": False}
