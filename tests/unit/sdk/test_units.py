"""Units inside one another: what happens in them says so, for an experiment on any of them."""

from genux import wire


def sent(service, kind):
    return [event for event in service.events if isinstance(event, kind)]


def test_what_happens_in_nested_units_names_them_all(gx, service):
    with gx.unit("user-1", country="KR"), gx.unit("s-1", kind="session"), gx.unit("doc-7", kind="document"):
        gx.variant("ai-entry")
        gx.track("opened")
        with gx.call(model="m"):
            pass
    assert gx.flush()
    (exposed,), (tracked,), (called,) = (sent(service, kind) for kind in (wire.Exposure, wire.Track, wire.Call))
    assert (exposed.unit_id, exposed.unit_kind) == ("user-1", "user")
    assert exposed.units == {"session": "s-1", "document": "doc-7"}
    for event in (tracked, called):
        assert (event.unit_id, event.unit_kind) == ("doc-7", "document")
        assert event.units == {"user": "user-1", "session": "s-1"}


def test_another_unit_of_a_kind_takes_the_place_of_the_first_and_of_what_stood_inside_it(gx, service):
    with gx.unit("user-1"), gx.unit("s-1", kind="session"), gx.unit("doc-7", kind="document"):
        with gx.unit("s-2", kind="session"):
            gx.track("opened")
        with gx.unit("user-2"):
            gx.track("opened")
        gx.track("opened")
    assert gx.flush()
    assert [(event.unit_id, event.units) for event in sent(service, wire.Track)] == [
        ("s-2", {"user": "user-1"}),
        ("user-2", {}),
        ("doc-7", {"user": "user-1", "session": "s-1"}),
    ]


def test_a_user_is_exposed_once_for_each_document_around_which_it_is_met(gx, service):
    with gx.unit("user-1", country="KR"):
        for document in ("doc-7", "doc-8", "doc-7"):
            with gx.unit(document, kind="document"):
                gx.variant("ai-entry")
    assert gx.flush()
    assert [event.units for event in sent(service, wire.Exposure)] == [{"document": "doc-7"}, {"document": "doc-8"}]


def test_a_unit_inside_a_resumed_outcome_is_inside_nothing_known(gx, service):
    with gx.unit("user-1"), gx.call(model="m"):
        token = gx.resume_token()
    with gx.resume(token), gx.unit("doc-7", kind="document"):
        gx.track("opened")
    assert gx.flush()
    (tracked,) = sent(service, wire.Track)
    assert (tracked.unit_id, tracked.units) == ("doc-7", {})


def test_a_unit_by_itself_is_written_as_briefly_as_ever(gx):
    encoded = []
    gx._emitter._delivery.accept = lambda line: encoded.append(line) is None
    with gx.unit("user-1"):
        gx.track("opened")
    assert b"units" not in encoded[0]
