import datetime as dt
import json
import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa
import zstandard
from click.testing import CliRunner

from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.cli.main import cli
from genux_server.lake import Lake
from genux_server.service import experiments, metrics, reports, units
from genux_server.service.worker import Worker
from genux_server.store import erasures, inbox
from genux_server.store.control import AuditEntry, ControlBase, StoredReport
from genux_server.store.inbox_tables import ErasedUnit, InboxBase, InboxBatch, WorkerLease

CANARY = "canary-7f3b"
ANONYMOUS = "anonymous-51c2"


@pytest.fixture
def lake(app):
    return app.extensions["genux"].lake


@pytest.fixture
def lake_rows(lake, store):
    """Every row of the published lake by table, in order, without the columns named."""
    import duckdb

    def read(*without):
        with store.inbox_reading() as connection:
            files = lake.files(inbox.lake_versions(connection))
        found = {}
        for name in ("exposures", "events", "calls"):
            paths = list(getattr(files, name))
            query = "SELECT * FROM read_parquet(?, hive_partitioning = true) ORDER BY seq"
            rows = duckdb.sql(query, params=[paths]).to_arrow_table().to_pylist() if paths else []
            found[name] = [{key: value for key, value in row.items() if key not in without} for row in rows]
        return found

    return read


def exposure(event, unit_id, variant="a", **fields):
    return event(type="exposure", experiment="x", variant=variant, name=None, unit_id=unit_id, **fields)


def call(event, unit_id, **fields):
    return event(type="call", call_id=uuid.uuid4().hex, latency_seconds=0.5, name=None, unit_id=unit_id, **fields)


def about_the_canary(event):
    """Every way in which an event can be one of a unit's."""
    shown, asked = exposure(event, ANONYMOUS), call(event, CANARY)
    return [
        shown,
        asked,
        event(unit_id=ANONYMOUS, value=900.0),
        event(type="alias", unit_id=ANONYMOUS, known_id=CANARY, name=None),
        event(unit_id=CANARY),
        event(unit_id=None, call_id=asked["call_id"]),
        event(unit_id=None, exposure_id=shown["event_id"]),
        event(unit_id="document-1", unit_kind="document", units={"user": CANARY}),
    ]


def about_others(event):
    asked = call(event, "other-2")
    return [
        *(exposure(event, f"other-{n}", "ab"[n % 2]) for n in range(60)),
        *(event(unit_id=f"other-{n}", value=1.0 + n / 7) for n in range(40)),
        asked,
        event(unit_id=None, call_id=asked["call_id"]),
        event(type="alias", unit_id="other-9-anonymous", known_id="other-9", name=None),
        # somebody else at the same browser, later: of them the browser's first person keeps nothing
        event(type="alias", unit_id="other-9-anonymous", known_id="other-10", name=None),
        event(unit_id=CANARY, unit_kind="document"),
    ]


@pytest.fixture
def experiment(store, scope):
    metrics.create(
        store, scope, MetricSpec(key="m", kind="mean", numerator=Measure(event="answer_accepted", aggregate="sum"))
    )
    variants = [VariantSpec(key="a"), VariantSpec(key="b")]
    forced = {CANARY: "b", "other-1": "a"}
    experiments.create(
        store, scope, ExperimentSpec(key="x", variants=variants, primary="m", control="a", forced_units=forced)
    )
    return experiments.start(store, scope, "x")


def work_off(worker):
    while worker.archive():
        pass
    worker.erase()


def everything_kept(config, store):
    """Bytes of every file of the data directory and of every row of the databases, as they are and inflated."""
    import pyarrow.parquet as pq

    for path in config.data.rglob("*"):
        if path.is_file():
            yield str(path).encode()
            yield path.read_bytes()
            if path.suffix == ".parquet":
                yield str(pq.read_table(path).to_pylist()).encode()
    for engine, base in ((store.control, ControlBase), (store.inbox, InboxBase)):
        with engine.connect() as connection:
            for table in base.metadata.tables.values():
                for row in connection.execute(sa.select(table)):
                    yield str(tuple(row)).encode()
                    for value in row:
                        if isinstance(value, bytes) and value.startswith(b"\x28\xb5\x2f\xfd"):
                            yield zstandard.ZstdDecompressor().decompress(value)


