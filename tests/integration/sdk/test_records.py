"""What the SDK records, through the real service and the lake, to the report."""

import datetime as dt

from genux import testing

LONG_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
ACCEPTED = {"key": "accepted", "kind": "count", "numerator": {"event": "answer_accepted", "aggregate": "count"}}
CALLS = {"key": "calls", "kind": "count", "numerator": {"source": "call", "aggregate": "count"}}


def totals(report):
    """Units and total over both variants, by metric."""
    return {
        m["key"]: (sum(a["n_units"] for a in m["arms"]), sum(a["total"] for a in m["arms"])) for m in report["metrics"]
    }


def test_experiments_on_users_and_on_their_documents_see_the_same_events_and_calls(client, start, report_of):
    start("on-users", ACCEPTED, CALLS)
    start("on-documents", ACCEPTED, CALLS, kind="document")
    gx = client()
    with testing.frozen_clock(LONG_AGO), gx.unit("user-1"), gx.unit("doc-7", kind="document"):
        assert {gx.variant(key).reason for key in ("on-users", "on-documents")} == {"ASSIGNED"}
        gx.track("answer_accepted")
        with gx.call(model="in-house"):
            token = gx.resume_token()
        gx.resume(token).track("answer_accepted")
    assert gx.flush(30)
    assert totals(report_of("on-users")) == {"accepted": (1, 2.0), "calls": (1, 1.0)}
    assert totals(report_of("on-documents")) == {"accepted": (1, 2.0), "calls": (1, 1.0)}


def test_a_person_on_two_devices_is_one_unit_analysed_by_the_first_variant_it_saw(client, start, report_of):
    start("on-users", ACCEPTED)
    gx = client()
    with testing.frozen_clock(LONG_AGO) as clock:
        first = exposed(gx, "on-users", variant="a", unlike={"u"})
        clock.advance(60)
        second = exposed(gx, "on-users", variant="b", unlike={first, "u"})
        with gx.unit(first):
            gx.track("answer_accepted")
        clock.advance(60)
        # The phone becomes an account, which another account absorbs; the tablet signs in to that one.
        gx.alias(first, "account")
        gx.alias("account", "person")
        gx.alias(second, "person")
        for unit in (first, second, "account", "person"):
            with gx.unit(unit):
                gx.track("answer_accepted")
        with gx.unit(second), gx.call(model="in-house"):
            token = gx.resume_token()
        gx.resume(token).track("answer_accepted")
    assert gx.flush(30)
    (metric,) = report_of("on-users")["metrics"]
    assert [(arm["variant"], arm["n_units"], arm["total"]) for arm in metric["arms"]] == [("a", 1, 6.0), ("b", 0, 0.0)]


def exposed(gx, key, variant, unlike):
    """Exposes the first unit that gets this variant."""
    for number in range(100):
        unit = f"device-{number}"
        with gx.unit(unit):
            if unit not in unlike and gx.peek(key).key == variant:
                gx.variant(key)
                return unit
    raise AssertionError(f"nobody gets {variant}")


FAITHFUL = {
    "key": "faithful",
    "kind": "mean",
    "numerator": {"source": "call", "field": "score:faithfulness", "aggregate": "mean"},
}
RETRIEVED = {"key": "retrieved", "kind": "mean", "numerator": FAITHFUL["numerator"] | {"field": "retrieval_mean"}}
LIKED = {"key": "liked", "kind": "mean", "numerator": {"event": "feedback", "aggregate": "mean"}}


def test_what_evaluators_and_people_say_of_calls_are_metrics(client, start, report_of):
    start("on-users", LIKED, FAITHFUL, RETRIEVED)
    gx = client()
    with testing.frozen_clock(LONG_AGO), gx.unit("user-1"):
        gx.variant("on-users")
        for score, thumb in ((0.5, "up"), (1.0, "down"), (0.75, "up")):
            with gx.call(model="in-house") as call:
                call.retrieval(scores=[0.25, score], used=[0])
                call.score("faithfulness", score)
            gx.feedback(thumb)
        gx.resume(gx.resume_token()).feedback(0.5)
    assert gx.flush(30)
    found = totals(report_of("on-users"))
    assert found == {"liked": (1, 0.375), "faithful": (1, 0.75), "retrieved": (1, 0.5)}


def test_prices_in_an_applied_file_are_the_projects(genux_service, tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text("prices: [{model: own-painter, usd_per_image: 0.04, since: 2026-01-01}]")
    genux_service.apply(path)
    (rule,) = genux_service.request("GET", "/v1/prices")["prices"]
    assert (rule["model"], rule["usd_per_image"], rule["since"]) == ("own-painter", "0.04", "2026-01-01")


def test_the_projects_own_prices_reach_the_sdk_and_the_report(client, start, report_of, administer):
    administer("PUT", "/v1/prices", {"prices": [{"model": "own-painter", "usd_per_image": "0.04"}]})
    start("on-users", CALLS)
    gx = client()
    with testing.frozen_clock(LONG_AGO), gx.unit("user-1"):
        gx.variant("on-users")
        with gx.call(model="own-painter", operation="images") as call:
            call.usage(images=3)
        with gx.call(model="own-painter", operation="images"):
            pass
    assert gx.flush(30)
    arms = [arm for arm in report_of("on-users")["arms"] if arm["n_calls"]]
    assert [(arm["n_calls"], arm["cost_usd"], arm["n_cost_unknown"]) for arm in arms] == [(2, 0.12, 1)]
    assert arms[0]["cost_unknown_reasons"] == {"no_usage": 1}
