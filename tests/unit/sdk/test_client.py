import asyncio
import concurrent.futures
import contextvars
import datetime as dt
import decimal
import os
import sys
import threading
import time

import pytest

import genux
from genux import _client, testing
from genux.config import check_snapshot
from genux.errors import ConfigError, SnapshotError, UsageError
from genux.specs import Condition
from genux.wire import Alias, Exposure, Snapshot, Track

KR = {"country": "KR"}


def test_variant_assigns_and_exposes_once_per_unit(gx, service):
    for _ in range(3):
        with gx.unit("user-1", **KR):
            entry = gx.variant("ai-entry")
    assert entry.reason == "ASSIGNED"
    with gx.unit("user-2", **KR):
        gx.variant("ai-entry")
    assert gx.flush()
    exposures = [event for event in service.events if isinstance(event, Exposure)]
    assert [event.unit_id for event in exposures] == ["user-1", "user-2"]
    assert exposures[0].variant == entry.key
    assert exposures[0].surface == entry.surface
    assert exposures[0].attributes == KR


def test_an_exposure_that_was_dropped_is_recorded_at_the_next_chance(gx, service, monkeypatch):
    monkeypatch.setattr(gx._delivery.outbox, "append", lambda _line: False)
    with gx.unit("user-1", **KR):
        gx.variant("ai-entry")
    monkeypatch.undo()
    with gx.unit("user-1", **KR):
        gx.variant("ai-entry")
    assert gx.flush()
    assert len(service.events) == 1


def test_peek_exposes_nothing_and_expose_follows(gx, service):
    with gx.unit("user-1", **KR):
        entry = gx.peek("ai-entry")
        assert gx.flush()
        assert [type(event) for event in service.events] == [Track]
        gx.expose(entry)
    assert gx.flush()
    assert [type(event) for event in service.events] == [Track, Exposure]


def test_who_is_not_targeted_gets_control_and_no_exposure(gx, service):
    with gx.unit("user-1", country="FR"):
        entry = gx.variant("ai-entry")
    assert (entry.key, entry.reason) == ("chat", "NOT_TARGETED")
    assert gx.flush()
    assert service.events == []


def test_the_entry_reads_payload_first_then_its_own_facts(gx):
    with gx.unit("tester"):
        entry = gx.variant("ai-entry")
    assert (entry.key, entry.reason, entry.forced) == ("summary", "FORCED", True)
    assert (entry.surface, entry.label, entry.model) == ("action", "Summary button", "gpt-5-mini")
    assert (entry.get("top_k"), entry.get("model"), entry.get("prompt", "p1"), entry.get("nope")) == (
        4,
        "gpt-5-mini",
        "p1",
        None,
    )
    entry.get("tags").append("changed")
    assert entry.get("tags") == ["a"]


def test_experiments_find_the_unit_of_their_kind(gx, service):
    with gx.unit("user-1", **KR), gx.unit("doc-9", kind="document"):
        assert gx.variant("layout").reason == "ASSIGNED"
        assert gx.variant("ai-entry").reason == "ASSIGNED"
        gx.track("opened")
    assert gx.flush()
    layout, entry, opened = service.events
    assert (layout.unit_id, layout.unit_kind) == ("doc-9", "document")
    assert (entry.unit_id, entry.unit_kind) == ("user-1", "user")
    assert (opened.unit_id, opened.unit_kind) == ("doc-9", "document")


def test_another_unit_of_the_same_kind_inherits_nothing(gx):
    with gx.unit("user-1", **KR), gx.unit("user-2"):
        assert gx.variant("ai-entry").reason == "NOT_TARGETED"


def test_without_a_unit_variant_is_control_and_counted(gx):
    assert (gx.variant("ai-entry").key, gx.variant("ai-entry").reason) == ("chat", "NO_UNIT")
    with gx.unit("user-1"):
        assert gx.variant("layout").reason == "NO_UNIT"
    assert gx.status().controls == {"NO_UNIT": 3}


def test_an_unknown_experiment_is_control_counted_and_said_once(gx, caplog):
    with gx.unit("user-1"):
        for _ in range(3):
            entry = gx.variant("no-such")
    assert (entry.key, entry.reason, entry.experiment) == ("control", "UNKNOWN_EXPERIMENT", "no-such")
    assert gx.status().controls == {"UNKNOWN_EXPERIMENT": 3}
    assert caplog.text.count("no-such") == 1