def test_an_erased_unit_is_in_no_file_and_no_row_and_others_are_as_they_were(  # noqa: PLR0917  # fixtures, by name
    server, store, scope, worker, lake, service_config, event, batch, lake_rows, experiment
):
    others = about_others(event)
    server.send(batch(others))
    worker.archive()
    alone = lake_rows()
    report_alone = reports.refresh(store, lake, scope, "x")
    server.send(batch([*about_the_canary(event), event(unit_id=CANARY, value="much")]))
    server.send(batch([event(unit_id="other-1", value="much"), event(unit_id=f"a {CANARY} b", value="much")]))
    worker.archive()
    with store.writing() as session:  # a report may name a unit: the one with the largest value
        row = session.scalars(sa.select(StoredReport)).one()
        named = row.body.replace('"args":{', f'"args":{{"unit":"{CANARY}",')
        assert named != row.body
        copied = {each.key: getattr(row, each.key) for each in StoredReport.__table__.columns if each.key != "id"}
        session.add(StoredReport(**copied | {"body": named}))
    kept = b"".join(everything_kept(service_config, store))
    assert CANARY.encode() in kept
    assert ANONYMOUS.encode() in kept

    asked = units.request_erasure(store, scope, "user", CANARY, whole_project=True)
    work_off(worker)

    done = units.find_erasure(store, scope, asked.id)
    assert done.done_at is not None
    assert (done.outcome.exposures, done.outcome.events, done.outcome.calls) == (1, 6, 1)
    assert (done.outcome.ids, done.outcome.rejected, done.outcome.reports) == (2, 1, 1)
    assert done.outcome.experiments == ["dev/x"]
    assert done.outcome.still_named_in == []
    assert lake_rows() == alone
    report = reports.refresh(store, lake, scope, "x")
    assert report.arms == report_alone.arms
    assert report.metrics == report_alone.metrics
    assert experiments.get(store, scope, "x").spec.forced_units == {"other-1": "a"}
    left = [each.replace(f"a {CANARY} b".encode(), b"") for each in everything_kept(service_config, store)]
    assert [each[:80] for each in left if ANONYMOUS.encode() in each] == []
    # what is left is the document that has the same name, which is another unit
    assert not any(CANARY.encode() in each for each in left if b"document" not in each)


def test_what_an_outbox_brings_after_the_erasure_is_dropped_and_what_happens_later_is_kept(
    server, store, scope, worker, event, batch, lake_event_ids
):
    server.send(batch(about_the_canary(event)))
    late = [event(unit_id=CANARY), event(unit_id=ANONYMOUS), exposure(event, ANONYMOUS)]
    late.append(event(unit_id="document-2", unit_kind="document", units={"user": CANARY}))
    late.append(event(type="alias", unit_id="another", known_id=CANARY, name=None))
    before = event(unit_id="other-1")
    units.request_erasure(store, scope, "user", CANARY)
    work_off(worker)
    now = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)).isoformat()
    comes_back, between = event(unit_id=CANARY, at=now), event(unit_id="other-2")
    server.send(batch([before, *late, between, comes_back]))
    work_off(worker)
    assert lake_event_ids() == sorted(each["event_id"] for each in (before, between, comes_back))


def test_erasing_again_changes_nothing_and_asking_twice_is_asking_once(
    server, store, scope, worker, event, batch, lake_rows
):
    server.send(batch([*about_the_canary(event), *about_others(event)]))
    first = units.request_erasure(store, scope, "user", CANARY)
    assert units.request_erasure(store, scope, "user", CANARY).id == first.id
    work_off(worker)
    rows = lake_rows()
    again = units.request_erasure(store, scope, "user", CANARY)
    assert again.id != first.id
    assert again.digest == first.digest
    work_off(worker)
    assert lake_rows() == rows
    done = units.find_erasure(store, scope, again.id)
    assert done.done_at is not None
    assert (done.outcome.exposures, done.outcome.events, done.outcome.calls) == (0, 0, 0)


