import datetime as dt
import gzip
import json
import threading
import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa
import zstandard

from genux_server.service.ingest import Ingest
from genux_server.service.telemetry import Telemetry
from genux_server.store import StorageError, inbox
from genux_server.store.inbox_tables import DroppedCount, InboxBatch


def test_a_bad_event_is_named_and_kept_and_its_neighbours_are_accepted(server, event, batch, worker, lake_event_ids):
    good = [event() for _ in range(3)]
    bad = event(value="three")
    reply = server.send(batch([good[0], bad, *good[1:]]))

    assert reply.status_code == 200
    assert reply.json == {
        "status": "ok",
        "accepted": 3,
        "rejected": [
            {"index": 1, "code": "schema", "path": "$.value", "message": "Expected `float`, got `str`"},
        ],
    }
    worker.archive()
    assert lake_event_ids() == sorted(each["event_id"] for each in good)
    kept = server("GET", "/v1/rejected").json["rejected"]
    assert [(each["index"], each["code"], json.loads(each["body"])) for each in kept] == [(1, "schema", bad)]


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "zstd"])
def test_a_batch_arrives_in_every_encoding(server, event, batch, encoding):
    body = json.dumps(batch([event()])).encode()
    data = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(encoding, lambda plain: plain)(body)
    reply = server("POST", "/v1/events", data=data, Content_Encoding=encoding)
    assert (reply.status_code, reply.json["accepted"]) == (200, 1)


def test_a_batch_sent_twice_is_kept_once_and_its_verdicts_come_again(server, event, batch, worker, lake_event_ids):
    sent = batch([event(), event(name="")])
    first, second = server.send(sent), server.send(sent)
    assert (first.json["status"], second.json["status"]) == ("ok", "duplicate")
    assert first.json["rejected"] == second.json["rejected"] != []
    worker.archive()
    assert server.send(sent).json["status"] == "duplicate"
    worker.archive()
    assert lake_event_ids() == [sent["events"][0]["event_id"]]
    assert len(server("GET", "/v1/rejected").json["rejected"]) == 1


def test_the_same_batch_id_of_two_projects_is_two_batches(server, store, event, batch, call_as):
    from genux_server.service import bootstrap, keys

    other = bootstrap.create_project(store, "other", "Other")
    caller = call_as(keys.create(store, other, "server").secret)
    sent = batch([event()])
    assert [server.send(sent).json["status"], caller.send(sent).json["status"]] == ["ok", "ok"]


def test_a_batch_of_only_bad_events_is_a_tombstone_at_once(server, store, event, batch):
    sent = batch([event(unit_id=None)])
    assert server.send(sent).json["accepted"] == 0
    assert server.send(sent).json["status"] == "duplicate"
    with store.inbox_reading() as connection:
        assert inbox.backlog(connection).n_batches == 0


def test_what_an_sdk_gave_up_is_remembered(server, store, event, batch):
    server.send(batch([event()], dropped={"disk_full": 7}, sdk={"name": "genux-python", "version": "1.2"}))
    with store.inbox_reading() as connection:
        row = connection.execute(sa.select(DroppedCount.reason, DroppedCount.n_events, DroppedCount.sdk)).one()
    assert tuple(row) == ("disk_full", 7, "genux-python 1.2")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unreadable"),
        (b"[]", "unreadable"),
        (b'{"batch_id":"x","sent_at":"2026-01-01T00:00:00Z","events":[]}', "unreadable"),
        (b'{"batch_id":"' + b"a" * 32 + b'","sent_at":"2026-01-01T00:00:00","events":[]}', "unreadable"),
        (b'{"batch_id":"' + b"a" * 32 + b'","sent_at":"0001-01-01T00:00:00Z","events":[]}', "unreadable"),
        (b'{"batch_id":"\\u0000' + b"a" * 32 + b'","sent_at":"2026-01-01T00:00:00Z","events":[]}', "unreadable"),
        (b"\xff\xfe", "unreadable"),
        (b"[" * 200_000, "unreadable"),
    ],
)
def test_an_envelope_that_cannot_be_read_is_refused_whole(server, body, code):
    reply = server("POST", "/v1/events", data=body)
    assert (reply.status_code, reply.json["code"]) == (400, code)
    assert reply.mimetype == "application/problem+json"


def test_a_bomb_is_refused_before_it_unfolds(server):
    bomb = gzip.compress(b"[" + b" " * (70 * 2**20) + b"]", 1)
    reply = server("POST", "/v1/events", data=bomb, Content_Encoding="gzip")
    assert (reply.status_code, reply.json["code"]) == (413, "too_large")
    reply = server("POST", "/v1/events", data=zstandard.compress(bytes(70 * 2**20)), Content_Encoding="zstd")
    assert (reply.status_code, reply.json["code"]) == (413, "too_large")


def test_a_body_over_ten_megabytes_is_refused(server):
    assert server("POST", "/v1/events", data=b" " * (10 * 2**20 + 1)).status_code == 413


def test_more_than_ten_thousand_events_are_refused(server, batch):
    reply = server.send(batch([{}] * 10_001))
    assert (reply.status_code, reply.json["code"]) == (413, "too_large")


