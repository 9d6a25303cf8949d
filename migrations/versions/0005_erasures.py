"""Units that are to be forgotten, and what keeps a late event of theirs out."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade(parts: Collection[str]) -> None:
    if "inbox" in parts:
        op.create_table(
            "erasure",
            sa.Column("id", _ID, nullable=False),
            sa.Column("project_id", _ID, nullable=False),
            sa.Column("environment_id", _ID, nullable=True),
            sa.Column("unit_kind", sa.Text(), nullable=False),
            sa.Column("unit_id", sa.Text(), nullable=False),
            sa.Column("digest", sa.Text(), nullable=False),
            sa.Column("actor", sa.Text(), nullable=False),
            sa.Column("requested_at", _TIME, nullable=False),
            sa.Column("last_batch_id", _ID, nullable=False),
            sa.Column("done_at", _TIME, nullable=True),
            sa.Column("outcome", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("id", name="pk_erasure"),
        )
        op.create_index("ix_erasure_project_id_digest", "erasure", ["project_id", "digest"])
        op.create_table(
            "erased_unit",
            sa.Column("project_id", _ID, nullable=False),
            sa.Column("digest", sa.Text(), nullable=False),
            sa.Column("erased_at", _TIME, nullable=False),
            sa.PrimaryKeyConstraint("project_id", "digest", name="pk_erased_unit"),
        )


def downgrade(parts: Collection[str]) -> None:
    if "inbox" in parts:
        op.drop_table("erased_unit")
        op.drop_table("erasure")
