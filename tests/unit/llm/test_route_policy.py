"""Where a request goes and when, with a clock that only the test moves."""

import os
import signal
import threading
from collections import Counter

import pytest

from genux.errors import ConfigError, UsageError
from genux.llm import Route, Routes, Target
from genux.llm._circuit import Window
from genux.llm._target import key_id_of
from genux.llm._trip import Ticket, Wait
from genux.llm._verdict import Verdict

LIMITED = Verdict("rate_limited", "cool_key")
FALTER = Verdict("server_error", "falter")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def route_of(clock, *targets, **settings):
    route = Route("r", list(targets) or [Target(key="a"), Target(key="b")], **settings)
    route.clock = clock
    return route


def plan(route, *arms, timeout_seconds=600.0, **options):
    return route.plan(frozenset(arms), timeout_seconds, **options)


def goes_to(route, trip=None):
    """The target that a request would go to now; it goes and is answered."""
    taken = route.take(trip or plan(route))
    if not isinstance(taken, Ticket):
        return taken
    route.arrived(taken)
    route.give_back(taken, 0)
    return route.name_of(taken.spot)


def fails(route, verdict, trip=None):
    """A request goes out and fails; answers the target's name."""
    trip = trip or plan(route)
    ticket = route.take(trip)
    route.failed(ticket, trip, verdict, "m")
    route.give_back(ticket, 0)
    return route.name_of(ticket.spot)


def state(route, position=0):
    target = route.status().targets[position]
    return target.state, round(target.ready_in_seconds, 3)


def test_targets_are_tried_in_the_order_written(clock):
    route = route_of(clock)
    assert [goes_to(route) for _ in range(5)] == ["target-1"] * 5


def test_a_limited_key_is_left_alone_for_exactly_as_long_as_was_asked(clock):
    route = route_of(clock)
    fails(route, LIMITED._replace(retry_after_seconds=30.0))
    assert state(route) == ("cooling", 30.0)
    clock.now += 29.999
    assert goes_to(route) == "target-2"
    clock.now += 0.001
    assert goes_to(route) == "target-1"


def test_without_a_time_cooldowns_double_up_to_the_cap_and_begin_anew_after_an_answer(clock):
    route = route_of(clock, Target(key="a"), cooldown_seconds=1.0, max_cooldown_seconds=8.0)
    seconds = []
    for _ in range(6):
        fails(route, LIMITED)
        seconds.append(state(route)[1])
        clock.now += seconds[-1] + 0.001
    for got, least in zip(seconds, [1, 2, 4, 8, 8, 8], strict=True):
        assert least <= got <= least * 1.25 + 0.001
    assert goes_to(route) == "target-1"
    fails(route, LIMITED)
    assert state(route)[1] <= 1.25


def test_many_requests_in_flight_that_meet_one_limit_are_one_episode(clock):
    route = route_of(clock, Target(key="a"))
    trips = [plan(route) for _ in range(20)]
    tickets = [route.take(trip) for trip in trips]
    clock.now += 0.1
    for trip, ticket in zip(trips, tickets, strict=True):
        route.failed(ticket, trip, LIMITED, "m")
        clock.now += 0.001
    assert state(route)[1] <= 1.25
    assert route.status().targets[0].rate_limited == 20


def test_one_server_error_in_a_while_opens_no_circuit_three_in_a_row_do(clock):
    route = route_of(clock)
    for _ in range(10):
        assert fails(route, FALTER) == "target-1"
        assert goes_to(route) == "target-1"
    for _ in range(3):
        assert state(route) == ("ready", 0.0)
        assert fails(route, FALTER) == "target-1"
    assert state(route)[0] == "cooling"
    assert goes_to(route) == "target-2"


def test_the_request_that_failed_goes_elsewhere_at_once_and_comes_back_after_a_pause(clock):
    route = route_of(clock)
    trip = plan(route)
    assert fails(route, FALTER, trip) == "target-1"
    assert fails(route, FALTER, trip) == "target-2"
    wait = route.take(trip)
    assert isinstance(wait, Wait)
    assert 1.0 <= wait.seconds <= 1.25
    route.stop_waiting(wait)
    clock.now += 1.25
    assert goes_to(route, trip) == "target-1"


