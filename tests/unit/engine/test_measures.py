"""What a metric asks of each unit, before any data is read."""

import pytest

from genux.errors import ConfigError
from genux.specs import Measure, MetricSpec
from genux_server.engine import FileMetric, parse_metric
from genux_server.engine._measures import COST, Span, wanted_of

DAY_US = 86_400_000_000


def test_a_metric_wants_its_value_and_the_cost_of_the_same_window():
    wanted = wanted_of(MetricSpec(key="m", numerator=Measure(event="x"), window_seconds=86_400))
    assert {name: (want.measure, want.span) for name, want in wanted.items()} == {
        "y": (Measure(event="x"), Span(0, DAY_US)),
        "c": (COST, Span(0, DAY_US)),
    }


def test_a_ratio_with_covariates_wants_all_five_components_in_the_order_of_the_model():
    metric = MetricSpec(
        key="m",
        kind="ratio",
        numerator=Measure(event="x", aggregate="sum"),
        denominator=Measure(source="call", aggregate="count"),
        covariate_days=7,
    )
    wanted = wanted_of(metric)
    assert list(wanted) == ["y", "d", "x", "w", "c"]
    assert wanted["x"].span == wanted["w"].span == Span(-7 * DAY_US, 0)
    assert wanted["w"].measure == metric.denominator


def test_coming_back_is_asked_after_a_pause():
    numerator = Measure(event="x", after_seconds=86_400)
    wanted = wanted_of(MetricSpec(key="m", kind="retention", numerator=numerator, window_seconds=172_800))
    assert wanted["y"].span == Span(DAY_US, 2 * DAY_US)
    assert wanted["c"].span == Span(0, 2 * DAY_US)


@pytest.mark.parametrize(("kind", "aggregate"), [("quantile", "count"), ("duration", "any")])
def test_of_a_distribution_each_unit_keeps_how_often_or_whether_it_happened(kind, aggregate):
    numerator = Measure(source="call", field="latency_seconds", aggregate="max")
    wanted = wanted_of(MetricSpec(key="m", kind=kind, numerator=numerator))
    assert wanted["y"].measure == Measure(source="call", field="latency_seconds", aggregate=aggregate)
    assert list(wanted) == ["y", "c"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (MetricSpec(key="m", kind="ratio", numerator=Measure(event="x")), "metric m: a ratio needs a denominator"),
        (
            MetricSpec(key="m", kind="quantile", numerator=Measure(event="x"), covariate_days=7),
            "metric m: a quantile takes neither a covariate nor a cap",
        ),
        (
            MetricSpec(key="m", kind="duration", numerator=Measure(event="x"), cap_quantile=0.99),
            "metric m: a duration takes neither a covariate nor a cap",
        ),
        (
            MetricSpec(key="m", kind="mean", numerator=Measure(source="call", field="price", aggregate="sum")),
            "a call has no field price; it has",
        ),
        (
            MetricSpec(key="m", numerator=Measure(event="x", after_seconds=60), window_seconds=60),
            "after_seconds leaves nothing of the conversion window",
        ),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused(metric, message):
    with pytest.raises(ConfigError, match=message):
        wanted_of(metric)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("won", FileMetric(name="won")),
        ("won:proportion", FileMetric(name="won", kind="proportion")),
        ("spent:mean", FileMetric(name="spent", kind="mean")),
        ("spent:ratio/visits", FileMetric(name="spent", kind="ratio", denominator="visits")),
    ],
)
def test_a_metric_is_read_from_the_command_line(text, expected):
    assert parse_metric(text) == expected


def test_a_metric_may_be_better_when_lower():
    assert parse_metric("errors:mean", lower_is_better=True).direction == "decrease"


@pytest.mark.parametrize("text", ["", ":mean", "won:median", "won:ratio", "won:ratio/", "won:mean/visits"])
def test_a_metric_that_cannot_be_read_is_refused(text):
    with pytest.raises(ConfigError, match="is not a metric"):
        parse_metric(text)
