"""Random histories through the engine and through a slow, obvious account of the same rules in plain Python."""

import datetime as dt
import itertools
import json
import math
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from genux import wire
from genux.specs import ExperimentSpec, Measure, MetricSpec, VariantSpec
from genux_server.engine import compute_facts
from genux_server.lake._rows import arrow_tables
from genux_server.model import Epoch, Facts, IngestedBatch, LakeFiles, LakeVersions
from genux_server.stats.quantile_summary import summarise_values

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VARIANTS = ("a", "b")
EXPERIMENT = ExperimentSpec(key="e", variants=[VariantSpec(key=key) for key in VARIANTS])
EPOCHS = [Epoch(number=n, allocation=(0.5, 0.5), started_at=START) for n in (1, 2)]
METRICS = [
    MetricSpec(key="accepted", numerator=Measure(event="answer_accepted"), window_seconds=86_400, covariate_days=2),
    MetricSpec(
        key="spent",
        kind="mean",
        numerator=Measure(event="purchase", aggregate="sum"),
        window_seconds=7_200,
        cap_quantile=0.75,
        covariate_days=1,
    ),
    MetricSpec(key="stars", kind="mean", numerator=Measure(event="feedback", field="st.ars", aggregate="mean")),
    MetricSpec(
        key="per_call",
        kind="ratio",
        numerator=Measure(event="purchase", aggregate="count"),
        denominator=Measure(source="call", aggregate="count"),
        covariate_days=3,
        cap_quantile=0.9,
    ),
    MetricSpec(key="slowest", kind="mean", numerator=Measure(source="call", field="latency_seconds", aggregate="max")),
    MetricSpec(key="faithful", kind="mean", numerator=Measure(source="call", field="score:faithful", aggregate="mean")),
    MetricSpec(
        key="came_back",
        kind="retention",
        numerator=Measure(event="purchase", after_seconds=3_600),
        window_seconds=10_800,
    ),
    MetricSpec(key="failed", numerator=Measure(source="call", field="errors", aggregate="sum")),
    MetricSpec(key="price", kind="quantile", quantile=0.5, numerator=Measure(event="purchase"), window_seconds=36_000),
    MetricSpec(key="rating", kind="quantile", numerator=Measure(event="feedback", field="st.ars")),
    MetricSpec(key="latency", kind="quantile", numerator=Measure(source="call", field="latency_seconds")),
    MetricSpec(key="to_purchase", kind="duration", numerator=Measure(event="purchase"), window_seconds=36_000),
    MetricSpec(
        key="to_second_hour_call",
        kind="duration",
        numerator=Measure(source="call", after_seconds=3_600),
        window_seconds=86_400,
    ),
]

# Whole hours and their neighbours, so that outcomes fall on both sides of the windows' edges and exactly on them.
TIMES = st.builds(
    lambda hours, us: START + hours * HOUR + dt.timedelta(microseconds=us),
    st.integers(0, 60),
    st.sampled_from([-1, 0, 0, 0, 1]),
)
UNITS = st.sampled_from(["u1", "u2", "u3", "u4", "u5", "anon1", "anon2"])
# Sums of quarters are exact, so that equal values stay equal whatever the order of addition.
QUARTERS = st.integers(-8, 40).map(lambda n: n / 4)
KINDS = st.sampled_from(["user"] * 6 + ["session"])
# What stands around the innermost unit; a user inside a user cannot be, and is not looked at.
AROUND = st.sampled_from([{}] * 4 + [{"user": "u1"}, {"user": "u2", "document": "d1"}, {"session": "u3"}])


def _exposures():
    return st.fixed_dictionaries(
        {
            "type": st.just("exposure"),
            "at": TIMES,
            "unit_id": UNITS,
            "unit_kind": KINDS,
            "units": AROUND,
            "experiment": st.sampled_from(["e", "e", "e", "e", "other"]),
            "variant": st.sampled_from(["a", "a", "a", "b", "b", "gone"]),
            "epoch": st.sampled_from([1, 1, 1, 2, 9]),
            "forced": st.sampled_from([False] * 9 + [True]),
            "attributes": st.sampled_from([{}, {"plan": "pro"}, {"plan": "free"}, {"plan": 3}, {"plan": True}]),
        }
    )