def test_local_mode_assigns_from_a_file_and_counts_events(local, tmp_path):
    with testing.recording() as seen, local.unit("user-1", **KR):
        assert local.variant("ai-entry").reason == "ASSIGNED"
        local.track("answer_accepted", 2, note="x")
    assert [type(event) for event in seen.events] == [Exposure, Track]
    assert (seen.tracks[0].value, seen.tracks[0].properties) == (2.0, {"note": "x"})
    assert local.flush()
    assert (local.status().mode, local.status().local) == ("local", 2)
    assert not (tmp_path / "outbox").exists()


def test_with_nothing_configured_nothing_breaks():
    gx = genux.Client()
    with gx.unit("user-1"):
        assert (gx.variant("x").key, gx.variant("x").reason) == ("control", "NO_SNAPSHOT")
        gx.track("clicked")
    assert gx.status().controls == {"NO_SNAPSHOT": 2}


@pytest.mark.parametrize("unit_id", [None, 42, "", "x" * 257, b"bytes", "\ud800"])
def test_a_unit_that_is_no_unit_measures_nothing_in_its_block(gx, service, unit_id):
    with gx.unit("outer", **KR), gx.unit(unit_id, **KR):
        assert gx.variant("ai-entry").reason == "NO_UNIT"
        gx.track("clicked")
    status = gx.status()
    assert status.refused == {"bad_unit": 1}
    assert status.dropped == {"no_unit": 1}
    assert gx.flush()
    assert service.events == []


@pytest.mark.parametrize(
    ("name", "value", "properties", "code"),
    [
        (None, 1, {}, "bad_name"),
        ("", 1, {}, "bad_name"),
        ("x" * 129, 1, {}, "bad_name"),
        ("ok", float("nan"), {}, "bad_value"),
        ("ok", float("inf"), {}, "bad_value"),
        ("ok", 1e19, {}, "bad_value"),
        ("ok", "12", {}, "bad_value"),
        ("ok", None, {}, "bad_value"),
        ("ok", 10**400, {}, "bad_value"),
        ("ok", 1, {"what": object()}, "unencodable"),
        ("ok", 1, {"half": "\ud800"}, "unencodable"),
        ("ok", 1, {"big": "x" * 250_000}, "too_large"),
    ],
)
def test_a_bad_event_is_dropped_visibly_and_its_neighbours_are_kept(gx, service, caplog, name, value, properties, code):
    with gx.unit("user-1"):
        gx.track("before")
        gx.track(name, value, **properties)
        gx.track(name, value, **properties)
        gx.track("after")
    assert gx.status().dropped == {code: 2}
    assert caplog.text.count(f"`{code}`") == 1
    assert gx.flush()
    assert [event.name for event in service.events] == ["before", "after"]
    assert sum(batch.dropped.get(code, 0) for batch in service.batches) == 2


def test_numbers_of_other_libraries_are_values_too(gx, service):
    with gx.unit("user-1"):
        gx.track("paid", decimal.Decimal("1.25"))
        gx.track("paid", True)
        gx.track("paid", name="a property")
    assert gx.flush()
    assert [event.value for event in service.events] == [1.25, 1.0, 1.0]
    assert service.events[2].properties == {"name": "a property"}


def test_a_property_that_recurses_or_an_attribute_that_raises_reaches_no_host(gx):
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("hostile")

        def __hash__(self):
            raise RuntimeError("hostile")

    loop = []
    loop.append(loop)
    with gx.unit("user-1", country=Hostile()):
        assert gx.variant("ai-entry").reason == "ERROR"
        gx.track("clicked", loop=loop)
    assert gx.status().dropped == {"unencodable": 1}


def test_an_attribute_that_is_no_json_does_not_cost_the_exposure(gx, service):
    with gx.unit("user-1", country="KR", request=object()):
        assert gx.variant("ai-entry").reason == "ASSIGNED"
    assert gx.flush()
    assert service.events[0].attributes == KR


