"""Whatever the facts, a report is made, and every number in it is finite or None with a coded reason."""

import datetime as dt
import json
import math

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec
from genux_server.model import ArmCount, Cell, Epoch, Facts
from genux_server.stats import build_report
from genux_server.stats.duration import risk_table
from genux_server.stats.moments import moments_from_arrays
from genux_server.stats.quantile_summary import summarise_values

DAY = dt.date(2026, 11, 1)
NOW = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)
VALUES = st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e-18, 1e18, -1e18, 1e9, 0.5])
COMPONENTS = {"proportion": ("y", "c"), "mean": ("y", "x", "c"), "count": ("y",), "ratio": ("y", "d", "x", "w", "c")}
COMPONENTS |= {"quantile": ("y", "c"), "duration": ("y", "c")}
WINDOW = 100.0


@st.composite
def arms(draw, kind):
    n = draw(st.sampled_from([0, 1, 2, 3, 60]))
    style = draw(st.sampled_from(["constant", "few", "random"]))
    rng = np.random.default_rng(draw(st.integers(0, 1_000)))
    columns = {}
    for name in COMPONENTS[kind]:
        if kind == "proportion" and name == "y":
            columns[name] = (rng.random(n) < draw(st.sampled_from([0.0, 0.1, 1.0]))).astype(float)
        elif style == "constant":
            columns[name] = np.full(n, draw(VALUES))
        elif style == "few":
            columns[name] = rng.choice([draw(VALUES), draw(VALUES)], size=n)
        else:
            columns[name] = draw(VALUES) + draw(VALUES) * rng.normal(size=n)
    return moments_from_arrays(columns)


@st.composite
def distributions(draw, kind, n):
    """What a cell of `n` matured units holds beside moments."""
    rng = np.random.default_rng(draw(st.integers(0, 1_000)))
    if kind == "quantile":
        size = draw(st.sampled_from([0, n, 5 * n]))
        values = draw(VALUES) + draw(VALUES) * rng.normal(size=size)
        return {"values": summarise_values(values, rng.integers(0, n, size)) if size else None}
    if kind == "duration":
        lasted = np.append(rng.uniform(0.0, WINDOW, n), draw(st.lists(st.floats(0.0, WINDOW), max_size=3)))
        lasted = np.where(rng.random(lasted.size) < draw(st.sampled_from([0.0, 0.5])), WINDOW, lasted)
        observed = rng.random(lasted.size) < draw(st.sampled_from([0.0, 0.5, 1.0]))
        return {"durations": risk_table(lasted, observed) if lasted.size else None}
    return {}


@st.composite
def facts(draw):
    kind = draw(st.sampled_from(list(COMPONENTS)))
    margin = draw(st.sampled_from([None, 0.0, 0.1]))
    metrics = [
        MetricSpec(
            key=key,
            kind=kind,
            margin=margin,
            direction=direction,
            numerator=Measure(event="e"),
            quantile=0.5,
            window_seconds=WINDOW,
        )
        for key, direction in (("first", "increase"), ("guard", "decrease"))
    ]
    plan = draw(st.sampled_from([Plan(), Plan(horizon_units=5, looks=3), Plan(horizon_units=10_000)]))
    spec = ExperimentSpec(
        key="e",
        variants=[VariantSpec(key="a"), VariantSpec(key="b")],
        primary="first",
        guardrails=["guard"],
        plan=plan,
    )
    cells, counts = [], []
    n_epochs = draw(st.integers(1, 2))
    for epoch in range(1, n_epochs + 1):
        for day in range(draw(st.integers(1, 2))):
            for variant in ("a", "b"):
                at = DAY + dt.timedelta(days=day)
                moments = [draw(arms(kind)) for _ in metrics]
                counts.append(ArmCount(variant=variant, epoch=epoch, day=at, n_units=moments[0].n))
                cells += [
                    Cell(
                        metric=metric.key,
                        variant=variant,
                        epoch=epoch,
                        day=at,
                        moments=m,
                        **draw(distributions(kind, m.n)),
                    )
                    for metric, m in zip(metrics, moments, strict=True)
                ]
    return Facts(
        experiment=spec,
        metrics=metrics,
        epochs=[Epoch(number=i + 1, allocation=(0.5, 0.5), started_at=NOW) for i in range(n_epochs)],
        as_of=NOW,
        arm_counts=counts,
        cells=cells,
        one_look=draw(st.booleans()),
    )


def numbers(value):
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)


@settings(max_examples=400, deadline=None)
@given(facts())
def test_every_number_is_finite_or_its_absence_is_coded(given_facts):
    report = build_report(given_facts, generated_at=NOW)
    data = report.to_dict()
    assert all(math.isfinite(number) for number in numbers(data))
    assert msgspec.json.decode(json.dumps(data, allow_nan=False), type=dict)["experiment"] == "e"
    assert "no bound points" not in report.headline.text
    for metric in report.metrics:
        for comparison in metric.comparisons:
            assert (comparison.effect is None) == (comparison.not_computable is not None)
            if comparison.effect is not None:
                assert comparison.effect_ci_lower <= comparison.effect <= comparison.effect_ci_upper
                assert 0.0 <= comparison.p_value <= 1.0
                excludes_zero = comparison.effect_ci_lower > 0 or comparison.effect_ci_upper < 0
                assert excludes_zero == (comparison.beats_control is not None)


@settings(max_examples=40, deadline=None)
@given(facts(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_changes_nothing(given_facts, random):
    cells, counts = list(given_facts.cells), list(given_facts.arm_counts)
    random.shuffle(cells)
    random.shuffle(counts)
    shuffled = msgspec.structs.replace(given_facts, cells=cells, arm_counts=counts)
    first, second = (build_report(f, generated_at=NOW) for f in (given_facts, shuffled))
    assert first.to_dict() == second.to_dict()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 3_000), st.integers(2, 3_000), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 10_000)
)
def test_swapping_the_arms_negates_the_effect(n_a, n_b, p_a, p_b, seed):
    rng = np.random.default_rng(seed)
    arms = {"a": (rng.random(n_a) < p_a).astype(float), "b": (rng.random(n_b) < p_b).astype(float)}
    metric = MetricSpec(key="m", numerator=Measure(event="e"))
    found = []
    for control in ("a", "b"):
        spec = ExperimentSpec(key="e", variants=[VariantSpec(key="a"), VariantSpec(key="b")], control=control)
        made = Facts(
            experiment=spec,
            metrics=[metric],
            epochs=[],
            as_of=NOW,
            arm_counts=[ArmCount(variant=key, day=DAY, n_units=len(v)) for key, v in arms.items()],
            cells=[
                Cell(metric="m", variant=k, day=DAY, moments=moments_from_arrays({"y": v})) for k, v in arms.items()
            ],
        )
        found.append(build_report(made, generated_at=NOW).metric("m").comparisons)
    for one, other in zip(*found, strict=True):
        if one.effect is None:
            assert other.not_computable.code == one.not_computable.code
            continue
        assert one.effect == -other.effect
        assert math.isclose(one.p_value, other.p_value, rel_tol=1e-9)
        assert math.isclose(one.effect_ci_lower, -other.effect_ci_upper, rel_tol=1e-6, abs_tol=1e-9)
