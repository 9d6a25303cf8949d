import datetime as dt

from genux.specs import ExperimentSpec, VariantSpec
from genux_server.pages.listing import build_listing
from genux_server.service.experiments import ExperimentView


def view(samples, key, status, days=3):
    started = None if status == "draft" else samples.NOW - dt.timedelta(days=days)
    spec = ExperimentSpec(key=key, variants=[VariantSpec(key="chat"), VariantSpec(key="summary")])
    return ExperimentView(
        key=key, status=status, spec=spec, created_at=samples.NOW, updated_at=samples.NOW, started_at=started
    )


def test_running_ones_come_first_and_archived_ones_not_at_all(samples):
    views = [view(samples, status, status) for status in ("draft", "archived", "shipped", "running", "paused")]
    groups = build_listing(views, {}, samples.NOW)
    assert [(g.id, [r.key for r in g.rows]) for g in groups] == [
        ("running", ["running"]),
        ("waiting", ["paused", "draft"]),
        ("ended", ["shipped"]),
    ]


def test_a_row_has_verdict_lift_health_and_age(samples):
    (group,) = build_listing([view(samples, "a", "running")], {"a": samples.full()}, samples.NOW)
    (row,) = group.rows
    assert (row.verdict_word, row.health_word, row.age, row.n_units) == ("Ship", "Warning", "3 days", "12,480")
    assert row.lift == "+24\u202f%"
    assert row.mark.tone == "good"


def test_an_invalid_experiment_shows_no_lift(samples):
    (group,) = build_listing([view(samples, "a", "running")], {"a": samples.invalid()}, samples.NOW)
    assert (group.rows[0].lift, group.rows[0].mark, group.rows[0].health) == ("", None, "fail")


def test_among_many_variants_the_best_is_named(samples):
    (group,) = build_listing([view(samples, "a", "running")], {"a": samples.crowded()}, samples.NOW)
    assert group.rows[0].note == "action-short"
