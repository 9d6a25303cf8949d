"""The demonstration's visitors without any HTTP: the same dice, assignment and statistics, for calibration."""

import collections
import datetime as dt
from collections.abc import Iterator

from genux.assignment import assign, compile_snapshot
from genux.config import snapshot_experiment
from genux.wire import Snapshot
from genux_server.demo.visitors import (
    BASE_ACCEPTED,
    EXPERIMENT_KEY,
    WINDOW_SECONDS,
    experiment_spec,
    journey,
    metric_specs,
    visits,
)
from genux_server.model import ArmCount, Cell, Epoch, Facts, Moments

__all__ = ["looks"]


def looks(seed: int, *, n_visitors: int, n_looks: int, effect: float, now: dt.datetime) -> Iterator[Facts]:
    """Yields what an experimenter would see at each of `n_looks` equally spaced looks at a growing experiment.

    Args:
        seed: of the visitors' dice and of the salt.
        n_visitors: units in all, over both variants.
        n_looks: how often the experimenter looks, the last time at the end.
        effect: planted difference in the share of visitors who accept an answer; 0 is an A/A test.
        now: the moment of the last look.
    """
    spec = experiment_spec(effect=effect, aa=effect == 0, model="none", visitors=n_visitors)
    config = snapshot_experiment(spec, salt=f"{EXPERIMENT_KEY}-{seed}", epoch=1, status="running")
    compiled = compile_snapshot(Snapshot(version="offline", experiments=[config]))
    accepted_share = {"ask-ai": BASE_ACCEPTED, "summary": BASE_ACCEPTED + effect}
    counts: collections.Counter[tuple[str, dt.date]] = collections.Counter()
    accepted: collections.Counter[tuple[str, dt.date]] = collections.Counter()
    metric = next(m for m in metric_specs() if m.key == "accepted")
    started_at = now - dt.timedelta(days=30)
    for i, visit in enumerate(visits(n_visitors, seed, now=now), start=1):
        variant = assign(compiled, EXPERIMENT_KEY, visit.unit_id, {}).variant
        key = (variant.key, visit.arrived_at.date())
        counts[key] += 1
        accepted[key] += journey(visit, variant.surface, accepted_share[variant.key]).accepts
        if i % (n_visitors // n_looks) == 0:
            yield Facts(
                experiment=spec,
                metrics=[metric],
                epochs=[Epoch(number=1, allocation=(0.5, 0.5), started_at=started_at)],
                as_of=visit.arrived_at + dt.timedelta(seconds=2 * WINDOW_SECONDS),
                arm_counts=[ArmCount(variant=v, day=day, n_units=n) for (v, day), n in sorted(counts.items())],
                cells=[
                    Cell(metric=metric.key, variant=v, day=day, moments=_bernoulli(n, accepted[v, day]))
                    for (v, day), n in sorted(counts.items())
                ],
            )


def _bernoulli(n: int, successes: int) -> Moments:
    return Moments(
        n=n,
        mean=(successes / n,),
        comoments=(successes * (n - successes) / n,),
        minimum=float(successes == n),
        maximum=float(successes > 0),
    )