class CrashError(BaseException):
    """Not an Exception: nothing in the worker may catch it, as nothing catches a kill."""


def crash_after(patch, holder, name, calls=1):
    original = getattr(holder, name)
    seen = []

    def wrapped(*args, **kwargs):
        done = original(*args, **kwargs)
        seen.append(name)
        if len(seen) == calls:
            raise CrashError
        return done

    patch.setattr(holder, name, wrapped)


@pytest.mark.parametrize(
    "where",
    [
        (erasures, "add_erased_units"),
        (erasures, "delete_rejected"),
        (Lake, "delete"),
        (inbox, "publish_change"),
        (Lake, "vacuum"),
        (erasures, "forget_id"),
        (erasures, "compact"),
        (erasures, "finish"),
        ("delta", 1),
        ("delta", 2),
        ("delta", 3),
    ],
    ids=str,
)
def test_a_crash_at_any_step_is_finished_by_the_next_worker(  # noqa: PLR0917  # fixtures, by name
    where, server, store, scope, app, service_config, event, batch, lake_rows, monkeypatch
):
    from deltalake import DeltaTable

    lake = app.extensions["genux"].lake
    server.send(batch(about_others(event)))
    worker = Worker(store, lake, service_config)
    worker.archive()
    alone = lake_rows()
    server.send(batch(about_the_canary(event)))
    worker.archive()
    asked = units.request_erasure(store, scope, "user", CANARY)
    with monkeypatch.context() as patch:
        holder, name = where
        crash_after(patch, *((DeltaTable, "delete", name) if holder == "delta" else (holder, name)))
        with pytest.raises(CrashError):
            worker.erase()
    with store.inbox_writing() as connection:
        connection.execute(sa.update(WorkerLease).values(expires_at=dt.datetime(2000, 1, 1, tzinfo=dt.UTC)))
    server.send(batch([event(unit_id=CANARY), event(unit_id="other-3")]))
    work_off(Worker(store, lake, service_config))
    assert units.find_erasure(store, scope, asked.id).done_at is not None
    rows = lake_rows()
    rows["events"] = [row for row in rows["events"] if row["batch_id"] in {row["batch_id"] for row in alone["events"]}]
    assert rows == alone
    assert not any(ANONYMOUS.encode() in each for each in everything_kept(service_config, store))


def test_what_arrived_before_the_request_is_in_the_lake_before_the_unit_is_looked_for(
    server, store, scope, worker, event, batch, lake_event_ids
):
    server.send(batch(about_the_canary(event)))
    asked = units.request_erasure(store, scope, "user", ANONYMOUS)
    worker.erase()
    assert units.find_erasure(store, scope, asked.id).done_at is None
    work_off(worker)
    assert units.find_erasure(store, scope, asked.id).done_at is not None
    assert lake_event_ids() == []


def test_the_request_and_the_audit_line_say_which_unit_only_by_a_hash(
    admin, server, store, scope, worker, event, batch
):
    server.send(batch(about_the_canary(event)))
    answer = admin("POST", "/v1/units/erase", json={"unit_id": CANARY})
    assert answer.status_code == 202
    work_off(worker)
    done = admin("GET", answer.headers["Location"])
    assert done.json["done_at"] is not None
    assert CANARY not in done.text
    with store.reading() as session:
        entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "unit.erase")).one()
        assert entry.subject == done.json["digest"]
        assert json.loads(entry.detail)["events"] == 6
        assert entry.actor


def test_an_export_holds_exactly_what_an_erasure_takes(admin, server, worker, event, batch, experiment):
    mine = about_the_canary(event)
    server.send(batch([*mine, *about_others(event), event(unit_id=CANARY, value="much")]))
    worker.archive()
    answer = admin("POST", "/v1/units/export", json={"unit_id": CANARY})
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert sorted(row["event_id"] for row in rows if "event_id" in row) == sorted(each["event_id"] for each in mine)
    rest = {row["kind"]: row for row in rows if "event_id" not in row}
    assert json.loads(rest["rejected_event"]["body"])["value"] == "much"
    assert rest["forced_variant"]["variant"] == "b"
    admin("POST", "/v1/units/erase", json={"unit_id": CANARY})
    work_off(worker)
    assert admin("POST", "/v1/units/export", json={"unit_id": CANARY}).text == ""


