import datetime as dt
import json
import uuid

import msgspec
import pytest

from genux.wire import Event
from genux_server.service.verdicts import MAX_DEPTH, MAX_EVENT_BYTES, judge

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def event(**fields):
    base = {"type": "event", "event_id": str(uuid.UUID(int=7)), "at": NOW.isoformat(), "unit_id": "u", "name": "n"}
    return {name: value for name, value in (base | fields).items() if value is not None}


def verdict(raw, sent_at=NOW, received_at=NOW):
    data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    accepted, rejected = judge([msgspec.Raw(data)], sent_at, received_at)
    assert len(accepted) + len(rejected) == 1
    return (rejected[0].code, rejected[0].path) if rejected else "accepted"


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "accepted"),
        ({"unknown_to_this_version": [1, {"a": None}]}, "accepted"),
        ({"value": -3}, "accepted"),
        ({"properties": {"text": "caf\u00e9 \U0001f600", "huge": 10**300, "list": [1, 2]}}, "accepted"),
        ({"properties": {"path": "C:\\u0000"}}, "accepted"),
        ({"unit_id": None, "call_id": "c"}, "accepted"),
        ({"unit_id": None, "exposure_id": "x"}, "accepted"),
        ({"type": "call", "unit_id": None, "call_id": "c" * 32, "latency_seconds": 1}, "accepted"),
        ({"unit_id": None}, ("unit_required", "$.unit_id")),
        ({"type": "exposure", "unit_id": None, "experiment": "e", "variant": "v"}, ("unit_required", "$.unit_id")),
        ({"type": "alias", "unit_id": "", "known_id": "k"}, ("unit_required", "$.unit_id")),
        ({"type": "surprise"}, ("schema", "$.type")),
        ({"type": None}, ("schema", "$")),
        ({"event_id": "short"}, ("schema", "$.event_id")),
        ({"name": ""}, ("schema", "$.name")),
        ({"value": "three"}, ("schema", "$.value")),
        ({"value": 1e19}, ("schema", "$.value")),
        ({"at": "2026-11-22T12:00:00"}, ("schema", "$.at")),
        ({"unit_id": "u" * 257}, ("schema", "$.unit_id")),
        ({"unit_id": "a\0b"}, ("nul", "$.unit_id")),
        ({"properties": {"deep": [{"x": "\0"}]}}, ("nul", "$.properties.deep[0].x")),
        ({"properties": {"a\0b": 1}}, ("nul", "$.properties")),
        ({"properties": {"text": "x" * MAX_EVENT_BYTES}}, ("too_large", "$")),
        ({"type": "call", "call_id": "c" * 32, "latency_seconds": -1}, ("schema", "$.latency_seconds")),
        ({"type": "call", "call_id": "c" * 32, "latency_seconds": 1, "cost_usd": "0.1e3"}, ("schema", "$.cost_usd")),
    ],
)
def test_an_event_is_judged_by_itself(fields, expected):
    assert verdict(event(**fields)) == expected


@pytest.mark.parametrize("raw", [b"3", b"null", b'"text"', b"[]", b"{}"])
def test_what_is_no_event_is_a_schema_error_at_the_root(raw):
    assert verdict(raw) == ("schema", "$")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_numbers_that_are_none_are_refused(number):
    raw = json.dumps(event()).encode().replace(b'"name": "n"', b'"name": "n", "value": ' + number)
    assert verdict(raw)[0] in {"malformed", "schema"}


def test_nesting_is_bounded_and_a_hundred_thousand_levels_break_nothing():
    assert verdict(event(properties=nested(MAX_DEPTH - 2))) == "accepted"
    assert verdict(event(properties=nested(MAX_DEPTH + 1)))[0] == "depth"
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    raw = json.dumps(event()).encode().replace(b'"name": "n"', b'"name": "n", "properties": ' + deep)
    assert verdict(raw) == ("depth", "$")


def test_many_brackets_side_by_side_are_not_depth():
    assert verdict(event(properties={"rows": [[index] for index in range(100)]})) == "accepted"


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (dt.timedelta(days=-30), "accepted"),
        (dt.timedelta(days=-30, seconds=-1), ("too_old", "$.at")),
        (dt.timedelta(days=1), "accepted"),
        (dt.timedelta(days=1, seconds=1), ("in_future", "$.at")),
    ],
)
def test_the_window_is_thirty_days_back_and_one_ahead_of_the_senders_clock(offset, expected):
    assert verdict(event(at=(NOW + offset).isoformat())) == expected


def test_a_right_clock_leaves_the_bytes_alone_and_a_wrong_one_is_put_right():
    raw = json.dumps(event(properties={"kept": [1, "x"]})).encode()
    accepted, _ = judge([msgspec.Raw(raw)], NOW, NOW + dt.timedelta(seconds=30))
    assert accepted == [raw]
    accepted, _ = judge([msgspec.Raw(raw)], NOW, NOW + dt.timedelta(hours=5))
    moved, before = (msgspec.json.decode(each, type=Event) for each in (accepted[0], raw))
    assert moved == msgspec.structs.replace(before, at=NOW + dt.timedelta(hours=5))


def test_invalid_utf8_is_a_verdict_and_no_crash():
    raw = json.dumps(event()).encode().replace(b'"u"', b'"\xff"')
    assert verdict(raw) == ("malformed", "$")


def test_refusals_name_their_place_in_the_batch():
    raws = [msgspec.Raw(json.dumps(each).encode()) for each in (event(), event(name=""), event(), event(type="?"))]
    accepted, rejected = judge(raws, NOW, NOW)
    assert [each.index for each in rejected] == [1, 3]
    assert accepted == [bytes(raws[0]), bytes(raws[2])]
