"""The facts, arranged the way the statistics ask for them."""

import datetime as dt
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from genux.specs import MetricSpec
from genux_server.model import Cell, Facts, Moments
from genux_server.stats.moments import merge

__all__ = ["ByEpoch", "Frame", "add", "label_of", "merge_cells", "scale_of"]

UNPLANNED_UNITS = 10_000
"""Where a confidence sequence is narrowest when nobody planned a horizon: the size at which most product experiments
are read. It stays valid at every size; see the table in the documentation for what it costs elsewhere."""

Role = Literal["primary", "secondary", "guardrail"]

ByEpoch = dict[int, dict[str, Moments]]


class Frame:
    """One experiment's facts: roles and labels resolved, cells of the whole (segment "") grouped and merged once.

    Attributes:
        control: key of the control variant.
        treatments: keys of the others, in the spec's order.
        alpha: error rate of the plan.
    """

    def __init__(self, facts: Facts) -> None:
        spec = facts.experiment
        self.facts = facts
        self.variants = [variant.key for variant in spec.variants]
        self.control = spec.control or self.variants[0]
        self.treatments = [key for key in self.variants if key != self.control]
        self.alpha = spec.plan.alpha
        self.labels = {variant.key: variant.label or variant.key for variant in spec.variants}
        self.metrics = self._ordered(facts.metrics)
        self.primary = self.metrics[0] if self.metrics else None
        self._cells: dict[str, dict[dt.date, list[Cell]]] = defaultdict(lambda: defaultdict(list))
        known = set(self.variants)
        for cell in facts.cells:
            if not cell.segment and cell.variant in known:
                self._cells[cell.metric][cell.day].append(cell)

    def _ordered(self, metrics: Sequence[MetricSpec]) -> list[MetricSpec]:
        """The primary first: the one named, else the first that is no guardrail."""
        guardrails = set(self.facts.experiment.guardrails)
        named = [m for m in metrics if m.key == self.facts.experiment.primary]
        first = (named or [m for m in metrics if m.key not in guardrails] or list(metrics))[:1]
        return first + [m for m in metrics if m not in first]

    def role(self, metric: MetricSpec) -> Role:
        """`primary`, `guardrail` or `secondary`."""
        if metric is self.primary:
            return "primary"
        return "guardrail" if metric.key in self.facts.experiment.guardrails else "secondary"

    def days(self, metric: str) -> list[dt.date]:
        """Days of first exposure that have cells, in order."""
        return sorted(self._cells[metric])

    def cells(self, metric: str, day: dt.date | None = None) -> list[Cell]:
        """Cells of one day, or of all days."""
        if day is not None:
            return self._cells[metric][day]
        return [cell for cells in self._cells[metric].values() for cell in cells]

    def cells_until(self, metric: str, until: dt.date | None) -> list[Cell]:
        """Cells of the days up to and including `until`; None for all."""
        return [cell for day, cells in self._cells[metric].items() if until is None or day <= until for cell in cells]

    def moments(self, metric: str, until: dt.date | None = None) -> ByEpoch:
        """Moments by epoch and variant over the days up to and including `until`."""
        return merge_cells(self.cells_until(metric, until))

    def pending(self, metric: str) -> dict[str, int]:
        """Units per variant whose conversion window is still open."""
        return self._sum(metric, "pending")

    def capped(self, metric: str) -> dict[str, int]:
        """Units per variant whose value was cut to the cap."""
        return self._sum(metric, "capped")

    def _sum(self, metric: str, field: str) -> dict[str, int]:
        totals = dict.fromkeys(self.variants, 0)
        for cell in self.cells(metric):
            totals[cell.variant] += getattr(cell, field)
        return totals

    @functools.cached_property
    def shares(self) -> dict[str, float]:
        """Planned share of each variant in the latest epoch; equal shares where no epoch says."""
        if self.facts.epochs:
            latest = max(self.facts.epochs, key=lambda epoch: epoch.number)
            return dict(zip(self.variants, latest.allocation, strict=True))
        return self.spec_shares

    @functools.cached_property
    def spec_shares(self) -> dict[str, float]:
        """Shares as the experiment's spec states them; equal where it states none."""
        allocation = self.facts.experiment.allocation
        equal = 1.0 / len(self.variants)
        return {key: allocation.get(key, 0.0) if allocation else equal for key in self.variants}

    def epoch_shares(self) -> dict[int, dict[str, float]]:
        """Planned shares by epoch number."""
        if not self.facts.epochs:
            return {1: self.spec_shares}
        return {e.number: dict(zip(self.variants, e.allocation, strict=True)) for e in self.facts.epochs}

    @functools.cached_property
    def counts(self) -> dict[int, dict[str, int]]:
        """Exposed units by epoch and variant."""
        counts: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(self.variants, 0))
        for row in self.facts.arm_counts:
            if not row.segment and row.variant in self.labels:
                counts[row.epoch][row.variant] += row.n_units
        return dict(sorted(counts.items()))

    @functools.cached_property
    def units(self) -> dict[str, int]:
        """Exposed units by variant over all epochs."""
        totals = dict.fromkeys(self.variants, 0)
        for arm in self.counts.values():
            for key, n in arm.items():
                totals[key] += n
        return totals

    def tuned_units(self, treatment: str) -> float:
        """Units of control and treatment together at which the confidence sequence should be narrowest."""
        planned = self.facts.experiment.plan.horizon_units or UNPLANNED_UNITS
        return max(2.0, planned * (self.shares[self.control] + self.shares[treatment]))


def merge_cells(cells: Sequence[Cell]) -> ByEpoch:
    """Moments by epoch and variant."""
    groups: dict[tuple[int, str], list[Moments]] = defaultdict(list)
    for cell in cells:
        groups[cell.epoch, cell.variant].append(cell.moments)
    out: ByEpoch = defaultdict(dict)
    for (epoch, variant), parts in sorted(groups.items()):
        out[epoch][variant] = merge(parts)
    return dict(out)


def scale_of(metric: MetricSpec | None) -> str:
    """How the metric's figures are written, one of `wording.SCALES`."""
    if metric is None:
        return "number"
    if metric.kind in {"proportion", "retention"}:
        return "points"
    if metric.kind == "duration":
        return "seconds"
    unit = metric.unit.lower()
    if unit in {"usd", "$"}:
        return "usd"
    return "seconds" if unit in {"s", "seconds"} else "number"


def label_of(metric: MetricSpec) -> str:
    """The name people see."""
    return metric.label or metric.key


def add(into: ByEpoch, more: Mapping[int, Mapping[str, Moments]]) -> ByEpoch:
    """`into` with `more` merged in, as a new object."""
    out = {epoch: dict(arms) for epoch, arms in into.items()}
    for epoch, arms in more.items():
        target = out.setdefault(epoch, {})
        for variant, moments in arms.items():
            target[variant] = merge((target[variant], moments)) if variant in target else moments
    return out