def test_of_bad_attributes_only_those_are_left_out_and_counted(gx, service, caplog):
    bad = {"half": "\ud800", "nested": {"half": ["\ud800"]}, "request": object(), "\ud800": 1}
    with gx.unit("user-1", **KR, plan=["pro"], **bad):
        assert gx.variant("ai-entry").reason == "ASSIGNED"
    assert gx.flush()
    assert service.events[0].attributes == {**KR, "plan": ["pro"]}
    assert gx.status().refused == {"bad_attribute": len(bad)}
    assert gx.status().dropped == {}
    assert "the attribute 'half' cannot be written as JSON" in caplog.text


def test_an_exposure_that_cannot_be_recorded_changes_no_variant(gx, monkeypatch):
    with gx.unit("user-1", **KR):
        expected = gx.peek("ai-entry")
        monkeypatch.setattr(gx._emitter, "emit", lambda _event: 1 / 0)
        assert gx.variant("ai-entry") == expected
    assert gx.status().failures == {"expose": 1}
    assert gx.status().dropped == {"internal_error": 1}


def test_a_strict_client_raises_what_others_count(service):
    gx = genux.Client(transport=service, strict=True)
    with pytest.raises(UsageError, match="outside of a unit"):
        gx.track("clicked")
    with pytest.raises(UsageError, match="must be text"):
        gx.unit(42)
    assert gx.status().dropped == {"no_unit": 1}


@pytest.mark.parametrize("loaded", [True, False])
def test_what_is_no_openai_client_is_returned_untouched_and_called_that(gx, caplog, monkeypatch, loaded):
    if loaded:
        pytest.importorskip("openai")
    else:
        monkeypatch.delitem(sys.modules, "openai", raising=False)
    for other in (object(), 5, "text", type("Slotted", (), {"__slots__": ()})()):
        assert gx.wrap(other) is other
    assert gx.status().refused == {"not_openai": 4}
    assert gx.status().failures == {}
    assert "wrap: not an OpenAI client but object; returned untouched" in caplog.text


def test_a_fault_of_ours_is_counted_and_the_host_goes_on(gx, monkeypatch):
    monkeypatch.setattr(gx._emitter, "track", lambda *_: 1 / 0)
    with gx.unit("user-1"):
        gx.track("clicked")
    assert gx.status().failures == {"track": 1}
    assert gx.status().dropped == {"internal_error": 1}


def test_units_are_inherited_by_tasks_and_kept_apart_between_them(gx, service):
    async def visit(user):
        with gx.unit(user, **KR):
            await asyncio.sleep(0)
            entry = gx.variant("ai-entry")
            await asyncio.gather(*(asyncio.to_thread(gx.track, "clicked", n=n) for n in range(2)))
            return entry

    async def main():
        return await asyncio.gather(*(visit(f"user-{i}") for i in range(10)))

    asyncio.run(main())
    assert gx.flush()
    clicks = [event for event in service.events if isinstance(event, Track)]
    assert sorted(event.unit_id for event in clicks) == sorted(f"user-{i}" for i in range(10) for _ in range(2))


def test_a_thread_pool_takes_the_unit_along_when_handed_the_context(gx, service):
    with concurrent.futures.ThreadPoolExecutor(3) as pool, gx.unit("user-1"):
        list(pool.map(genux.carry(gx.track), ["with"] * 5))
        pool.submit(gx.track, "without").result()
    assert gx.status().dropped == {"no_unit": 1}
    assert gx.flush()
    assert [(event.name, event.unit_id) for event in service.events] == [("with", "user-1")] * 5


def test_a_generator_finalised_in_another_context_does_not_raise(gx):
    def stream():
        with gx.unit("user-1"):
            yield 1
            yield 2

    chunks = stream()
    contextvars.copy_context().run(next, chunks)
    contextvars.copy_context().run(chunks.close)


def test_alias_joins_an_anonymous_unit_to_a_known_one(gx, service):
    gx.alias("anonymous-1", "user-1")
    gx.alias("anonymous-1", None)
    assert gx.flush()
    (event,) = service.events
    assert isinstance(event, Alias)
    assert (event.unit_id, event.known_id) == ("anonymous-1", "user-1")
    assert gx.status().dropped == {"bad_unit": 1}


