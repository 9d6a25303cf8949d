"""A project's own price table, and whether it keeps the text of prompts and answers."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.add_column("project", sa.Column("prices", sa.Text(), nullable=False, server_default="[]"))
        op.add_column("project", sa.Column("keeps_text", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.drop_column("project", "keeps_text")
        op.drop_column("project", "prices")
