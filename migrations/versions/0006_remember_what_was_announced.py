"""Remember the severity that people were last to hear of, so that what is worse than that is told."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("announced", sa.Text(), nullable=True))
