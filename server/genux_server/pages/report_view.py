"""A `Report` laid out for one page: what is written where, in which order. No arithmetic beyond placing."""

import datetime as dt

import msgspec

from genux_server.model import Check, Report
from genux_server.pages.economics import Economics, build_economics
from genux_server.pages.forest import Forest, build_forest
from genux_server.pages.format import count, day, days_between, duration, moment, rate
from genux_server.pages.metric_view import MetricView, metric_view
from genux_server.pages.text import (
    check_name,
    gettext,
    ngettext,
    sentence,
    sentences,
    status_word,
    step_name,
    verdict_word,
)

__all__ = ["ReportView", "build_report_view"]

_SEVERITY = {"fail": 0, "warn": 1, "unknown": 2, "ok": 3}
_STALE_SECONDS = 86_400.0
_SILENT_DAYS = 2


class FunnelBar(msgspec.Struct, frozen=True):
    """A step: units, share of the exposed, and control's share as the reference tick."""

    step: str
    n_units: str
    share: str
    width: float
    reference: float | None


class FunnelPanel(msgspec.Struct, frozen=True):
    """One variant's funnel."""

    label: str
    is_control: bool
    bars: list[FunnelBar]


class CheckRow(msgspec.Struct, frozen=True):
    """A health check in words."""

    status: str
    status_word: str
    name: str
    text: str
    advice: str


class ReportView(msgspec.Struct, frozen=True):
    """Everything the report template writes, in page order."""

    key: str
    title: str
    facts: list[str]
    simulated: str
    notices: list[str]
    verdict: str
    verdict_word: str
    headline: str
    reasons: list[str]
    change_mind: list[str]
    checks: list[CheckRow]
    worst_check: str
    checks_summary: str
    primary: MetricView | None
    forest: Forest | None
    funnel: list[FunnelPanel]
    economics: Economics | None
    methods: list[str]
    generated: str
    lake_version: str
    code_version: str
    source: str


def build_report_view(report: Report, *, now: dt.datetime, running: bool = False) -> ReportView:
    """Lay out a report.

    Args:
        report: what the statistics said.
        now: the reader's moment, to say how old the report is.
        running: the experiment is meant to be receiving units, so that silence is worth a notice.
    """
    labels = {arm.variant: arm.label or arm.variant for arm in report.arms}
    checks = sorted(report.checks, key=lambda c: _SEVERITY[c.status])
    primary = next((m for m in report.metrics if m.role == "primary"), None)
    return ReportView(
        key=report.experiment,
        title=report.question or report.experiment,
        facts=_facts(report),
        simulated=report.simulated,
        notices=_notices(report, now, running=running),
        verdict=report.verdict,
        verdict_word=verdict_word(report.verdict),
        headline=sentence(report.headline),
        reasons=sentences(report.reasons),
        change_mind=sentences(report.change_mind),
        checks=[_check_row(c) for c in checks],
        worst_check=checks[0].status if checks else "unknown",
        checks_summary=_checks_summary(checks),
        primary=metric_view(primary, report, labels) if primary else None,
        forest=build_forest(report, labels),
        funnel=_funnel(report, labels),
        economics=build_economics(report),
        methods=sentences(report.methods),
        generated=moment(report.generated_at),
        lake_version=report.lake_version,
        code_version=report.code_version,
        source=report.source,
    )


def _facts(report: Report) -> list[str]:
    facts = [ngettext("%(count)s unit", "%(count)s units", report.n_units, count=count(report.n_units))]
    facts.append(ngettext("%(num)s variant", "%(num)s variants", len(report.arms)))
    first, last = report.first_exposure_day, report.last_exposure_day
    if first and last and report.source == "lake":
        span = day(last) if first == last else f"{day(first)} \u2013 {day(last)}"
        facts.append(gettext("%(days)s, %(span)s", days=days_between(first, last), span=span))
    return facts


def _notices(report: Report, now: dt.datetime, *, running: bool) -> list[str]:
    if not running:
        return []
    notices: list[str] = []
    age_seconds = (now - report.generated_at).total_seconds()
    if age_seconds > _STALE_SECONDS:
        notices.append(
            gettext("This report is %(age)s old. Later events are not in it yet.", age=duration(age_seconds))
        )
    last = report.last_exposure_day
    if last and (now.date() - last).days > _SILENT_DAYS:
        notices.append(
            gettext("No unit has been exposed since %(day)s, though the experiment is running.", day=day(last))
        )
    return notices


def _check_row(check: Check) -> CheckRow:
    advice = sentence(check.advice) if check.advice else ""
    return CheckRow(check.status, status_word(check.status), check_name(check.code), sentence(check.message), advice)


def _checks_summary(checks: list[Check]) -> str:
    counts = {status: sum(c.status == status for c in checks) for status in _SEVERITY}
    if not checks:
        return gettext("No checks have run yet")
    if counts["ok"] == len(checks):
        return ngettext("The one check passes", "All %(num)s checks pass", len(checks))
    words = {
        "fail": gettext("%(num)s failing", num=counts["fail"]),
        "warn": ngettext("%(num)s warning", "%(num)s warnings", counts["warn"]),
        "unknown": gettext("%(num)s not known yet", num=counts["unknown"]),
        "ok": gettext("%(num)s ok", num=counts["ok"]),
    }
    return ", ".join(words[status] for status in _SEVERITY if counts[status])


def _funnel(report: Report, labels: dict[str, str]) -> list[FunnelPanel]:
    shares = {(s.variant, s.step): s.share for s in report.funnel}
    panels: list[FunnelPanel] = []
    for variant, label in labels.items():
        steps = [s for s in report.funnel if s.variant == variant]
        if not steps:
            continue
        is_control = variant == report.control
        bars = [
            FunnelBar(
                step_name(s.step),
                count(s.n_units),
                rate(s.share),
                _percent(s.share),
                None if is_control else _percent(shares.get((report.control, s.step))),
            )
            for s in steps
        ]
        panels.append(FunnelPanel(label, is_control, bars))
    return sorted(panels, key=lambda p: not p.is_control)


def _percent(share: float | None) -> float:
    return round(100 * min(1.0, max(0.0, share or 0.0)), 2)
