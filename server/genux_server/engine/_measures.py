"""What each unit did: from outcomes and calls to one number per unit and measure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.types as ir
import msgspec

from genux.errors import ConfigError
from genux.specs import SCORE_PREFIX, Measure, MetricSpec

__all__ = [
    "CALL_FIELDS",
    "COST",
    "DISTRIBUTION_KINDS",
    "Span",
    "Wanted",
    "call_columns",
    "extra_call_columns",
    "fold",
    "json_member",
    "json_text",
    "measured",
    "value_columns",
    "wanted_of",
]

COST = Measure(source="call", field="cost_usd", aggregate="sum")
"""The cost of a unit's calls in US dollars; a call of unknown cost adds nothing here and is counted elsewhere."""

DISTRIBUTION_KINDS = frozenset({"quantile", "duration"})
"""Kinds of which one number per unit is not enough; what is kept per unit is how often, and whether, it happened."""

_COUNTED_AS: Mapping[str, Literal["any", "count"]] = {"quantile": "count", "duration": "any"}
_RETRIEVAL_FIELDS = "retrieval_"
_RETRIEVAL_MEMBERS = ("k", "n_used", "score_min", "score_mean", "score_max")
_AMOUNTS = ("images", "audio_seconds", "characters")
_SECONDS_PER_DAY = 86_400
_MICROSECONDS = 1_000_000

CALL_FIELDS: Mapping[str, Callable[[ir.Table], ir.Value]] = {
    "value": lambda _: ibis.literal(1),
    "cost_usd": lambda calls: calls.cost_usd,
    "latency_seconds": lambda calls: calls.latency_seconds,
    "ttft_seconds": lambda calls: calls.ttft_seconds,
    "input_tokens": lambda calls: calls.input_tokens,
    "output_tokens": lambda calls: calls.output_tokens,
    "cached_tokens": lambda calls: calls.cached_tokens,
    "images": lambda calls: calls.images,
    "audio_seconds": lambda calls: calls.audio_seconds,
    "characters": lambda calls: calls.characters,
    "retrieval_k": lambda calls: calls["retrieval:k"],
    "retrieval_used": lambda calls: calls["retrieval:n_used"],
    "retrieval_min": lambda calls: calls["retrieval:score_min"],
    "retrieval_mean": lambda calls: calls["retrieval:score_mean"],
    "retrieval_max": lambda calls: calls["retrieval:score_max"],
    "errors": lambda calls: ibis.ifelse(calls.status == "error", 1, 0),
    "fallbacks": lambda calls: ibis.ifelse(calls.fallback, 1, 0),
}
"""What a measure may fold of a call."""


@dataclass(frozen=True)
class Span:
    """A stretch of time relative to a unit's first exposure, in microseconds: start <= t < end."""

    start_us: int
    end_us: int


@dataclass(frozen=True)
class Wanted:
    """One column of the unit table: a measure within a span."""

    measure: Measure
    span: Span


def wanted_of(metric: MetricSpec) -> dict[str, Wanted]:
    """What a metric needs of each unit, by component: `y`, then `d`, `x`, `w` where it has them, and `c`.

    Raises:
        ConfigError: the metric names a field or a combination that cannot be computed.
    """
    window = Span(_us(metric.numerator.after_seconds), _us(metric.window_seconds))
    before = Span(-_us(metric.covariate_days * _SECONDS_PER_DAY), 0)
    counted_as = _COUNTED_AS.get(metric.kind, metric.numerator.aggregate)
    wanted = {"y": Wanted(msgspec.structs.replace(metric.numerator, aggregate=counted_as), window)}
    if metric.kind in DISTRIBUTION_KINDS and (metric.covariate_days or metric.cap_quantile < 1):
        raise ConfigError(f"metric {metric.key}: a {metric.kind} takes neither a covariate nor a cap")
    if metric.kind == "ratio":
        if metric.denominator is None:
            raise ConfigError(f"metric {metric.key}: a ratio needs a denominator")
        wanted["d"] = Wanted(metric.denominator, Span(_us(metric.denominator.after_seconds), window.end_us))
    if metric.covariate_days:
        wanted["x"] = Wanted(metric.numerator, before)
        if metric.denominator is not None and metric.kind == "ratio":
            wanted["w"] = Wanted(metric.denominator, before)
    wanted["c"] = Wanted(COST, Span(0, window.end_us))
    for component in wanted.values():
        if component.span.start_us >= component.span.end_us:
            raise ConfigError(f"metric {metric.key}: after_seconds leaves nothing of the conversion window")
        field = component.measure.field
        if component.measure.source == "call" and not (field in CALL_FIELDS or field.startswith(SCORE_PREFIX)):
            fields = ", ".join(CALL_FIELDS)
            known = f"{fields}, {SCORE_PREFIX}<name>"
            raise ConfigError(f"metric {metric.key}: a call has no field {field}; it has {known}")
    return wanted


