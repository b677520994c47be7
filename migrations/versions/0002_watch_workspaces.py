"""Watch whole workspaces: accounts as sources, managed users by name and address, names in every view."""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("token_transitions", "incident_log", "poll_log", "current_connections"):
        op.execute(f"DROP VIEW {name}")

    op.create_table(
        "sources",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("next_discovery_at", UtcDateTime(), nullable=True),
        sa.Column("discovered_at", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=True),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
        sa.Column("failure_rule", sa.Text(), nullable=True),
        sa.Column("failure_reach", sa.Text(), nullable=True),
        sa.Column("failure_error", sa.Text(), nullable=True),
        sa.Column("failure_remedy", sa.Text(), nullable=True),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("paused_reach", sa.Text(), nullable=True),
        sa.Column("probe_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_sources")),
    )
    op.add_column("targets", sa.Column("managed_username", sa.Text(), nullable=True))
    op.add_column("targets", sa.Column("missing_since", UtcDateTime(), nullable=True))
    op.add_column("targets", sa.Column("failure_reach", sa.Text(), nullable=True))
    op.add_column("targets", sa.Column("failed_alone", sa.Integer(), server_default="0", nullable=False))

    op.add_column("connections", sa.Column("dated_at", UtcDateTime(), nullable=True))
    op.add_column("connections", sa.Column("renewed_at", UtcDateTime(), nullable=True))
    op.add_column("connections", sa.Column("renewals", sa.Integer(), server_default="0", nullable=False))
    op.add_column("connections", sa.Column("habit", sa.Text(), nullable=True))
    op.add_column("incidents", sa.Column("cause", sa.Text(), nullable=True))
    op.create_table(
        "probes",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("tested_at", UtcDateTime(), nullable=False),
        sa.Column("next_test_at", UtcDateTime(), nullable=False),
        sa.Column("meaning", sa.Text(), nullable=True),
        sa.Column("meant_at", UtcDateTime(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_probes_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_probes")),
    )

    sqlite = op.get_context().dialect.name == "sqlite"
    for statement in VIEWS:
        last_poll = (
            "strftime('%Y-%m-%d %H:%M:%f', p.last_at / 1000.0, 'unixepoch')" if sqlite else "p.last_at"
        )
        op.execute(statement.replace("{last_poll}", last_poll))


# ``polls.last_at`` is the moving end of the newest run, and of every connection that it lists.
VIEWS = (
    """
    CREATE VIEW current_connections AS
    SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
           c.display_name, c.token_status, c.expires_at, c.last_successful_post_at, c.last_error,
           c.last_error_at,
           c.first_seen_at,
           coalesce(c.last_seen_at, CASE WHEN t.failures = 0 THEN {last_poll} ELSE t.last_ok_at END)
               AS last_seen_at,
           c.removed_at, c.id
    FROM connections c
    JOIN targets t ON t.id = c.target_id
    JOIN polls p ON p.target_id = t.id
    """,
    """
    CREATE VIEW token_transitions AS
    SELECT s.taken_at AS at, t.account, t.managed_user_id, c.platform, c.platform_id, c.username,
           s.from_status, s.token_status AS to_status, s.expires_at, s.id, t.managed_user
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.from_status IS NULL OR s.from_status <> s.token_status
    """,
    """
    CREATE VIEW incident_log AS
    SELECT i.id, i.account, t.managed_user_id, c.platform, c.platform_id, c.username, i.rule, i.severity,
           i.summary, i.opened_at, i.acknowledged_at, i.acknowledged_by, i.resolved_at, i.resolution,
           i.deadline_at, t.managed_user, i.cause
    FROM incidents i
    LEFT JOIN targets t ON t.id = i.target_id
    LEFT JOIN connections c ON c.id = i.connection_id
    """,
    """
    CREATE VIEW poll_log AS
    SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error, r.first_at,
           coalesce(r.last_at, {last_poll}) AS last_at, coalesce(r.polls, p.polls) AS polls, r.id,
           t.managed_user
    FROM poll_runs r
    JOIN targets t ON t.id = r.target_id
    LEFT JOIN polls p ON p.run_id = r.id
    """,
)
