import datetime as dt

import msgspec
import pytest

from genux_server.pages.report_view import build_report_view


def view_of(samples, state, **options):
    return build_report_view(samples.STATES[state](), now=samples.NOW, **options)


def test_failing_checks_come_first_then_warnings(samples):
    statuses = [check.status for check in view_of(samples, "invalid").checks]
    assert statuses[:2] == ["fail", "warn"]
    assert statuses[2:] == ["ok"] * 5
    assert view_of(samples, "invalid").checks_summary == "1 failing, 1 warning, 5 ok"


def test_the_planned_comparison_leads_where_there_is_one(samples):
    primary = view_of(samples, "full").primary
    assert primary.validity.startswith("Valid at the planned looks")
    assert [r.validity for r in primary.readings] == [
        "Valid for one look",
        "Valid at every look",
        "Valid at the planned looks",
    ]


def test_before_the_first_planned_look_the_always_valid_comparison_leads(samples):
    report = samples.full()
    primary = report.metrics[0]
    blank = msgspec.structs.replace(primary.comparisons[2], effect=None, not_computable=samples.say("Not yet."))
    report.metrics[0] = msgspec.structs.replace(primary, comparisons=[*primary.comparisons[:2], blank])
    assert build_report_view(report, now=samples.NOW).primary.validity.startswith("Valid at every look")


def test_control_stands_first_and_is_compared_with_nothing(samples):
    rows = view_of(samples, "crowded").primary.rows
    assert rows[0].is_control
    assert sum(row.is_control for row in rows) == 1


def test_an_invalid_report_calls_no_effect_good(samples):
    view = view_of(samples, "invalid")
    assert {row.compared.tone for row in view.primary.rows} == {"open"}
    assert {row.compared.tone for row in view.forest.rows} == {"open"}
    assert view_of(samples, "full").primary.rows[1].compared.tone == "good"


def test_too_little_data_says_why_instead_of_an_effect(samples):
    row = view_of(samples, "collecting").primary.rows[1]
    assert row.compared.unavailable.startswith("Fewer than 50 matured units")
    assert row.compared.effect == ""
    assert row.compared.mark is None


@pytest.mark.parametrize(
    ("age", "running", "notices"),
    [
        (dt.timedelta(hours=1), True, 0),
        (dt.timedelta(days=2), True, 1),
        (dt.timedelta(days=9), True, 2),
        (dt.timedelta(days=9), False, 0),
    ],
)
def test_a_running_experiment_says_when_its_report_or_its_traffic_is_old(samples, age, running, notices):
    view = build_report_view(samples.full(), now=samples.NOW + age, running=running)
    assert len(view.notices) == notices


def test_unknown_cost_is_said_and_never_zero(samples):
    cost = view_of(samples, "discuss").economics.groups[0]
    summary = {row.label: row.cells[1] for row in cost.rows}
    assert summary["Per unit"].text == "unknown"
    assert summary["Spent in all"].text == "unknown"
    assert summary["Calls of unknown cost"].text == "5,105"
    assert "no call of this variant has a known price" in summary["Per incremental conversion"].detail.lower()


def test_an_unbounded_cost_per_conversion_is_said(samples):
    cost = view_of(samples, "crowded").economics.groups[0]
    cells = next(row.cells for row in cost.rows if row.label == "Per incremental conversion")
    assert cells[1].detail == "$0.020 to $0.050"
    assert cells[2].detail == "over $0.040, unbounded"
    assert cells[3].detail.startswith("unbounded")


def test_a_variant_without_calls_shows_dashes_not_zeros(samples):
    rows = [row for group in view_of(samples, "crowded").economics.groups for row in group.rows]
    last = {row.label: row.cells[-1].text for row in rows}
    assert (last["Per call"], last["Errors"], last["Input tokens per call"]) == ("\u2013", "\u2013", "\u2013")


def test_no_calls_at_all_means_no_economics(samples):
    assert view_of(samples, "collecting").economics is None


def test_the_funnel_carries_controls_share_as_reference(samples):
    control, treatment = view_of(samples, "full").funnel
    assert control.is_control
    assert all(bar.reference is None for bar in control.bars)
    assert [bar.reference for bar in treatment.bars] == [bar.width for bar in control.bars]


def test_one_metric_alone_needs_no_forest(samples):
    assert view_of(samples, "crowded").forest is None
    assert len(view_of(samples, "full").forest.rows) == 6


def test_the_bands_share_one_scale_and_end_at_the_latest_estimate(samples):
    bands = view_of(samples, "crowded").primary.bands
    assert len({tuple(t.text for t in band.y_ticks) for band in bands}) == 1
    assert len(bands) == 7
    chart = view_of(samples, "full").primary.bands[0]
    assert len(chart.rows) == 21
    assert chart.rows[0][0] == "22 Nov 2026"
    assert chart.summary.startswith(chart.last_text)
    assert 0 <= chart.last_upper_y <= chart.last_y <= chart.last_lower_y <= chart.height


def test_a_report_on_a_file_names_no_days_of_exposure(samples):
    report = msgspec.structs.replace(samples.full(), source="file")
    assert len(build_report_view(report, now=samples.NOW).facts) == 2
