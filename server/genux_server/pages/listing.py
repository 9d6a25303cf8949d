"""The experiments list: what runs, what waits, what ended, each with its last verdict."""

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from genux_server.model import Report
from genux_server.pages.axis import Axis, IntervalMark, interval_axis, interval_mark
from genux_server.pages.compared import shown_comparison
from genux_server.pages.format import DASH, count, duration, lift
from genux_server.pages.text import gettext, status_word, verdict_word
from genux_server.service.experiments import ExperimentView

__all__ = ["ListGroup", "Listed", "build_listing"]

_GROUPS = (("running", ("running",)), ("waiting", ("draft", "paused")), ("ended", ("stopped", "shipped")))
_SEVERITY = ("fail", "warn", "unknown", "ok")


class Listed(msgspec.Struct, frozen=True):
    """One experiment in one line; what is not known yet is empty."""

    key: str
    title: str
    note: str
    status: str
    status_word: str
    verdict: str
    verdict_word: str
    n_units: str
    lift: str
    lift_interval: str
    mark: IntervalMark | None
    zero: float
    health: str
    health_word: str
    age: str


class ListGroup(msgspec.Struct, frozen=True):
    """Experiments of one kind of status."""

    id: str
    label: str
    rows: list[Listed]


def build_listing(views: Sequence[ExperimentView], reports: Mapping[str, Report], now: dt.datetime) -> list[ListGroup]:
    """The groups that have experiments, newest experiment first; archived ones are left out.

    Lift intervals of all rows share one axis, so that they can be compared down the page.
    """
    leads = {key: _lead(report) for key, report in reports.items()}
    axis = interval_axis((c[1], c[2], c[3]) for c in leads.values() if c is not None)
    labels = {"running": gettext("Running"), "waiting": gettext("Not running"), "ended": gettext("Ended")}
    groups: list[ListGroup] = []
    for name, statuses in _GROUPS:
        members = [view for view in reversed(views) if view.status in statuses]
        if members:
            rows = [_row(view, reports.get(view.key), leads.get(view.key), axis, now) for view in members]
            groups.append(ListGroup(name, labels[name], rows))
    return groups


_Lead = tuple[str, float | None, float | None, float | None, bool | None]


def _lead(report: Report) -> _Lead | None:
    """The treatment with the best lift of the primary metric; none where no number can be trusted."""
    primary = next((m for m in report.metrics if m.role == "primary"), None)
    if primary is None or report.verdict == "invalid":
        return None
    found = [shown_comparison(primary, arm.variant) for arm in report.arms if arm.variant != report.control]
    known = [c for c in found if c is not None and c.lift is not None]
    if not known:
        return None
    sign = 1.0 if primary.direction == "increase" else -1.0
    best = max(known, key=lambda c: sign * (c.lift or 0.0))
    label = next((arm.label for arm in report.arms if arm.variant == best.variant), "") or best.variant
    return (label, best.lift, best.lift_ci_lower, best.lift_ci_upper, best.beats_control)


def _row(
    view: ExperimentView, report: Report | None, lead: _Lead | None, axis: Axis | None, now: dt.datetime
) -> Listed:
    health = min((c.status for c in report.checks), key=_SEVERITY.index, default="") if report else ""
    label, best, lower, upper, good = lead or ("", None, None, None, None)
    written = lift(best, lower, upper) if lead else ("", "")
    ended = view.ended_at or now
    several = report is not None and len(report.arms) > 2  # noqa: PLR2004 - two variants need no name
    status = status_word(view.status) if report and view.status != "running" else ""
    return Listed(
        key=view.key,
        title=view.spec.question or view.key,
        note=" · ".join(part for part in (status, label if several else "") if part),
        status=view.status,
        status_word=status_word(view.status),
        verdict=report.verdict if report else "",
        verdict_word=verdict_word(report.verdict) if report else "",
        n_units=count(report.n_units) if report else DASH,
        lift=written[0],
        lift_interval=written[1],
        mark=interval_mark(axis, best, lower, upper, good=good) if axis and lead else None,
        zero=axis.percent(0.0) if axis else 0.0,
        health=health,
        health_word=status_word(health) if health else "",
        age=duration((ended - view.started_at).total_seconds()) if view.started_at else "",
    )