@pytest.mark.parametrize("path", ["/v1/units/erase", "/v1/units/export"])
def test_units_are_for_admin_keys(server, browser, admin, path):
    assert server("POST", path, json={"unit_id": CANARY}).status_code == 403
    assert browser("POST", path, json={"unit_id": CANARY}).status_code == 403
    assert admin("POST", path, json={"unit_id": ""}).status_code == 400
    assert admin("GET", "/v1/units/erasures/99").status_code == 404


def test_a_browser_key_cannot_hang_a_strangers_id_on_its_own_and_have_it_erased(
    server, browser, store, scope, worker, event, batch, lake_event_ids
):
    stranger = event(unit_id="stranger")
    server.send(batch([stranger]))
    browser.send(batch([event(type="alias", unit_id="stranger", known_id=CANARY, name=None)]))
    units.request_erasure(store, scope, "user", CANARY)
    work_off(worker)
    assert lake_event_ids() == [stranger["event_id"]]


def test_hashes_are_forgotten_when_no_outbox_can_hold_an_event_of_the_unit(server, store, scope, worker, event, batch):
    server.send(batch([event(unit_id=CANARY)]))
    units.request_erasure(store, scope, "user", CANARY)
    work_off(worker)
    with store.inbox_writing() as connection:
        old = dt.datetime.now(dt.UTC) - dt.timedelta(days=46)
        assert connection.execute(sa.update(ErasedUnit).values(erased_at=old)).rowcount == 1
    worker.step()
    with store.inbox_reading() as connection:
        assert erasures.erased_units(connection) == {}


@pytest.mark.parametrize("beside_a_worker", [False, True])
def test_the_command_erases_beside_a_running_worker_and_without_one(  # noqa: PLR0917  # fixtures, by name
    server, store, app, service_config, event, batch, lake_event_ids, monkeypatch, beside_a_worker
):
    import threading

    other = event(unit_id="other-1")
    server.send(batch([*about_the_canary(event), other]))
    monkeypatch.setenv("GENUX_DATABASE_URL", service_config.database_url)
    monkeypatch.setenv("GENUX_ARCHIVE_SECONDS", "0")
    stop = threading.Event()
    worker = Worker(store, app.extensions["genux"].lake, replace(service_config, lease_seconds=2.0))
    thread = threading.Thread(target=worker.run, args=(stop,))
    if beside_a_worker:
        thread.start()
    try:
        where = ["--data", str(service_config.data)]
        exported = CliRunner().invoke(cli, ["unit", "export", CANARY, *where])
        result = CliRunner().invoke(cli, ["unit", "erase", CANARY, "--yes", *where])
    finally:
        stop.set()
        if beside_a_worker:
            thread.join()
    assert exported.exit_code == 0, exported.output
    assert len(exported.output.splitlines()) == (8 if beside_a_worker else 0)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["done_at"] is not None
    assert lake_event_ids() == [other["event_id"]]


def test_a_batch_that_was_set_aside_goes_when_it_holds_the_unit(server, store, scope, worker, event, batch):
    from genux_server.store import parking

    for unit_id in (CANARY, "other-1"):
        sent = batch([event()])
        server.send(sent)
        body = zstandard.compress(json.dumps([{"type": "unheard of", "unit_id": unit_id}]).encode())
        with store.inbox_writing() as connection:
            of_batch = InboxBatch.batch_id == sent["batch_id"]
            connection.execute(sa.update(InboxBatch).where(of_batch).values(body=body))
    asked = units.request_erasure(store, scope, "user", CANARY)
    work_off(worker)
    assert units.find_erasure(store, scope, asked.id).outcome.parked == 1
    with store.inbox_reading() as connection:
        assert parking.count(connection) == 1