def test_after_a_cooldown_one_request_goes_first_to_see(clock):
    route = route_of(clock)
    fails(route, LIMITED._replace(retry_after_seconds=1.0))
    clock.now += 1.0
    trip = plan(route)
    first = route.take(trip)
    assert route.name_of(first.spot) == "target-1"
    assert goes_to(route) == "target-2"
    assert state(route) == ("busy", 0.0)
    route.arrived(first)
    assert goes_to(route) == "target-1"


def test_a_probing_request_that_is_cancelled_lets_the_next_one_try(clock):
    route = route_of(clock)
    fails(route, LIMITED._replace(retry_after_seconds=1.0))
    clock.now += 1.0
    route.give_back(route.take(plan(route)), 0)
    assert goes_to(route) == "target-1"


def test_a_key_that_cools_rests_for_its_other_models_while_another_key_is_ready_sooner(clock):
    big, small, other = Target(key="a"), Target(key="a", model="small"), Target(key="b", max_concurrent=1)
    route = route_of(clock, big, small, other)
    fails(route, LIMITED._replace(retry_after_seconds=30.0))
    assert goes_to(route) == "target-3"


def test_with_one_key_alone_its_other_model_is_asked(clock):
    route = route_of(clock, Target(key="a"), Target(key="a", model="small"))
    trip = plan(route)
    fails(route, LIMITED._replace(retry_after_seconds=30.0), trip)
    assert goes_to(route, trip) == "target-2"
    ticket = route.take(plan(route))
    assert trip.fallback_reason(ticket.spot, "big") == "rate_limited"


def test_a_refused_key_is_out_for_all_its_targets_and_returns_much_later(clock):
    route = route_of(clock, Target(key="a"), Target(key="a", model="small"), Target(key="b", model="other"))
    fails(route, Verdict("unauthorized", "key_out"))
    assert goes_to(route) == "target-3"
    clock.now += 900
    assert goes_to(route) == "target-1"


def test_a_forbidden_model_leaves_the_keys_other_models(clock):
    route = route_of(clock, Target(key="a"), Target(key="a", model="small"))
    fails(route, Verdict("forbidden", "target_out"))
    assert goes_to(route) == "target-2"


def test_a_key_from_a_function_is_asked_for_again_soon(clock):
    route = route_of(clock, Target(key=lambda: "a"))
    fails(route, Verdict("unauthorized", "key_out"))
    assert state(route) == ("out", 1.0)


def test_a_provider_that_asks_to_be_left_alone_is_not_asked_by_this_request_again(clock):
    route = route_of(clock)
    trip = plan(route)
    fails(route, FALTER._replace(final_here=True), trip)
    fails(route, FALTER._replace(final_here=True), trip)
    assert route.take(trip) is None


def test_neighbours_share_the_load_by_weight_and_the_rest_waits_in_order(clock):
    targets = [Target(key="a", weight=3), Target(key="b", weight=1), Target(key="c")]
    route = route_of(clock, *targets)
    counts = Counter(goes_to(route) for _ in range(4_000))
    assert set(counts) == {"target-1", "target-2"}
    # 5 standard errors of a binomial share of 3/4 in 4,000 draws
    assert abs(counts["target-1"] / 4_000 - 0.75) < 5 * (0.75 * 0.25 / 4_000) ** 0.5
    trip = plan(route)
    assert {fails(route, FALTER, trip), fails(route, FALTER, trip)} == {"target-1", "target-2"}
    assert goes_to(route, trip) == "target-3"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e12])
def test_only_the_proportion_of_weights_counts(clock, scale):
    route = route_of(clock, Target(key="a", weight=3 * scale), Target(key="b", weight=scale))
    share = Counter(goes_to(route) for _ in range(4_000))["target-1"] / 4_000
    assert abs(share - 0.75) < 5 * (0.75 * 0.25 / 4_000) ** 0.5


def test_an_arm_goes_to_its_own_targets_first_then_to_the_shared_and_never_to_anothers(clock):
    route = route_of(clock, Target(key="s"), Target(key="a", arms=("e:one",)), Target(key="b", arms=("e:two", "f:x")))
    for arms, expected in [
        (("e:one",), ["target-2", "target-1"]),
        (("e:two",), ["target-3", "target-1"]),
        (("e:three", "f:x"), ["target-3", "target-1"]),
        (("e:three",), ["target-1"]),
        ((), ["target-1"]),
    ]:
        assert [route.name_of(spot) for spot in plan(route, *arms).lineup] == expected


