import datetime as dt
import threading
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from genux_server.lake import Lake
from genux_server.model import LakeVersions
from genux_server.service.worker import LeaseLostError, Worker
from genux_server.store import Store, inbox, lease
from genux_server.store.inbox_tables import InboxBatch, LakeState, WorkerLease


class CrashError(BaseException):
    """Not an Exception: nothing in the worker may catch it, as nothing catches a kill."""


def crash(*_args, **_kwargs):
    raise CrashError


def after(function):
    def wrapped(*args, **kwargs):
        function(*args, **kwargs)
        raise CrashError

    return wrapped


def crash_between_tables(lake, tables):
    """An append that reaches only the first `tables` of the three tables."""
    original = Lake._append_table
    seen = []

    def append_table(self, name, chunk, rows):
        seen.append(name)
        if len(seen) > tables:
            raise CrashError
        return original(self, name, chunk, rows)

    return append_table


CRASHES = {
    "before the claim": lambda patch: patch.setattr(inbox, "claim", crash),
    "after the claim, before its commit": lambda patch: patch.setattr(inbox, "claim", after(inbox.claim)),
    "after the claim's commit": lambda patch: patch.setattr(Lake, "append", crash),
    "before the first table": lambda patch: patch.setattr(Lake, "_append_table", crash_between_tables(Lake, 0)),
    "after one table": lambda patch: patch.setattr(Lake, "_append_table", crash_between_tables(Lake, 1)),
    "after two tables": lambda patch: patch.setattr(Lake, "_append_table", crash_between_tables(Lake, 2)),
    "after the append": lambda patch: patch.setattr(Lake, "append", after(Lake.append)),
    "before publishing": lambda patch: patch.setattr(inbox, "publish", crash),
    "after publishing, before its commit": lambda patch: patch.setattr(inbox, "publish", after(inbox.publish)),
}


def exposure_and_call(event):
    return [
        event(type="exposure", experiment="e", variant="v", name=None),
        event(type="call", call_id="0" * 32, latency_seconds=0.1, name=None),
        event(),
    ]


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_at_any_step_loses_and_doubles_nothing(  # noqa: PLR0917  # fixtures, by name
    where, server, store, app, service_config, event, batch, lake_event_ids, monkeypatch
):
    lake = app.extensions["genux"].lake
    sent = [batch(exposure_and_call(event)) for _ in range(3)]
    for each in sent:
        server.send(each)
    with monkeypatch.context() as patch:
        CRASHES[where](patch)
        with pytest.raises(CrashError):
            Worker(store, lake, service_config).archive()

    # more arrives before the next worker starts: an unfinished chunk must not swallow it
    sent.append(batch(exposure_and_call(event)))
    server.send(sent[-1])
    with store.inbox_writing() as connection:
        connection.execute(sa.update(WorkerLease).values(expires_at=dt.datetime(2000, 1, 1, tzinfo=dt.UTC)))
    successor = Worker(store, lake, service_config)
    while successor.archive():
        pass

    assert lake_event_ids() == sorted(each["event_id"] for one in sent for each in one["events"])
    with store.inbox_reading() as connection:
        assert inbox.backlog(connection).n_batches == 0
        chunks = connection.scalars(sa.select(InboxBatch.chunk).distinct().order_by(InboxBatch.chunk)).all()
        assert chunks == list(range(1, len(chunks) + 1))
        assert inbox.lake_versions(connection).chunk == len(chunks)


def test_archived_rows_stay_as_tombstones_without_their_body(server, store, worker, event, batch):
    server.send(batch([event()]))
    assert worker.archive() is True
    assert worker.archive() is False
    with store.inbox_reading() as connection:
        row = connection.execute(sa.select(InboxBatch.body, InboxBatch.archived_at, InboxBatch.n_events)).one()
    assert row.body is None
    assert row.archived_at is not None
    assert row.n_events == 1


