"""How much a page asks of the database: as much for ten experiments as for one."""

import contextlib

import pytest
import sqlalchemy as sa

# Session and membership, then the view's own; the start page asks more because it watches keys, reports and rejections.
QUERIES = {"/experiments": 5, "/experiments/full": 6, "/rejected": 3, "/start": 9}


@contextlib.contextmanager
def counted(store):
    statements = []

    def note(connection, cursor, statement, *rest):
        if statement.lstrip().upper().startswith("SELECT"):
            statements.append(statement)

    engines = {store.control, store.inbox}
    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", note)
    yield statements
    for engine in engines:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def client(app, seeding):
    client = app.test_client()
    csrf = client.get("/login").text.split('name="csrf_token" value="')[1].split('"')[0]
    client.post("/login", data={"email": seeding.EMAIL, "password": seeding.PASSWORD, "csrf_token": csrf})
    return client


@pytest.mark.parametrize(("path", "expected"), QUERIES.items())
def test_a_page_asks_the_database_a_fixed_number_of_questions(app, client, seeding, path, expected):
    with counted(app.extensions["genux"].store) as statements:
        assert client.get(f"{seeding.PLACE}{path}").status_code == 200
    assert len(statements) == expected, "\n".join(statements)


def test_an_address_without_a_place_leads_to_the_experiment(client, seeding):
    reply = client.get("/experiments/full")
    assert (reply.status_code, reply.location) == (302, f"{seeding.PLACE}/experiments/full")
    assert client.get("/experiments/nowhere").status_code == 404
