"""Quantiles and durations from the inbox's JSON through the lake to facts and report."""

import datetime as dt
import itertools

import msgspec
import pytest

from genux import wire
from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.engine import compute_facts
from genux_server.lake import Lake
from genux_server.model import Epoch, Facts, IngestedBatch
from genux_server.stats import build_report

AT = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
EXPERIMENT = ExperimentSpec(key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")])
LATENCY = MetricSpec(
    key="latency",
    kind="quantile",
    quantile=0.5,
    numerator=Measure(source="call", field="latency_seconds"),
    window_seconds=3_600,
)
TTFT = MetricSpec(key="ttft", kind="quantile", numerator=Measure(source="call", field="ttft_seconds"))
PROMPT = MetricSpec(
    key="prompt", kind="duration", numerator=Measure(event="prompt_sent"), direction="decrease", window_seconds=60
)
ids = (f"{number:032d}" for number in itertools.count())


@pytest.fixture
def facts_of(tmp_path):
    lake = Lake(tmp_path / "lake")

    def facts_of(*events, metrics, as_of=AT + dt.timedelta(days=30), **options):
        batch = IngestedBatch(
            project_id=1, environment_id=1, batch_id="b", received_at=AT, events=msgspec.json.encode(list(events))
        )
        facts = compute_facts(
            lake.files(lake.append(1, [batch])),
            project_id=1,
            environment_id=1,
            experiment=EXPERIMENT,
            metrics=list(metrics),
            epochs=[Epoch(number=1, allocation=(0.5, 0.5), started_at=AT)],
            as_of=as_of,
            **options,
        )
        assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts
        return facts

    return facts_of


def seen(unit, variant="a", at=AT):
    return wire.Exposure(event_id=next(ids), at=at, unit_id=unit, experiment="e", variant=variant)


def prompted(unit, after, at=AT):
    return wire.Track(event_id=next(ids), at=at + after, unit_id=unit, name="prompt_sent")


def called(unit, latency, after=SECOND, at=AT, **fields):
    return wire.Call(
        event_id=next(ids), call_id=next(ids), at=at + after, unit_id=unit, latency_seconds=latency, **fields
    )


def test_a_quantile_takes_every_call_of_a_matured_unit_within_its_window(facts_of):
    late = AT + dt.timedelta(days=29, hours=23, minutes=30)
    facts = facts_of(
        *(seen(unit) for unit in ("u", "v", "idle")),
        seen("open", at=late),
        called("u", 1.0),
        called("u", 2.0, status="error"),
        called("v", 4.0),
        called("v", 99.0, after=dt.timedelta(hours=1)),
        called("v", 99.0, after=-SECOND),
        called("open", 99.0, at=late),
        metrics=[LATENCY],
    )
    old, new = facts.cells
    assert (old.moments.n, old.moments.mean[0], new.pending) == (3, 1.0, 1)
    assert (old.values.n_units, old.values.lows, old.values.counts) == (2, [1.0, 2.0, 4.0], [1, 1, 1])
    # The unit with two calls: 1 + 3 for their ranks squared, twice 2 for their number; the other adds 1 to each.
    assert (old.values.squares, old.values.crosses, old.values.sum_squared_events) == ([1, 3, 1], [2, 2, 1], 5)
    assert new.values is None


def test_a_call_without_the_value_is_not_in_the_quantile(facts_of):
    facts = facts_of(seen("u"), called("u", 1.0), called("u", 1.0, ttft_seconds=0.25), metrics=[TTFT])
    assert (facts.cells[0].values.lows, facts.cells[0].values.counts) == ([0.25], [1])


def test_negative_huge_and_tiny_values_have_their_buckets_in_order(facts_of):
    metric = MetricSpec(key="m", kind="quantile", numerator=Measure(event="scored"))
    values = [0.0, -3.0, 1e300, -1e300, 1e-300, 2.0, -1e-12]
    facts = facts_of(
        seen("u"),
        *(wire.Track(event_id=next(ids), at=AT + SECOND, unit_id="u", name="scored", value=v) for v in values),
        metrics=[metric],
    )
    summary = facts.cells[0].values
    assert summary.lows == [-1e300, -3.0, -1e-12, 2.0, 1e300]
    assert summary.counts == [1, 1, 3, 1, 1]
    assert summary.buckets == sorted(summary.buckets)


def test_who_has_not_got_there_is_censored_where_they_were_last_seen(facts_of):
    facts = facts_of(
        *(seen(unit) for unit in ("quick", "never", "late")),
        seen("new", at=AT + 80 * SECOND),
        prompted("quick", 5 * SECOND),
        prompted("quick", 2 * SECOND),
        prompted("late", 60 * SECOND),
        metrics=[PROMPT],
        as_of=AT + 100 * SECOND,
        segments=["country"],
    )
    (cell,) = facts.cells
    assert cell.durations.times == [pytest.approx(2.0, rel=0.003), pytest.approx(20.0, rel=0.003), 60.0]
    assert cell.durations.events == [1, 0, 0]
    assert cell.durations.censored == [0, 1, 2]
    assert (cell.moments.n, cell.pending) == (3, 1)


def test_an_empty_lake_has_a_report_that_says_so(facts_of):
    report = build_report(facts_of(metrics=[LATENCY, PROMPT]), generated_at=AT)
    assert report.verdict == "collecting"
    assert all(c.not_computable.code == "too_few_units" for m in report.metrics for c in m.comparisons)


def test_a_blank_page_that_holds_people_up_shows_in_the_report(facts_of):
    events = []
    for number in range(120):
        variant, pace = ("a", 4.0) if number % 2 else ("b", 1.0)
        unit = f"u{number}"
        after = pace * (1 + number % 11) * SECOND
        events += [seen(unit, variant), prompted(unit, after), called(unit, pace * (1 + number % 7), after)]
    report = build_report(facts_of(*events, metrics=[PROMPT, LATENCY]), generated_at=AT)
    prompt, latency = (metric.comparisons[-1] for metric in report.metrics)
    assert prompt.effect == pytest.approx(-3.0 * 6.0, rel=0.05)
    assert (prompt.method, prompt.beats_control) == ("restricted_mean", True)
    assert latency.effect == pytest.approx(-3.0 * 4.0, rel=0.1)
    assert latency.effect_ci_upper < 0