def test_a_batch_that_commits_late_under_a_low_id_is_still_archived(
    store, scope, service_config, server, event, batch, worker, lake_event_ids
):
    """Identity values are handed out before the commit, so a higher id can be visible while a lower one is not."""
    if service_config.database_url == "":
        pytest.skip("SQLite has one writer, so its ids commit in order")
    import json

    import zstandard

    late = event()
    with store.inbox_writing() as slow:
        inbox.add_batch(
            slow,
            project_id=scope.project_id,
            environment_id=scope.environment_id,
            batch_id="late" * 9,
            received_at=dt.datetime.now(dt.UTC),
            trust="server",
            sdk="",
            n_events=1,
            body_bytes=10,
            body=zstandard.compress(json.dumps([late]).encode()),
        )
        early = batch([event()])
        server.send(early)
        assert worker.archive() is True
        assert lake_event_ids() == [early["events"][0]["event_id"]]
    with store.inbox_reading() as connection:
        late_id, early_id = connection.scalars(sa.select(InboxBatch.id).order_by(InboxBatch.id)).all()
        assert connection.scalar(sa.select(InboxBatch.batch_id).where(InboxBatch.id == late_id)) == "late" * 9
    assert late_id < early_id
    assert worker.archive() is True
    assert lake_event_ids() == sorted([late["event_id"], early["events"][0]["event_id"]])


def test_a_chunk_is_bounded_but_never_empty(server, store, event, batch):
    for _ in range(5):
        server.send(batch([event()]))
    with store.inbox_writing() as connection:
        assert [len(inbox.claim(connection, max_batches=2, max_bytes=10**9)[1])] == [2]
    with store.inbox_writing() as connection:
        connection.execute(sa.update(InboxBatch).values(chunk=None))
        assert len(inbox.claim(connection, max_batches=99, max_bytes=1)[1]) == 1


def test_one_worker_is_active_and_a_silent_one_is_replaced(store, app, service_config):
    config = replace(service_config, lease_seconds=0.5)
    first, second = (Worker(store, app.extensions["genux"].lake, config) for _ in range(2))
    first.archive()
    with pytest.raises(LeaseLostError):
        second.archive()
    time.sleep(0.6)
    second.archive()
    with pytest.raises(LeaseLostError):
        first.archive()


def test_a_worker_that_lost_its_lease_while_writing_does_not_publish(
    server, store, app, service_config, event, batch, lake_event_ids, monkeypatch
):
    config = replace(service_config, lease_seconds=0.3)
    lake = app.extensions["genux"].lake
    slow, quick = Worker(store, lake, config), Worker(store, lake, config)
    sent = batch([event()])
    server.send(sent)
    original = Lake.append

    def append_and_be_overtaken(self, chunk, batches, **options):
        monkeypatch.setattr(Lake, "append", original)
        versions = original(self, chunk, batches, **options)
        time.sleep(0.4)
        quick.archive()
        return LakeVersions(chunk=versions.chunk, events=99)

    monkeypatch.setattr(Lake, "append", append_and_be_overtaken)
    with pytest.raises(LeaseLostError):
        slow.archive()
    assert lake_event_ids() == [sent["events"][0]["event_id"]]


def test_a_stopped_worker_gives_its_lease_back(store, app, service_config, server, event, batch, lake_event_ids):
    stop = threading.Event()
    worker = Worker(store, app.extensions["genux"].lake, replace(service_config, lease_seconds=60))
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    sent = batch([event()])
    server.send(sent)
    deadline = time.monotonic() + 20
    while not lake_event_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert lake_event_ids() == [sent["events"][0]["event_id"]]
    with store.inbox_reading() as connection:
        assert lease.is_held(connection) is False


