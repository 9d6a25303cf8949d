import datetime as dt

import msgspec
import pytest

import genux
from genux import testing, tokens
from genux.errors import TokenError
from genux.specs import TokenKey
from genux.wire import Call, Exposure, Track

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
OLD, NEW = TokenKey(id="old", secret="s1"), TokenKey(id="new", secret="s2")


def test_a_token_comes_back_as_what_it_was_minted_for():
    token = tokens.mint([NEW, OLD], call_id="call-1", expires_at=LATER)
    assert tokens.read([OLD, NEW], token, NOW) == tokens.Reference(call_id="call-1", expires_at=LATER)
    assert "call-1" not in token


def test_a_rotated_key_is_honoured_while_it_overlaps_and_refused_after():
    token = tokens.mint([OLD], exposure_id="x", expires_at=LATER)
    assert tokens.read([NEW, OLD], token, NOW).exposure_id == "x"
    with pytest.raises(TokenError, match="`old`, which is not honoured") as refused:
        tokens.read([NEW], token, NOW)
    assert refused.value.code == "unknown_key"


def test_a_token_expires_at_its_time():
    token = tokens.mint([NEW], call_id="c", expires_at=LATER)
    assert tokens.read([NEW], token, LATER - dt.timedelta(seconds=1)).call_id == "c"
    with pytest.raises(TokenError) as refused:
        tokens.read([NEW], token, LATER)
    assert refused.value.code == "expired"


def test_every_changed_character_is_refused():
    token = tokens.mint([NEW], call_id="c", expires_at=LATER)
    for i in range(len(token)):
        for other in "A.b":
            if token[i] == other:
                continue
            with pytest.raises(TokenError):
                tokens.read([NEW], token[:i] + other + token[i + 1 :], NOW)


def test_the_same_claims_under_another_secret_are_refused():
    forged = tokens.mint([TokenKey(id="new", secret="guessed")], call_id="c", expires_at=LATER)
    with pytest.raises(TokenError) as refused:
        tokens.read([NEW], forged, NOW)
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize(
    "token", ["", "g1.", "g1..", "x", None, 5, b"g1.a.b", "g1.e30.x", "g1." + "A" * 2_000, "g1.é.ü"]
)
def test_what_is_no_token_is_malformed(token):
    with pytest.raises(TokenError) as refused:
        tokens.read([NEW], token, NOW)
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("reference", [{}, {"call_id": "a", "exposure_id": "b"}])
def test_a_token_refers_to_exactly_one_thing(reference):
    with pytest.raises(TokenError, match="one of the two"):
        tokens.mint([NEW], expires_at=LATER, **reference)


def with_keys(service):
    service.snapshot = msgspec.structs.replace(service.snapshot, version="keyed", token_keys=[NEW])
    client = genux.Client(transport=service, flush_seconds=0.01)
    assert client.ready()
    return client


def test_another_process_reports_an_outcome_of_an_exposure(service):
    one, other = with_keys(service), with_keys(service)
    with one.unit("user-1", country="KR"):
        one.variant("ai-entry")
        token = one.resume_token()
    other.resume(token).track("answer_accepted", 3)
    assert one.flush()
    assert other.flush()
    exposure, outcome = sorted(service.events, key=lambda event: isinstance(event, Track))
    assert isinstance(exposure, Exposure)
    assert (outcome.unit_id, outcome.exposure_id, outcome.value) == ("", exposure.event_id, 3.0)


def test_a_token_of_a_process_without_keys_means_nothing_elsewhere(local):
    with local.unit("user-1", country="KR"):
        local.variant("ai-entry")
        token = local.resume_token()
    assert local.resume(token).refused == ""
    assert genux.Client().resume(token).refused == "unknown_key"


