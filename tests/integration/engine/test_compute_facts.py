"""The rules of the analysis, one at a time, from the inbox's JSON through the lake to the facts."""

import datetime as dt
import itertools

import msgspec
import pytest

from genux import wire
from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.engine import compute_facts
from genux_server.lake import Lake
from genux_server.model import Epoch, IngestedBatch

AT = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
WINDOW = dt.timedelta(hours=1)
EXPERIMENT = ExperimentSpec(key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")])
COUNT_ACCEPTED = Measure(event="answer_accepted", aggregate="count")
ACCEPTED = MetricSpec(key="accepted", numerator=Measure(event="answer_accepted"), window_seconds=3_600)


@pytest.fixture
def facts_of(tmp_path):
    lake = Lake(tmp_path / "lake")
    chunks = itertools.count(1)

    def facts_of(*events, metrics=(ACCEPTED,), as_of=AT + 30 * DAY, experiment=EXPERIMENT, **options):
        batch = IngestedBatch(
            project_id=1, environment_id=1, batch_id="b", received_at=AT, events=msgspec.json.encode(list(events))
        )
        return compute_facts(
            lake.files(lake.append(next(chunks), [batch])),
            project_id=1,
            environment_id=1,
            experiment=experiment,
            metrics=list(metrics),
            epochs=[Epoch(number=1, allocation=(0.5, 0.5), started_at=AT)],
            as_of=as_of,
            **options,
        )

    return facts_of


ids = (f"{number:032d}" for number in itertools.count())


def seen(unit, variant="a", at=AT, **fields):
    return wire.Exposure(**{"event_id": next(ids)} | fields, at=at, unit_id=unit, experiment="e", variant=variant)


def did(unit="", at=AT, name="answer_accepted", **fields):
    return wire.Track(event_id=next(ids), at=at, unit_id=unit, name=name, **fields)


def called(unit, at=AT, **fields):
    return wire.Call(**{"event_id": next(ids), "call_id": next(ids)} | fields, at=at, unit_id=unit, latency_seconds=2.0)


def totals(facts, metric="accepted"):
    sums = {}
    for cell in facts.cells:
        if cell.metric == metric and not cell.segment:
            n, total = sums.get(cell.variant, (0, 0.0))
            sums[cell.variant] = (n + cell.moments.n, round(total + cell.moments.n * cell.moments.mean[0], 9))
    return sums


def test_what_happens_in_a_unit_inside_another_counts_for_both_kinds(facts_of):
    inside = {"unit_kind": "document", "units": {"user": "u1", 'a "kind"': "x"}}
    exposed = [seen("u1"), seen("d1", unit_kind="document"), seen("x", unit_kind='a "kind"')]
    call = called("d1", **inside)
    done = [did("d1", **inside), call, did(call_id=call.call_id), did("d2", unit_kind="document", units={"user": "u2"})]
    for kind in ("user", "document", 'a "kind"'):
        experiment = msgspec.structs.replace(EXPERIMENT, unit_kind=kind)
        outcomes = msgspec.structs.replace(ACCEPTED, kind="count", numerator=COUNT_ACCEPTED)
        facts = facts_of(*exposed, *done, metrics=[outcomes], experiment=experiment)
        assert totals(facts) == {"a": (1, 2.0)}, kind
        assert (facts.calls[0].n_calls, facts.calls[0].n_units) == (1, 1)
        exposed = done = []


def test_an_outcome_resumed_from_an_exposure_counts_for_the_unit_around_it(facts_of):
    exposure = seen("d1", unit_kind="document", units={"user": "u1"})
    facts = facts_of(seen("u1"), exposure, did(exposure_id=exposure.event_id))
    assert totals(facts) == {"a": (1, 1.0)}


@pytest.mark.parametrize("name", ["images", "audio_seconds", "characters"])
def test_a_metric_folds_what_calls_used_beside_tokens(facts_of, name):
    used = MetricSpec(
        key="used", kind="mean", numerator=Measure(source="call", field=name, aggregate="sum"), window_seconds=3_600
    )
    calls = [called("u", amounts=wire.Amounts(images=2, audio_seconds=2, characters=2)) for _ in range(2)]
    assert totals(facts_of(seen("u"), *calls, called("u"), metrics=[used]), "used") == {"a": (1, 4.0)}


RETRIEVED = wire.Retrieval(k=4, n_used=2, score_min=0.25, score_mean=0.5, score_max=0.75)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retrieval_k", 4),
        ("retrieval_used", 2),
        ("retrieval_min", 0.25),
        ("retrieval_mean", 0.5),
        ("retrieval_max", 0.75),
        ("score:faith.ful", 0.5),
        ('score:a "quote"', -3),
        ("score:nobody", 0),
    ],
)
def test_a_metric_averages_what_is_known_of_retrieval_and_what_evaluators_said(facts_of, field, value):
    metric = MetricSpec(
        key="m", kind="mean", numerator=Measure(source="call", field=field, aggregate="mean"), window_seconds=3_600
    )
    scored = [{"faith.ful": 0.25, 'a "quote"': -3.0}, {"faith.ful": 0.75}]
    calls = [called("u", retrieval=RETRIEVED, scores=scores) for scores in scored]
    assert totals(facts_of(seen("u"), *calls, called("u"), metrics=[metric]), "m") == {"a": (1, value)}
    quantile = msgspec.structs.replace(metric, kind="quantile")
    values = facts_of(metrics=[quantile]).cells[0].values
    assert (values is None) == (field == "score:nobody")


