"""Batches that no lake takes, set aside so that the others go on."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade(parts: Collection[str]) -> None:
    if "inbox" in parts:
        op.create_table(
            "parked_batch",
            sa.Column("id", _ID, nullable=False),
            sa.Column("project_id", _ID, nullable=False),
            sa.Column("environment_id", _ID, nullable=False),
            sa.Column("batch_id", sa.Text(), nullable=False),
            sa.Column("received_at", _TIME, nullable=False),
            sa.Column("trust", sa.Text(), nullable=False),
            sa.Column("sdk", sa.Text(), nullable=False),
            sa.Column("n_events", _ID, nullable=False),
            sa.Column("body", sa.LargeBinary(), nullable=False),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column("parked_at", _TIME, nullable=False),
            sa.PrimaryKeyConstraint("id", name="pk_parked_batch"),
        )


def downgrade(parts: Collection[str]) -> None:
    if "inbox" in parts:
        op.drop_table("parked_batch")
