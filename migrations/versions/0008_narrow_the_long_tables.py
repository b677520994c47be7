"""
Keep the times of the long tables in fewer bytes on SQLite, and find what is undelivered by an index.

A time as text takes 24 bytes, as milliseconds since 1970 seven; the views show what they showed. PostgreSQL's own
times are as narrow already.

The index of what is unsent served nobody: its condition named states, and a database can't tell that a state which
comes along with a statement is one of them. Every delivery read the table whole.

What is resolved keeps its time as text: people ask for what is not, and an index knows the column, no expression.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables anew where they get narrower, and the indexes everywhere."""
    op.drop_index("ix_notifications_unsent", "notifications")
    op.drop_index("ix_notifications_incident_id_channel", "notifications")
    op.drop_index("ix_incidents_account_resolved_at", "incidents")
    if op.get_context().dialect.name == "sqlite":
        _narrow()
    op.create_index("ix_incidents_account", "incidents", ["account"])
    op.create_index("ix_notifications_incident_id", "notifications", ["incident_id"])
    for name, table, columns, condition in (
        ("ix_incidents_open_account", "incidents", ["account"], "resolved_at IS NULL"),
        ("ix_incidents_of_accounts", "incidents", ["account", "opened_at"], "connection_id IS NULL"),
        (
            "ix_notifications_undelivered",
            "notifications",
            ["channel", "state", "due_at"],
            "delivered_at IS NULL",
        ),
        ("ix_notifications_told", "notifications", ["channel", "delivered_at"], "told IS NOT NULL"),
        ("ix_notifications_digests", "notifications", ["channel", "created_at"], "incident_id IS NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _narrow() -> None:
    # Else every view would be looked through each time that a table takes the name of another.
    op.execute("PRAGMA legacy_alter_table=ON")
    for view in VIEWS:
        op.execute(f"DROP VIEW {view.split()[2]}")
    # Ids that people have seen are never given again, also where the newest rows are gone.
    op.execute("CREATE TEMP TABLE given AS SELECT name, seq FROM sqlite_sequence")
    for table, definition in TABLES.items():
        columns = re.findall(r"^ +([a-z_]+) (\w+)", definition, re.MULTILINE)
        values = ", ".join(
            _MILLISECONDS.format(at=name) if kind == "BIGINT" else name for name, kind in columns
        )
        op.execute(f"CREATE TABLE new_{table} ({definition})")
        op.execute(f"INSERT INTO new_{table} SELECT {values} FROM {table}")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE new_{table} RENAME TO {table}")
    op.execute("DELETE FROM sqlite_sequence WHERE name IN (SELECT name FROM given)")
    op.execute("INSERT INTO sqlite_sequence (name, seq) SELECT name, seq FROM given")
    op.execute("DROP TABLE given")
    for statement in (*INDEXES, *VIEWS):
        op.execute(sa.text(statement.replace(":", "\\:")))
    op.execute("PRAGMA legacy_alter_table=OFF")


_MILLISECONDS = "CAST(round((julianday({at}) - 2440587.5) * 86400000) AS INTEGER)"
_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def _text(column: str) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', {column} / 1000.0, 'unixepoch')"


# As they are on SQLite from here on; every BIGINT is a point in time.
TABLES = {
    "poll_runs": """
        id INTEGER NOT NULL,
        target_id INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        http_status INTEGER,
        error TEXT,
        first_at BIGINT NOT NULL,
        last_at BIGINT,
        polls INTEGER,
        CONSTRAINT pk_poll_runs PRIMARY KEY (id),
        CONSTRAINT ck_poll_runs_outcome CHECK (outcome IN ('ok', 'bad_request', 'unauthorized', 'forbidden',
            'rate_limited', 'server_error', 'network_error', 'timeout', 'bad_answer')),
        CONSTRAINT fk_poll_runs_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
    """,
    "snapshots": """
        id INTEGER NOT NULL,
        connection_id INTEGER NOT NULL,
        taken_at BIGINT NOT NULL,
        from_status TEXT,
        token_status TEXT NOT NULL,
        expires_at BIGINT,
        last_successful_post_at BIGINT,
        last_error TEXT,
        last_error_at BIGINT,
        removed_at BIGINT,
        CONSTRAINT pk_snapshots PRIMARY KEY (id),
        CONSTRAINT fk_snapshots_connection_id FOREIGN KEY(connection_id) REFERENCES connections (id) ON DELETE CASCADE
    """,
    "incidents": """
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        account TEXT,
        target_id INTEGER,
        connection_id INTEGER,
        channel TEXT,
        severity TEXT NOT NULL,
        worst TEXT NOT NULL,
        summary TEXT NOT NULL,
        remedy TEXT NOT NULL,
        deadline_at BIGINT,
        memory TEXT NOT NULL,
        opened_at BIGINT NOT NULL,
        flaps INTEGER DEFAULT '0' NOT NULL,
        calm_since BIGINT,
        acknowledged_at BIGINT,
        acknowledged_by TEXT,
        acknowledged_until BIGINT,
        resolved_at VARCHAR(23),
        resolution TEXT,
        cause TEXT,
        announced TEXT,
        CONSTRAINT ck_incidents_resolution CHECK (resolution IN ('recovered', 'removed', 'superseded')),
        CONSTRAINT ck_incidents_rule CHECK (rule IN ('token_expiry', 'renewal_overdue', 'publish_error',
            'connection_removed', 'connection_test_failed', 'api_key_rejected', 'access_denied',
            'user_not_managed', 'api_unreachable', 'bad_answer',
            'reconnect_link_expiring', 'channel_failing')),
        CONSTRAINT ck_incidents_severity CHECK (severity IN ('notice', 'warning', 'critical')),
        CONSTRAINT ck_incidents_worst CHECK (worst IN ('notice', 'warning', 'critical')),
        CONSTRAINT ck_incidents_resolved CHECK ((resolved_at IS NULL) = (resolution IS NULL)),
        CONSTRAINT fk_incidents_connection_id FOREIGN KEY(connection_id) REFERENCES connections (id) ON DELETE CASCADE,
        CONSTRAINT fk_incidents_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
    """,
    "notifications": """
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        incident_id INTEGER,
        channel TEXT NOT NULL,
        reason TEXT NOT NULL,
        group_key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER DEFAULT '0' NOT NULL,
        created_at BIGINT NOT NULL,
        due_at BIGINT NOT NULL,
        first_tried_at BIGINT,
        claim TEXT,
        held_until BIGINT,
        silence_id INTEGER,
        leased_until BIGINT,
        delivered_at BIGINT,
        told TEXT,
        error TEXT,
        CONSTRAINT ck_notifications_reason CHECK (reason IN ('opened', 'escalated', 'updated', 'reminder',
            'resolved', 'digest', 'test')),
        CONSTRAINT ck_notifications_state CHECK (state IN ('pending', 'sending', 'delivered', 'failed')),
        CONSTRAINT fk_notifications_incident_id FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE,
        CONSTRAINT fk_notifications_silence_id FOREIGN KEY(silence_id) REFERENCES silences (id)
    """,
}

INDEXES = (
    "CREATE INDEX ix_poll_runs_target_id_first_at ON poll_runs (target_id, first_at)",
    "CREATE UNIQUE INDEX uq_poll_runs_growing ON poll_runs (target_id) WHERE last_at IS NULL",
    "CREATE INDEX ix_snapshots_connection_id_taken_at ON snapshots (connection_id, taken_at)",
    "CREATE INDEX ix_incidents_connection_id ON incidents (connection_id)",
    "CREATE INDEX ix_incidents_target_id_opened_at ON incidents (target_id, opened_at)",
    "CREATE INDEX ix_incidents_open_target_id ON incidents (target_id) WHERE resolved_at IS NULL",
    "CREATE UNIQUE INDEX uq_incidents_open ON incidents (rule, subject) WHERE resolved_at IS NULL",
)
_RESOLVED = _MILLISECONDS.format(at="i.resolved_at")
_BEFORE = """(
            SELECT p.id FROM snapshots p
            WHERE p.connection_id = s.connection_id AND p.taken_at <= s.taken_at AND p.id < s.id
            ORDER BY p.taken_at DESC, p.id DESC LIMIT 1
          )"""
VIEWS = (
    f"""
    CREATE VIEW poll_log AS
    SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error, {_text("r.first_at")} AS first_at,
           {_text("coalesce(r.last_at, p.last_at)")} AS last_at, coalesce(r.polls, p.polls) AS polls, r.id,
           t.managed_user
    FROM poll_runs r
    JOIN targets t ON t.id = r.target_id
    LEFT JOIN polls p ON p.target_id = r.target_id AND r.last_at IS NULL
    """,
    f"""
    CREATE VIEW token_transitions AS
    SELECT {_text("s.taken_at")} AS at, t.account, t.managed_user_id, c.platform, c.platform_id, c.username,
           s.from_status, s.token_status AS to_status, {_text("s.expires_at")} AS expires_at, s.id, t.managed_user
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.from_status IS NULL OR s.from_status <> s.token_status
    """,
    f"""
    CREATE VIEW incident_log AS
    SELECT i.id, i.account, t.managed_user_id, c.platform, c.platform_id, c.username, i.rule, i.severity,
           i.summary, {_text("i.opened_at")} AS opened_at, {_text("i.acknowledged_at")} AS acknowledged_at,
           i.acknowledged_by, i.resolved_at, i.resolution,
           {_text("i.deadline_at")} AS deadline_at, t.managed_user, i.cause
    FROM incidents i
    LEFT JOIN targets t ON t.id = i.target_id
    LEFT JOIN connections c ON c.id = i.connection_id
    """,
    f"""
    CREATE VIEW delivery_log AS
    SELECT n.id, n.incident_id, n.channel, n.reason, n.state, n.attempts, {_text("n.created_at")} AS created_at,
           {_text("n.delivered_at")} AS delivered_at, n.error, n.claim AS message
    FROM notifications n
    """,
    f"""
    CREATE VIEW connection_timeline AS
    SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
           s.token_status, {_text("s.taken_at")} AS began_at, {_text("e.taken_at")} AS ended_at,
           round((coalesce(e.taken_at, {_NOW}) - s.taken_at) / 86400000.0, 3) AS days, s.id
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
        WHERE b.removed_at IS NULL AND b.id = {_BEFORE}
      ))
    """,
    f"""
    CREATE VIEW reconnect_times AS
    SELECT r.account, r.managed_user_id, r.managed_user, r.platform, r.platform_id, r.username,
           {_text("r.warned_at")} AS warned_at, {_text("r.expired_at")} AS expired_at,
           {_text("r.reconnected_at")} AS reconnected_at,
           (r.reconnected_at - r.warned_at) / 1000 AS seconds_from_warning,
           (r.reconnected_at - r.expired_at) / 1000 AS seconds_from_expiry,
           r.incident_id
    FROM (
        SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
               i.opened_at AS warned_at, i.id AS incident_id,
               CASE
                   WHEN i.deadline_at <= coalesce(i.calm_since, {_RESOLVED}) THEN i.deadline_at
                   WHEN i.deadline_at IS NULL AND i.worst = 'critical' THEN (
                       SELECT min(s.taken_at) FROM snapshots s
                       WHERE s.connection_id = i.connection_id AND s.token_status = 'expired'
                         AND s.taken_at >= i.opened_at AND s.taken_at <= {_RESOLVED}
                   )
               END AS expired_at,
               coalesce(i.calm_since, {_RESOLVED}) AS reconnected_at
        FROM incidents i
        JOIN connections c ON c.id = i.connection_id
        JOIN targets t ON t.id = c.target_id
        WHERE i.rule = 'token_expiry' AND i.resolution = 'recovered'
    ) r
    """,
    f"""
    CREATE VIEW publish_failures AS
    SELECT {_text("s.taken_at")} AS at, t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id,
           c.username, s.last_error AS error, {_text("s.last_error_at")} AS occurred_at, s.token_status,
           {_text("s.last_successful_post_at")} AS last_successful_post_at, s.id
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.last_error IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM snapshots b
        WHERE b.last_error = s.last_error
          AND (b.last_error_at = s.last_error_at OR (b.last_error_at IS NULL AND s.last_error_at IS NULL))
          AND b.id = {_BEFORE}
    )
    """,
)