def _tracks():
    return st.fixed_dictionaries(
        {
            "type": st.just("event"),
            "at": TIMES,
            "unit_id": UNITS,
            "unit_kind": KINDS,
            "units": AROUND,
            "name": st.sampled_from(["answer_accepted", "purchase", "feedback", "page_view", "answer_seen"]),
            "value": QUARTERS,
            "properties": st.sampled_from(
                [{}, {"st.ars": 4}, {"st.ars": 1.5}, {"st.ars": "5"}, {"st.ars": None}, {"st": {"ars": 9}}]
            ),
            "through": st.sampled_from([None] * 6 + ["call", "exposure", "both", "nothing"]),
            "target": st.integers(0, 30),
        }
    )


def _calls():
    return st.fixed_dictionaries(
        {
            "type": st.just("call"),
            "at": TIMES,
            "unit_id": UNITS,
            "unit_kind": KINDS,
            "units": AROUND,
            "status": st.sampled_from(["ok", "ok", "ok", "error"]),
            "latency_seconds": st.integers(0, 20).map(lambda n: n / 4),
            "cost_usd": st.sampled_from([None, "0.25", "1.000000000001"]),
            "scores": st.sampled_from([{}, {"other": 1}, {"faithful": 0.25}, {"faithful": 0.75, "other": 1}]),
            "cost_reason": st.sampled_from(["", "no_usage", "unknown_model"]),
            "served_model": st.sampled_from(["", "m1", "m2"]),
            "http_status": st.sampled_from([200, 429]),
            "fallback": st.booleans(),
        }
    )


def _aliases():
    return st.fixed_dictionaries(
        {"type": st.just("alias"), "at": TIMES, "unit_id": UNITS, "unit_kind": KINDS, "known_id": UNITS}
    )


@st.composite
def histories(draw):
    """Chunks of events in the order in which they reached the lake: late, early and repeated ones among them."""
    drafts = draw(
        st.lists(st.one_of(_exposures(), _exposures(), _tracks(), _tracks(), _calls()), min_size=1, max_size=60)
    )
    drafts += draw(st.lists(_aliases(), max_size=3))
    drafts = draw(st.permutations(drafts))
    calls = [f"call-{i}" for i, draft in enumerate(drafts) if draft["type"] == "call"]
    exposures = [f"id-{i}" for i, draft in enumerate(drafts) if draft["type"] == "exposure"]
    events = []
    for i, draft in enumerate(drafts):
        event = dict(draft, event_id=f"id-{i}")
        through, target = event.pop("through", None), event.pop("target", 0)
        if event["type"] == "call":
            event["call_id"] = f"call-{i}"
        if through:
            event["unit_id"] = ""
            if through in {"call", "both"}:
                event["call_id"] = calls[target % len(calls)] if calls else "no-such-call"
            if through in {"exposure", "both"}:
                event["exposure_id"] = exposures[target % len(exposures)] if exposures else "no-such-exposure"
        events.append(event)
    for copy in draw(st.lists(st.integers(0, len(events) - 1), max_size=5)):
        events.insert(draw(st.integers(0, len(events))), dict(events[copy]))
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=2)))
    return [events[i:j] for i, j in itertools.pairwise([0, *cuts, len(events)])]


def facts_of(chunks, as_of) -> Facts:
    with tempfile.TemporaryDirectory() as folder:
        files = defaultdict(list)
        for number, events in enumerate(chunks, start=1):
            batch = IngestedBatch(
                project_id=1, environment_id=1, batch_id="b", received_at=START, events=msgspec.json.encode(events)
            )
            other = msgspec.structs.replace(batch, environment_id=2)
            for name, table in arrow_tables(number, [batch, other]).items():
                path = Path(folder) / f"{name}-{number}.parquet"
                pq.write_table(table, path)
                files[name].append(str(path))
        return compute_facts(
            LakeFiles(versions=LakeVersions(), **{name: tuple(paths) for name, paths in files.items()}),
            project_id=1,
            environment_id=1,
            experiment=EXPERIMENT,
            metrics=METRICS,
            epochs=EPOCHS,
            as_of=as_of,
            segments=["plan"],
        )


