import datetime as dt

import numpy as np
import pytest

from genux.specs import ExperimentSpec, Measure, MetricSpec, Plan, VariantSpec
from genux_server.model import ArmCount, Cell, Epoch, Facts
from genux_server.stats.moments import moments_from_arrays

FIRST_DAY = dt.date(2026, 11, 1)
NOW = dt.datetime(2026, 12, 24, 12, tzinfo=dt.UTC)


class FactsMaker:
    """Facts of an experiment with variants `chat` (control) and `summary`, cell by cell."""

    now = NOW
    first_day = FIRST_DAY

    def __init__(self):
        self.cells = []
        self.counts = []

    def cell(self, metric, variant, values, *, day=0, epoch=1, pending=0, count=True, **components):
        at = FIRST_DAY + dt.timedelta(days=day)
        moments = moments_from_arrays({"y": np.asarray(values, dtype=float), **components})
        self.cells.append(Cell(metric=metric, variant=variant, epoch=epoch, day=at, moments=moments, pending=pending))
        if count:
            self.count(variant, moments.n + pending, day=day, epoch=epoch)

    def share(self, metric, variant, successes, n, **where):
        self.cell(metric, variant, np.repeat([1.0, 0.0], [successes, n - successes]), **where)

    def count(self, variant, n_units, *, day=0, epoch=1, segment=""):
        at = FIRST_DAY + dt.timedelta(days=day)
        self.counts.append(ArmCount(variant=variant, epoch=epoch, segment=segment, day=at, n_units=n_units))

    def facts(self, *metrics, variants=("chat", "summary"), plan=None, guardrails=(), epochs=None, **more):
        labels = {"chat": "Ask box", "summary": "Summary button"}
        spec = ExperimentSpec(
            key="ask",
            variants=[VariantSpec(key=key, label=labels.get(key, "")) for key in variants],
            primary=metrics[0].key if metrics else "",
            guardrails=list(guardrails),
            plan=plan or Plan(),
        )
        shares = epochs or [tuple([1 / len(variants)] * len(variants))]
        return Facts(
            experiment=spec,
            metrics=list(metrics),
            epochs=[Epoch(number=i, allocation=s, started_at=NOW) for i, s in enumerate(shares, 1)],
            as_of=NOW,
            arm_counts=self.counts,
            cells=self.cells,
            **more,
        )


@pytest.fixture
def make():
    return FactsMaker()


@pytest.fixture
def answer():
    return MetricSpec(key="answer", label="Got an answer", numerator=Measure(event="answered"))


@pytest.fixture
def latency():
    return MetricSpec(
        key="latency",
        label="Latency",
        kind="mean",
        unit="s",
        direction="decrease",
        margin=0.1,
        numerator=Measure(source="call", field="latency_seconds", aggregate="mean"),
    )
