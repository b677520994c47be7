"""
Remember since when a list has been too short to be believed.

Until now the day after which it is believed began with the first failure of any kind: after an outage of more
than a day, an empty list was believed at once.
"""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let targets and sources tell."""
    for table in ("targets", "sources"):
        op.add_column(table, sa.Column("short_since", UtcDateTime(), nullable=True))
