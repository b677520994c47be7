"""
The views that people query, as the newest migration leaves them.

The columns that commands and pages read come first, in their order; the SQL of every view follows.

A migration has its own copy of its SQL, because it must not change when this module does. A test checks that the
migrations build these views.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Integer, TableClause, Text, column, table
from sqlalchemy.types import TypeEngine

from monitor.storage.types import UtcDateTime


def view(name: str, *columns: str) -> TableClause:
    """Describe a view. The names of its columns determine their types."""
    return table(name, *(column(each, column_type(each)) for each in columns))


def column_type(name: str) -> TypeEngine[Any]:
    """Return the type of a column of a view, by its name."""
    if name == "at" or name.endswith("_at"):
        return UtcDateTime()
    return Integer() if name in {"id", "incident_id", "attempts"} else Text()


CONNECTIONS = view(
    "current_connections",
    *("account", "managed_user_id", "managed_user", "platform", "platform_id", "username", "display_name"),
    *("token_status", "expires_at", "last_successful_post_at", "last_error", "last_error_at"),
    *("first_seen_at", "last_seen_at", "removed_at", "name"),
)
TRANSITIONS = view(
    "token_transitions",
    *("at", "account", "managed_user_id", "platform", "platform_id", "username"),
    *("from_status", "to_status", "expires_at", "managed_user", "name"),
)
INCIDENTS = view(
    "incident_log",
    *("id", "account", "managed_user_id", "platform", "platform_id", "username", "rule", "severity"),
    *("summary", "opened_at", "acknowledged_at", "acknowledged_by", "resolved_at", "resolution"),
    *("deadline_at", "managed_user", "cause", "name"),
)
DELIVERIES = view(
    "delivery_log",
    *("id", "incident_id", "channel", "reason", "state", "attempts", "created_at", "delivered_at"),
    *("error", "message"),
)
EXPIRING = view(
    "expiring_tokens",
    *("account", "managed_user_id", "managed_user", "platform", "platform_id", "username", "expires_at"),
    "name",
)
TIMELINE = view(
    "connection_timeline",
    *("account", "managed_user_id", "managed_user", "platform", "platform_id", "username"),
    *("token_status", "began_at", "ended_at", "name"),
)
VIEWS: Mapping[str, TableClause] = MappingProxyType(
    {
        "connections": CONNECTIONS,
        "transitions": TRANSITIONS,
        "incidents": INCIDENTS,
        "deliveries": DELIVERIES,
    }
)


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
        # The difference is whole milliseconds. Half a millisecond more compensates for floating point.
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
    """
    Return the query of every view by the view's name.

    Args:
        dialect: SQLAlchemy's name of the database, ``sqlite`` or ``postgresql``.
    """
    sql = _SQLite() if dialect == "sqlite" else _PostgreSQL()
    # The end of the growing run, and the newest time that its target's connections were listed.
    last_poll_at = sql.time("p.last_polled_at")
    resolved_at = sql.from_text("i.resolved_at")
    # The name of a connection: its display name, else its handle, else its id.
    name = "coalesce(nullif(c.display_name, ''), nullif(c.username, ''), c.platform_id)"
    # No window functions: through one, no filter reaches an index, and every query would read the whole history.
    # An index of the connection's snapshots serves this instead.
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
        # From incidents, not from transitions: what the vendor renewed in time alerted nobody, and would make the mean
        # time to reconnect look far better than it is.
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