def test_the_environment_can_force_a_variant(monkeypatch, service, caplog):
    monkeypatch.setenv("GENUX_FORCE", "ai-entry=summary, nonsense, layout=nope")
    gx = genux.Client(transport=service)
    assert gx.ready()
    with gx.unit("user-1", country="FR"):
        assert (gx.variant("ai-entry").key, gx.variant("ai-entry").reason) == ("summary", "FORCED")
    with gx.unit("doc", kind="document"):
        assert gx.variant("layout").reason == "ASSIGNED"
    assert "`nonsense` is not experiment=variant" in caplog.text
    assert "`layout` has no variant `nope`" in caplog.text
    assert gx.flush()
    assert service.events[0].forced


def test_a_broken_file_is_said_at_construction_and_never_by_a_measuring_call(monkeypatch, tmp_path, caplog):
    path = tmp_path / "genux.yaml"
    path.write_text("experiments: [{key: e, variants: [{key: a}, {key: a}]}]")
    with pytest.raises(ConfigError, match=r"experiments\[0\]\.variants: two variants have the same key"):
        genux.Client(config=path)
    monkeypatch.setenv("GENUX_CONFIG", str(path))
    with genux.unit("user-1"):
        assert genux.variant("e").reason == "NO_SNAPSHOT"
    assert "two variants have the same key" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("GENUX_URL", "http://host-\udcff"), ("GENUX_API_KEY", "\udcff"), ("GENUX_DIR", "~/\0")],
)
def test_an_environment_that_makes_no_sense_reaches_no_host(monkeypatch, caplog, name, value):
    monkeypatch.setenv("GENUX_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("os.environ", {**os.environ, name: value})
    with genux.unit("user-1"):
        assert genux.variant("e").reason == "NO_SNAPSHOT"
        genux.track("clicked")
    assert "the app goes on" in caplog.text


@pytest.mark.parametrize("constructor", ["HttpTransport", "SnapshotStore"])
def test_a_client_that_cannot_be_made_is_replaced_by_one_that_measures_nothing(monkeypatch, tmp_path, constructor):
    path = tmp_path / "genux.yaml"
    path.write_text("experiments: 5")
    monkeypatch.setenv("GENUX_CONFIG", str(path))
    monkeypatch.setenv("GENUX_URL", "http://127.0.0.1:1")
    made = getattr(_client, constructor)
    monkeypatch.setattr(_client, constructor, lambda first, *rest: made(first, *rest) if first is None else 1 / 0)
    with genux.unit("user-1"):
        assert genux.variant("e").reason == "NO_SNAPSHOT"
    assert genux.status().mode == "local"


def test_module_functions_act_on_the_client_constructed_last(gx, service):
    with genux.unit("user-1", **KR), genux.feature("reader"):
        genux.variant("ai-entry")
        genux.track("clicked")
    assert genux.flush()
    assert genux.status().shipped == 2
    assert genux.default_client() is gx
    gx.close()
    assert genux.default_client() is not gx


def test_a_changed_snapshot_is_fetched_when_a_reply_names_its_version(gx, service):
    import msgspec

    stopped = [msgspec.structs.replace(e, status="stopped") for e in service.snapshot.experiments]
    service.snapshot = msgspec.structs.replace(service.snapshot, version="v2", experiments=stopped)
    with gx.unit("user-1", **KR):
        deadline = time.monotonic() + 20
        while gx.status().snapshot_version != "v2" and time.monotonic() < deadline:
            gx.track("clicked")
            assert gx.flush()
        assert gx.variant("ai-entry").reason == "STOPPED"
    assert gx.status().snapshot_version == "v2"


def test_replies_that_name_the_version_at_hand_fetch_nothing(service, tmp_path, monkeypatch):
    looks = []
    send = service.send
    monkeypatch.setattr(service, "send", lambda method, *rest: looks.append(method) or send(method, *rest))
    path = tmp_path / "genux.yaml"
    path.write_text("experiments: [{key: only-here, variants: [{key: a}, {key: b}]}]")
    for config in (None, path):
        looks.clear()
        gx = genux.Client(transport=service, config=config, flush_seconds=0.01, directory=tmp_path / str(config)[-4:])
        for _ in range(4):
            with gx.unit("user-1"):
                gx.track("clicked")
            assert gx.flush()
        assert looks.count("GET") == 1
        assert looks.count("POST") == 4


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 5_000 + ")" * 5_000, "(a", "[[a]"])
def test_a_pattern_that_cannot_be_compiled_spoils_no_other_experiment(service, pattern, caplog):
    import msgspec

    rule = Condition(attribute="country", op="matches", value=pattern)
    broken = msgspec.structs.replace(service.snapshot.experiments[0], targeting=[[rule]])
    with pytest.raises(SnapshotError, match=r"targeting\[0\]\[0\]\.value: not a regular expression"):
        check_snapshot(Snapshot(version="v", experiments=[broken]))
    service.snapshot = msgspec.structs.replace(service.snapshot, experiments=[broken, service.snapshot.experiments[1]])
    gx = genux.Client(transport=service)
    assert gx.ready()
    with gx.unit("user-1", **KR), gx.unit("doc", kind="document"):
        assert gx.variant("ai-entry").reason == "ERROR"
        assert gx.variant("layout").reason == "ASSIGNED"
    assert "not a regular expression" in caplog.text


