"""Pages on other origins, as their browsers speak."""

import json

import pytest

from genux.errors import ServiceError
from genux_server.service import audit, keys

SHOP = "https://shop.example"
EVIL = "https://evil.example"


@pytest.fixture
def browser_key(store, scope):
    return keys.create(store, scope, "browser", "shop", [SHOP])


@pytest.fixture
def page(app, browser_key):
    """Sends as a page's browser does."""

    def send(origin, body, *, key=browser_key.secret, in_address=False, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Origin": origin}
        if not in_address:
            headers["Authorization"] = f"Bearer {key}"
        address = f"/v1/events?key={key}" if in_address else "/v1/events"
        return app.test_client().post(address, data=body, headers=headers)

    return send


@pytest.fixture
def body(event, batch):
    return json.dumps(batch([event()])).encode()


def ask(app, origin, **headers):
    headers |= {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return app.test_client().options("/v1/events", headers=headers)


def foreign(app):
    text = app.test_client().get("/metrics").text
    found = [line for line in text.splitlines() if line.startswith("genux_cors_refused_total")]
    return {line.partition('stage="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in found}


def test_a_browser_may_ask_before_it_sends(app, browser_key):
    answer = ask(app, SHOP)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


def test_a_foreign_origin_is_refused_at_the_question_and_at_the_request_and_counted(app, page, body):
    assert ask(app, EVIL).status_code == 403
    answers = [ask(app, EVIL), page(EVIL, body), page(EVIL, body, in_address=True), page("null", body)]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert [answer.json["code"] for answer in answers] == ["foreign_origin"] * 4
    assert not any("Access-Control-Allow-Origin" in answer.headers for answer in answers)
    assert foreign(app) == {"preflight": 2, "request": 3}


def test_a_page_on_an_allowed_origin_sends_and_may_read_the_answer(page, body):
    answer = page(SHOP, body)
    assert answer.json["accepted"] == 1
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "genux-snapshot" in answer.headers["Access-Control-Expose-Headers"]


def test_it_may_read_a_refusal_too(page):
    answer = page(SHOP, b"{")
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (400, SHOP)


def test_a_beacon_brings_plain_text_and_its_key_in_the_address(page, body):
    answer = page(SHOP, body, in_address=True, Content_Type="text/plain;charset=UTF-8")
    assert answer.json == {"status": "ok", "accepted": 1, "rejected": []}


@pytest.mark.parametrize("kind", ["server_key", "admin_key"])
def test_a_secret_key_in_an_address_is_refused(page, credentials, body, kind):
    answer = page(SHOP, body, key=getattr(credentials, kind), in_address=True)
    assert (answer.status_code, answer.json["code"]) == (403, "secret_in_address")


def test_a_key_in_the_address_opens_nothing_else(app, browser_key):
    assert app.test_client().get(f"/v1/whoami?key={browser_key.secret}").status_code == 401


def test_another_keys_origin_answers_the_question_but_not_the_request(app, store, scope, page, body):
    keys.create(store, scope, "browser", "blog", ["https://blog.example"])
    assert ask(app, "https://blog.example").status_code == 204
    assert page("https://blog.example", body).status_code == 403


def test_a_star_allows_every_page(app, store, scope, page, body):
    anywhere = keys.create(store, scope, "browser", "widget", ["*"])
    assert ask(app, EVIL).headers["Access-Control-Allow-Origin"] == EVIL
    assert page(EVIL, body, key=anywhere.secret).status_code == 200


def test_origins_are_changed_and_a_revoked_key_allows_none(app, store, scope, browser_key, page, body):
    keys.set_origins(store, scope, browser_key.id, ["https://new.example/"])
    assert ask(app, SHOP).status_code == 403
    assert page("https://new.example", body).status_code == 200
    (shown,) = [key for key in keys.list_keys(store, scope) if key.id == browser_key.id]
    assert shown.origins == ["https://new.example"]
    assert audit.history(store, scope)[0].detail == {"origins": "https://new.example"}
    keys.revoke(store, scope, browser_key.id)
    assert ask(app, "https://new.example").status_code == 403
    with pytest.raises(ServiceError, match="browser key"):
        keys.set_origins(store, scope, browser_key.id, [SHOP])


def test_only_a_browsers_key_has_origins(store, scope, credentials):
    with pytest.raises(ServiceError, match="server key belongs on no page"):
        keys.create(store, scope, "server", "x", [SHOP])
    server = next(key for key in keys.list_keys(store, scope) if key.kind == "server")
    with pytest.raises(ServiceError, match="browser key"):
        keys.set_origins(store, scope, server.id, [SHOP])


def test_programs_send_no_origin_and_need_none(browser, event, batch):
    assert browser.send(batch([event()])).status_code == 200
