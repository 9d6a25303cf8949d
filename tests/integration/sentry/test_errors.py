"""What an error in Sentry says about the variants in force, read from the envelopes that left this process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sentry_sdk

import genux
from genux import testing
from genux.integrations.sentry import GenuxIntegration


def flags(event):
    return {flag["flag"]: flag["result"] for flag in event["contexts"]["flags"]["values"]}


def test_an_error_carries_the_variant_as_flag_tag_and_context(start_sentry, envelopes, gx):
    start_sentry()
    with gx.unit("user-42", country="KR"):
        entry = gx.variant("ai-entry")
        sentry_sdk.capture_exception(ValueError("broken"))
    (event,) = envelopes.errors
    assert flags(event) == {f"genux.ai-entry:{entry.key}": True}
    assert event["tags"] == {"genux.ai-entry": entry.key}
    assert event["contexts"]["genux"] == {
        "experiments": {"ai-entry": {"variant": entry.key, "epoch": 1, "forced": False}},
        "unit_kind": "user",
    }
    assert b"user-42" not in b"".join(envelopes.bodies)


def test_the_units_id_is_sent_only_when_asked_for(start_sentry, envelopes, gx):
    start_sentry(GenuxIntegration(include_unit_id=True))
    with gx.unit("user-42"):
        gx.variant("ai-entry")
        sentry_sdk.capture_message("here")
    assert envelopes.errors[0]["contexts"]["genux"]["unit_id"] == "user-42"


def test_a_variant_that_was_only_peeked_at_is_on_no_error_until_it_is_exposed(start_sentry, envelopes, gx):
    start_sentry()
    with gx.unit("user-1"):
        entry = gx.peek("ai-entry")
        sentry_sdk.capture_message("before")
        gx.expose(entry)
        sentry_sdk.capture_message("after")
    before, after = envelopes.errors
    assert "flags" not in before["contexts"]
    assert flags(after) == {f"genux.ai-entry:{entry.key}": True}


def test_a_repeated_exposure_reaches_the_scope_of_a_later_request(start_sentry, envelopes, gx):
    start_sentry()
    with testing.force({"ai-entry": "summary"}), testing.recording() as seen:
        for _ in range(2):
            with sentry_sdk.isolation_scope(), gx.unit("user-1"):
                gx.variant("ai-entry")
                sentry_sdk.capture_message("here")
    assert len(seen.exposures) == 1
    assert [flags(event) for event in envelopes.errors] == [{"genux.ai-entry:summary": True}] * 2


def test_the_next_unit_in_one_scope_takes_the_last_ones_variants_back(start_sentry, envelopes, gx):
    start_sentry()
    with testing.force({"ai-entry": "chat", "layout": "rich"}), gx.unit("user-1"):
        gx.variant("ai-entry")
        gx.variant("layout")
        sentry_sdk.capture_message("first")
    with testing.force({"ai-entry": "summary"}), gx.unit("user-2"):
        gx.variant("ai-entry")
        sentry_sdk.capture_message("second")
    first, second = envelopes.errors
    assert first["tags"] == {"genux.ai-entry": "chat", "genux.layout": "rich"}
    assert second["tags"] == {"genux.ai-entry": "summary"}
    assert flags(second) == {
        "genux.ai-entry:chat": False,
        "genux.layout:rich": False,
        "genux.ai-entry:summary": True,
    }
    assert list(second["contexts"]["genux"]["experiments"]) == ["ai-entry"]


def test_concurrent_requests_do_not_see_each_others_variants(start_sentry, envelopes, gx):
    start_sentry()
    meeting = threading.Barrier(8)

    def request(number):
        with sentry_sdk.isolation_scope(), gx.unit(f"user-{number}"):
            key = gx.variant("ai-entry").key
            meeting.wait(10)
            sentry_sdk.capture_message(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(8)))
    events = envelopes.errors
    assert {event["message"] for event in events} == {"chat", "summary"}
    for event in events:
        assert event["tags"] == {"genux.ai-entry": event["message"]}
        assert flags(event) == {f"genux.ai-entry:{event['message']}": True}


def test_an_experiment_with_a_long_key_is_a_flag_but_no_tag(start_sentry, envelopes, gx):
    start_sentry()
    key = "a-key-of-more-than-twenty-six-letters"
    with testing.force({key: "b"}), gx.unit("user-1"):
        gx.variant(key)
        sentry_sdk.capture_message("here")
    (event,) = envelopes.errors
    assert "tags" not in event
    assert flags(event) == {f"genux.{key}:b": True}


def test_without_the_integration_or_without_sentry_nothing_is_done(start_sentry, envelopes, gx):
    start_sentry()
    sentry_sdk.init(dsn=envelopes.dsn, default_integrations=False, auto_enabling_integrations=False)
    with gx.unit("user-1"):
        gx.variant("ai-entry")
        sentry_sdk.capture_message("here")
    assert "genux" not in envelopes.errors[0]["contexts"]
    sentry_sdk.init()
    with gx.unit("user-1"):
        assert gx.variant("ai-entry").reason == "ASSIGNED"
    assert gx.status().failures == {}


@pytest.mark.parametrize("broken", ["add_feature_flag", "sentry_sdk"])
def test_a_failing_sentry_changes_no_variant_and_no_call(start_sentry, gx, llm, monkeypatch, broken):
    start_sentry(traces_sample_rate=1.0)
    monkeypatch.setattr(f"genux.integrations.sentry.{broken}", None)
    with gx.unit("user-1"), testing.recording() as seen:
        assert gx.variant("ai-entry").reason == "ASSIGNED"
        llm.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}])
    assert len(seen.exposures) == len(seen.calls) == 1
    assert gx.status().failures["observer"] == (1 if broken == "add_feature_flag" else 2)
    assert genux.status().dropped == {}
