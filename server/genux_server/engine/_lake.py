"""From one state of the lake to the facts of one experiment."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import ibis
import ibis.expr.types as ir

from genux.specs import ExperimentSpec, MetricSpec
from genux.wire import SURFACE_EVENTS
from genux_server.engine._calls import call_facts
from genux_server.engine._cells import Column, summarise
from genux_server.engine._connection import duckdb_connection, stored
from genux_server.engine._distributions import with_distributions
from genux_server.engine._history import Outcomes, open_lake, outcomes_of
from genux_server.engine._measures import (
    DISTRIBUTION_KINDS,
    Wanted,
    call_columns,
    extra_call_columns,
    fold,
    json_text,
    value_columns,
    wanted_of,
)
from genux_server.engine._units import aliases_of, assigned_only, exposed_units
from genux_server.model import Epoch, Facts, FunnelCount, LakeFiles, Message

__all__ = ["compute_facts"]

_SHARE_KINDS = frozenset({"proportion", "retention"})


def compute_facts(
    files: LakeFiles,
    *,
    project_id: int,
    environment_id: int,
    experiment: ExperimentSpec,
    metrics: list[MetricSpec],
    epochs: list[Epoch],
    as_of: dt.datetime,
    segments: Sequence[str] = (),
) -> Facts:
    """Everything the statistics need of one experiment, from one state of the lake.

    Every refresh reads facts, never increments, so that late, early and repeated events need no special care: the
    same rows give the same numbers in whatever order and chunks they arrived.

    Args:
        files: the state to read.
        project_id: whose rows.
        environment_id: which of the project's environments.
        experiment: its variants name the arms.
        metrics: what to measure; the metrics keep this order.
        epochs: an exposure in another epoch is left out and counted with the unknown variants.
        as_of: the moment against which conversion windows are judged; aware.
        segments: attributes of the first exposure by whose values (the 50 most frequent) cells are split.

    Raises:
        ConfigError: a metric asks for something that cannot be computed.
    """
    wanted = {metric.key: wanted_of(metric) for metric in metrics}
    with duckdb_connection() as connection:
        lake = open_lake(connection, files)
        history = lake.within(project_id, environment_id)
        aliases = aliases_of(history.events, experiment.unit_kind)
        exposures = history.exposures.filter(history.exposures.experiment == experiment.key)
        exposed = exposed_units(exposures, aliases, experiment, epochs)
        measures = [want.measure for wants in wanted.values() for want in wants.values()]
        event_names = {m.event for m in measures if m.source == "event"} | set(SURFACE_EVENTS)
        outcomes = outcomes_of(
            history,
            exposed.units,
            aliases,
            experiment.unit_kind,
            event_names,
            with_properties=any(m.source == "event" and m.field != "value" for m in measures),
            with_columns=extra_call_columns(measures),
        )
        events, calls = value_columns(outcomes.events, measures), call_columns(outcomes.calls, measures)
        outcomes = replace(outcomes, events=events, calls=calls)
        units = _unit_table(exposed.units, outcomes, wanted, metrics, as_of, segments)
        summary = summarise(units, _columns(metrics, wanted), experiment, {s: f"segment:{s}" for s in segments})
        variants = [variant.key for variant in experiment.variants]
        return Facts(
            experiment=experiment,
            metrics=metrics,
            epochs=epochs,
            as_of=as_of,
            lake_version=str(files.versions),
            arm_counts=summary.arm_counts,
            cells=with_distributions(summary.cells, units, outcomes, metrics, wanted),
            outliers=summary.outliers,
            multi_variant_units=exposed.multi_variant_units,
            assigned_not_exposed=assigned_only(history.events, exposures, aliases, experiment),
            forced_exposures=exposed.n_forced,
            unknown_variant_exposures=exposed.n_unknown,
            other_kind_exposures=exposed.n_other_kind,
            duplicate_events=exposed.n_duplicates + outcomes.n_duplicates,
            calls=call_facts(outcomes.calls, variants),
            funnel=_funnel(outcomes.events, variants),
            remarks=_unverified(lake.exposures, project_id, environment_id, experiment.key),
        )


def _unverified(exposures: ir.Table, project_id: int, environment_id: int, experiment: str) -> list[Message]:
    """What was left out because only a browser's public key vouches for it."""
    n = (
        exposures.filter(
            (exposures.project_id == project_id)
            & (exposures.environment_id == environment_id)
            & (exposures.experiment == experiment)
            & (exposures.trust == "browser")
        )
        .count()
        .to_pyarrow()
        .as_py()
    )
    if not n:
        return []
    text = f"{n:,} exposures came with a browser's public key alone, which anybody can read, and are left out."
    return [Message(code="unverified_exposures", args={"n": n}, text=text)]


def _unit_table(
    units: ir.Table,
    outcomes: Outcomes,
    wanted: Mapping[str, Mapping[str, Wanted]],
    metrics: Sequence[MetricSpec],
    as_of: dt.datetime,
    segments: Sequence[str],
) -> ir.Table:
    """One row per unit, with each component of each metric, and whether the metric's window has closed."""
    distinct = dict.fromkeys(want for wants in wanted.values() for want in wants.values())
    names = {want: f"want:{number}" for number, want in enumerate(distinct)}
    table = units
    for source, rows in (("event", outcomes.events), ("call", outcomes.calls)):
        columns = {name: want for want, name in names.items() if want.measure.source == source}
        if columns:
            folded = fold(rows, columns).rename(done_by="unit_key")
            table = table.left_join(folded, table.unit_key == folded.done_by).drop("done_by")
    attributes = table.attributes.cast("json")
    now = ibis.literal(as_of.astimezone(dt.UTC), type="timestamp('UTC', 6)")
    age_us = now.delta(table.first_at, unit="microsecond")
    components = {}
    for metric in metrics:
        for component, want in wanted[metric.key].items():
            value = ibis.coalesce(table[names[want]], 0.0)
            if metric.kind in _SHARE_KINDS and component in {"y", "x"}:
                value = ibis.ifelse(value > 0, 1.0, 0.0)
            components[_column(metric.key, component)] = value
        components[_column(metric.key, "matured")] = age_us >= wanted[metric.key]["y"].span.end_us
    texts = {f"segment:{name}": json_text(attributes, name) for name in segments}
    return stored(table.select("unit", "unit_key", "variant", "epoch", "day", age_us=age_us, **components, **texts))


def _columns(metrics: Sequence[MetricSpec], wanted: Mapping[str, Mapping[str, Wanted]]) -> list[Column]:
    return [
        Column(
            metric=metric.key,
            components={component: _column(metric.key, component) for component in wanted[metric.key]},
            matured=_column(metric.key, "matured"),
            cap_quantile=metric.cap_quantile,
            outlier=metric.kind not in _SHARE_KINDS | DISTRIBUTION_KINDS,
        )
        for metric in metrics
    ]


def _column(metric: str, component: str) -> str:
    return f"{metric}:{component}"


def _funnel(events: ir.Table, variants: Sequence[str]) -> list[FunnelCount]:
    """Units by variant and step of the surface funnel, for every step that anybody reached."""
    steps = events.filter(events.name.isin(SURFACE_EVENTS) & (events.since_us >= 0))
    counts = steps.group_by("variant", "name").agg(n=steps.unit_key.nunique()).to_pyarrow().to_pylist()
    reached = {(row["variant"], row["name"]): row["n"] for row in counts}
    seen = {name for _, name in reached}
    return [
        FunnelCount(variant=variant, step=step, n_units=reached.get((variant, step), 0))
        for variant in variants
        for step in SURFACE_EVENTS
        if step in seen
    ]