def test_truncated_bodies_are_refused(server, event, batch):
    body = json.dumps(batch([event()])).encode()
    for compress, encoding in ((gzip.compress, "gzip"), (zstandard.compress, "zstd")):
        reply = server("POST", "/v1/events", data=compress(body)[:-20], Content_Encoding=encoding)
        assert (reply.status_code, reply.json["code"]) == (400, "unreadable")


def test_an_unknown_encoding_is_refused(server):
    assert server("POST", "/v1/events", data=b"x", Content_Encoding="br").status_code == 415


def test_events_of_a_browser_are_marked_as_such(browser, store, event, batch):
    assert browser.send(batch([event()])).status_code == 200
    with store.inbox_reading() as connection:
        assert connection.scalar(sa.select(InboxBatch.trust)) == "browser"


def test_every_answer_names_the_snapshot(server, event, batch):
    version = server("GET", "/v1/snapshot").json["version"]
    assert server.send(batch([event()])).headers["Genux-Snapshot"] == version


def test_a_full_inbox_pushes_back_until_the_worker_has_caught_up(store, scope, service_config, worker, event, batch):
    full = Ingest(store, replace(service_config, inbox_max_batches=1), Telemetry())
    body = json.dumps(batch([event()])).encode()
    full.accept(scope, "server", body)
    full._looked_at = -1e9
    with pytest.raises(Exception, match="wait for the lake") as caught:
        full.accept(scope, "server", json.dumps(batch([event()])).encode())
    assert caught.value.status == 429
    worker.archive()
    full._looked_at = -1e9
    assert full.accept(scope, "server", json.dumps(batch([event()])).encode()).status == "ok"


def test_pushing_back_says_when_to_come_again(app, server, event, batch):
    app.extensions["genux"].ingest._config = replace(app.extensions["genux"].config, inbox_max_batches=0)
    reply = server.send(batch([event()]))
    assert (reply.status_code, reply.json["code"]) == (429, "over_budget")
    assert int(reply.headers["Retry-After"]) > 0


def test_when_the_database_cannot_keep_a_batch_the_sender_is_told_to_retry(server, store, event, batch, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise StorageError("disk full")

    sent = batch([event()])
    with monkeypatch.context() as patched:
        patched.setattr(inbox, "add_batch", refuse)
        reply = server.send(sent)
    assert (reply.status_code, reply.json["status"]) == (503, "retry")
    assert int(reply.headers["Retry-After"]) > 0
    assert server.send(sent).json["status"] == "ok"


def test_a_batch_costs_one_look_at_the_key_and_one_insert(server, store, app, event, batch):
    server.send(batch([event()]))  # the first request of a minute also notes that the key was used
    statements = []
    engines = {
        id(engine): engine for engine in (app.extensions["genux"].store.control, app.extensions["genux"].store.inbox)
    }

    def note(_connection, _cursor, statement, *_rest):
        if statement.split()[0] not in {"BEGIN", "SELECT pg_catalog.version()"}:
            statements.append(statement.split()[0])

    for engine in engines.values():
        sa.event.listen(engine, "before_cursor_execute", note)
    server.send(batch([event() for _ in range(500)]))
    assert statements == ["SELECT", "INSERT"]


def test_times_are_judged_on_the_senders_clock_and_put_right(server, worker, app, store, event, batch):
    now = dt.datetime.now(dt.UTC)
    behind = now - dt.timedelta(days=400)
    sent = batch(
        [
            event(at=(behind - dt.timedelta(days=6)).isoformat()),
            event(at=(behind - dt.timedelta(days=31)).isoformat()),
            event(at=now.isoformat()),
        ],
        sent_at=behind.isoformat(),
    )
    reply = server.send(sent).json
    assert [(each["index"], each["code"]) for each in reply["rejected"]] == [(1, "too_old"), (2, "in_future")]
    worker.archive()
    import duckdb

    with store.inbox_reading() as connection:
        files = app.extensions["genux"].lake.files(inbox.lake_versions(connection))
    with duckdb.connect() as connection:
        [(epoch,)] = connection.execute('SELECT epoch("at") FROM read_parquet(?)', [list(files.events)]).fetchall()
    expected = (now - dt.timedelta(days=6)).timestamp()
    assert abs(epoch - expected) < 60


def test_sixteen_threads_that_send_at_once_lose_and_double_nothing(
    server, app, worker, event, batch, lake_event_ids, call_as
):
    key = server.headers["Authorization"].removeprefix("Bearer ")
    batches = [batch([event() for _ in range(20)]) for _ in range(64)]
    replies = []

    def send(share):
        caller = call_as(key)
        replies.extend(caller.send(each).json["status"] for each in share)

    # every batch is sent by two threads
    threads = [threading.Thread(target=send, args=(batches[index % 8 :: 8],)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == ["duplicate"] * 64 + ["ok"] * 64
    while worker.archive():
        pass
    assert lake_event_ids() == sorted(each["event_id"] for sent in batches for each in sent["events"])


def test_a_batch_id_is_taken_as_it_comes(server, event, batch):
    sent = batch([event()], batch_id=uuid.uuid4().hex)
    assert server.send(sent).json["status"] == "ok"
