import asyncio
import datetime as dt
import threading
from urllib.parse import quote

import msgspec
import pytest

import genux
from genux import testing, tokens
from genux.errors import TokenError, UsageError
from genux.middleware import AsgiUnit, WsgiUnit
from genux.specs import TokenKey

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KEY = TokenKey(id="k", secret="s")
KR = {"country": "KR"}


@pytest.fixture
def keyed(service):
    """Two processes of one project."""
    service.snapshot = msgspec.structs.replace(service.snapshot, version="keyed", token_keys=[KEY])
    clients = [genux.Client(transport=service, flush_seconds=0.01) for _ in range(2)]
    assert all(client.ready() for client in clients)
    return clients


def other_variant(gx, unit_id):
    """The variant of `ai-entry` that the unit would not get by itself."""
    with gx.unit(unit_id, **KR):
        return {"chat": "summary", "summary": "chat"}[gx.peek("ai-entry").key]


def seen_by(gx):
    """A WSGI app that answers with the visitor's variant and reason."""

    def app(_environ, start_response):
        start_response("200 OK", [])
        entry = gx.variant("ai-entry")
        yield f"{entry.key} {entry.reason}".encode()

    return app


def asked(app, query):
    return b"".join(app({"QUERY_STRING": query, "HTTP_X_USER": "user-1"}, lambda *_: None)).decode()


def unit_of(environ):
    return environ["HTTP_X_USER"]


def test_a_force_token_of_one_process_forces_in_another(keyed):
    one, other = keyed
    variant = other_variant(one, "user-1")
    token = one.force_token({"ai-entry": variant})
    with other.unit("user-1", **KR):
        with other.forcing(token):
            assert (other.peek("ai-entry").key, other.peek("ai-entry").reason) == (variant, "FORCED")
        assert other.peek("ai-entry").key != variant


def test_a_token_is_good_for_one_thing_only():
    force = tokens.mint_force([KEY], {"e": "v"}, NOW + dt.timedelta(hours=1))
    resume = tokens.mint([KEY], call_id="c", expires_at=NOW + dt.timedelta(hours=1))
    assert tokens.read_force([KEY], force, NOW) == {"e": "v"}
    for read, token in ((tokens.read, force), (tokens.read_force, resume)):
        with pytest.raises(TokenError) as refused:
            read([KEY], token, NOW)
        assert refused.value.code == "wrong_kind"


def test_a_resume_token_forces_nothing_and_a_force_token_resumes_nothing(keyed):
    gx = keyed[0]
    with gx.unit("user-1", **KR):
        gx.variant("ai-entry")
        resume = gx.resume_token()
        with gx.forcing(resume):
            assert gx.peek("ai-entry").reason == "ASSIGNED"
    gx.resume(gx.force_token({"ai-entry": "summary"})).track("answer_accepted")
    assert gx.status().refused["token_wrong_kind"] == 2


@pytest.mark.parametrize("text", ["g1.x.y", "g1.", "", "ai-entry", "a:b:", ":", "x" * 5_000, "ai-entry:summary"])
def test_a_text_that_is_refused_is_counted_and_forces_nothing(gx, text):
    with gx.forcing(text), gx.unit("user-1", **KR):
        assert gx.peek("ai-entry").reason == "ASSIGNED"
    assert sum(gx.status().refused.values()) == 1
    assert gx.status().failures == {}


def test_an_expired_token_forces_nothing(keyed):
    gx = keyed[0]
    with testing.frozen_clock(NOW) as clock:
        token = gx.force_token({"ai-entry": "summary"}, lifetime_seconds=60)
        clock.advance(60)
        with gx.forcing(token), gx.unit("user-1", **KR):
            assert gx.peek("ai-entry").reason == "ASSIGNED"
    assert gx.status().refused == {"token_expired": 1}


def test_a_force_token_for_nothing_is_empty_and_counted(gx):
    assert gx.force_token({}) == ""
    assert gx.status().refused == {"token_malformed": 1}


def test_the_address_forces_for_one_request_and_its_exposure_is_flagged(keyed):
    gx = keyed[0]
    variant = other_variant(gx, "user-1")
    app = WsgiUnit(seen_by(gx), unit_of, attributes_of=lambda _: KR, client=gx)
    with testing.recording() as seen:
        assert asked(app, f"a=1&genux_force={gx.force_token({'ai-entry': variant})}") == f"{variant} FORCED"
        assert asked(app, "a=1").endswith("ASSIGNED")
    assert [event.forced for event in seen.exposures] == [True, False]