def test_a_client_with_a_file_assigns_from_it_and_signs_with_the_services_keys(service, tmp_path):
    service.snapshot = msgspec.structs.replace(service.snapshot, version="keyed", token_keys=[NEW])
    path = tmp_path / "genux.yaml"
    path.write_text("experiments: [{key: only-here, variants: [{key: a}, {key: b}]}]")
    gx = genux.Client(transport=service, config=path, flush_seconds=0.01)
    with gx.unit("user-1"):
        assert gx.variant("only-here").reason == "ASSIGNED"
        assert gx.flush()
        assert gx.variant("ai-entry").reason == "UNKNOWN_EXPERIMENT"
        assert gx.variant("only-here").reason == "ASSIGNED"
        assert tokens.read([NEW], gx.resume_token(), dt.datetime.now(dt.UTC)).exposure_id


def test_a_repeated_exposure_is_resumed_by_the_one_that_was_recorded(gx):
    with testing.recording() as seen:
        for _ in range(2):
            with gx.unit("user-1", country="KR"):
                gx.variant("ai-entry")
                gx.resume(gx.resume_token()).track("accepted")
    (exposure,) = seen.exposures
    assert [event.exposure_id for event in seen.tracks] == [exposure.event_id] * 2


def test_a_call_is_what_a_token_refers_to_before_any_exposure(gx):
    with testing.recording() as seen, gx.unit("user-1", country="KR"):
        gx.variant("ai-entry")
        gx._recorder.call_started("call-7")
        gx.resume(gx.resume_token()).track("accepted")
    assert (seen.tracks[0].call_id, seen.tracks[0].exposure_id) == ("call-7", "")
    with testing.recording() as seen, gx.unit("user-2", country="KR"):
        gx.variant("ai-entry")
        gx.resume(gx.resume_token()).track("accepted")
    assert seen.tracks[0].exposure_id == seen.exposures[0].event_id


def test_a_resumed_block_is_the_current_unit(gx):
    with gx.unit("user-1", country="KR"):
        gx.variant("ai-entry")
        token = gx.resume_token()
    with testing.recording() as seen, gx.resume(token) as resumed:
        genux.track("answer_copied")
        assert gx.variant("ai-entry").reason == "NO_UNIT"
    assert resumed.refused == ""
    assert seen.tracks[0].exposure_id


def test_a_refused_token_is_counted_and_so_is_what_is_tracked_on_it(gx, caplog):
    with testing.frozen_clock(NOW) as clock, gx.unit("user-1", country="KR"):
        gx.variant("ai-entry")
        token = gx.resume_token(lifetime_seconds=60)
        clock.advance(61)
        resumed = gx.resume(token)
    resumed.track("accepted")
    with resumed:
        genux.track("accepted")
    gx.resume("garbage").track("accepted")
    gx.resume(None).track("accepted")
    assert resumed.refused == "expired"
    assert gx.status().refused == {"token_expired": 1, "token_malformed": 2}
    assert gx.status().dropped == {"refused_token": 3, "no_unit": 1}
    assert "the token expired at 2026-01-01" in caplog.text


def test_nothing_to_resume_is_an_empty_token(gx):
    assert gx.resume_token() == ""
    assert gx.status().refused == {"nothing_to_resume": 1}


def test_calls_carry_the_unit_its_variants_and_its_feature(gx):
    with gx.unit("user-1", country="KR"), gx.feature("reader"):
        entry = gx.variant("ai-entry")
        context = gx._recorder.call_started("call-1")
    assert (context.unit_id, context.feature) == ("user-1", "reader")
    assert [(ref.experiment, ref.variant) for ref in context.assignments] == [("ai-entry", entry.key)]


def test_a_call_without_a_price_is_priced_when_it_is_shipped(gx, service):
    call = Call(
        event_id="0" * 32, at=NOW, call_id="1" * 32, latency_seconds=0.1, requested_model="no-such-model-of-anyone"
    )
    gx._recorder.call_finished(call)
    assert gx.flush()
    (shipped,) = service.events
    assert shipped.cost_usd is None
    assert shipped.cost_reason
