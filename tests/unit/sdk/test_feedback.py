"""What a person thought of an answer."""

import math

import pytest

import genux
from genux.errors import UsageError
from genux.wire import Call, Track


def given(service):
    return [event for event in service.events if isinstance(event, Track)]


def test_feedback_is_joined_to_the_call_of_the_same_unit(gx, service):
    with gx.unit("user-1"):
        with gx.call(model="m") as call:
            call_id = call.call_id
        genux.feedback("up", place="footer")
    assert gx.flush()
    (event,) = given(service)
    assert (event.name, event.value, event.properties) == ("feedback", 1.0, {"place": "footer"})
    assert (event.unit_id, event.call_id) == ("user-1", call_id)


def test_feedback_from_elsewhere_comes_with_the_calls_resume_token(gx, service):
    with gx.unit("user-1"), gx.call(model="m"):
        token = gx.resume_token()
    gx.resume(token).feedback(-0.5)
    with gx.resume(token):
        gx.feedback("down")
    gx.resume("g1.nonsense").feedback("up")
    assert gx.flush()
    (call,) = [event for event in service.events if isinstance(event, Call)]
    assert [(event.unit_id, event.call_id, event.value) for event in given(service)] == [
        ("", call.call_id, -0.5),
        ("", call.call_id, -1.0),
    ]
    assert gx.status().dropped == {"refused_token": 1}


def test_feedback_without_a_call_is_the_units(gx, service):
    with gx.unit("user-1"):
        gx.feedback(True)
        gx.feedback(False)
        gx.feedback(0)
    assert gx.flush()
    assert [(event.unit_id, event.call_id, event.value) for event in given(service)] == [
        ("user-1", "", 1.0),
        ("user-1", "", -1.0),
        ("user-1", "", 0.0),
    ]


@pytest.mark.parametrize("rating", ["great", "", 2, -1.01, math.nan, None, [1]])
def test_a_rating_that_is_none_is_counted_and_kept_out(gx, rating):
    with gx.unit("user-1"):
        gx.feedback(rating)
    assert sum(gx.status().dropped.values()) == 1
    with pytest.raises(UsageError), genux.Client(strict=True).unit("user-1"):
        genux.feedback(rating)


def test_feedback_outside_of_a_unit_is_counted(gx):
    gx.feedback("up")
    assert gx.status().dropped == {"no_unit": 1}
