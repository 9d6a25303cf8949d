"""Health: is the experiment sound enough to be read? Each check has a status, a number, a sentence and advice."""

import datetime as dt
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from scipy import special

from genux.specs import MetricSpec
from genux_server.model import Check, Message
from genux_server.stats.compare import Decided
from genux_server.stats.frame import Frame, label_of, scale_of
from genux_server.stats.messages import message
from genux_server.stats.metric_report import Analysed
from genux_server.stats.moments import comoment, mean_of, merge, total_of
from genux_server.stats.srm import srm_chi_square, srm_sequential

__all__ = ["MIN_CONVERSIONS", "MIN_UNITS", "health_checks"]

MIN_UNITS = 50
MIN_CONVERSIONS = 5
_SRM_ALPHA = 0.01
_SRM_BROKEN = 0.001
_MIXED_MANY, _MIXED_FAIL = 0.01, 0.10
_RARE = 0.001
_TWYMAN_LIFT = 0.5
_NOVELTY_DAYS = 7

Status = Literal["ok", "warn", "fail", "unknown"]


def health_checks(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """All checks, the gravest kind first: split, mixed units, drift, gaps, data, outliers, plausibility, novelty."""
    checks = [*_splits(frame), _mixed(frame), _drift(frame), _gaps(frame)]
    if analysed:
        checks.append(_little_data(frame, analysed[0].metric))
    checks += _outliers(frame, analysed)
    checks += _twyman(frame, analysed)
    if analysed and (novelty := _novelty(frame, analysed[0])):
        checks.append(novelty)
    checks.append(_excluded(frame))
    return checks


def _splits(frame: Frame) -> list[Check]:
    """Sample ratio mismatch over all epochs together, and of each epoch where there are several."""
    planned = frame.epoch_shares()
    # An epoch that nobody described is judged by the spec's shares rather than not at all.
    shares = {number: planned.get(number, frame.spec_shares) for number in frame.counts}
    checks = [_split(frame, "srm", list(shares), shares, _SRM_ALPHA)]
    if len(shares) > 1:
        alpha = _SRM_ALPHA / len(shares)
        checks += [_split(frame, f"srm_epoch_{number}", [number], shares, alpha) for number in sorted(shares)]
    return checks


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
    expected = {
        key: math.fsum(
            sum(frame.counts[e].values()) * shares[e][key] / (math.fsum(shares[e].values()) or 1.0) for e in epochs
        )
        for key in frame.variants
    }
    args: dict[str, str | float | None] = {
        "counts": _and(
            [f"{frame.labels[key]} has {sum(frame.counts[e][key] for e in epochs):,} units" for key in frame.variants]
        ),
        "expected": _and([f"{expected[key]:,.0f}" for key in frame.variants]),
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
        text, status = message("multi_ok", args), "ok"
    if share > _MIXED_FAIL:
        status = "fail"
    advice = None if status == "ok" else message("multi_advice")
    return Check(code="multi_variant", status=status, value=share, threshold=_MIXED_MANY, message=text, advice=advice)


def _drift(frame: Frame) -> Check:
    """Homogeneity of the arms' shares over days, within epochs (chi-square; days with fewer than 20 units left out)."""
    table: dict[int, dict[object, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in frame.facts.arm_counts:
        if not row.segment and row.variant in frame.labels:
            cell = table[row.epoch][row.day]
            cell[row.variant] = cell.get(row.variant, 0) + row.n_units
    statistic, df = 0.0, 0
    for days in table.values():
        kept = [[day.get(key, 0) for key in frame.variants] for day in days.values() if sum(day.values()) >= 20]
        columns = [sum(column) for column in zip(*kept, strict=True)]
        arms = [i for i, total in enumerate(columns) if total]
        if len(kept) < 2 or len(arms) < 2:
            continue
        whole = sum(columns)
        for day in kept:
            size = sum(day)
            statistic += math.fsum(
                (day[i] - size * columns[i] / whole) ** 2 / (size * columns[i] / whole) for i in arms
            )
        df += (len(kept) - 1) * (len(arms) - 1)
    if df == 0:
        return Check(code="exposure_drift", status="ok", threshold=_RARE, message=message("drift_ok"))
    p = float(special.chdtrc(df, statistic))
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


def _little_data(frame: Frame, metric: MetricSpec) -> Check:
    by_epoch = frame.moments(metric.key)
    arms = {key: merge(a[key] for a in by_epoch.values() if key in a) for key in frame.variants}
    smallest = min(m.n for m in arms.values())
    args: dict[str, str | float | None] = {"smallest": smallest, "metric": label_of(metric), "units": MIN_UNITS}
    counts = metric.kind in {"proportion", "retention"}
    conversions = min((total_of(m, "y") for m in arms.values()), default=0.0) if counts else math.inf
    if smallest >= MIN_UNITS and conversions >= MIN_CONVERSIONS:
        return Check(
            code="little_data", status="ok", value=smallest, threshold=MIN_UNITS, message=message("little_data_ok")
        )
    text = (
        message("little_data", args, conversions=conversions, needed=MIN_CONVERSIONS)
        if counts
        else message("little_data_mean", args)
    )
    return Check(
        code="little_data",
        status="warn",
        value=smallest,
        threshold=MIN_UNITS,
        message=text,
        advice=message("little_data_advice"),
    )


def _outliers(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """Whether one unit drives a mean: its pull on the difference, beside the difference's standard error."""
    found = []
    for item in analysed:
        metric = item.metric
        if metric.kind not in {"mean", "count"}:
            continue
        driver = _driver(frame, item)
        found.append(
            driver
            or Check(code=f"outlier_{metric.key}", status="ok", message=message("outlier_ok", metric=label_of(metric)))
        )
    return found


def _driver(frame: Frame, item: Analysed) -> Check | None:
    metric = item.metric
    by_epoch = frame.moments(metric.key)
    worst: Check | None = None
    for outlier in frame.facts.outliers:
        if outlier.metric != metric.key or outlier.variant not in frame.labels:
            continue
        arm = merge(a[outlier.variant] for a in by_epoch.values() if outlier.variant in a)
        if arm.n < 3:
            continue
        distance = outlier.value - mean_of(arm, "y")
        pull = distance / (arm.n - 1)
        se = math.sqrt(max(0.0, comoment(arm, "y", "y") / (arm.n - 1) / arm.n))
        # Half a standard error of the arm's mean, from one unit of thousands, is more than honest data does; in a small
        # arm any unit reaches that, so there it must also hold a tenth of the arm's total.
        leverage = abs(pull) / se if se else 0.0
        if (
            leverage < 0.5
            or outlier.share < (0.1 if arm.n < 1000 else 0.01)
            or (worst and leverage <= (worst.value or 0))
        ):
            continue
        effect = _effect_for(frame, item, outlier.variant)
        if effect is None:
            continue
        shift = -pull if outlier.variant == frame.control else pull
        worst = Check(
            code=f"outlier_{metric.key}",
            status="warn",
            value=leverage,
            threshold=0.5,
            message=message(
                "outlier_driver",
                scale=scale_of(metric),
                unit=outlier.unit_id,
                label=frame.labels[outlier.variant],
                value=outlier.value,
                metric=label_of(metric),
                share=outlier.share,
                shift=shift,
                effect=effect,
                without=effect - shift,
            ),
            advice=message("outlier_advice"),
        )
    return worst


def _effect_for(frame: Frame, item: Analysed, variant: str) -> float | None:
    treatment = frame.treatments[0] if variant == frame.control else variant
    return item.decided[treatment][-1].comparison.effect


def _twyman(frame: Frame, analysed: Sequence[Analysed]) -> list[Check]:
    """Twyman's law: any figure that looks interesting is usually wrong."""
    for item in analysed:
        for treatment, comparisons in item.decided.items():
            first: Decided = comparisons[0]
            lift, contrast = first.comparison.lift, first.contrast
            if contrast is None or lift is None or not contrast.significant or abs(lift) <= _TWYMAN_LIFT:
                continue
            text = message("twyman", metric=label_of(item.metric), lift=lift, label=frame.labels[treatment])
            return [
                Check(
                    code="twyman",
                    status="warn",
                    value=lift,
                    threshold=_TWYMAN_LIFT,
                    message=text,
                    advice=message("twyman_advice"),
                )
            ]
    return [Check(code="twyman", status="ok", threshold=_TWYMAN_LIFT, message=message("twyman_ok"))]


def _novelty(frame: Frame, primary: Analysed) -> Check | None:
    """Weighted least-squares slope of the daily effects against the day of first exposure, over at least seven days."""
    if frame.facts.one_look:
        return None
    for treatment in frame.treatments:
        points = _daily_effects(frame, primary.metric, treatment)
        if len(points) < _NOVELTY_DAYS:
            continue
        weights = [1.0 / variance for _, _, variance in points]
        whole = math.fsum(weights)
        centre = math.fsum(w * day for w, (day, _, _) in zip(weights, points, strict=True)) / whole
        spread = math.fsum(w * (day - centre) ** 2 for w, (day, _, _) in zip(weights, points, strict=True))
        slope = math.fsum(w * (day - centre) * e for w, (day, e, _) in zip(weights, points, strict=True)) / spread
        z = slope * math.sqrt(spread)
        if abs(z) > 3.5:
            text = message("novelty_trend", scale=scale_of(primary.metric), slope=slope)
            return Check(
                code="novelty", status="warn", value=z, threshold=3.5, message=text, advice=message("novelty_advice")
            )
    return Check(code="novelty", status="ok", threshold=3.5, message=message("novelty_ok"))


def _daily_effects(frame: Frame, metric: MetricSpec, treatment: str) -> list[tuple[int, float, float]]:
    from genux_server.stats.combine import pair_up
    from genux_server.stats.frame import merge_cells

    points = []
    for day in frame.days(metric.key):
        pair = pair_up(merge_cells(frame.cells(metric.key, day)), frame.control, treatment)
        c, t = pair.control, pair.treatment
        if c is None or t is None or min(c.n, t.n) < MIN_UNITS or c.variance + t.variance == 0.0:
            continue
        points.append((day.toordinal(), t.value - c.value, c.variance + t.variance))
    return points


def _excluded(frame: Frame) -> Check:
    facts = frame.facts
    text: Message = message(
        "excluded_ok",
        forced=facts.forced_exposures,
        unknown=facts.unknown_variant_exposures,
        duplicates=facts.duplicate_events,
    )
    return Check(
        code="excluded",
        status="ok",
        value=float(facts.forced_exposures + facts.unknown_variant_exposures),
        message=text,
    )
