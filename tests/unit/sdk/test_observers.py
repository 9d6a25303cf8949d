"""What an integration hears through `genux.observers`."""

import contextvars

import pytest

from genux import testing
from genux.observers import Observer, observe

where = contextvars.ContextVar("where", default="nowhere")


class Ear(Observer):
    def __init__(self):
        self.exposed_to = []
        self.started = []
        self.ended = []
        self.places = []

    def exposed(self, exposed):
        self.exposed_to.append(exposed)

    def call_started(self, started):
        self.started.append(started)
        self.places.append(where.get())
        return self.ended.append


@pytest.fixture
def ear():
    ear = Ear()
    stop = observe(ear)
    yield ear
    stop()


def test_an_exposure_is_heard_every_time_with_all_that_is_in_force(gx, ear):
    with testing.force({"ai-entry": "summary", "layout": "rich"}), gx.unit("user-1", country="KR"):
        for key in ("ai-entry", "layout", "ai-entry"):
            gx.variant(key)
    assert [heard.assignment.experiment for heard in ear.exposed_to] == ["ai-entry", "ai-entry"]
    with testing.force({"layout": "rich", "new": "b"}), gx.unit("document-1", kind="document"):
        gx.variant("layout")
        gx.variant("new")
    last = ear.exposed_to[-1]
    assert {ref.experiment: (ref.variant, ref.forced) for ref in last.in_force} == {
        "layout": ("rich", True),
        "new": ("b", True),
    }
    assert ear.exposed_to[-2].unit_kind == "document"
    assert ear.exposed_to[-2].unit_id == "document-1"


def test_what_is_no_exposure_is_not_heard(gx, ear):
    with gx.unit("user-1", country="US"):
        assert gx.variant("ai-entry").reason == "NOT_TARGETED"
        gx.peek("ai-entry")
    gx.variant("ai-entry")
    assert ear.exposed_to == []


def test_a_call_is_heard_where_it_begins_and_when_it_has_ended(gx, ear):
    where.set("here")
    with gx.unit("user-1", country="KR"):
        entry = gx.variant("ai-entry")
        with gx.call(model="m", provider="anthropic", operation="chat") as call:
            assert ear.ended == []
            call.usage(input_tokens=3, output_tokens=1)
    (started,), (ended,) = ear.started, ear.ended
    assert ear.places == ["here"]
    assert (started.call_id, started.parent_call_id) == (ended.call_id, "")
    assert (started.operation, started.provider, started.requested_model) == ("chat", "anthropic", "m")
    assert [ref.variant for ref in started.assignments] == [entry.key]
    assert (ended.status, ended.tokens.input) == ("ok", 3)


def test_an_attempt_names_its_call_and_does_not_end_by_itself(gx, ear):
    with gx.call(model="outer") as outer:
        outer_id = outer.call_id
        with gx.call(model="inner"):
            pass
    assert [(started.requested_model, started.parent_call_id) for started in ear.started] == [
        ("outer", ""),
        ("inner", outer_id),
    ]
    assert [call.requested_model for call in ear.ended] == ["outer"]


def test_an_observer_that_fails_is_counted_and_keeps_nothing_from_the_others(gx, caplog):
    class Broken(Observer):
        def exposed(self, exposed):
            raise RuntimeError("deaf")

        def call_started(self, started):
            if started.requested_model == "m1":
                raise RuntimeError("deaf")

            def ended(call):
                raise RuntimeError("deaf")

            return ended

    ear = Ear()
    stops = [observe(Broken()), observe(ear)]
    with testing.recording() as seen, gx.unit("user-1", country="KR"):
        assert gx.variant("ai-entry").reason == "ASSIGNED"
        for model in ("m1", "m2"):
            with gx.call(model=model):
                pass
    for stop in stops:
        stop()
    assert (len(seen.exposures), len(seen.calls)) == (1, 2)
    assert (len(ear.exposed_to), len(ear.started), len(ear.ended)) == (1, 2, 2)
    assert gx.status().failures == {"observer": 3}
    assert caplog.text.count("observer failed inside genux") == 1


def test_one_that_was_stopped_hears_nothing_and_stopping_twice_is_no_mistake(gx):
    ear = Ear()
    stop = observe(ear)
    stop()
    stop()
    with gx.call(model="m"):
        pass
    assert ear.started == []
