"""Create the history: tables, constraints, and the views that people query."""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime, UtcMillis

# Development versions called theirs 0001 to 0008, so none of their databases passes for this one.
revision = "0001_history"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("managed_user_id", sa.Text()),
        sa.Column("managed_user", sa.Text()),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("deactivated_at", UtcDateTime()),
        sa.Column("dropped_at", UtcDateTime()),
        sa.Column("last_ok_at", UtcDateTime()),
        sa.Column("consecutive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("failure_rule", sa.Text()),
        sa.Column("failure_remedy", sa.Text()),
        sa.Column("response_digest", sa.LargeBinary()),
        sa.Column("next_evaluation_at", UtcDateTime()),
        sa.Column("suspect_changes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("managed_username", sa.Text()),
        sa.Column("missing_since", UtcDateTime()),
        sa.Column("failure_scope", sa.Text()),
        sa.Column("isolated_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shrunk_since", UtcDateTime()),
        sa.Column("clock_offset_seconds", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )
    op.create_index(
        "uq_targets_account_managed_user_id",
        "targets",
        ["account", sa.text("coalesce(managed_user_id, '')")],
        unique=True,
    )
    op.create_index("ix_targets_next_evaluation_at", "targets", ["next_evaluation_at"])

    op.create_table(
        "account_status",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("next_discovery_at", UtcDateTime()),
        sa.Column("discovered_at", UtcDateTime()),
        sa.Column("consecutive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("failed_at", UtcDateTime()),
        sa.Column("failure_rule", sa.Text()),
        sa.Column("failure_scope", sa.Text()),
        sa.Column("failure_error", sa.Text()),
        sa.Column("failure_remedy", sa.Text()),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("paused_scope", sa.Text()),
        sa.Column("canary_target_id", sa.Integer()),
        sa.Column("shrunk_since", UtcDateTime()),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_account_status")),
    )

    op.create_table(
        "target_schedule",
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("next_poll_at", UtcMillis(), nullable=False),
        sa.Column("last_polled_at", UtcMillis()),
        sa.Column("run_length", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_target_schedule_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_target_schedule")),
    )

    op.create_table(
        "poll_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("started_at", UtcMillis(), nullable=False),
        sa.Column("ended_at", UtcMillis()),
        sa.Column("poll_count", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_poll_runs_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_poll_runs")),
    )
    op.create_index("ix_poll_runs_target_id_started_at", "poll_runs", ["target_id", "started_at"])
    _partial_index("uq_poll_runs_growing", "poll_runs", ["target_id"], where="ended_at IS NULL", unique=True)

    op.create_table(
        "connections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text()),
        sa.Column("token_status", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("last_successful_post_at", UtcDateTime()),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", UtcDateTime()),
        sa.Column("error_seen_at", UtcDateTime()),
        sa.Column("error_cleared_at", UtcDateTime()),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime()),
        sa.Column("missed_polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("removed_at", UtcDateTime()),
        sa.Column("expiry_set_at", UtcDateTime()),
        sa.Column("renewed_at", UtcDateTime()),
        sa.Column("renewals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("recent_renewals", sa.Text()),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_connections_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_index(
        "uq_connections_target_id_platform_id", "connections", ["target_id", "platform_id"], unique=True
    )
    op.create_index("ix_connections_platform_id", "connections", ["platform_id"])
    _partial_index(
        "ix_connections_unheard",
        "connections",
        ["target_id"],
        where="token_status NOT IN ('valid', 'expiring_soon', 'expired', 'unknown') AND removed_at IS NULL",
    )

    op.create_table(
        "connection_tests",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("tested_at", UtcDateTime(), nullable=False),
        sa.Column("next_test_at", UtcDateTime(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("result_at", UtcDateTime()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("missing_permissions", sa.Text(), nullable=False),
        sa.Column("passed_at", UtcDateTime()),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connections.id"],
            name=op.f("fk_connection_tests_connection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_connection_tests")),
    )

    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("taken_at", UtcMillis(), nullable=False),
        sa.Column("from_status", sa.Text()),
        sa.Column("token_status", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcMillis()),
        sa.Column("last_successful_post_at", UtcMillis()),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", UtcMillis()),
        sa.Column("removed_at", UtcMillis()),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_snapshots_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    op.create_index("ix_snapshots_connection_id_taken_at", "snapshots", ["connection_id", "taken_at"])

    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("target_id", sa.Integer()),
        sa.Column("connection_id", sa.Integer()),
        sa.Column("channel", sa.Text()),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("max_severity", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("deadline_at", UtcMillis()),
        sa.Column("notified_levels", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcMillis(), nullable=False),
        sa.Column("flap_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("recovering_since", UtcMillis()),
        sa.Column("acknowledged_at", UtcMillis()),
        sa.Column("acknowledged_by", sa.Text()),
        sa.Column("acknowledged_until", UtcMillis()),
        sa.Column("resolved_at", UtcDateTime()),
        sa.Column("resolution", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("notified_severity", sa.Text()),
        sa.CheckConstraint(
            "severity IN ('notice', 'warning', 'critical')", name=op.f("ck_incidents_severity")
        ),
        sa.CheckConstraint(
            "max_severity IN ('notice', 'warning', 'critical')", name=op.f("ck_incidents_max_severity")
        ),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL)", name=op.f("ck_incidents_resolved")
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_incidents_target_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_incidents_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        sqlite_autoincrement=True,
    )
    # SQLite takes the newest of the indexes that serve a question equally well, so the partial ones come last.
    op.create_index("ix_incidents_connection_id", "incidents", ["connection_id"])
    op.create_index("ix_incidents_target_id_opened_at", "incidents", ["target_id", "opened_at"])
    op.create_index("ix_incidents_account", "incidents", ["account"])
    _partial_index("ix_incidents_open_target_id", "incidents", ["target_id"], where="resolved_at IS NULL")
    _partial_index("ix_incidents_open_account", "incidents", ["account"], where="resolved_at IS NULL")
    _partial_index(
        "ix_incidents_of_accounts", "incidents", ["account", "opened_at"], where="connection_id IS NULL"
    )
    _partial_index(
        "uq_incidents_open", "incidents", ["rule", "subject"], where="resolved_at IS NULL", unique=True
    )

    op.create_table(
        "acknowledgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incidents.id"],
            name=op.f("fk_acknowledgements_incident_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acknowledgements")),
    )
    op.create_index("ix_acknowledgements_incident_id", "acknowledgements", ["incident_id"])

    op.create_table(
        "silences",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("ended_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
        sqlite_autoincrement=True,
    )

    op.create_table(
        "notifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer()),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", UtcMillis(), nullable=False),
        sa.Column("due_at", UtcMillis(), nullable=False),
        sa.Column("first_attempt_at", UtcMillis()),
        sa.Column("message_key", sa.Text()),
        sa.Column("suppressed_until", UtcMillis()),
        sa.Column("silence_id", sa.Integer()),
        sa.Column("leased_until", UtcMillis()),
        sa.Column("delivered_at", UtcMillis()),
        sa.Column("notified_status", sa.Text()),
        sa.Column("content_hash", sa.Text()),
        sa.Column("is_possibly_delivered", sa.Boolean()),
        sa.Column("error", sa.Text()),
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
    op.create_index("ix_notifications_incident_id", "notifications", ["incident_id"])
    _partial_index(
        "ix_notifications_undelivered",
        "notifications",
        ["channel", "state", "due_at"],
        where="delivered_at IS NULL",
    )
    _partial_index(
        "ix_notifications_notified",
        "notifications",
        ["channel", "delivered_at"],
        where="notified_status IS NOT NULL",
    )
    _partial_index(
        "ix_notifications_digests", "notifications", ["channel", "created_at"], where="incident_id IS NULL"
    )

    op.create_table(
        "downtimes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_downtimes")),
    )

    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )

    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("targets", sa.Integer(), server_default="0", nullable=False),
        sa.Column("connections", sa.Integer(), server_default="0", nullable=False),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transitions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("incidents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )

    for name, query in view_queries(op.get_context().dialect.name).items():
        # A colon is part of the SQL here and begins no parameter.
        op.execute(sa.text(f"CREATE VIEW {name} AS {query}".replace(":", "\\:")))


def _partial_index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


class _SQLite:
    """
    How SQLite writes an expression.

    It keeps some times as milliseconds since 1970 (``UtcMillis``) and the others as text (``UtcDateTime``).
    A method takes milliseconds unless its name says text.
    """

    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def time(self, at: str) -> str:
        return f"strftime('%Y-%m-%d %H:%M:%f', {at} / 1000.0, 'unixepoch')"

    def days(self, start: str, end: str) -> str:
        return f"round(({end} - {start}) / 86400000.0, 3)"

    def seconds(self, start: str, end: str) -> str:
        return f"({end} - {start}) / 1000"

    def from_text(self, at: str) -> str:
        return f"CAST(round((julianday({at}) - 2440587.5) * 86400000) AS INTEGER)"

    def text_days_left(self, at: str) -> str:
        return f"round(julianday({at}) - julianday('now'), 3)"

    def text_seconds(self, start: str, end: str) -> str:
        # The difference is whole milliseconds; half of one more makes up for floating point.
        return f"CAST((julianday({end}) - julianday({start})) * 86400 + 0.0005 AS INTEGER)"


class _PostgreSQL:
    """How PostgreSQL writes an expression; every time is ``timestamptz``."""

    now = "now()"

    def time(self, at: str) -> str:
        return at

    def days(self, start: str, end: str) -> str:
        return f"round(extract(epoch FROM {end} - {start}) / 86400, 3)::float8"

    def seconds(self, start: str, end: str) -> str:
        return f"trunc(extract(epoch FROM {end} - {start}))::bigint"

    def from_text(self, at: str) -> str:
        return at

    def text_days_left(self, at: str) -> str:
        return f"round(extract(epoch FROM {at} - now()) / 86400, 3)::float8"

    def text_seconds(self, start: str, end: str) -> str:
        return self.seconds(start, end)


def view_queries(dialect: str) -> dict[str, str]:
    sql = _SQLite() if dialect == "sqlite" else _PostgreSQL()
    # The end of the growing run, and the newest time that its target's connections were listed.
    last_poll_at = sql.time("p.last_polled_at")
    resolved_at = sql.from_text("i.resolved_at")
    # What people call a connection, everywhere: its display name, else its handle, else its id.
    name = "coalesce(nullif(c.display_name, ''), nullif(c.username, ''), c.platform_id)"
    # No window functions: they would read the whole history before a filter could leave anything out.
    # An index of the connection's snapshots answers this instead.
    previous_snapshot = """(
                SELECT p.id FROM snapshots p
                WHERE p.connection_id = s.connection_id AND p.taken_at <= s.taken_at AND p.id < s.id
                ORDER BY p.taken_at DESC, p.id DESC LIMIT 1
              )"""
    return {
        "current_connections": f"""
            SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
                   c.display_name, c.token_status, c.expires_at, c.last_successful_post_at, c.last_error,
                   c.last_error_at, c.first_seen_at,
                   coalesce(
                       c.last_seen_at, CASE WHEN t.consecutive_failures = 0 THEN {last_poll_at} ELSE t.last_ok_at END
                   ) AS last_seen_at,
                   c.removed_at, c.id, {name} AS name
            FROM connections c
            JOIN targets t ON t.id = c.target_id
            JOIN target_schedule p ON p.target_id = t.id
            """,
        "token_transitions": f"""
            SELECT {sql.time("s.taken_at")} AS at, t.account, t.managed_user_id, c.platform, c.platform_id,
                   c.username, s.from_status, s.token_status AS to_status,
                   {sql.time("s.expires_at")} AS expires_at, s.id, t.managed_user,
                   {name} AS name
            FROM snapshots s
            JOIN connections c ON c.id = s.connection_id
            JOIN targets t ON t.id = c.target_id
            WHERE s.from_status IS NULL OR s.from_status <> s.token_status
            """,
        "incident_log": f"""
            SELECT i.id, i.account, t.managed_user_id, c.platform, c.platform_id, c.username, i.rule,
                   i.severity, i.summary, {sql.time("i.opened_at")} AS opened_at,
                   {sql.time("i.acknowledged_at")} AS acknowledged_at, i.acknowledged_by, i.resolved_at,
                   i.resolution, {sql.time("i.deadline_at")} AS deadline_at, t.managed_user, i.cause,
                   {name} AS name
            FROM incidents i
            LEFT JOIN targets t ON t.id = i.target_id
            LEFT JOIN connections c ON c.id = i.connection_id
            """,
        "delivery_log": f"""
            SELECT n.id, n.incident_id, n.channel, n.reason, n.state, n.attempts,
                   {sql.time("n.created_at")} AS created_at, {sql.time("n.delivered_at")} AS delivered_at,
                   n.error, n.message_key AS message
            FROM notifications n
            """,
        "poll_log": f"""
            SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error,
                   {sql.time("r.started_at")} AS first_at,
                   {sql.time("coalesce(r.ended_at, p.last_polled_at)")} AS last_at,
                   coalesce(r.poll_count, p.run_length) AS polls, r.id, t.managed_user
            FROM poll_runs r
            JOIN targets t ON t.id = r.target_id
            LEFT JOIN target_schedule p ON p.target_id = r.target_id AND r.ended_at IS NULL
            """,
        "expiring_tokens": f"""
            SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
                   c.display_name, c.token_status, c.expires_at, {sql.text_days_left("c.expires_at")} AS days_left,
                   i.id AS incident_id, i.severity, c.id, {name} AS name
            FROM connections c
            JOIN targets t ON t.id = c.target_id
            LEFT JOIN incidents i ON i.id = (
                SELECT max(o.id) FROM incidents o
                WHERE o.target_id = c.target_id AND o.connection_id = c.id AND o.resolved_at IS NULL
                  AND o.rule IN ('token_expiry', 'renewal_overdue')
            )
            WHERE c.removed_at IS NULL AND t.deactivated_at IS NULL
              AND (c.expires_at IS NOT NULL OR c.token_status IN ('expiring_soon', 'expired'))
            """,
        "connection_timeline": f"""
            SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
                   s.token_status, {sql.time("s.taken_at")} AS began_at, {sql.time("e.taken_at")} AS ended_at,
                   {sql.days("s.taken_at", f"coalesce(e.taken_at, {sql.now})")} AS days, s.id,
                   {name} AS name
            FROM snapshots s
            JOIN connections c ON c.id = s.connection_id
            JOIN targets t ON t.id = c.target_id
            LEFT JOIN snapshots e ON e.id = (
                SELECT n.id FROM snapshots n
                WHERE n.connection_id = s.connection_id AND n.taken_at >= s.taken_at AND n.id > s.id
                  AND (n.from_status <> n.token_status OR n.removed_at IS NOT NULL)
                ORDER BY n.taken_at, n.id LIMIT 1
            )
            WHERE s.removed_at IS NULL
              AND (s.from_status IS NULL OR s.from_status <> s.token_status OR NOT EXISTS (
                SELECT 1 FROM snapshots b
                WHERE b.removed_at IS NULL AND b.id = {previous_snapshot}
              ))
            """,
        "account_health": f"""
            SELECT t.account, t.managed_user_id, t.managed_user,
                   count(c.id) AS connections,
                   count(CASE WHEN c.token_status = 'valid' THEN 1 END) AS valid,
                   count(CASE WHEN c.token_status = 'expiring_soon' THEN 1 END) AS expiring_soon,
                   count(CASE WHEN c.token_status = 'expired' THEN 1 END) AS expired,
                   count(
                       CASE WHEN c.token_status NOT IN ('valid', 'expiring_soon', 'expired') THEN 1 END
                   ) AS unknown,
                   CASE max(CASE c.token_status WHEN 'expired' THEN 4 WHEN 'expiring_soon' THEN 3
                                                WHEN 'valid' THEN 2
                                                ELSE CASE WHEN c.id IS NOT NULL THEN 1 END END)
                       WHEN 4 THEN 'expired' WHEN 3 THEN 'expiring_soon' WHEN 2 THEN 'valid'
                       WHEN 1 THEN 'unknown'
                   END AS worst_status,
                   {last_poll_at} AS last_poll_at,
                   CASE WHEN t.consecutive_failures = 0 THEN {last_poll_at} ELSE t.last_ok_at END AS last_ok_at,
                   t.consecutive_failures AS failures,
                   (SELECT count(*) FROM incidents i WHERE i.target_id = t.id AND i.resolved_at IS NULL)
                       AS open_incidents,
                   (SELECT count(*) FROM incidents i
                    WHERE i.target_id IS NULL AND i.resolved_at IS NULL
                      AND coalesce(i.account, '') = t.account)
                       AS account_incidents,
                   CASE (SELECT max(CASE i.severity WHEN 'critical' THEN 3 WHEN 'warning' THEN 2 ELSE 1 END)
                         FROM incidents i WHERE i.target_id = t.id AND i.resolved_at IS NULL)
                       WHEN 3 THEN 'critical' WHEN 2 THEN 'warning' WHEN 1 THEN 'notice'
                   END AS worst_severity,
                   t.id
            FROM targets t
            JOIN target_schedule p ON p.target_id = t.id
            LEFT JOIN connections c ON c.target_id = t.id AND c.removed_at IS NULL
            WHERE t.deactivated_at IS NULL
            GROUP BY t.account, t.managed_user_id, t.managed_user, t.id, t.consecutive_failures,
            t.last_ok_at, p.last_polled_at
            """,
        "reconnect_times": f"""
            SELECT r.account, r.managed_user_id, r.managed_user, r.platform, r.platform_id, r.username,
                   {sql.time("r.warned_at")} AS warned_at, {sql.time("r.expired_at")} AS expired_at,
                   {sql.time("r.reconnected_at")} AS reconnected_at,
                   {sql.seconds("r.warned_at", "r.reconnected_at")} AS seconds_from_warning,
                   {sql.seconds("r.expired_at", "r.reconnected_at")} AS seconds_from_expiry,
                   r.incident_id, r.name
            FROM (
                SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
                       i.opened_at AS warned_at, i.id AS incident_id, {name} AS name,
                       CASE
                           WHEN i.deadline_at <= coalesce(i.recovering_since, {resolved_at}) THEN i.deadline_at
                           WHEN i.deadline_at IS NULL AND i.max_severity = 'critical' THEN (
                               SELECT min(s.taken_at) FROM snapshots s
                               WHERE s.connection_id = i.connection_id AND s.token_status = 'expired'
                                 AND s.taken_at >= i.opened_at AND s.taken_at <= {resolved_at}
                           )
                       END AS expired_at,
                       coalesce(i.recovering_since, {resolved_at}) AS reconnected_at
                FROM incidents i
                JOIN connections c ON c.id = i.connection_id
                JOIN targets t ON t.id = c.target_id
                WHERE i.rule = 'token_expiry' AND i.resolution = 'recovered'
            ) r
            """,
        "publish_failures": f"""
            SELECT {sql.time("s.taken_at")} AS at, t.account, t.managed_user_id, t.managed_user, c.platform,
                   c.platform_id, c.username, s.last_error AS error,
                   {sql.time("s.last_error_at")} AS occurred_at, s.token_status,
                   {sql.time("s.last_successful_post_at")} AS last_successful_post_at, s.id,
                   {name} AS name
            FROM snapshots s
            JOIN connections c ON c.id = s.connection_id
            JOIN targets t ON t.id = c.target_id
            WHERE s.last_error IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM snapshots b
                WHERE b.last_error = s.last_error
                  AND (b.last_error_at = s.last_error_at
                       OR (b.last_error_at IS NULL AND s.last_error_at IS NULL))
                  AND b.id = {previous_snapshot}
            )
            """,
        "monitor_downtimes": f"""
            SELECT d.began_at, d.ended_at, {sql.text_seconds("d.began_at", "d.ended_at")} AS seconds, d.id
            FROM downtimes d
            """,
        "erasure_log": """
            SELECT e.id, e.erased_at AS at, e.account, e.targets, e.connections, e.polls, e.transitions,
                   e.incidents, e.deliveries
            FROM erasures e
            """,
    }
