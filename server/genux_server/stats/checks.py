"""Health: is the experiment sound enough to be read? Each check has a status, a number, a sentence and advice."""

import datetime as dt
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from scipy import special

from genux_server.model import Check
from genux_server.stats.frame import Frame
from genux_server.stats.messages import message
from genux_server.stats.metric_report import Analysed
from genux_server.stats.outcome_checks import little_data, novelty, outliers, twyman
from genux_server.stats.srm import srm_chi_square, srm_sequential

__all__ = ["health_checks"]

_SRM_ALPHA = 0.01
_SRM_BROKEN = 0.001
_MIXED_MANY, _MIXED_FAIL = 0.01, 0.10
_RARE = 0.001

Status = Literal["ok", "warn", "fail", "unknown"]


def health_checks(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """All checks, the gravest kind first: split, mixed units, drift, gaps, data, outliers, plausibility, novelty."""
    checks = [*_splits(frame), _mixed(frame), *_unexposed(frame), _drift(frame), _gaps(frame)]
    if analysed:
        checks.append(little_data(frame, analysed[0].metric))
    checks += outliers(frame, analysed)
    checks += twyman(frame, analysed)
    if analysed and (trend := novelty(frame, analysed[0])):
        checks.append(trend)
    if not frame.facts.one_look:
        checks.append(_lost(frame))
    checks.append(_excluded(frame))
    return checks + [Check(code=remark.code, status="warn", message=remark) for remark in frame.facts.remarks]


def _splits(frame: Frame) -> list[Check]:
    """Sample ratio mismatch over all epochs together, and of each epoch where there are several."""
    planned = frame.epoch_shares()
    # An epoch that nobody described is judged by the spec's shares rather than not at all.
    shares = {number: planned.get(number, frame.spec_shares) for number in frame.counts}
    checks = [_split(frame, "srm", sorted(shares), shares, _SRM_ALPHA)]
    if checks[0].status in {"warn", "fail"} and (source := _split_source(frame, shares)):
        checks.append(source)
    if len(shares) > 1:
        alpha = _SRM_ALPHA / len(shares)
        checks += [_split(frame, f"srm_epoch_{number}", [number], shares, alpha) for number in sorted(shares)]
    return checks


def _split_source(frame: Frame, shares: Mapping[int, Mapping[str, float]]) -> Check | None:
    """The segment in which the mismatch is strongest, where the segments' counts single one out (Bonferroni)."""
    counts: dict[str, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in frame.facts.arm_counts:
        if row.segment and row.variant in frame.labels and row.epoch in shares:
            arm = counts[row.segment][row.epoch]
            arm[row.variant] = arm.get(row.variant, 0) + row.n_units
    found: list[tuple[float, str]] = []
    for segment, epochs in counts.items():
        result = srm_chi_square(
            [
                ([arm.get(key, 0) for key in frame.variants], [shares[e][key] for key in frame.variants])
                for e, arm in epochs.items()
            ]
        )
        if result is not None:
            found.append((min(1.0, result.p_value * len(counts)), segment))
    if not found or min(found)[0] >= _RARE:
        return None
    p, segment = min(found)
    units = [sum(arm.get(key, 0) for arm in counts[segment].values()) for key in frame.variants]
    text = _and([f"{frame.labels[key]} {n:,}" for key, n in zip(frame.variants, units, strict=True)])
    return Check(
        code="srm_segment",
        status="warn",
        value=p,
        threshold=_RARE,
        message=message("srm_segment", segment=segment, counts=text, p=p),
        advice=message("srm_segment_advice"),
    )


def _split(frame: Frame, code: str, epochs: Sequence[int], shares: dict[int, dict[str, float]], alpha: float) -> Check:
    """One test of the split.

    A Bayes factor over 100, which is what the sequential test needs for p < .01, is strong evidence: the check fails.
    A plain p just under .01 is a Bayes factor of at most about 9 (Sellke, Bayarri and Berger 2001), and one look leaves
    no later data to settle it: it is a warning, and only p < .001 fails.
    """
    tables = [
        ([frame.counts[e][key] for key in frame.variants], [shares[e][key] for key in frame.variants]) for e in epochs
    ]
    result = srm_chi_square(tables) if frame.facts.one_look else srm_sequential(tables)
    if result is None:
        return Check(code=code, status="unknown", threshold=alpha, message=message("srm_unknown"))
    args: dict[str, str | float | None] = {
        "counts": _and([f"{frame.labels[key]} has {sum(column):,} units" for key, column in _by_arm(frame, epochs)]),
        "expected": _each(_expected(frame, epochs, shares)),
        "p": result.p_value,
    }
    if result.p_value >= alpha:
        return Check(code=code, status="ok", value=result.p_value, threshold=alpha, message=message("srm_ok", args))
    broken = not frame.facts.one_look or result.p_value < _SRM_BROKEN
    return Check(
        code=code,
        status="fail" if broken else "warn",
        value=result.p_value,
        threshold=alpha,
        message=message("srm_broken" if broken else "srm_odd", args),
        advice=message("srm_advice"),
    )


def _by_arm(frame: Frame, epochs: Sequence[int]) -> list[tuple[str, list[int]]]:
    return [(key, [frame.counts[epoch][key] for epoch in epochs]) for key in frame.variants]


def _expected(frame: Frame, epochs: Sequence[int], shares: Mapping[int, Mapping[str, float]]) -> list[float]:
    sizes = {epoch: sum(frame.counts[epoch].values()) / (math.fsum(shares[epoch].values()) or 1.0) for epoch in epochs}
    return [math.fsum(sizes[epoch] * shares[epoch][key] for epoch in epochs) for key in frame.variants]


def _each(expected: Sequence[float]) -> str:
    texts = [f"{round(units, 1):,}".removesuffix(".0") for units in expected]
    return f"{texts[0]} each" if len(set(texts)) == 1 else _and(texts)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _mixed(frame: Frame) -> Check:
    """Units seen in two variants: how many, and whether one arm holds more of them than its share."""
    mixed = {key: frame.facts.multi_variant_units.get(key, 0) for key in frame.variants}
    n, whole = sum(mixed.values()), sum(frame.units.values())
    share = n / (n + whole) if n else 0.0
    clean = [frame.units[key] for key in frame.variants]
    uneven = srm_chi_square([(list(mixed.values()), [float(c) for c in clean])]) if n >= 20 and min(clean) else None
    args: dict[str, str | float | None] = {"n": n, "share": share}
    status: Status = "ok"
    if uneven is not None and uneven.p_value < _RARE:
        counts = _and([f"{frame.labels[key]} {mixed[key]:,}" for key in frame.variants])
        text, status = message("multi_uneven", args, counts=counts, p=uneven.p_value), "warn"
    elif share > _MIXED_MANY:
        text, status = message("multi_many", args), "warn"
    else:
        text, status = message("multi_ok" if n else "multi_none", args), "ok"
    if share > _MIXED_FAIL:
        status = "fail"
    advice = None if status == "ok" else message("multi_advice")
    return Check(code="multi_variant", status=status, value=share, threshold=_MIXED_MANY, message=text, advice=advice)


def _unexposed(frame: Frame) -> list[Check]:
    """Units told their variant that never met it, and whether one arm holds more of them than its share."""
    missed = {key: frame.facts.assigned_not_exposed.get(key, 0) for key in frame.variants}
    n = sum(missed.values())
    if not n:
        return []
    met = [frame.units[key] for key in frame.variants]
    counts = _and([f"{frame.labels[key]} {missed[key]:,}" for key in frame.variants])
    uneven = srm_chi_square([(list(missed.values()), [float(c) for c in met])]) if n >= 20 and min(met) else None
    share = n / (n + sum(met))
    if uneven is None or uneven.p_value >= _RARE:
        return [Check(code="unexposed", status="ok", value=share, message=message("unexposed_ok", n=n, counts=counts))]
    text = message("unexposed_uneven", n=n, counts=counts, p=uneven.p_value)
    advice = message("unexposed_advice")
    return [Check(code="unexposed", status="warn", value=share, threshold=_RARE, message=text, advice=advice)]


def _drift(frame: Frame) -> Check:
    """Homogeneity of the arms' shares over days, within epochs (chi-square; days with fewer than 20 units left out)."""
    table: dict[int, dict[object, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in frame.facts.arm_counts:
        if not row.segment and row.variant in frame.labels:
            cell = table[row.epoch][row.day]
            cell[row.variant] = cell.get(row.variant, 0) + row.n_units
    terms: list[float] = []
    df = 0
    for days in table.values():
        kept = [[day.get(key, 0) for key in frame.variants] for day in days.values() if sum(day.values()) >= 20]
        columns = [sum(column) for column in zip(*kept, strict=True)]
        arms = [i for i, total in enumerate(columns) if total]
        if len(kept) < 2 or len(arms) < 2:
            continue
        whole = sum(columns)
        for day in kept:
            size = sum(day)
            terms += [(day[i] - size * columns[i] / whole) ** 2 / (size * columns[i] / whole) for i in arms]
        df += (len(kept) - 1) * (len(arms) - 1)
    if df == 0:
        return Check(code="exposure_drift", status="ok", threshold=_RARE, message=message("drift_ok"))
    p = float(special.chdtrc(df, math.fsum(terms)))
    if p >= _RARE:
        return Check(code="exposure_drift", status="ok", value=p, threshold=_RARE, message=message("drift_ok"))
    return Check(
        code="exposure_drift",
        status="warn",
        value=p,
        threshold=_RARE,
        message=message("drift_odd", p=p),
        advice=message("drift_advice"),
    )


def _gaps(frame: Frame) -> Check:
    days = sorted({row.day for row in frame.facts.arm_counts if row.n_units})
    after_gaps = [earlier for earlier, later in itertools.pairwise(days) if (later - earlier).days > 1]
    if not after_gaps:
        return Check(code="data_gap", status="ok", value=0.0, message=message("gap_ok"))
    n = (days[-1] - days[0]).days + 1 - len(days)
    first = (after_gaps[0] + dt.timedelta(days=1)).isoformat()
    text = message("gap_found", n=n, day=first)
    return Check(code="data_gap", status="warn", value=float(n), message=text, advice=message("gap_advice"))


def _lost(frame: Frame) -> Check:
    given_up, refused = frame.facts.given_up_events, frame.facts.refused_events
    n = sum(given_up.values()) + sum(refused.values())
    if not n:
        return Check(code="lost_events", status="ok", value=0.0, message=message("lost_none"))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted((given_up | refused).items()))
    text = message("lost_some", given_up=sum(given_up.values()), refused=sum(refused.values()), reasons=reasons)
    return Check(code="lost_events", status="warn", value=float(n), message=text, advice=message("lost_advice"))


def _excluded(frame: Frame) -> Check:
    facts = frame.facts
    text = message(
        "excluded_ok",
        forced=facts.forced_exposures,
        unknown=facts.unknown_variant_exposures,
        other_kind=facts.other_kind_exposures,
        duplicates=facts.duplicate_events,
    )
    exposures = facts.forced_exposures + facts.unknown_variant_exposures + facts.other_kind_exposures
    return Check(code="excluded", status="ok", value=float(exposures), message=text)
