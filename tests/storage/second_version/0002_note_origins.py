"""
Note where connections come from, and refuse counts below zero.

No release has this migration. The tests of the upgrade run it after the real ones, because it does what a migration may
have to do: it makes a table anew that others belong to, changes a view, fills a column, and adds a table.
"""

import sqlalchemy as sa
from alembic import op

from monitor.storage.tables import connections
from monitor.storage.views import view_queries

revision = "0002"
down_revision = "0001_history"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    op.execute("DROP VIEW current_connections")
    if dialect == "sqlite":
        # Otherwise SQLite refuses the other views of the table while it is away.
        op.execute("PRAGMA legacy_alter_table=ON")
    # Given, not reflected: the statements must also be printable without a database.
    with op.batch_alter_table("connections", copy_from=connections) as table:
        table.create_check_constraint(op.f("ck_connections_missed_polls"), "missed_polls >= 0")
        table.add_column(sa.Column("origin", sa.Text(), server_default="unknown", nullable=False))
    if dialect == "sqlite":
        op.execute("PRAGMA legacy_alter_table=OFF")
    op.execute("UPDATE connections SET origin = 'api'")
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_notes_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notes")),
    )
    query = view_queries(dialect)["current_connections"].replace(" c.id\n", " c.id, c.origin\n")
    op.execute(sa.text(f"CREATE VIEW current_connections AS {query}".replace(":", "\\:")))
