"""The lake's lean reading of an event against the wire's definition of it."""

import datetime as dt

import msgspec
import pytest

from genux import wire
from genux_server.lake import _rows
from genux_server.lake._rows import arrow_tables
from genux_server.model import TABLES, IngestedBatch

AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
PAIRS = [
    (wire.Exposure, _rows._Exposure),
    (wire.Track, _rows._Track),
    (wire.Alias, _rows._Alias),
    (wire.Call, _rows._Call),
]


@pytest.mark.parametrize(("on_the_wire", "lean"), PAIRS)
def test_every_field_of_the_wire_is_read_with_the_same_default(on_the_wire, lean):
    def defaults(struct):
        return {
            field.encode_name: None if field.required else _plain(field) for field in msgspec.structs.fields(struct)
        }

    assert defaults(lean) == defaults(on_the_wire)


def _plain(field):
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return msgspec.json.decode(bytes(value)) if isinstance(value, msgspec.Raw) else value


@pytest.mark.parametrize(("on_the_wire", "lean"), PAIRS)
def test_the_kinds_are_told_apart_by_the_same_tag(on_the_wire, lean):
    assert (lean.__struct_config__.tag_field, lean.__struct_config__.tag) == (
        on_the_wire.__struct_config__.tag_field,
        on_the_wire.__struct_config__.tag,
    )


def test_every_column_of_every_table_is_filled_from_somewhere():
    least = [
        {"type": "exposure", "event_id": "1", "at": AT, "experiment": "e", "variant": "a"},
        {"type": "event", "event_id": "2", "at": AT, "name": "n"},
        {"type": "call", "event_id": "3", "at": AT, "call_id": "c", "latency_seconds": 0},
    ]
    batch = IngestedBatch(
        project_id=1, environment_id=1, batch_id="b", received_at=AT, events=msgspec.json.encode(least)
    )
    tables = arrow_tables(0, [batch])
    assert {name: table.column_names for name, table in tables.items()} == {
        name: list(columns) for name, columns in TABLES.items()
    }


def test_no_events_make_no_tables():
    batch = IngestedBatch(project_id=1, environment_id=1, batch_id="b", received_at=AT)
    assert arrow_tables(1, []) == arrow_tables(1, [batch]) == {}


def test_an_alias_cannot_pass_for_an_outcome():
    forged = {"type": "alias", "event_id": "1", "at": AT, "unit_id": "u", "known_id": "k", "name": "bought", "value": 9}
    batch = IngestedBatch(
        project_id=1, environment_id=1, batch_id="b", received_at=AT, events=msgspec.json.encode([forged])
    )
    (row,) = arrow_tables(1, [batch])["events"].to_pylist()
    assert (row["name"], row["value"]) == ("genux_alias", None)
