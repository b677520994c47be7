"""Keep the counts of what was erased on request, and nothing else of it."""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.Integer(), server_default="0", nullable=False)
            for name in ("targets", "connections", "polls", "transitions", "incidents", "deliveries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.execute(
        """
    CREATE VIEW erasure_log AS
    SELECT e.id, e.erased_at AS at, e.account, e.targets, e.connections, e.polls, e.transitions, e.incidents,
           e.deliveries
    FROM erasures e
    """
    )