def test_a_failing_lake_stops_nothing_for_good(
    store, app, service_config, server, event, batch, lake_event_ids, monkeypatch
):
    from genux_server.service import worker as module

    monkeypatch.setattr(module, "_BACK_OFF_SECONDS", 0.05)
    original = Lake.append
    failures = []

    def fail_twice(self, chunk, batches, **options):
        if len(failures) < 2:
            failures.append(chunk)
            raise OSError("no space left on device")
        return original(self, chunk, batches, **options)

    monkeypatch.setattr(Lake, "append", fail_twice)
    sent = batch([event()])
    server.send(sent)
    stop = threading.Event()
    thread = threading.Thread(target=Worker(store, app.extensions["genux"].lake, service_config).run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while not lake_event_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert failures == [1, 1]
    assert lake_event_ids() == [sent["events"][0]["event_id"]]


def test_tombstones_are_forgotten_only_when_no_outbox_can_hold_their_batch(server, store, worker, event, batch):
    old, young = batch([event()]), batch([event()])
    server.send(old)
    server.send(young)
    worker.archive()
    now = dt.datetime.now(dt.UTC)
    with store.inbox_writing() as connection:
        connection.execute(
            sa.update(InboxBatch)
            .where(InboxBatch.batch_id == old["batch_id"])
            .values(archived_at=now - dt.timedelta(days=46))
        )
    worker.step()
    assert server.send(young).json["status"] == "duplicate"
    assert server.send(old).json["status"] == "ok"


def test_a_chunk_of_another_project_makes_no_report_stale(server, store, scope, worker, event, batch, call_as):
    from genux_server.service import bootstrap, keys

    other = bootstrap.create_project(store, "other", "Other")
    call_as(keys.create(store, other, "server").secret).send(batch([event()]))
    worker.archive()
    with store.inbox_reading() as connection:
        assert inbox.scope_chunk(connection, scope.project_id, scope.environment_id) == 0
        assert inbox.scope_chunk(connection, other.project_id, other.environment_id) == 1
        assert connection.scalar(sa.select(LakeState.chunk)) == 1


def test_a_store_opened_anew_sees_what_another_process_wrote(service_config, server, event, batch):
    server.send(batch([event()]))
    other = Store(service_config.control_url, service_config.inbox_url)
    with other.inbox_reading() as connection:
        assert inbox.backlog(connection).n_batches == 1
    other.close()


def spoil(store, batch_id, body):
    """The inbox's body of a batch, replaced by one that should never have got there."""
    with store.inbox_writing() as connection:
        connection.execute(sa.update(InboxBatch).where(InboxBatch.batch_id == batch_id).values(body=body))


@pytest.mark.parametrize("body", [b"no zstd", "not JSON", '[{"type": "unheard of"}]', '[{"type": "event"}]'])
@pytest.mark.parametrize("crashes", [False, True])
def test_a_batch_that_no_lake_takes_is_set_aside_and_the_others_go_on(  # noqa: PLR0917  # fixtures, by name
    body, crashes, server, store, app, service_config, event, batch, lake_event_ids, monkeypatch
):
    import zstandard

    from genux_server.service.health import check
    from genux_server.store import parking

    sent = [batch([event(), event()]) for _ in range(3)]
    for each in sent:
        server.send(each)
    spoil(store, sent[1]["batch_id"], body if isinstance(body, bytes) else zstandard.compress(body.encode()))
    worker = Worker(store, app.extensions["genux"].lake, service_config)
    if crashes:
        with monkeypatch.context() as patch:
            patch.setattr(parking, "park", after(parking.park))
            with pytest.raises(CrashError):
                worker.archive()
    while worker.archive():
        pass
    assert lake_event_ids() == sorted(e["event_id"] for each in (sent[0], sent[2]) for e in each["events"])
    health = check(store, service_config)
    assert health.parked_batches == 1
    assert health.lake_chunk == 1
    assert any("set aside" in problem for problem in health.problems)
    assert server.send(sent[1]).json["status"] == "duplicate"
    server.send(batch([event()]))
    assert worker.archive() is True
    assert len(lake_event_ids()) == 5


def test_a_lake_that_takes_nothing_now_parks_nothing(
    server, store, app, service_config, event, batch, lake_event_ids, monkeypatch
):
    from genux_server.service.health import check

    server.send(batch([event()]))
    worker = Worker(store, app.extensions["genux"].lake, service_config)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_append_table", lambda *_args: (_ for _ in ()).throw(OSError("no space left")))
        for _ in range(3):
            with pytest.raises(OSError, match="no space left"):
                worker.archive()
    assert check(store, service_config).parked_batches == 0
    assert worker.archive() is True
    assert len(lake_event_ids()) == 1