# ---- the reference -------------------------------------------------------------------------------------------------


class Reference:
    """The rules, one event at a time. `chunks` hold the events of one environment in the lake's order."""

    def __init__(self, chunks, as_of) -> None:
        self.as_of = as_of
        events = [dict(event, seq=seq) for seq, event in enumerate(itertools.chain(*chunks))]
        names = {"answer_accepted", "purchase", "feedback", *wire.SURFACE_EVENTS}
        self.every_exposure = [e for e in events if e["type"] == "exposure"]
        exposures, d1 = first_copies([e for e in self.every_exposure if e["experiment"] == "e"])
        tracks, d2 = first_copies(of_users(e for e in events if e["type"] == "event" and e["name"] in names))
        self.calls, d3 = first_copies(of_users(e for e in events if e["type"] == "call"))
        self.duplicates = d1 + d2 + d3
        self.known_as = {}
        for alias in sorted((e for e in events if e["type"] == "alias"), key=lambda e: (e["at"], e["seq"])):
            if alias["unit_kind"] == "user" and alias["unit_id"] != alias["known_id"]:
                self.known_as.setdefault(alias["unit_id"], alias["known_id"])
        self.outcomes = [dict(t, unit=self.canonical(owner)) for t in tracks if (owner := self.owner(t))]
        self.calls = [dict(c, unit=self.canonical(c["unit_id"])) for c in self.calls]
        self.done = defaultdict(list)
        for row in (*self.outcomes, *self.calls):
            self.done[row["unit"]].append(row)
        self._expose(exposures)

    def canonical(self, unit):
        passed = []
        while unit in self.known_as and unit not in passed:
            passed.append(unit)
            unit = self.known_as[unit]
        return min(passed[passed.index(unit) :]) if unit in passed else unit

    def owner(self, track):
        if track["unit_id"]:
            return track["unit_id"]
        if track.get("call_id"):
            return next((c["unit_id"] for c in self.calls if c["call_id"] == track["call_id"]), None)
        exposed = of_users(self.every_exposure)
        return next((e["unit_id"] for e in exposed if e["event_id"] == track.get("exposure_id")), None)

    def _expose(self, exposures) -> None:
        self.other_kind = sum(e["unit_kind"] != "user" for e in exposures)
        exposures = [e for e in exposures if e["unit_kind"] == "user"]
        self.forced = sum(e["forced"] for e in exposures)
        exposures = [e for e in exposures if not e["forced"]]
        known = [e for e in exposures if e["variant"] in VARIANTS and e["epoch"] in (1, 2)]
        self.unknown = len(exposures) - len(known)
        variants_of_id = defaultdict(set)
        for e in known:
            variants_of_id[e["unit_id"]].add(e["variant"])
        self.first = {}
        self.mixed = Counter(dict.fromkeys(VARIANTS, 0))
        bad = {self.canonical(unit_id) for unit_id, variants in variants_of_id.items() if len(variants) > 1}
        for e in sorted(known, key=lambda e: (e["at"], e["seq"])):
            self.first.setdefault(self.canonical(e["unit_id"]), e)
        for unit in bad:
            self.mixed[self.first.pop(unit)["variant"]] += 1

    def rows(self, measure, unit, start, end):
        done = [row for row in self.done[unit] if row["type"] == measure.source]
        named = [row for row in done if measure.source == "call" or row["name"] == measure.event]
        return [row for row in named if start <= row["at"] < end]

    def window(self, metric, unit):
        at = self.first[unit]["at"]
        return at + dt.timedelta(seconds=metric.numerator.after_seconds), at + dt.timedelta(
            seconds=metric.window_seconds
        )

    def event_values(self, metric, unit):
        """The values of a matured unit's events."""
        start, end = self.window(metric, unit)
        if end > self.as_of:
            return []
        found = [field(row, metric.numerator) for row in self.rows(metric.numerator, unit, start, end)]
        return [value for value in found if value is not None]

    def lasted(self, metric, unit):
        """Seconds to the unit's first event, or to where it was last seen without it, and which of the two."""
        exposed_at = self.first[unit]["at"]
        start, end = self.window(metric, unit)
        seen_until = min(end, self.as_of)
        times = [row["at"] for row in self.rows(metric.numerator, unit, start, seen_until)]
        return (min(times, default=seen_until) - exposed_at).total_seconds(), bool(times)

    def measure(self, measure, unit, start, end) -> float:
        rows = self.rows(measure, unit, start, end)
        if measure.aggregate == "any":
            return float(bool(rows))
        if measure.aggregate == "count":
            return float(len(rows))
        values = [value for row in rows if (value := field(row, measure)) is not None]
        if not values:
            return 0.0
        total = {"sum": sum, "mean": lambda v: sum(v) / len(v), "max": max}[measure.aggregate](values)
        return float(total)

    def values(self, metric):
        """Each exposed unit's components, in order, and whether its window has closed."""
        found = {}
        for unit, exposure in self.first.items():
            at = exposure["at"]
            end = at + dt.timedelta(seconds=metric.window_seconds)
            before = at - dt.timedelta(days=metric.covariate_days)
            after = at + dt.timedelta(seconds=metric.numerator.after_seconds)
            counted_as = {"quantile": "count", "duration": "any"}.get(metric.kind, metric.numerator.aggregate)
            numerator = msgspec.structs.replace(metric.numerator, aggregate=counted_as)
            vector = {"y": self.measure(numerator, unit, after, end)}
            if metric.kind == "ratio":
                vector["d"] = self.measure(metric.denominator, unit, at, end)
            if metric.covariate_days:
                vector["x"] = self.measure(metric.numerator, unit, before, at)
                if metric.kind == "ratio":
                    vector["w"] = self.measure(metric.denominator, unit, before, at)
            if metric.kind in {"proportion", "retention"}:
                vector = {name: float(value > 0) for name, value in vector.items()}
            vector["c"] = self.measure(Measure(source="call", field="cost_usd", aggregate="sum"), unit, at, end)
            found[unit] = (vector, end <= self.as_of)
        matured = [vector for vector, closed in found.values() if closed]
        capped = set()
        if metric.cap_quantile < 1 and matured:
            caps = {name: type7([v[name] for v in matured], metric.cap_quantile) for name in matured[0] if name != "c"}
            capped = {unit for unit, (vector, closed) in found.items() if closed and vector["y"] > caps["y"]}
            for vector, _ in found.values():
                vector.update({name: min(vector[name], cap) for name, cap in caps.items()})
        return found, capped