def test_an_unsigned_address_forces_only_while_developing(service):
    developing = genux.Client(transport=service, strict=True)
    live = genux.Client(transport=service)
    assert developing.ready()
    assert live.ready()
    variant = other_variant(live, "user-1")
    query = f"genux_force={quote(f'ai-entry:{variant}')}"
    for gx, plain, reason in (
        (live, None, "ASSIGNED"),
        (live, True, "FORCED"),
        (developing, None, "FORCED"),
        (developing, False, "ASSIGNED"),
    ):
        app = WsgiUnit(seen_by(gx), unit_of, attributes_of=lambda _: KR, client=gx, plain_force=plain)
        assert asked(app, query).endswith(reason)
    assert live.status().refused == developing.status().refused == {"unsigned_force": 1}


def test_a_visitors_nonsense_never_reaches_the_host_even_when_strict(service):
    gx = genux.Client(transport=service, strict=True)
    assert gx.ready()
    app = WsgiUnit(seen_by(gx), unit_of, attributes_of=lambda _: KR, client=gx)
    for query in ("genux_force=%ff", "genux_force", "genux_force=g1.e30.x", "&".join(["genux_force=a"] * 2_000)):
        assert asked(app, query).endswith("ASSIGNED")


def test_concurrent_requests_do_not_see_each_others_forced_variants(keyed):
    gx = keyed[0]
    variant = other_variant(gx, "user-1")
    token = gx.force_token({"ai-entry": variant})
    both_are_in = threading.Barrier(2, timeout=10)
    reasons = {}

    async def app(scope, _receive, _send):
        await both.wait()
        reasons[scope["query_string"]] = await asyncio.to_thread(lambda: gx.peek("ai-entry").reason)

    both = asyncio.Barrier(2)
    wrapped = AsgiUnit(app, lambda _: "user-1", attributes_of=lambda _: KR, client=gx)

    async def serve():
        scopes = [{"type": "http", "query_string": query} for query in (b"", f"genux_force={token}".encode())]
        await asyncio.gather(*(wrapped(scope, None, None) for scope in scopes))

    asyncio.run(serve())
    assert sorted(reasons.values()) == ["ASSIGNED", "FORCED"]

    def threaded(query, answers):
        def meeting(_environ, start_response):
            both_are_in.wait()
            start_response("200 OK", [])
            return [gx.peek("ai-entry").reason.encode()]

        answers[query] = asked(WsgiUnit(meeting, unit_of, attributes_of=lambda _: KR, client=gx), query)

    answers = {}
    threads = [threading.Thread(target=threaded, args=(query, answers)) for query in ("", f"genux_force={token}")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == ["ASSIGNED", "FORCED"]


def test_forced_variants_are_carried_to_another_thread(keyed):
    gx = keyed[0]
    variant = other_variant(gx, "user-1")
    found = []
    with gx.unit("user-1", **KR), gx.forcing(gx.force_token({"ai-entry": variant})):
        work = genux.carry(lambda: found.append(gx.peek("ai-entry").key))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [variant]


def test_a_test_wins_over_the_address_and_the_address_over_the_environment(service, monkeypatch):
    monkeypatch.setenv("GENUX_FORCE", "ai-entry=chat")
    gx = genux.Client(transport=service)
    assert gx.ready()
    with gx.unit("user-1", **KR):
        assert gx.peek("ai-entry").key == "chat"
        with gx.forcing("ai-entry:summary", plain=True):
            assert gx.peek("ai-entry").key == "summary"
            with testing.force({"ai-entry": "chat"}):
                assert gx.peek("ai-entry").key == "chat"


def test_a_plain_text_that_is_no_pair_says_so():
    from genux._forcing import _read_plain

    assert _read_plain("a:b,c:d", allowed=True) == {"a": "b", "c": "d"}
    with pytest.raises(UsageError, match=r"'c' is not experiment:variant"):
        _read_plain("a:b,c", allowed=True)


def test_answers_that_are_no_assignment_are_counted_by_reason(gx):
    with gx.unit("user-1", country="FR"):
        gx.peek("ai-entry")
        gx.variant("ai-entry")
    with gx.unit("tester"):
        gx.variant("ai-entry")
    with gx.unit("user-1", **KR):
        gx.variant("ai-entry")
    assert gx.status().controls == {"NOT_TARGETED": 2}