def json_member(value: ir.JSONValue, name: str) -> ir.JSONValue:
    """A member of a JSON object."""
    # Quoting the name makes a dot in it part of the name, not a path.
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return value[f'"{quoted}"']


def json_text(value: ir.JSONValue, name: str) -> ir.StringValue:
    """A member of a JSON object as text; null where it is missing, an object or an array."""
    member = json_member(value, name)
    return ibis.coalesce(member.str, member.int.cast("string"), member.float.cast("string"), member.bool.cast("string"))


def value_columns(events: ir.Table, measures: Iterable[Measure]) -> ir.Table:
    """The events with a column for each numeric property that a measure folds, null where it is not a number."""
    names = sorted({m.field for m in measures if m.source == "event" and m.field != "value"})
    if not names:
        return events
    properties = events.properties.cast("json")
    return events.mutate(**{f"property:{name}": json_member(properties, name).float for name in names})


def extra_call_columns(measures: Iterable[Measure]) -> list[str]:
    """The columns of calls that only some measures read."""
    fields = {m.field for m in measures if m.source == "call"}
    wanted = {"retrieval": _RETRIEVAL_FIELDS, "scores": SCORE_PREFIX, **{name: name for name in _AMOUNTS}}
    return [column for column, prefix in wanted.items() if any(field.startswith(prefix) for field in fields)]


def call_columns(calls: ir.Table, measures: Iterable[Measure]) -> ir.Table:
    """The calls with a column for each fact of their retrieval, and each score, that a measure folds."""
    scores = sorted({m.field for m in measures if m.source == "call" and m.field.startswith(SCORE_PREFIX)})
    columns = {}
    if "retrieval" in calls.columns:
        retrieval = calls.retrieval.cast("json")
        columns = {f"retrieval:{name}": json_member(retrieval, name).float for name in _RETRIEVAL_MEMBERS}
    if scores:
        given = calls.scores.cast("json")
        columns |= {field: json_member(given, field.removeprefix(SCORE_PREFIX)).float for field in scores}
    return calls.mutate(**columns) if columns else calls


def fold(rows: ir.Table, wanted: Mapping[str, Wanted]) -> ir.Table:
    """One row per unit that did anything in time, with a column for each wanted measure.

    Args:
        rows: outcomes or calls with `unit_key`, `since_us` and what the measures fold.
        wanted: measures of one source by the name of their column.
    """
    first = min(want.span.start_us for want in wanted.values())
    last = max(want.span.end_us for want in wanted.values())
    rows = rows.filter((rows.since_us >= first) & (rows.since_us < last))
    return rows.group_by("unit_key").agg(**{name: _folded(rows, want) for name, want in wanted.items()})


def measured(rows: ir.Table, want: Wanted) -> tuple[ir.BooleanValue, ir.Value]:
    """Which of the outcomes or calls a measure takes, and what it reads of each."""
    measure = want.measure
    within = (rows.since_us >= want.span.start_us) & (rows.since_us < want.span.end_us)
    if measure.source == "call":
        read = CALL_FIELDS.get(measure.field)
        return within, rows[measure.field] if read is None else read(rows)
    value = rows.value if measure.field == "value" else rows[f"property:{measure.field}"]
    return within & (rows.name == measure.event), value


def _folded(rows: ir.Table, want: Wanted) -> ir.Value:
    within, value = measured(rows, want)
    match want.measure.aggregate:
        case "any":
            return ibis.ifelse(rows.count(where=within) > 0, 1.0, 0.0)
        case "count":
            return rows.count(where=within).cast("float64")
        case "sum":
            return value.sum(where=within).cast("float64")
        case "mean":
            return value.cast("float64").mean(where=within)
        case "max":
            return value.max(where=within).cast("float64")


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