def of_users(events):
    """The events of users, innermost or around another unit, and those that leave the unit to a call or exposure."""
    found = []
    for event in events:
        if event["unit_kind"] == "user" or not event["unit_id"]:
            found.append(event)
        elif "user" in event["units"]:
            found.append(dict(event, unit_id=event["units"]["user"]))
    return found


def first_copies(events):
    kept = {}
    for event in events:
        kept.setdefault(event["event_id"], event)
    return list(kept.values()), len(events) - len(kept)


def field(row, measure):
    if measure.source == "event":
        if measure.field == "value":
            return row["value"]
        value = row["properties"].get(measure.field)
        return value if isinstance(value, int | float) else None
    if measure.field == "errors":
        return int(row["status"] == "error")
    if measure.field.startswith("score:"):
        return row["scores"].get(measure.field.removeprefix("score:"))
    value = row[measure.field]
    return float(value) if value is not None else None


def type7(values, q):
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


# ---- the comparison ------------------------------------------------------------------------------------------------


def assert_moments(moments, vectors) -> None:
    assert moments.n == len(vectors)
    if not vectors:
        assert not any(moments.mean + moments.comoments)
        return
    names = list(vectors[0])
    assert moments.components == tuple(names)
    mean = {name: math.fsum(v[name] for v in vectors) / len(vectors) for name in names}
    assert moments.mean == pytest.approx([mean[name] for name in names], rel=1e-12, abs=1e-12)
    expected = [
        math.fsum((v[first] - mean[first]) * (v[second] - mean[second]) for v in vectors)
        for i, first in enumerate(names)
        for second in names[i:]
    ]
    assert moments.comoments == pytest.approx(expected, rel=1e-12, abs=1e-11)
    values = [v["y"] for v in vectors]
    assert (moments.minimum, moments.maximum) == (min(values), max(values))


