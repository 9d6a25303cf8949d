"""The web origins whose pages may use a browser key."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.add_column("api_key", sa.Column("origins", sa.Text(), nullable=False, server_default=""))


def downgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        op.drop_column("api_key", "origins")