def test_one_broken_experiment_spoils_no_other(service, caplog):
    import msgspec

    broken = msgspec.structs.replace(service.snapshot.experiments[0], allocation=[0.5, 0.6])
    service.snapshot = msgspec.structs.replace(
        service.snapshot, version="v2", experiments=[broken, service.snapshot.experiments[1]]
    )
    gx = genux.Client(transport=service)
    assert gx.ready()
    with gx.unit("user-1", **KR), gx.unit("doc", kind="document"):
        assert (gx.variant("ai-entry").key, gx.variant("ai-entry").reason) == ("chat", "ERROR")
        assert gx.variant("layout").reason == "ASSIGNED"
    assert "the shares sum to 1.1, not 1" in caplog.text


def test_the_first_snapshot_is_fetched_before_anyone_asks_for_a_variant(service):
    gx = genux.Client(transport=service)
    deadline = time.monotonic() + 20
    while not gx.status().snapshot_version and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gx.status().snapshot_version
    with gx.unit("user-1", **KR):
        assert gx.variant("ai-entry").reason == "ASSIGNED"


def test_the_first_variant_may_wait_for_the_first_snapshot_once(service):
    gx = genux.Client(transport=service, snapshot_wait_seconds=5)
    with gx.unit("user-1", **KR):
        assert gx.variant("ai-entry").reason == "ASSIGNED"


def test_events_of_many_threads_all_arrive(gx, service):
    def work(worker):
        with gx.unit(f"user-{worker}"):
            for n in range(300):
                gx.track("clicked", n=n)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gx.flush()
    assert len({(event.unit_id, event.properties["n"]) for event in service.events}) == 1_200
    assert len(service.events) == 1_200


def test_a_frozen_clock_gives_events_their_time(local):
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    with testing.frozen_clock(noon) as clock, testing.recording() as seen, local.unit("user-1"):
        local.track("a")
        clock.advance(60)
        local.track("b")
    assert [event.at for event in seen.events] == [noon, noon + dt.timedelta(seconds=60)]


def test_force_reaches_other_threads_and_ends_with_its_block(local):
    with local.unit("user-1", **KR):
        before = local.peek("ai-entry").key
        other = {"chat": "summary", "summary": "chat"}[before]
        with testing.force({"ai-entry": other}), testing.force(unknown="b"):
            forced = asyncio.run(asyncio.to_thread(local.peek, "ai-entry"))
            assert (forced.key, forced.reason) == (other, "FORCED")
            assert local.peek("unknown").key == "b"
        assert local.peek("ai-entry").key == before


def test_who_was_forced_first_is_exposed_again_when_really_assigned(gx, service):
    with gx.unit("user-1", **KR):
        assigned = gx.peek("ai-entry").key
    with testing.force({"ai-entry": assigned}), gx.unit("user-1", **KR):
        assert gx.variant("ai-entry").reason == "FORCED"
    for _ in range(2):
        with gx.unit("user-1", **KR):
            assert gx.variant("ai-entry").reason == "ASSIGNED"
    assert gx.flush()
    exposures = [event for event in service.events if isinstance(event, Exposure)]
    assert [(event.variant, event.forced) for event in exposures] == [(assigned, True), (assigned, False)]
