"""Projects, keys, experiments, metrics, reports, audit; the inbox and the state of the lake."""

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        _create_people_and_keys()
        _create_experiments()
    if "inbox" in parts:
        _create_inbox()


def downgrade(parts: Collection[str]) -> None:
    if "inbox" in parts:
        for table in ("lake_scope", "lake_state", "worker_lease", "dropped_count", "rejected_event", "inbox_batch"):
            op.drop_table(table)
    if "control" in parts:
        for table in (
            "setting",
            "audit_entry",
            "report",
            "metric",
            "experiment_epoch",
            "experiment",
            "token_secret",
            "api_key",
            "membership",
            "member",
            "environment",
            "project",
        ):
            op.drop_table(table)


def _project_id(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return sa.Column("project_id", _ID, nullable=False), sa.ForeignKeyConstraint(
        ["project_id"], ["project.id"], name=f"fk_{table}_project_id", ondelete="CASCADE"
    )


def _create_people_and_keys() -> None:
    op.create_table(
        "project",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("key", name="uq_project_key"),
    )
    op.create_table(
        "environment",
        sa.Column("id", _ID, nullable=False),
        *_project_id("environment"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("snapshot_version", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environment"),
        sa.UniqueConstraint("project_id", "key", name="uq_environment_project_id_key"),
    )
    op.create_table(
        "member",
        sa.Column("id", _ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("disabled_at", _TIME, nullable=True),
        sa.Column("last_login_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_member"),
        sa.UniqueConstraint("email", name="uq_member_email"),
    )
    op.create_table(
        "membership",
        *_project_id("membership"),
        sa.Column("member_id", _ID, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "member_id", name="pk_membership"),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name="fk_membership_member_id", ondelete="CASCADE"),
    )
    op.create_index("ix_membership_member_id", "membership", ["member_id"])
    op.create_table(
        "api_key",
        sa.Column("id", _ID, nullable=False),
        *_project_id("api_key"),
        sa.Column("environment_id", _ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environment.id"], name="fk_api_key_environment_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        sa.CheckConstraint("kind IN ('server', 'browser', 'admin')", name=op.f("ck_api_key_kind")),
    )
    op.create_index("ix_api_key_project_id", "api_key", ["project_id"])
    op.create_table(
        "token_secret",
        sa.Column("id", _ID, nullable=False),
        *_project_id("token_secret"),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("retired_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_token_secret"),
        sa.UniqueConstraint("project_id", "key_id", name="uq_token_secret_project_id_key_id"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", _ID, nullable=False),
        *_project_id("audit_entry"),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_project_id_id", "audit_entry", ["project_id", "id"])
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setting"),
    )


def _create_experiments() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", _ID, nullable=False),
        *_project_id("experiment"),
        sa.Column("environment_id", _ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.Column("shipped", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_experiment"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environment.id"], name="fk_experiment_environment_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("environment_id", "key", name="uq_experiment_environment_id_key"),
        sa.CheckConstraint(
            "status IN ('draft', 'running', 'paused', 'stopped', 'shipped', 'archived')",
            name=op.f("ck_experiment_status"),
        ),
        sa.CheckConstraint("coverage >= 0 AND coverage <= 1", name=op.f("ck_experiment_coverage")),
    )
    op.create_index("ix_experiment_project_id", "experiment", ["project_id"])
    op.create_table(
        "experiment_epoch",
        sa.Column("id", _ID, nullable=False),
        *_project_id("experiment_epoch"),
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("number", _ID, nullable=False),
        sa.Column("allocation", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_experiment_epoch"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name="fk_experiment_epoch_experiment_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("experiment_id", "number", name="uq_experiment_epoch_experiment_id_number"),
    )
    op.create_table(
        "metric",
        sa.Column("id", _ID, nullable=False),
        *_project_id("metric"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metric"),
        sa.UniqueConstraint("project_id", "key", name="uq_metric_project_id_key"),
    )
    op.create_table(
        "report",
        sa.Column("id", _ID, nullable=False),
        *_project_id("report"),
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("definition_hash", sa.Text(), nullable=False),
        sa.Column("chunk", _ID, nullable=False),
        sa.Column("lake_version", sa.Text(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("as_of", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_report"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name="fk_report_experiment_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_report_experiment_id_definition_hash_id", "report", ["experiment_id", "definition_hash", "id"])


def _create_inbox() -> None:
    op.create_table(
        "inbox_batch",
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("environment_id", _ID, nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("sdk", sa.Text(), nullable=False),
        sa.Column("n_events", _ID, nullable=False),
        sa.Column("body_bytes", _ID, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("chunk", _ID, nullable=True),
        sa.Column("archived_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_inbox_batch"),
        sa.UniqueConstraint("project_id", "batch_id", name="uq_inbox_batch_project_id_batch_id"),
    )
    still_open = sa.text("archived_at IS NULL")
    op.create_index(
        "ix_inbox_batch_open",
        "inbox_batch",
        ["chunk", "id"],
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_index("ix_inbox_batch_archived_at", "inbox_batch", ["archived_at"])
    op.create_table(
        "rejected_event",
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("environment_id", _ID, nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("position", _ID, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rejected_event"),
    )
    op.create_table(
        "dropped_count",
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("environment_id", _ID, nullable=False),
        sa.Column("sdk", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("n_events", _ID, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dropped_count"),
    )
    for table in ("rejected_event", "dropped_count"):
        op.create_index(f"ix_{table}_project_id_environment_id_id", table, ["project_id", "environment_id", "id"])
    lease = op.create_table(
        "worker_lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_worker_lease"),
    )
    state = op.create_table(
        "lake_state",
        sa.Column("id", _ID, nullable=False),
        sa.Column("chunk", _ID, nullable=False),
        sa.Column("exposures", _ID, nullable=False),
        sa.Column("events", _ID, nullable=False),
        sa.Column("calls", _ID, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lake_state"),
    )
    op.create_table(
        "lake_scope",
        sa.Column("project_id", _ID, nullable=False, autoincrement=False),
        sa.Column("environment_id", _ID, nullable=False, autoincrement=False),
        sa.Column("chunk", _ID, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "environment_id", name="pk_lake_scope"),
    )
    long_ago = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    op.bulk_insert(lease, [{"name": "archive", "holder": "", "expires_at": long_ago}])
    op.bulk_insert(state, [{"id": 1, "chunk": 0, "exposures": -1, "events": -1, "calls": -1, "updated_at": long_ago}])
