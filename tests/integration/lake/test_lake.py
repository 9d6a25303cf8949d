"""What reaches the lake, and what a reader of one of its states sees."""

import datetime as dt
import uuid
from decimal import Decimal

import duckdb
import msgspec
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from genux import wire
from genux_server.engine._connection import duckdb_connection
from genux_server.engine._history import open_lake
from genux_server.lake import Lake, StaleChunkError
from genux_server.lake._rows import arrow_tables
from genux_server.model import TABLES, IngestedBatch, LakeVersions

AT = dt.datetime(2026, 11, 20, 23, 59, 59, 999_999, tzinfo=dt.UTC)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "a lake with spaces")


def new_id() -> str:
    return str(uuid.uuid4())


def exposure(**fields):
    return wire.Exposure(
        **{"event_id": new_id(), "at": AT, "unit_id": "u1", "experiment": "e", "variant": "a"} | fields
    )


def track(**fields):
    return wire.Track(**{"event_id": new_id(), "at": AT, "unit_id": "u1", "name": "answer_accepted"} | fields)


def call(**fields):
    return wire.Call(
        **{"event_id": new_id(), "at": AT, "unit_id": "u1", "call_id": new_id(), "latency_seconds": 1.5} | fields
    )


def batch(*events, received_at: dt.datetime = AT, **fields) -> IngestedBatch:
    fields = {"project_id": 1, "environment_id": 2, "batch_id": new_id()} | fields
    return IngestedBatch(received_at=received_at, events=msgspec.json.encode(list(events)), **fields)


def read(lake: Lake, versions: LakeVersions, table: str) -> list[dict]:
    files = getattr(lake.files(versions), table)
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.read_parquet(list(files), hive_partitioning=True).order("seq").to_arrow_table().to_pylist()


def test_each_kind_of_event_becomes_one_row_of_its_table(lake):
    sent = [
        exposure(attributes={"country": "KR"}, surface="action", epoch=3, properties={"p": [1, None]}),
        track(value=2.5, call_id=new_id(), properties={"ümlaut": "\u2028"}),
        wire.Alias(event_id=new_id(), at=AT, unit_id="anonymous", known_id="u1"),
        call(
            tokens=wire.Tokens(input=10, cached=4, output=5, reasoning=2),
            amounts=wire.Amounts(images=2, audio_seconds=0.5),
            cost_usd="0.000000000001",
            ttft_seconds=0.25,
            attempts=[wire.Attempt(status="error", error_type="RateLimitError"), wire.Attempt()],
            retrieval=wire.Retrieval(k=3),
            assignments=[wire.AssignmentRef(experiment="e", variant="a")],
        ),
    ]
    versions = lake.append(7, [batch(*sent, trust="browser", sdk="genux-js 1.0", batch_id="b" * 32)])

    (exposed,) = read(lake, versions, "exposures")
    tracked, alias = read(lake, versions, "events")
    (called,) = read(lake, versions, "calls")
    assert [row["seq"] for row in (exposed, tracked, alias, called)] == [(7 << 32) + i for i in range(4)]
    for row, event in zip((exposed, tracked, alias, called), sent, strict=True):
        assert row["event_id"] == event.event_id
        assert (row["project_id"], row["environment_id"], row["batch_id"]) == (1, 2, "b" * 32)
        assert (row["trust"], row["sdk"], row["received_date"]) == ("browser", "genux-js 1.0", AT.date())
        assert row["at"] == row["received_at"] == AT
        assert msgspec.json.decode(row["properties"]) == event.properties
    assert msgspec.json.decode(exposed["attributes"]) == {"country": "KR"}
    assert (exposed["surface"], exposed["epoch"], exposed["forced"]) == ("action", 3, False)
    assert (tracked["value"], tracked["call_id"], tracked["known_id"]) == (2.5, sent[1].call_id, "")
    assert (alias["name"], alias["unit_id"], alias["known_id"]) == ("genux_alias", "anonymous", "u1")
    assert (called["input_tokens"], called["cached_tokens"], called["reasoning_tokens"]) == (10, 4, 2)
    assert (called["images"], called["audio_seconds"], called["characters"]) == (2, 0.5, None)
    assert called["cost_usd"] == Decimal("0.000000000001")
    assert (called["n_attempts"], called["n_rate_limited"], called["ttft_seconds"]) == (2, 1, 0.25)
    assert msgspec.json.decode(called["attempts"], type=list[wire.Attempt]) == sent[3].attempts
    assert msgspec.json.decode(called["retrieval"], type=wire.Retrieval) == sent[3].retrieval
    assert msgspec.json.decode(called["assignments"], type=list[wire.AssignmentRef]) == sent[3].assignments


def test_a_table_from_before_a_column_was_thought_of_gets_it_and_is_read_without_it(tmp_path, lake):
    (old,) = arrow_tables(1, [batch(track(units={"user": "u1"}))]).values()
    write_deltalake(f"{lake._root}/events", old.drop_columns(["units"]), partition_by=["received_date"])
    before = lake.append(1, [])
    after = lake.append(2, [batch(track(units={"user": "u2"}))])
    with duckdb_connection() as connection:
        units = open_lake(connection, lake.files(after)).events.order_by("seq").units.to_pyarrow().to_pylist()
    assert units == [None, '{"user":"u2"}']
    with duckdb_connection() as connection:
        assert open_lake(connection, lake.files(before)).events.units.to_pyarrow().to_pylist() == [None]


