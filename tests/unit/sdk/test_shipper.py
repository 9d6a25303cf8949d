"""How an answer of the service decides what becomes of a batch, and when the next try is due."""

import datetime as dt
import gzip
import os
import time
from email.utils import format_datetime

import msgspec
import pytest

from genux import _shipper
from genux._guard import Guard
from genux._outbox import BATCH_EVENTS, Outbox
from genux._segments import parked_names, reason_parked, segment_names
from genux._sender import LEASE_SECONDS, SenderLock
from genux._shipper import MAX_WAIT_SECONDS, Shipper
from genux._transport import Response
from genux.errors import TransportError
from genux.llm import price
from genux.wire import Batch, BatchReply, Rejection

OK = Response(200, {}, msgspec.json.encode(BatchReply(status="ok")))


class Scripted:
    """Answers in order; the last answer repeats."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    def send(self, method, path, body, headers):
        self.sent.append((method, path, body, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def batches(self):
        bodies = (gzip.decompress(b) if h.get("Content-Encoding") == "gzip" else b for _, _, b, h in self.sent)
        return [msgspec.json.decode(body, type=Batch) for body in bodies]


@pytest.fixture
def guard():
    return Guard(strict=False)


@pytest.fixture
def outbox(tmp_path, guard):
    return Outbox(tmp_path / "outbox", 10**8, 10**6, guard)


@pytest.fixture
def shipping(outbox, guard):
    def start(*answers):
        transport = Scripted(*answers)
        return Shipper(outbox, transport, {"Authorization": "Bearer k"}, guard, lambda _version: None, price), transport

    return start


def fill(outbox, n_events):
    for n in range(n_events):
        assert outbox.append(b'{"type":"event","n":%d}' % n)


def due_in(shipper):
    return shipper._not_before - time.monotonic()


def test_batches_hold_500_events_in_order_under_the_segments_name(outbox, shipping):
    fill(outbox, BATCH_EVENTS + 10)
    names = segment_names(outbox.directory)
    shipper, transport = shipping(OK)
    shipper.ship()
    assert [f"{batch.batch_id}.jsonl" for batch in transport.batches] == names
    assert [len(batch.events) for batch in transport.batches] == [BATCH_EVENTS, 10]
    assert bytes(transport.batches[1].events[0]) == b'{"type":"event","n":500}'
    assert transport.sent[0][3]["Authorization"] == "Bearer k"
    assert transport.batches[0].sdk.name == "genux-python"
    assert segment_names(outbox.directory) == []
    assert shipper.n_shipped == BATCH_EVENTS + 10


def test_a_batch_keeps_its_id_and_content_however_often_it_is_sent(outbox, shipping):
    fill(outbox, 3)
    shipper, transport = shipping(TransportError("cut"), Response(500, {}, b""), OK)
    for _ in range(3):
        shipper.ship(urgent=True)
        fill(outbox, 1)
    first, second, third, *_ = transport.batches
    assert first.batch_id == second.batch_id == third.batch_id
    assert first.events == second.events == third.events
    assert len(first.events) == 3


def test_a_report_of_losses_is_a_batch_whose_id_and_counts_are_fixed(outbox, shipping, guard):
    guard.drop("bad_value", 2)
    guard.drop("no_unit")
    shipper, transport = shipping(TransportError("cut"), Response(500, {}, b""), OK)
    shipper.ship()
    guard.drop("bad_value", 5)
    shipper.ship(urgent=True)
    shipper.ship(urgent=True)
    first, second, third, fourth = transport.batches
    assert first.batch_id == second.batch_id == third.batch_id != fourth.batch_id
    assert first.dropped == second.dropped == third.dropped == {"bad_value": 2, "no_unit": 1}
    assert fourth.dropped == {"bad_value": 5}
    assert not any(batch.events for batch in transport.batches)
    assert segment_names(outbox.directory) == []


def test_what_a_dead_process_dropped_is_reported_by_the_next(outbox, shipping, guard):
    guard.drop("outbox_full", 7)
    outbox.after_fork()  # closes its files as a death does: they are unlocked, and nothing is written any more
    shipper, transport = shipping(OK)
    shipper.ship()
    assert [batch.dropped for batch in transport.batches] == [{"outbox_full": 7}]


def test_losses_are_reported_from_memory_while_the_disk_refuses(tmp_path, guard, shipping):
    (tmp_path / "outbox").write_text("not a folder")
    outbox = Outbox(tmp_path / "outbox", 10**8, 10**6, guard)
    transport = Scripted(TransportError("cut"), OK)
    shipper = Shipper(outbox, transport, {}, guard, lambda _version: None, price)
    guard.drop("memory_full", 3)
    assert outbox.n_waiting == 1
    shipper.ship()
    shipper.ship(urgent=True)
    first, second = transport.batches
    assert first.batch_id == second.batch_id
    assert first.dropped == second.dropped == {"memory_full": 3}
    assert outbox.n_waiting == shipper.n_in_memory == 0


def test_a_report_that_the_service_refuses_is_parked_and_not_counted_again(outbox, shipping, guard):
    guard.drop("no_unit", 2)
    shipper, transport = shipping(Response(400, {}, b"what is this?"))
    shipper.ship()
    shipper.ship()
    assert len(transport.sent) == 1
    assert guard.dropped == {"no_unit": 2}
    (name,) = parked_names(outbox.directory)
    assert reason_parked(outbox.directory, name) == "HTTP 400: what is this?"


def test_parked_batches_cannot_fill_the_outbox(tmp_path, guard, caplog):
    outbox = Outbox(tmp_path / "outbox", 4 * 3 * 4_096, 10**6, guard)
    shipper = Shipper(outbox, Scripted(Response(422, {}, b"no")), {}, guard, lambda _version: None, price)
    for _ in range(6):
        fill(outbox, 1)
        outbox.rotate()
        shipper.ship()
    parked = parked_names(outbox.directory)
    assert len(parked) == 3
    assert {path.stem for path in (outbox.directory / "parked").iterdir()} == {name[:36] for name in parked}
    assert caplog.text.count("the oldest are deleted") == 1


@pytest.mark.parametrize(
    "answers", [(TransportError("cut"), Response(500, {}, b""), OK), (TransportError("cut"), Response(400, {}, b""))]
)
def test_a_torn_line_is_counted_once_however_often_its_batch_is_sent(outbox, shipping, guard, answers):
    fill(outbox, 2)
    outbox.rotate()
    (name,) = segment_names(outbox.directory)
    with (outbox.directory / name).open("ab") as file:
        file.write(b'{"type":"event","n"')
    shipper, _ = shipping(*answers)
    for _ in (*answers, "the report"):
        shipper.ship(urgent=True)
    assert guard.dropped["torn"] == 1
    assert segment_names(outbox.directory) == []


def test_rejected_events_are_counted_and_each_code_said_once(outbox, shipping, caplog):
    rejected = [Rejection(index=i, code="bad_type", path="$.value", message="Expected `float`") for i in range(2)]
    fill(outbox, 5)
    shipper, _ = shipping(
        Response(200, {}, msgspec.json.encode(BatchReply(status="ok", accepted=3, rejected=rejected)))
    )
    shipper.ship()
    assert (shipper.n_shipped, shipper.rejected) == (3, {"bad_type": 2})
    assert caplog.text.count("bad_type at $.value") == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_poison_is_parked_and_the_next_batch_goes_out(outbox, shipping, status, guard):
    fill(outbox, BATCH_EVENTS + 1)
    shipper, transport = shipping(Response(status, {}, b"no"), OK)
    shipper.ship()
    shipper.ship()
    (name,) = parked_names(outbox.directory)
    assert f"{transport.batches[0].batch_id}.jsonl" == name
    assert [len(batch.events) for batch in transport.batches] == [BATCH_EVENTS, 1, 0]
    assert transport.batches[2].dropped == {"parked": BATCH_EVENTS}


@pytest.mark.parametrize(
    "answer",
    [
        TransportError("no route"),
        Response(401, {}, b""),
        Response(403, {}, b""),
        Response(404, {}, b""),
        Response(302, {"location": "/login"}, b""),
        Response(429, {}, b""),
        Response(500, {}, b""),
        Response(503, {}, b""),
        Response(200, {}, b"<html>captive portal</html>"),
        Response(200, {}, msgspec.json.encode(BatchReply(status="retry"))),
    ],
)
def test_anything_else_keeps_the_batch_and_waits(outbox, shipping, answer):
    fill(outbox, BATCH_EVENTS + 1)
    shipper, transport = shipping(answer)
    shipper.ship()
    assert len(transport.sent) == 1
    assert len(segment_names(outbox.directory)) == 2
    shipper._not_before = time.monotonic() + 1
    shipper.ship()
    assert len(transport.sent) == 1


def test_backoff_grows_with_full_jitter_under_a_ceiling(outbox, shipping, monkeypatch):
    asked = []
    monkeypatch.setattr(_shipper.random, "uniform", lambda low, high: asked.append((low, high)) or high)
    fill(outbox, 1)
    shipper, _ = shipping(TransportError("down"))
    for _ in range(9):
        shipper.ship(urgent=True)
        assert due_in(shipper) <= MAX_WAIT_SECONDS
    assert asked == [(0, min(MAX_WAIT_SECONDS, 0.5 * 2**n)) for n in range(9)]


@pytest.mark.parametrize(
    ("value", "at_least", "at_most"),
    [
        ("7", 6.5, 7 * 1.2),
        ("0.5", 0.3, 0.5 * 1.2),
        ("3600", 24.5, 30),
        ("-5", -1, 0),
        (format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True), 24.5, 30),
        (format_datetime(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), usegmt=True), -1, 0),
        ("soon", -1, 0.5),
    ],
)
def test_retry_after_is_honoured_up_to_the_ceiling(outbox, shipping, value, at_least, at_most):
    fill(outbox, 1)
    shipper, _ = shipping(Response(429, {"retry-after": value}, b""))
    shipper.ship()
    assert at_least <= due_in(shipper) <= at_most


def test_a_date_to_retry_after_is_read_on_the_services_clock(outbox, shipping):
    fill(outbox, 1)
    there = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)  # or this machine's is years ahead
    later = format_datetime(there + dt.timedelta(seconds=10), usegmt=True)
    headers = {"retry-after": later, "date": format_datetime(there, usegmt=True)}
    shipper, _ = shipping(Response(503, headers, b""))
    shipper.ship()
    assert 9.5 <= due_in(shipper) <= 10 * 1.2


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_key_or_address_waits_long_from_the_first_time(outbox, shipping, status, monkeypatch):
    asked = []
    monkeypatch.setattr(_shipper.random, "uniform", lambda low, high: asked.append((low, high)) or high)
    fill(outbox, 1)
    shipper, _ = shipping(Response(status, {}, b""))
    shipper.ship()
    assert asked == [(0, MAX_WAIT_SECONDS)]


def test_an_outage_makes_full_batches_and_not_one_a_second(outbox, shipping, guard):
    neighbour = Outbox(outbox.directory, 10**8, 10**6, guard)
    one, _ = shipping(TransportError("down"), TransportError("down"), OK)
    transport = Scripted(OK)
    other = Shipper(neighbour, transport, {}, guard, lambda _version: None, price)
    fill(outbox, 1)
    one.ship()
    for _ in range(10):
        one._not_before = time.monotonic() + 1
        fill(outbox, 2)
        one.ship()
        fill(neighbour, 2)
        other.ship()
    assert len(segment_names(outbox.directory)) == 3
    one.ship(urgent=True)
    one.ship(urgent=True)
    fill(neighbour, 1)
    other.ship()
    assert [len(batch.events) for batch in transport.batches] == [21]
    assert segment_names(outbox.directory) == []


def test_a_sender_that_stopped_is_replaced_and_notices(tmp_path):
    stopped, next_one, third = (SenderLock(tmp_path) for _ in range(3))
    assert stopped.acquire()
    assert not next_one.acquire()
    long_ago = time.time() - LEASE_SECONDS - 1
    os.utime(tmp_path / "sender.lock", (long_ago, long_ago))
    assert stopped.renew()
    assert not next_one.acquire()
    os.utime(tmp_path / "sender.lock", (long_ago, long_ago))
    assert next_one.acquire()
    assert not stopped.renew()
    assert not stopped.acquire()
    assert not third.acquire()
    next_one.release()
    assert stopped.acquire()


def test_while_one_shipper_backs_off_no_other_bothers_the_service(outbox, shipping):
    one, first = shipping(TransportError("down"))
    other, second = shipping(OK)
    fill(outbox, 1)
    one.ship()
    other.ship()
    assert (len(first.sent), len(second.sent)) == (1, 0)
    one.release()
    other.ship()
    assert len(second.sent) == 1


def test_shippers_that_are_well_take_turns(outbox, shipping):
    one, first = shipping(OK)
    other, second = shipping(OK)
    for shipper in (one, other, one):
        fill(outbox, 1)
        shipper.ship()
    assert (len(first.sent), len(second.sent)) == (2, 1)


def test_an_open_segment_of_another_writer_is_left_alone(outbox, shipping, guard):
    neighbour = Outbox(outbox.directory, 10**8, 10**6, guard)
    neighbour.append(b'{"type":"event"}')
    shipper, transport = shipping(OK)
    shipper.ship()
    assert transport.sent == []
    neighbour.rotate()
    shipper.ship()
    assert len(transport.sent) == 1


def test_a_call_that_cannot_be_read_goes_out_as_it_was_written(outbox, shipping, guard):
    outbox.append(b'{"type":"call","latency_seconds":"long"}')
    shipper, transport = shipping(OK)
    shipper.ship()
    assert bytes(transport.batches[0].events[0]) == b'{"type":"call","latency_seconds":"long"}'
    assert guard.failures == {"pricing": 1}


def test_every_reply_tells_the_snapshot_version(outbox, guard):
    heard = []
    shipper = Shipper(
        outbox, Scripted(Response(200, {"genux-snapshot": "v9"}, OK.body)), {}, guard, heard.append, price
    )
    fill(outbox, 1)
    shipper.ship()
    assert heard == ["v9"]