def test_an_empty_lake_has_empty_facts(facts_of):
    facts = facts_of(segments=["country"])
    assert (facts.cells, facts.arm_counts, facts.funnel, facts.outliers) == ([], [], [], [])
    assert facts.multi_variant_units == {"a": 0, "b": 0}
    assert [(c.variant, c.n_calls, c.latency_seconds.p50) for c in facts.calls] == [("a", 0, None), ("b", 0, None)]
    assert facts.lake_version == "c1-e-1-v-1-k-1"


def test_an_outcome_counts_from_the_exposure_until_just_before_the_window_closes(facts_of):
    us = dt.timedelta(microseconds=1)
    facts = facts_of(
        *(seen(unit) for unit in ("before", "at", "last", "after")),
        did("before", AT - us),
        did("at", AT),
        did("last", AT + WINDOW - us),
        did("after", AT + WINDOW),
    )
    assert totals(facts) == {"a": (4, 2)}


def test_a_unit_counts_from_the_moment_its_window_closes_and_is_pending_until_then(facts_of):
    events = [seen("u"), did("u")]
    open_still = facts_of(*events, as_of=AT + WINDOW - dt.timedelta(microseconds=1))
    assert [(c.moments.n, c.pending) for c in open_still.cells] == [(0, 1)]
    assert [(c.moments.n, c.pending) for c in facts_of(as_of=AT + WINDOW).cells] == [(1, 0)]


def test_a_unit_in_two_variants_is_left_out_of_everything_and_counted(facts_of):
    facts = facts_of(seen("u", "b", at=AT + DAY), seen("u", "a"), did("u"), called("u"), seen("v", "b"))
    assert facts.multi_variant_units == {"a": 1, "b": 0}
    assert totals(facts) == {"b": (1, 0)}
    assert [c.n_calls for c in facts.calls] == [0, 0]


def test_a_visitor_who_signs_in_is_one_unit_with_the_variant_it_saw_first(facts_of):
    facts = facts_of(
        seen("anonymous", "a"),
        wire.Alias(event_id=next(ids), at=AT + DAY, unit_id="anonymous", known_id="known"),
        seen("known", "b", at=AT + DAY),
        did("known", at=AT + WINDOW / 2),
    )
    assert totals(facts) == {"a": (1, 1)}
    assert facts.multi_variant_units == {"a": 0, "b": 0}


def recognised(*names):
    """Each name turns out to be the next."""
    times = (AT + DAY + minute * dt.timedelta(minutes=1) for minute in itertools.count())
    return [
        wire.Alias(event_id=next(ids), at=next(times), unit_id=name, known_id=known)
        for name, known in itertools.pairwise(names)
    ]


@pytest.mark.parametrize(
    "names",
    ["xyx", "yxy", "xyzx", "zyxwvutz", "wxyx", "xyzwvutsr"],
    ids=["two", "two, the other way", "three", "seven", "one beside a circle", "a chain of eight steps"],
)
def test_aliases_that_go_in_a_circle_or_in_a_chain_are_one_unit(facts_of, names):
    everyone = sorted(set(names), key=names.index)
    later = (AT + minute * dt.timedelta(minutes=1) for minute in itertools.count())
    facts = facts_of(
        *(seen(name, "b" if number else "a", at=next(later)) for number, name in enumerate(everyone)),
        *(did(name, at=AT + WINDOW / 2) for name in everyone),
        *recognised(*names),
        metrics=[MetricSpec(key="accepted", kind="count", numerator=COUNT_ACCEPTED, window_seconds=3_600)],
    )
    assert totals(facts) == {"a": (1, len(everyone))}
    assert facts.multi_variant_units == {"a": 0, "b": 0}


