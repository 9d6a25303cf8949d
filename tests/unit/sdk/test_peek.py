import msgspec

import genux
from genux import testing
from genux.wire import ASSIGNED_EVENT

KR = {"country": "KR"}


def test_a_peek_is_recorded_once_a_unit_and_is_no_exposure(gx):
    with testing.recording() as seen:
        for _ in range(2):
            for number in range(3):
                with gx.unit(f"user-{number}", **KR):
                    gx.peek("ai-entry")
                    told = gx.peek("ai-entry")
    assert seen.exposures == []
    assert [event.unit_id for event in seen.peeks] == ["user-0", "user-1", "user-2"]
    last = seen.peeks[-1]
    assert (last.name, last.unit_kind) == (ASSIGNED_EVENT, "user")
    assert last.properties == {"experiment": "ai-entry", "variant": told.key, "epoch": 1}


def test_a_peek_at_what_the_unit_has_met_or_cannot_meet_tells_nothing(gx):
    with testing.recording() as seen:
        with gx.unit("user-1", **KR):
            gx.variant("ai-entry")
            gx.peek("ai-entry")
        with gx.unit("user-2", country="FR"):
            gx.peek("ai-entry")
        with gx.unit("tester"):
            gx.peek("ai-entry")
        gx.peek("ai-entry")
    assert seen.peeks == []


def test_the_unit_that_the_experiment_randomises_is_the_one_told_of(gx):
    with testing.recording() as seen, gx.unit("user-1"), gx.unit("doc-1", kind="document"):
        gx.peek("layout")
    assert [(event.unit_id, event.unit_kind) for event in seen.peeks] == [("doc-1", "document")]


def test_a_peek_that_cannot_be_recorded_changes_no_variant(gx, monkeypatch):
    with gx.unit("user-1", **KR):
        expected = gx.peek("ai-entry")

    def fail(_event):
        raise RuntimeError("no disk, no memory")

    monkeypatch.setattr(gx._emitter, "emit", fail)
    with gx.unit("user-1", **KR):
        assert gx.peek("ai-entry") == expected
    other = next(f"u{i}" for i in range(100) if f"u{i}" != "user-1")
    with gx.unit(other, **KR):
        assert gx.peek("ai-entry").reason == "ASSIGNED"
    assert gx.status().failures == {"_note_peek": 1}
    assert gx.status().dropped == {"internal_error": 1}


def test_another_epoch_is_told_of_again(service):
    gx = genux.Client(transport=service, flush_seconds=0.01)
    assert gx.ready()
    with testing.recording() as seen:
        with gx.unit("user-1", **KR):
            gx.peek("ai-entry")
        first, *rest = service.snapshot.experiments
        changed = msgspec.structs.replace(
            service.snapshot, version="2", experiments=[msgspec.structs.replace(first, epoch=2), *rest]
        )
        gx._snapshots._use(changed)
        with gx.unit("user-1", **KR):
            gx.peek("ai-entry")
    assert [event.properties["epoch"] for event in seen.peeks] == [1, 2]