def test_a_slot_that_comes_free_goes_to_who_waits_longest(clock):
    route = route_of(clock, Target(key="a", max_concurrent=1))
    ticket = route.take(plan(route))
    first, second = route.take(plan(route)), route.take(plan(route))
    assert (route.status().waiting, state(route)[0]) == (2, "busy")
    route.give_back(ticket, 0)
    assert first.handed.done()
    assert not second.handed.done()
    assert route.stop_waiting(second) is None
    route.give_back(route.stop_waiting(first), 0)
    assert (route.status().waiting, route.status().targets[0].in_flight) == (0, 0)


def test_a_slot_given_back_by_a_finaliser_in_the_middle_of_our_own_work_is_not_lost(clock):
    route = route_of(clock, Target(key="a", max_concurrent=1))
    ticket = route.take(plan(route))
    with route._lock:
        route.give_back(ticket, 0)
    assert route.status().targets[0].in_flight == 1
    assert route.status().targets[0].in_flight == 0
    assert goes_to(route) == "target-1"


def test_slots_add_up_when_many_threads_take_and_give_back():
    route = Route("r", [Target(key="a", max_concurrent=3), Target(key="b", max_concurrent=2)])
    most = []

    def work():
        for _ in range(200):
            trip = plan(route)
            taken = route.take(trip)
            if isinstance(taken, Wait):
                taken = taken.handed.result(10)
            most.append(sum(target.in_flight for target in route.status().targets))
            route.arrived(taken)
            route.give_back(taken, 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = route.status()
    assert max(most) <= 5
    assert [target.in_flight for target in status.targets] == [0, 0]
    assert sum(target.ok for target in status.targets) == 1_600
    assert status.waiting == 0


def test_requests_and_tokens_a_minute_are_budgets(clock):
    route = route_of(clock, Target(key="a", requests_per_minute=3), Target(key="b", tokens_per_minute=100))
    assert [goes_to(route) for _ in range(3)] == ["target-1"] * 3
    trip = plan(route)
    ticket = route.take(trip)
    assert route.name_of(ticket.spot) == "target-2"
    route.arrived(ticket)
    route.give_back(ticket, 250)
    clock.now += 59.9
    wait = route.take(plan(route))
    assert wait.seconds == pytest.approx(0.1)
    route.stop_waiting(wait)
    clock.now += 0.11
    assert goes_to(route) == "target-1"


def test_no_minute_ever_holds_more_than_the_budget():
    window = Window(5)
    used = []
    now = 0.0
    while len(used) < 30:
        at = window.ready_at(now)
        if at > now:
            now = at
            continue
        window.add(now, 1)
        used.append(now)
        now += 7.0
    assert all(sum(start <= at < start + 60 for at in used) <= 5 for start in used)
    assert used[-1] < 60 * 6


def test_what_cannot_be_in_time_is_not_waited_for(clock):
    route = route_of(clock, Target(key="a"), total_seconds=5.0)
    trip = plan(route)
    fails(route, LIMITED._replace(retry_after_seconds=30.0), trip)
    assert route.take(trip) is None
    assert route.why_not(trip)[0] == "rate_limited"
    assert route.why_not(trip)[2] == pytest.approx(30)


def test_without_a_budget_a_request_may_take_as_long_as_openais_own_three_attempts(clock):
    route = route_of(clock)
    assert plan(route, timeout_seconds=60.0).deadline == clock.now + 180
    assert plan(route_of(clock, total_seconds=5.0), timeout_seconds=60.0).deadline == clock.now + 5


def test_an_answer_from_another_model_is_a_fallback_and_one_from_another_key_is_not(clock):
    targets = [
        Target(key="a", weight=1),
        Target(key="b", weight=1, model="big"),
        Target(key="c"),
        Target(key="d", model="small"),
        Target(key="e", model="my-big-deployment", fallback=False),
    ]
    route = route_of(clock, *targets)
    trip = plan(route)
    trip.detour = "server_error"
    reasons = {route.name_of(spot): trip.fallback_reason(spot, "mini") for spot in trip.lineup}
    assert reasons == {"target-1": "", "target-2": "", "target-3": "", "target-4": "server_error", "target-5": ""}


def test_a_first_choice_that_is_not_even_asked_is_the_reason_too(clock):
    route = route_of(clock, Target(key="a", max_concurrent=1), Target(key="b", model="small"))
    held = route.take(plan(route))
    trip = plan(route)
    ticket = route.take(trip)
    assert trip.fallback_reason(ticket.spot, "big") == "busy"
    route.give_back(held, 0)


def test_the_reason_is_the_last_failure_of_an_intended_model(clock):
    targets = [Target(key="a"), Target(key="b"), Target(key="c", model="small"), Target(key="d", model="smaller")]
    route = route_of(clock, *targets)
    fails(route, LIMITED._replace(retry_after_seconds=30.0))
    trip = plan(route)
    assert [fails(route, verdict, trip) for verdict in (FALTER, LIMITED)] == ["target-2", "target-3"]
    ticket = route.take(trip)
    assert (route.name_of(ticket.spot), trip.fallback_reason(ticket.spot, "big")) == ("target-4", "server_error")


def test_routes_of_one_client_share_what_they_know_of_a_key(clock):
    routes = Routes(lambda *_: None)
    one = routes("one", [Target(key="a"), Target(key="b")])
    two = routes("two", [Target(key="a", model="small"), Target(key="b")])
    one.clock = two.clock = clock
    fails(one, LIMITED._replace(retry_after_seconds=30.0))
    assert goes_to(two) == "target-2"
    assert set(routes.status()) == {"one", "two"}
    assert routes.status()["two"].targets[0].state == "cooling"


def test_what_no_target_names_a_key_for_is_known_to_its_own_route_only(clock):
    routes = Routes(lambda *_: None)
    one, two = routes("one", [Target(), Target(model="small")]), routes("two", [Target()])
    one.clock = two.clock = clock
    fails(one, Verdict("unauthorized", "key_out"))
    assert [target.state for target in one.status().targets] == ["out", "out"]
    assert goes_to(two) == "target-1"


def test_a_key_that_is_out_is_said_when_nothing_is_locked(clock):
    route = route_of(clock)
    heard = []
    route.adopt({}, lambda _topic, message: heard.append((message, route.status().targets[0].state)))
    fails(route, Verdict("unauthorized", "key_out"))
    assert heard == [("route `r`: target `target-1` is out for 900 s (unauthorized); others serve meanwhile", "out")]


def test_each_target_is_asked_once_and_two_more_attempts_are_made(clock):
    assert [plan(route_of(clock, *[Target(key=f"{n}") for n in range(size)])).max_attempts for size in (1, 3)] == [3, 5]
    assert plan(route_of(clock, max_attempts=4)).max_attempts == 4


def test_a_route_of_no_client_is_usable_in_a_child_forked_while_it_was_locked(clock):
    route = route_of(clock, Target(key="a", max_concurrent=1))
    route.take(plan(route))
    with route._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(route.status().targets[0].in_flight)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_target_for_a_request_is_said(clock):
    with pytest.raises(UsageError, match="no target"):
        plan(route_of(clock), serves=lambda _: False)


def test_neither_a_target_nor_its_key_id_gives_the_key_away():
    target = Target(key="sk-very-secret")
    assert "secret" not in repr(target)
    assert key_id_of("sk-very-secret") == "57b99e3bb420"
    assert key_id_of("sk-1") != key_id_of("sk-2")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target(max_concurrent=-1),
        lambda: Target(weight=-0.1),
        lambda: Target(weight=float("nan")),
        lambda: Target(key=""),
        lambda: Target(key=5),
        lambda: Target(key="a", base_url="api.example.com/v1"),
        lambda: Target(base_url="https://api.example.com/v1"),
        lambda: Target(client="an address"),
        lambda: Target(arms="e:one"),
        lambda: Target(arms=("one",)),
        lambda: Route("r", []),
        lambda: Route("r", Target(key="a")),
        lambda: Route("r", ["sk-a"]),
        lambda: Route("r", [Target(name="x"), Target(name="x")]),
        lambda: Route("r", [Target()], total_seconds=0),
        lambda: Route("r", [Target()], max_attempts=0),
        lambda: Route("r", [Target()], cooldown_seconds=0),
    ],
)
def test_what_could_only_be_a_mistake_is_refused_at_once(make):
    with pytest.raises(ConfigError):
        make()