def test_a_resumed_outcome_finds_its_unit_through_the_call_or_the_exposure(facts_of):
    exposure, call = seen("u", "a"), called("v")
    facts = facts_of(
        exposure,
        seen("v", "b"),
        call,
        did(exposure_id=exposure.event_id),
        did(call_id=call.call_id),
        did(call_id="of nobody"),
    )
    assert totals(facts) == {"a": (1, 1), "b": (1, 1)}


def test_forced_and_unknown_exposures_are_counted_and_left_out(facts_of):
    facts = facts_of(
        seen("u", forced=True), seen("v", "gone"), seen("w", epoch=7), seen("x", unit_kind="session"), seen("y", "b")
    )
    counts = (facts.forced_exposures, facts.unknown_variant_exposures, facts.other_kind_exposures)
    assert counts == (1, 2, 1)
    assert totals(facts) == {"b": (1, 0)}


def test_events_that_arrive_twice_count_once(facts_of):
    events = [seen("u"), did("u", value=5.0, name="paid"), called("u", cost_usd="0.5")]
    paid = MetricSpec(key="paid", kind="mean", numerator=Measure(event="paid", aggregate="sum"), window_seconds=3_600)
    facts_of(*events, metrics=[paid])
    facts = facts_of(*events, metrics=[paid])
    assert facts.duplicate_events == 3
    assert totals(facts, "paid") == {"a": (1, 5.0)}
    assert facts.calls[0].cost_usd == 0.5


def test_one_cap_is_found_from_both_arms_together(facts_of):
    values = {"u1": 1.0, "u2": 2.0, "u3": 3.0, "u4": 4.0, "u5": 100.0}
    capped = MetricSpec(
        key="paid",
        kind="mean",
        numerator=Measure(event="paid", aggregate="sum"),
        cap_quantile=0.75,
        window_seconds=3_600,
    )
    facts = facts_of(
        *(seen(unit, "a" if unit < "u4" else "b") for unit in values),
        *(did(unit, name="paid", value=value) for unit, value in values.items()),
        metrics=[capped],
    )
    assert totals(facts, "paid") == {"a": (3, 6.0), "b": (2, 8.0)}
    assert {c.variant: c.capped for c in facts.cells} == {"a": 0, "b": 1}
    assert {o.variant: (o.unit_id, o.value, o.share) for o in facts.outliers} == {
        "a": ("u3", 3.0, 0.5),
        "b": ("u4", 4.0, 0.5),
    }


def test_the_cost_of_a_unit_goes_with_its_value(facts_of):
    facts = facts_of(
        seen("u"),
        seen("v"),
        did("u"),
        called("u", cost_usd="0.3"),
        called("u", cost_usd=None),
        called("v", cost_usd="0.1"),
    )
    (cell,) = facts.cells
    assert cell.moments.components == ("y", "c")
    assert cell.moments.mean == pytest.approx((0.5, 0.2))
    assert cell.moments.comoments == pytest.approx((0.5, 0.1, 0.02))
    assert (facts.calls[0].cost_usd, facts.calls[0].n_cost_unknown) == (pytest.approx(0.4), 1)


def test_segments_keep_the_fifty_most_frequent_values(facts_of):
    units = [("big", f"b{i}") for i in range(3)] + [(f"s{i:02d}", f"u{i}") for i in range(60)]
    facts = facts_of(*(seen(unit, attributes={"where": value}) for value, unit in units), segments=["where"])
    segments = {count.segment: count.n_units for count in facts.arm_counts if count.segment}
    assert len(segments) == 50
    assert segments["where=big"] == 3
    assert sorted(segments)[1:] == [f"where=s{i:02d}" for i in range(49)]


def test_another_project_or_environment_is_not_seen(facts_of, tmp_path):
    lake = Lake(tmp_path / "shared")
    batch = IngestedBatch(
        project_id=1, environment_id=2, batch_id="b", received_at=AT, events=msgspec.json.encode([seen("u")])
    )
    files = lake.files(lake.append(1, [batch, msgspec.structs.replace(batch, project_id=2, environment_id=1)]))
    facts = compute_facts(
        files, project_id=1, environment_id=1, experiment=EXPERIMENT, metrics=[ACCEPTED], epochs=[], as_of=AT
    )
    assert (facts.arm_counts, facts.duplicate_events) == ([], 0)
