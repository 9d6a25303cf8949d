"""Signing in, the list, getting started, rejected events: the frame around the report."""

import contextlib
import json
import sqlite3

import pytest

from genux_server.service import bootstrap, keys


@pytest.fixture
def scope(app):
    return bootstrap.find_scope(app.extensions["genux"].store, "default", "dev")


@pytest.fixture
def client(app):
    return app.test_client()


def token(client):
    page = client.get("/login").text
    return page.split('name="csrf_token" value="')[1].split('"')[0]


def sign_in(client, seeding):
    form = {"email": seeding.EMAIL, "password": seeding.PASSWORD, "csrf_token": token(client)}
    return client.post("/login", data=form)


@pytest.mark.parametrize("path", ["/experiments", "/start", "/rejected"])
def test_no_page_spills_over_the_side_of_a_phone(open_page, path):
    page = open_page(path, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_strangers_are_sent_to_the_login_and_then_to_where_they_wanted(chromium, address, seeding):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}{seeding.PLACE}/experiments/full")
    assert "/login?next=" in page.url
    page.fill("#email", seeding.EMAIL)
    page.fill("#password", "wrong password")
    page.click("button[type=submit]")
    assert "do not fit together" in page.inner_text("[role=alert]")
    page.fill("#password", seeding.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{address}{seeding.PLACE}/experiments/full")
    context.close()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/p/\\evil"])
def test_the_login_never_leads_to_another_site(client, seeding, target):
    form = {"email": seeding.EMAIL, "password": seeding.PASSWORD, "csrf_token": token(client)}
    reply = client.post("/login", query_string={"next": target}, data=form)
    assert (reply.status_code, reply.location) == (302, "/")


def test_a_form_without_its_token_is_refused(client, seeding):
    reply = client.post("/login", data={"email": seeding.EMAIL, "password": seeding.PASSWORD})
    assert reply.status_code == 400
    sign_in(client, seeding)
    assert client.post(f"{seeding.PLACE}/start/key").status_code == 400
    assert client.post("/logout").status_code == 400


def test_signing_out_closes_every_page(client, seeding):
    sign_in(client, seeding)
    assert client.get(f"{seeding.PLACE}/experiments").status_code == 200
    page = client.get(f"{seeding.PLACE}/experiments").text
    csrf = page.split('name="csrf_token" value="')[1].split('"')[0]
    client.post("/logout", data={"csrf_token": csrf})
    assert client.get(f"{seeding.PLACE}/experiments").status_code == 302


def test_another_projects_pages_do_not_exist(client, seeding):
    sign_in(client, seeding)
    reply = client.get("/p/other/dev/experiments")
    assert reply.status_code == 404
    assert "There is nothing here" in reply.text


def test_an_unknown_experiment_is_a_page_not_a_traceback(client, seeding):
    sign_in(client, seeding)
    assert client.get(f"{seeding.PLACE}/experiments/nowhere").status_code == 404


def test_a_database_that_is_gone_is_said_on_a_page(seeding, tmp_path):
    app = seeding.create_app_on(tmp_path)
    client = app.test_client()
    sign_in(client, seeding)
    with contextlib.closing(sqlite3.connect(tmp_path / "control.db")) as database:
        database.execute("DROP TABLE experiment")
    reply = client.get(f"{seeding.PLACE}/experiments")
    assert reply.status_code == 503
    assert "The database cannot be reached now" in reply.text
    app.extensions["genux"].store.close()


def test_pages_need_no_inline_script_or_style(client, seeding):
    sign_in(client, seeding)
    for path in ("/experiments", "/experiments/full", "/start", "/rejected"):
        reply = client.get(f"{seeding.PLACE}{path}")
        assert " style=" not in reply.text
        assert "<script>" not in reply.text
        assert "<style" not in reply.text
        assert "unsafe" not in reply.headers["Content-Security-Policy"]


def test_assets_are_kept_for_ever_under_an_address_that_changes_with_them(client, seeding):
    sign_in(client, seeding)
    page = client.get(f"{seeding.PLACE}/experiments").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "?v=" in address
    with client.get(address) as reply:
        assert "max-age=31536000" in reply.headers["Cache-Control"]


def test_the_list_leads_to_the_reports(open_page):
    page = open_page("/experiments")
    row = page.locator(".listing tr", has_text="invalid")
    assert "Invalid" in row.inner_text()
    assert "Failing" in row.inner_text()
    row.get_by_role("link").click()
    assert page.inner_text("#verdict") == "Invalid"


def test_a_rejected_event_is_shown_as_text_whatever_it_holds(open_page):
    page = open_page("/rejected")
    row = page.locator(".events tr", has_text="too_old")
    row.locator("summary").click()
    assert "<script>alert(1)</script>" in row.inner_text()


def test_a_new_rejection_appears_by_itself_and_an_opened_event_stays_open(open_page, app, scope):
    page = open_page("/rejected")
    page.locator(".events tr", has_text="too_old").locator("summary").click()
    event = {"type": "event", "event_id": "0" * 32, "at": "2026-11-22T08:00:00Z", "unit_id": "u", "name": "x" * 200}
    batch = {"batch_id": "a" * 32, "sent_at": "2026-11-22T09:00:00Z", "events": [event]}
    app.extensions["genux"].ingest.accept(scope, "server", json.dumps(batch).encode())
    page.locator(".events tr", has_text="$.name").wait_for(timeout=10_000)
    assert page.locator(".events tr", has_text="too_old").locator("details").get_attribute("open") is not None


def test_a_key_made_on_the_page_works_and_is_not_shown_again(open_page, app):
    page = open_page("/start")
    page.get_by_role("button", name="Make a server key").click()
    shown = page.locator(".snippet code", has_text="export GENUX_API_KEY").inner_text()
    secret = shown.rsplit("=", 1)[1].strip()
    found = keys.authenticate(app.extensions["genux"].store, secret)
    assert found is not None
    assert (found.kind, found.scope.environment) == ("server", "dev")
    page.goto(page.url.removesuffix("/key"))
    assert secret not in page.content()


def test_getting_started_turns_green_by_itself(open_page, app):
    store = app.extensions["genux"].store
    page = open_page("/start")
    page.goto(page.url.replace("/dev/", "/staging/"))
    key_step = page.locator(".progress li").first
    assert key_step.get_attribute("class") is None
    staging = bootstrap.find_scope(store, "default", "staging")
    keys.authenticate(store, keys.create(store, staging, "server").secret)
    page.locator(".progress li.done").first.wait_for(timeout=10_000)


def test_an_empty_environment_says_how_to_begin(open_page):
    page = open_page("/experiments")
    page.goto(page.url.replace("/dev/", "/prod/"))
    assert "Nothing is being tried yet" in page.inner_text("main")
    page.get_by_role("link", name="Start the first one").click()
    assert page.url.endswith("/p/default/prod/start")
