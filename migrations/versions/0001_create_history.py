"""Create the history: tables, constraints, and the views that people query."""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime, UtcMillis

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _one_of(column: str, *values: str) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("managed_user_id", sa.Text(), nullable=True),
        sa.Column("managed_user", sa.Text(), nullable=True),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("detached_at", UtcDateTime(), nullable=True),
        sa.Column("last_ok_at", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=True),
        sa.Column("failure_rule", sa.Text(), nullable=True),
        sa.Column("failure_remedy", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("next_review_at", UtcDateTime(), nullable=True),
        sa.Column("doubted", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )
    op.create_index(
        "uq_targets_account_managed_user_id",
        "targets",
        ["account", sa.text("coalesce(managed_user_id, '')")],
        unique=True,
    )
    op.create_index("ix_targets_next_review_at", "targets", ["next_review_at"], unique=False)

    op.create_table(
        "connections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("token_status", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_successful_post_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_error_at", UtcDateTime(), nullable=True),
        sa.Column("error_seen_at", UtcDateTime(), nullable=True),
        sa.Column("settled_error_at", UtcDateTime(), nullable=True),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=True),
        sa.Column("missing", sa.Integer(), server_default="0", nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_connections_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_index(
        "uq_connections_target_id_platform_id", "connections", ["target_id", "platform_id"], unique=True
    )

    op.create_table(
        "poll_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=True),
        sa.Column("polls", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            _one_of(
                "outcome",
                "ok",
                "bad_request",
                "unauthorized",
                "forbidden",
                "rate_limited",
                "server_error",
                "network_error",
                "timeout",
                "bad_answer",
            ),
            name=op.f("ck_poll_runs_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_poll_runs_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_poll_runs")),
    )
    op.create_index("ix_poll_runs_target_id_first_at", "poll_runs", ["target_id", "first_at"], unique=False)

    op.create_table(
        "polls",
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("next_poll_at", UtcMillis(), nullable=False),
        sa.Column("last_at", UtcMillis(), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_polls_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_polls")),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("target_id", sa.Integer(), nullable=True),
        sa.Column("connection_id", sa.Integer(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("worst", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("flaps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("calm_since", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_until", UtcDateTime(), nullable=True),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "resolution IN ('recovered', 'removed', 'superseded')", name=op.f("ck_incidents_resolution")
        ),
        sa.CheckConstraint(
            _one_of(
                "rule",
                "token_expiry",
                "renewal_overdue",
                "publish_error",
                "connection_removed",
                "connection_test_failed",
                "api_key_rejected",
                "access_denied",
                "user_not_managed",
                "api_unreachable",
                "bad_answer",
                "reconnect_link_expiring",
                "channel_failing",
            ),
            name=op.f("ck_incidents_rule"),
        ),
        sa.CheckConstraint(
            "severity IN ('notice', 'warning', 'critical')", name=op.f("ck_incidents_severity")
        ),
        sa.CheckConstraint("worst IN ('notice', 'warning', 'critical')", name=op.f("ck_incidents_worst")),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL)", name=op.f("ck_incidents_resolved")
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_incidents_connection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_incidents_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_incidents_connection_id", "incidents", ["connection_id"], unique=False)
    op.create_index("ix_incidents_target_id_opened_at", "incidents", ["target_id", "opened_at"], unique=False)
    op.create_index(
        "ix_incidents_open_target_id",
        "incidents",
        ["target_id"],
        unique=False,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "uq_incidents_open",
        "incidents",
        ["rule", "subject"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )

    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("token_status", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_successful_post_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_error_at", UtcDateTime(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_snapshots_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    op.create_index(
        "ix_snapshots_connection_id_taken_at", "snapshots", ["connection_id", "taken_at"], unique=False
    )

    op.create_table(
        "acknowledgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incidents.id"],
            name=op.f("fk_acknowledgements_incident_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acknowledgements")),
    )
    op.create_index("ix_acknowledgements_incident_id", "acknowledgements", ["incident_id"], unique=False)

    op.create_table(
        "silences",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
        sqlite_autoincrement=True,
    )

    op.create_table(
        "notifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("first_tried_at", UtcDateTime(), nullable=True),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("held_until", UtcDateTime(), nullable=True),
        sa.Column("silence_id", sa.Integer(), nullable=True),
        sa.Column("leased_until", UtcDateTime(), nullable=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("told", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            _one_of("reason", "opened", "escalated", "updated", "reminder", "resolved", "digest", "test"),
            name=op.f("ck_notifications_reason"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'delivered', 'failed')", name=op.f("ck_notifications_state")
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_notifications_incident_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["silence_id"], ["silences.id"], name=op.f("fk_notifications_silence_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_notifications_incident_id_channel", "notifications", ["incident_id", "channel"], unique=False
    )
    op.create_index(
        "ix_notifications_unsent",
        "notifications",
        ["channel", "due_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'sending')"),
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
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
           s.from_status, s.token_status AS to_status, s.expires_at, s.id
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.from_status IS NULL OR s.from_status <> s.token_status
    """,
    """
    CREATE VIEW incident_log AS
    SELECT i.id, i.account, t.managed_user_id, c.platform, c.platform_id, c.username, i.rule, i.severity,
           i.summary, i.opened_at, i.acknowledged_at, i.acknowledged_by, i.resolved_at, i.resolution,
           i.deadline_at
    FROM incidents i
    LEFT JOIN targets t ON t.id = i.target_id
    LEFT JOIN connections c ON c.id = i.connection_id
    """,
    """
    CREATE VIEW delivery_log AS
    SELECT n.id, n.incident_id, n.channel, n.reason, n.state, n.attempts, n.created_at, n.delivered_at,
           n.error, n.claim AS message
    FROM notifications n
    """,
    """
    CREATE VIEW poll_log AS
    SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error, r.first_at,
           coalesce(r.last_at, {last_poll}) AS last_at, coalesce(r.polls, p.polls) AS polls, r.id
    FROM poll_runs r
    JOIN targets t ON t.id = r.target_id
    LEFT JOIN polls p ON p.run_id = r.id
    """,
)
