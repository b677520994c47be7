"""Add the views that answer the usual questions, and the indexes that they and the history read."""

import sqlalchemy as sa
from alembic import op

from monitor.storage.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_connections_platform_id", "connections", ["platform_id"], unique=False)
    op.create_index("ix_incidents_account_resolved_at", "incidents", ["account", "resolved_at"], unique=False)

    op.create_table(
        "gaps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gaps")),
    )

    sqlite = op.get_context().dialect.name == "sqlite"
    for statement in VIEWS:
        op.execute(sa.text(_spelled(statement, _ON_SQLITE if sqlite else _ON_POSTGRESQL)))


def _spelled(statement: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        statement = statement.replace(word, meaning)
    return statement.replace(":", "\\:")  # a cast is no parameter


_BEFORE = """(
            SELECT p.id FROM snapshots p
            WHERE p.connection_id = s.connection_id AND p.taken_at <= s.taken_at AND p.id < s.id
            ORDER BY p.taken_at DESC, p.id DESC LIMIT 1
          )"""
_ON_SQLITE = {
    "{before}": _BEFORE,
    "{last_poll}": "strftime('%Y-%m-%d %H:%M:%f', p.last_at / 1000.0, 'unixepoch')",
    "{days_left}": "round(julianday(c.expires_at) - julianday('now'), 3)",
    "{days}": "round(julianday(coalesce(e.taken_at, 'now')) - julianday(s.taken_at), 3)",
    "{gap}": "CAST((julianday(g.ended_at) - julianday(g.began_at)) * 86400 + 0.0005 AS INTEGER)",
    # The differences are whole milliseconds, but for what floating point adds or takes.
    "{from_warning}": "CAST((julianday(r.reconnected_at) - julianday(r.warned_at)) * 86400 + 0.0005 AS INTEGER)",
    "{from_expiry}": "CAST((julianday(r.reconnected_at) - julianday(r.expired_at)) * 86400 + 0.0005 AS INTEGER)",
}
_ON_POSTGRESQL = {
    "{before}": _BEFORE,
    "{last_poll}": "p.last_at",
    "{days_left}": "round(extract(epoch FROM c.expires_at - now()) / 86400, 3)::float8",
    "{days}": "round(extract(epoch FROM coalesce(e.taken_at, now()) - s.taken_at) / 86400, 3)::float8",
    "{gap}": "trunc(extract(epoch FROM g.ended_at - g.began_at))::bigint",
    "{from_warning}": "trunc(extract(epoch FROM r.reconnected_at - r.warned_at))::bigint",
    "{from_expiry}": "trunc(extract(epoch FROM r.reconnected_at - r.expired_at))::bigint",
}

# No window functions: they would have to read the whole history before a filter could leave anything out.
# What was before and what came after is looked up in the index of the connection's snapshots instead.
VIEWS = (
    """
    CREATE VIEW expiring_tokens AS
    SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
           c.display_name, c.token_status, c.expires_at, {days_left} AS days_left,
           i.id AS incident_id, i.severity, c.id
    FROM connections c
    JOIN targets t ON t.id = c.target_id
    LEFT JOIN incidents i ON i.id = (
        SELECT max(o.id) FROM incidents o
        WHERE o.target_id = c.target_id AND o.connection_id = c.id AND o.resolved_at IS NULL
          AND o.rule IN ('token_expiry', 'renewal_overdue')
    )
    WHERE c.removed_at IS NULL AND t.detached_at IS NULL
      AND (c.expires_at IS NOT NULL OR c.token_status IN ('expiring_soon', 'expired'))
    """,
    """
    CREATE VIEW connection_timeline AS
    SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
           s.token_status, s.taken_at AS began_at, e.taken_at AS ended_at, {days} AS days, s.id
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
        WHERE b.removed_at IS NULL AND b.id = {before}
      ))
    """,
    """
    CREATE VIEW account_health AS
    SELECT t.account, t.managed_user_id, t.managed_user,
           count(c.id) AS connections,
           count(CASE WHEN c.token_status = 'valid' THEN 1 END) AS valid,
           count(CASE WHEN c.token_status = 'expiring_soon' THEN 1 END) AS expiring_soon,
           count(CASE WHEN c.token_status = 'expired' THEN 1 END) AS expired,
           count(CASE WHEN c.token_status NOT IN ('valid', 'expiring_soon', 'expired') THEN 1 END) AS unknown,
           CASE max(CASE c.token_status WHEN 'expired' THEN 4 WHEN 'expiring_soon' THEN 3 WHEN 'valid' THEN 2
                                        ELSE CASE WHEN c.id IS NOT NULL THEN 1 END END)
               WHEN 4 THEN 'expired' WHEN 3 THEN 'expiring_soon' WHEN 2 THEN 'valid' WHEN 1 THEN 'unknown'
           END AS worst_status,
           {last_poll} AS last_poll_at,
           CASE WHEN t.failures = 0 THEN {last_poll} ELSE t.last_ok_at END AS last_ok_at,
           t.failures,
           (SELECT count(*) FROM incidents i WHERE i.target_id = t.id AND i.resolved_at IS NULL)
               AS open_incidents,
           (SELECT count(*) FROM incidents i
            WHERE i.target_id IS NULL AND i.resolved_at IS NULL AND coalesce(i.account, '') = t.account)
               AS account_incidents,
           CASE (SELECT max(CASE i.severity WHEN 'critical' THEN 3 WHEN 'warning' THEN 2 ELSE 1 END)
                 FROM incidents i WHERE i.target_id = t.id AND i.resolved_at IS NULL)
               WHEN 3 THEN 'critical' WHEN 2 THEN 'warning' WHEN 1 THEN 'notice'
           END AS worst_severity,
           t.id
    FROM targets t
    JOIN polls p ON p.target_id = t.id
    LEFT JOIN connections c ON c.target_id = t.id AND c.removed_at IS NULL
    WHERE t.detached_at IS NULL
    GROUP BY t.account, t.managed_user_id, t.managed_user, t.id, t.failures, t.last_ok_at, p.last_at
    """,
    """
    CREATE VIEW reconnect_times AS
    SELECT r.account, r.managed_user_id, r.managed_user, r.platform, r.platform_id, r.username,
           r.warned_at, r.expired_at, r.reconnected_at,
           {from_warning} AS seconds_from_warning, {from_expiry} AS seconds_from_expiry,
           r.incident_id
    FROM (
        SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
               i.opened_at AS warned_at, i.id AS incident_id,
               CASE
                   WHEN i.deadline_at <= coalesce(i.calm_since, i.resolved_at) THEN i.deadline_at
                   WHEN i.deadline_at IS NULL AND i.worst = 'critical' THEN (
                       SELECT min(s.taken_at) FROM snapshots s
                       WHERE s.connection_id = i.connection_id AND s.token_status = 'expired'
                         AND s.taken_at >= i.opened_at AND s.taken_at <= i.resolved_at
                   )
               END AS expired_at,
               coalesce(i.calm_since, i.resolved_at) AS reconnected_at
        FROM incidents i
        JOIN connections c ON c.id = i.connection_id
        JOIN targets t ON t.id = c.target_id
        WHERE i.rule = 'token_expiry' AND i.resolution = 'recovered'
    ) r
    """,
    """
    CREATE VIEW publish_failures AS
    SELECT s.taken_at AS at, t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id,
           c.username, s.last_error AS error, s.last_error_at AS occurred_at, s.token_status,
           s.last_successful_post_at, s.id
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.last_error IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM snapshots b
        WHERE b.last_error = s.last_error
          AND (b.last_error_at = s.last_error_at OR (b.last_error_at IS NULL AND s.last_error_at IS NULL))
          AND b.id = {before}
    )
    """,
    """
    CREATE VIEW monitor_gaps AS
    SELECT g.began_at, g.ended_at, {gap} AS seconds, g.id FROM gaps g
    """,
)