def test_what_a_call_does_not_know_is_null_and_never_zero(lake):
    versions = lake.append(1, [batch(call(status="error", http_status=429))])
    (row,) = read(lake, versions, "calls")
    assert [row[name] for name in ("input_tokens", "output_tokens", "cost_usd", "ttft_seconds", "retrieval")] == [
        None
    ] * 5
    assert (row["n_attempts"], row["n_rate_limited"]) == (1, 1)


def test_the_rows_have_the_columns_and_types_of_the_model():
    tables = arrow_tables(1, [batch(exposure(), track(), call())])
    assert {name: [(f.name, str(f.type)) for f in table.schema] for name, table in tables.items()} == {
        name: [(column, _arrow_name(kind)) for column, kind in columns.items()] for name, columns in TABLES.items()
    }


def _arrow_name(kind: str) -> str:
    return {"float64": "double", "timestamp[us, UTC]": "timestamp[us, tz=UTC]", "date32": "date32[day]"}.get(kind, kind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00+09:00", dt.datetime(2026, 11, 20, 1, tzinfo=dt.UTC)),
        ("2026-11-20T10:00:00.1234567Z", dt.datetime(2026, 11, 20, 10, 0, 0, 123_457, tzinfo=dt.UTC)),
        ("1969-12-31T23:59:59.000001Z", dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=dt.UTC)),
    ],
)
def test_a_time_is_the_same_instant_whatever_its_offset_and_precision(lake, text, expected):
    events = f'[{{"type":"event","event_id":"{new_id()}","at":"{text}","unit_id":"u","name":"x"}}]'.encode()
    one = IngestedBatch(project_id=1, environment_id=1, batch_id="b", received_at=AT, events=events)
    (row,) = read(lake, lake.append(1, [one]), "events")
    assert row["at"] == expected


def test_a_table_without_rows_in_a_chunk_stays_as_it_is(lake):
    first = lake.append(1, [batch(track())])
    second = lake.append(2, [batch(exposure())])
    assert first == LakeVersions(chunk=1, exposures=-1, events=0, calls=-1)
    assert second == LakeVersions(chunk=2, exposures=0, events=0, calls=-1)
    assert lake.append(3, []) == LakeVersions(chunk=3, exposures=0, events=0, calls=-1)


def test_a_reader_of_an_old_state_sees_exactly_that_state(lake):
    states = [lake.append(chunk, [batch(track(), track())]) for chunk in (1, 2, 3)]
    assert [len(read(lake, state, "events")) for state in states] == [2, 4, 6]
    assert read(lake, LakeVersions(), "events") == []


def test_rows_are_partitioned_by_the_utc_day_of_receipt(lake):
    tokyo = dt.timezone(dt.timedelta(hours=9))
    late = dt.datetime(2026, 11, 21, 8, tzinfo=tokyo)
    versions = lake.append(1, [batch(track(), received_at=late), batch(track(), received_at=late + dt.timedelta(1))])
    days = [file.split("received_date=")[1].split("/")[0] for file in lake.files(versions).events]
    assert days == ["2026-11-20", "2026-11-21"]


def test_running_a_chunk_again_changes_nothing(lake):
    batches = [batch(exposure(), track(), call())]
    assert lake.append(1, batches) == lake.append(1, batches)


def test_a_chunk_older_than_the_lake_is_refused(lake):
    lake.append(5, [batch(track())])
    with pytest.raises(StaleChunkError, match="chunk 4 came after chunk 5"):
        lake.append(4, [batch(track())])


def test_the_lake_still_knows_its_chunk_after_a_checkpoint(lake, tmp_path):
    batches = [batch(track())]
    for chunk in range(1, 13):
        lake.append(chunk, batches)
    table = DeltaTable(str(tmp_path / "a lake with spaces" / "events"))
    table.create_checkpoint()
    before = table.version()
    assert lake.append(12, batches).events == before


def test_maintenance_keeps_every_row_and_the_state_that_reports_read(lake):
    for chunk in range(1, 6):
        published = lake.append(chunk, [batch(track(), track())])
    compacted = lake.maintain(published, retention_hours=0)
    assert len(lake.files(compacted).events) == 1 < len(lake.files(published).events)
    assert read(lake, compacted, "events") == read(lake, published, "events")
    after = lake.append(6, [batch(track(), exposure())])
    assert len(read(lake, after, "events")) == 11
    assert lake.append(6, []) == after


def test_two_workers_with_the_same_chunk_commit_it_once(lake, monkeypatch):
    batches = [batch(track())]
    lake.append(1, batches)
    thief = Lake(lake._root)
    real = lake._open

    def open_then_lose_the_race(name, version=None):
        table = real(name, version)
        if name == "events":
            thief.append(2, batches)
        return table

    monkeypatch.setattr(lake, "_open", open_then_lose_the_race)
    with pytest.raises(DeltaError):
        lake.append(2, batches)
    monkeypatch.undo()
    assert len(read(lake, lake.append(2, batches), "events")) == 2


def test_a_state_that_never_was_is_an_error(lake):
    lake.append(1, [batch(track())])
    with pytest.raises(DeltaError):
        lake.files(LakeVersions(chunk=9, events=9))
