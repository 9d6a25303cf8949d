"""${message}."""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        ${upgrades if upgrades else "pass"}


def downgrade(parts: Collection[str]) -> None:
    if "control" in parts:
        ${downgrades if downgrades else "pass"}