def assert_cells(facts, reference) -> None:
    groups = defaultdict(set)
    for unit, exposure in reference.first.items():
        plan = exposure["attributes"].get("plan")
        for segment in ["", *([] if plan is None else [f"plan={as_text(plan)}"])]:
            groups[exposure["variant"], exposure["epoch"], segment, exposure["at"].date()].add(unit)
    assert {(c.variant, c.epoch, c.segment, c.day): c.n_units for c in facts.arm_counts} == {
        group: len(units) for group, units in groups.items()
    }
    assert len(facts.cells) == len(groups) * len(METRICS)
    for metric in METRICS:
        values, capped = reference.values(metric)
        for cell in (c for c in facts.cells if c.metric == metric.key):
            units = groups[cell.variant, cell.epoch, cell.segment, cell.day]
            vectors = [values[unit][0] for unit in units if values[unit][1]]
            assert_moments(cell.moments, vectors)
            assert cell.pending == len(units) - len(vectors)
            assert cell.capped == len(units & capped)
            assert_values(cell, metric, units, reference)
            assert_durations(cell, metric, units, reference)
        if metric.kind not in {"proportion", "retention", "quantile", "duration"}:
            assert_outliers(facts, metric, values, reference)


def assert_values(cell, metric, units, reference) -> None:
    events = {unit: reference.event_values(metric, unit) for unit in units} if metric.kind == "quantile" else {}
    values = [(value, unit) for unit, found in events.items() for value in found]
    if cell.segment or not values:
        assert cell.values is None
        return
    assert cell.values == summarise_values(*zip(*values, strict=True))


def assert_durations(cell, metric, units, reference) -> None:
    lasted = [reference.lasted(metric, unit) for unit in units] if metric.kind == "duration" else []
    lasted = [(seconds, observed) for seconds, observed in lasted if seconds >= 0]
    if cell.segment or not lasted:
        assert cell.durations is None
        return
    found = [(t, True) for t, n in zip(cell.durations.times, cell.durations.events, strict=True) for _ in range(n)]
    found += [(t, False) for t, n in zip(cell.durations.times, cell.durations.censored, strict=True) for _ in range(n)]
    assert len(found) == len(lasted)
    assert cell.durations.times == sorted(set(cell.durations.times))
    for observed in (True, False):
        mine = sorted(t for t, happened in found if happened is observed)
        assert mine == pytest.approx(sorted(t for t, happened in lasted if happened is observed), rel=0.003)
    assert found.count((metric.window_seconds, False)) == sum(
        seconds == metric.window_seconds and not observed for seconds, observed in lasted
    )


def assert_outliers(facts, metric, values, reference) -> None:
    found = {o.variant: o for o in facts.outliers if o.metric == metric.key}
    for variant in VARIANTS:
        y = {
            unit: vector["y"]
            for unit, (vector, closed) in values.items()
            if closed and reference.first[unit]["variant"] == variant
        }
        best, total = max(y.values(), default=0), sum(y.values())
        if best > 0 and total > 0:
            assert found[variant].unit_id == min(unit for unit, value in y.items() if value == best)
            assert (found[variant].value, found[variant].share) == pytest.approx((best, min(best / total, 1)))
        else:
            assert variant not in found


