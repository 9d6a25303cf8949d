"""Layers, holdouts and exclusions of an environment; the coverage from which an epoch admits units."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.add_column("environment", sa.Column("assignment_rules", sa.Text(), nullable=False, server_default="{}"))
        op.add_column(
            "experiment_epoch", sa.Column("coverage_from", sa.Double(), nullable=False, server_default=sa.text("0"))
        )


def downgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.drop_column("experiment_epoch", "coverage_from")
        op.drop_column("environment", "assignment_rules")
