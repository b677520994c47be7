"""Know the growing run of a target by its missing end, so that the row that every poll rewrites is narrower."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW poll_log")
    op.drop_column("polls", "run_id")
    op.create_index(
        "uq_poll_runs_growing",
        "poll_runs",
        ["target_id"],
        unique=True,
        sqlite_where=sa.text("last_at IS NULL"),
        postgresql_where=sa.text("last_at IS NULL"),
    )
    sqlite = op.get_context().dialect.name == "sqlite"
    last_poll = "strftime('%Y-%m-%d %H:%M:%f', p.last_at / 1000.0, 'unixepoch')" if sqlite else "p.last_at"
    op.execute(POLL_LOG.replace("{last_poll}", last_poll))


# ``polls.last_at`` is the moving end of the growing run.
POLL_LOG = """
    CREATE VIEW poll_log AS
    SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error, r.first_at,
           coalesce(r.last_at, {last_poll}) AS last_at, coalesce(r.polls, p.polls) AS polls, r.id,
           t.managed_user
    FROM poll_runs r
    JOIN targets t ON t.id = r.target_id
    LEFT JOIN polls p ON p.target_id = r.target_id AND r.last_at IS NULL
    """