def assert_calls_and_funnel(facts, reference) -> None:
    for variant, found in zip(VARIANTS, facts.calls, strict=True):
        units = {unit: e["at"] for unit, e in reference.first.items() if e["variant"] == variant}
        calls = [c for c in reference.calls if c["unit"] in units and c["at"] >= units[c["unit"]]]
        ok = [c["latency_seconds"] for c in calls if c["status"] == "ok"]
        costs = [float(c["cost_usd"]) for c in calls if c["cost_usd"] is not None]
        assert (found.variant, found.n_calls, found.n_units) == (variant, len(calls), len({c["unit"] for c in calls}))
        assert found.n_errors == len(calls) - len(ok)
        assert found.n_rate_limited == sum(c["http_status"] == 429 for c in calls)
        assert found.n_fallbacks == sum(c["fallback"] for c in calls)
        assert found.n_cost_unknown == len(calls) - len(costs)
        assert found.cost_unknown_reasons == Counter(c["cost_reason"] for c in calls if c["cost_usd"] is None)
        assert found.cost_usd == pytest.approx(math.fsum(costs), rel=1e-12)
        assert found.served_models == Counter(c["served_model"] for c in calls if c["served_model"])
        assert found.latency_seconds.n == len(ok)
        if ok:
            assert found.latency_seconds.p95 == pytest.approx(type7(ok, 0.95), rel=1e-12)
    reached = defaultdict(set)
    for o in reference.outcomes:
        first = reference.first.get(o["unit"])
        if first and o["at"] >= first["at"] and o["name"] in wire.SURFACE_EVENTS:
            reached[first["variant"], o["name"]].add(o["unit"])
    assert {(f.variant, f.step): f.n_units for f in facts.funnel if f.n_units} == {
        step: len(units) for step, units in reached.items()
    }


def assert_agree(facts, reference) -> None:
    assert facts.duplicate_events == reference.duplicates
    assert facts.forced_exposures == reference.forced
    assert facts.unknown_variant_exposures == reference.unknown
    assert facts.other_kind_exposures == reference.other_kind
    assert facts.multi_variant_units == reference.mixed
    assert_cells(facts, reference)
    assert_calls_and_funnel(facts, reference)


AS_OF = st.integers(0, 140).map(lambda hours: START + hours * HOUR)
# One history takes a second; shrinking a failure takes minutes, which the slow test may.
quick = settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
thorough = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(histories(), AS_OF)
def test_the_engine_agrees_with_the_reference(chunks, as_of):
    assert_agree(facts_of(chunks, as_of), Reference(chunks, as_of))


@pytest.mark.slow
@thorough
@given(histories(), AS_OF)
def test_the_engine_agrees_with_the_reference_on_many_histories(chunks, as_of):
    assert_agree(facts_of(chunks, as_of), Reference(chunks, as_of))


@quick
@given(histories(), AS_OF, st.randoms(use_true_random=False))
def test_the_order_and_the_chunks_in_which_events_arrive_change_no_number(chunks, as_of, rng):
    events = list(itertools.chain(*chunks))
    for event in events:  # equal times are told apart by arrival, which is what changes here
        event["at"] += dt.timedelta(microseconds=10 * int(event["event_id"].removeprefix("id-")))
    shuffled = rng.sample(events, len(events))
    one, other = facts_of([events], as_of), facts_of([shuffled[:7], shuffled[7:]], as_of)
    for mine, yours in zip(one.cells, other.cells, strict=True):
        assert mine.moments.mean == pytest.approx(yours.moments.mean, rel=1e-12, abs=1e-12)
        assert mine.moments.comoments == pytest.approx(yours.moments.comoments, rel=1e-12, abs=1e-11)
        same = msgspec.structs.replace(mine, moments=yours.moments)
        assert same == yours
    assert one.arm_counts == other.arm_counts
    assert one.funnel == other.funnel
    assert one.multi_variant_units == other.multi_variant_units
