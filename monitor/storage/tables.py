"""
The tables of the history database, as the newest migration leaves them.

They may change with every version. People query the views in ``storage/views.py``.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)

from monitor.core.model import DeliveryState, Severity
from monitor.storage.types import UtcDateTime, UtcMillis

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# Only for closed sets. Rules, outcomes and reasons get new members without a migration.
def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _partial(name: str, *columns: Column[Any], where: str, unique: bool = False) -> Index:
    """Create a partial index. Its condition must not compare with a value that a statement passes as a
    parameter, because no
    database could then use the index."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


targets = Table(
    "targets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("managed_user_id", Text),
    Column("managed_user", Text),
    Column("first_seen_at", UtcDateTime, nullable=False),
    # Set while the configuration or the workspace doesn't name it, so that it isn't polled.
    Column("deactivated_at", UtcDateTime),
    # Set while the configuration no longer names it, but dropped so many at once that it may be a mistake: it is
    # not polled, and everything else stays as it is.
    Column("dropped_at", UtcDateTime),
    Column("last_ok_at", UtcDateTime),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", UtcDateTime),
    Column("failure_rule", Text),
    Column("failure_remedy", Text),
    Column("response_digest", LargeBinary),
    Column("next_evaluation_at", UtcDateTime),
    # How many connections the newest, unconfirmed snapshot would have changed at once.
    Column("suspect_changes", Integer, nullable=False, server_default="0"),
    # The managed user's own name, by which a client channel may find its address.
    Column("managed_username", Text),
    # Since when the workspace has not listed the managed user; null while it does.
    Column("missing_since", UtcDateTime),
    Column("failure_scope", Text),
    # Those of its failures in a row before which other targets of the account succeeded.
    Column("isolated_failures", Integer, nullable=False, server_default="0"),
    # Since when its list has been suspiciously short; null after a good one.
    Column("shrunk_since", UtcDateTime),
    # Seconds by which the API's time was ahead of local time at the newest report of its connections.
    Column("clock_offset_seconds", Integer, nullable=False, server_default="0"),
)
# One row for each target, however often it is registered.
Index(
    "uq_targets_account_managed_user_id",
    targets.c.account,
    func.coalesce(targets.c.managed_user_id, ""),
    unique=True,
)
# Read by reevaluate: whose deadline has passed.
Index("ix_targets_next_evaluation_at", targets.c.next_evaluation_at)

# The status of an account: its discovery, and whether its key is paused.
account_status = Table(
    "account_status",
    metadata,
    Column("account", Text, primary_key=True),
    Column("next_discovery_at", UtcDateTime),
    Column("discovered_at", UtcDateTime),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("failure_rule", Text),
    Column("failure_scope", Text),
    Column("failure_error", Text),
    Column("failure_remedy", Text),
    # Set while the key, or its access to managed users, is rejected. Only the canary is polled then.
    Column("paused_at", UtcDateTime),
    Column("paused_scope", Text),
    Column("canary_target_id", Integer),
    # Since when the list of managed users has been suspiciously short; null after a good one.
    Column("shrunk_since", UtcDateTime),
)

# The schedule of a target. It is a table of its own with narrow rows, because every poll rewrites a row and
# databases write whole pages.
target_schedule = Table(
    "target_schedule",
    metadata,
    Column("target_id", Integer, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("next_poll_at", UtcMillis, nullable=False),
    Column("last_polled_at", UtcMillis),
    Column("run_length", Integer, nullable=False, server_default="0"),
)

# Runs of polls with the same outcome. The newest run of a target is still growing and has no end: its end and
# its length are in ``target_schedule`` until another outcome ends it.
poll_runs = Table(
    "poll_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target_id", Integer, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("http_status", Integer),
    Column("error", Text),
    Column("started_at", UtcMillis, nullable=False),
    Column("ended_at", UtcMillis),
    Column("poll_count", Integer),
)
# Read by the poll log of one target, and by the retention.
Index("ix_poll_runs_target_id_started_at", poll_runs.c.target_id, poll_runs.c.started_at)
# At most one growing run for each target. Read by every evaluation.
_partial("uq_poll_runs_growing", poll_runs.c.target_id, unique=True, where="ended_at IS NULL")

connections = Table(
    "connections",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target_id", Integer, ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
    Column("platform", Text, nullable=False),
    Column("platform_id", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("display_name", Text),
    # No CHECK: a status outside the four is kept as it came.
    Column("token_status", Text, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_successful_post_at", UtcDateTime),
    Column("last_error", Text),
    Column("last_error_at", UtcDateTime),
    Column("error_seen_at", UtcDateTime),
    Column("error_cleared_at", UtcDateTime),
    Column("first_seen_at", UtcDateTime, nullable=False),
    # Null while every good poll of its target lists it.
    Column("last_seen_at", UtcDateTime),
    Column("missed_polls", Integer, nullable=False, server_default="0"),
    Column("removed_at", UtcDateTime),
    # Since when its token has had its date; null if since it was first seen.
    Column("expiry_set_at", UtcDateTime),
    Column("renewed_at", UtcDateTime),
    Column("renewals", Integer, nullable=False, server_default="0"),
    # The newest renewals, as JSON: seconds before the expiry, of the new lifetime, between the polls.
    Column("recent_renewals", Text),
)
# One row for each connection of a target. Read by every evaluation.
Index(
    "uq_connections_target_id_platform_id",
    connections.c.target_id,
    connections.c.platform_id,
    unique=True,
)

# Read by the history of one connection, by its id alone.
Index("ix_connections_platform_id", connections.c.platform_id)
UNHEARD = "token_status NOT IN ('valid', 'expiring_soon', 'expired', 'unknown') AND removed_at IS NULL"
# Read by every evaluation of an account: connections with an unknown token status.
_partial("ix_connections_unheard", connections.c.target_id, where=UNHEARD)

# The newest test of a connection, and when the next one is due.
connection_tests = Table(
    "connection_tests",
    metadata,
    Column("connection_id", Integer, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("tested_at", UtcDateTime, nullable=False),
    Column("next_test_at", UtcDateTime, nullable=False),
    # The result and the time of the newest conclusive test. Later ones may have been inconclusive.
    Column("result", Text),
    Column("result_at", UtcDateTime),
    Column("message", Text, nullable=False),
    # As JSON: the permissions that tests have shown, and those that were missing when one last passed.
    Column("permissions", Text, nullable=False),
    Column("missing_permissions", Text, nullable=False),
    # When a test last passed. A Telegram connection that ever passed one belongs to a bot.
    Column("passed_at", UtcDateTime),
)

# Changes of connections only: a connection as it was from ``taken_at`` on. There is no index by time alone: it
# would be a fifth of the database, and queries by time read a year in a fraction of a second.
snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("connection_id", Integer, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("taken_at", UtcMillis, nullable=False),
    # The status before; null when the connection was seen for the first time.
    Column("from_status", Text),
    Column("token_status", Text, nullable=False),
    Column("expires_at", UtcMillis),
    Column("last_successful_post_at", UtcMillis),
    Column("last_error", Text),
    Column("last_error_at", UtcMillis),
    Column("removed_at", UtcMillis),
)
# Read by the history of one connection.
Index("ix_snapshots_connection_id_taken_at", snapshots.c.connection_id, snapshots.c.taken_at)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("account", Text),
    Column("target_id", Integer, ForeignKey("targets.id", ondelete="CASCADE")),
    Column("connection_id", Integer, ForeignKey("connections.id", ondelete="CASCADE")),
    Column("channel", Text),
    Column("severity", Text, nullable=False),
    Column("max_severity", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("deadline_at", UtcMillis),
    Column("notified_levels", Text, nullable=False),
    Column("opened_at", UtcMillis, nullable=False),
    Column("flap_count", Integer, nullable=False, server_default="0"),
    Column("recovering_since", UtcMillis),
    # The current acknowledgement. Earlier ones are in ``acknowledgements``.
    Column("acknowledged_at", UtcMillis),
    Column("acknowledged_by", Text),
    Column("acknowledged_until", UtcMillis),
    # Not in milliseconds: people query the view for unresolved incidents, and only a plain column can use an
    # index.
    Column("resolved_at", UtcDateTime),
    Column("resolution", Text),
    # The cause, if known. Routes match it.
    Column("cause", Text),
    # The severity of the newest notification; null if it never changed since it opened.
    Column("notified_severity", Text),
    _one_of("severity", *Severity),
    _one_of("max_severity", *Severity),
    CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name="resolved"),
    sqlite_autoincrement=True,  # an id that people have seen is never reused
)
# At most one open incident for each rule and subject, also between racing transactions.
_partial("uq_incidents_open", incidents.c.rule, incidents.c.subject, unique=True, where="resolved_at IS NULL")
# Read by every evaluation: the open incidents of a target.
_partial("ix_incidents_open_target_id", incidents.c.target_id, where="resolved_at IS NULL")
# Read by the history of one connection.
Index("ix_incidents_connection_id", incidents.c.connection_id)
# Read by queries for the open incidents of one account.
_partial("ix_incidents_open_account", incidents.c.account, where="resolved_at IS NULL")
# Read by every evaluation of an account: how often a problem opened lately.
_partial(
    "ix_incidents_of_accounts",
    incidents.c.account,
    incidents.c.opened_at,
    where="connection_id IS NULL",
)
# Read by the history of one account.
Index("ix_incidents_account", incidents.c.account)
# Read by every evaluation: how often a problem opened lately.
Index("ix_incidents_target_id_opened_at", incidents.c.target_id, incidents.c.opened_at)

# Who acknowledged an incident, why, and until when. Rows are never changed afterwards.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("incident_id", Integer, ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("acknowledged_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime),
    Column("ended_at", UtcDateTime),
)
# Read when an incident resolves or escalates, and by its history.
Index("ix_acknowledgements_incident_id", acknowledgements.c.incident_id)

# Downtimes of the monitor: from the newest poll before a daemon's start to that start.
downtimes = Table(
    "downtimes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
)

# Silences with their author and comment. Rows are never deleted.
silences = Table(
    "silences",
    metadata,
    Column("id", Integer, primary_key=True),
    # The keys of a route's match, as JSON.
    Column("match", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    # Set if it was ended early.
    Column("ended_at", UtcDateTime),
    Column("ended_by", Text),
    sqlite_autoincrement=True,
)

# One row: the name of this installation for incident services, created when it is first needed.
installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Counts of what was erased on request, and nothing else about it.
erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("erased_at", UtcDateTime, nullable=False),
    # Null if a whole account was erased, since its name may be the client's.
    Column("account", Text),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("targets", "connections", "polls", "transitions", "incidents", "deliveries")
    ),
)

# The outbox: one incident change for one channel.
notifications = Table(
    "notifications",
    metadata,
    Column("id", Integer, primary_key=True),
    # Null for rows without an incident: a test, a digest.
    Column("incident_id", Integer, ForeignKey("incidents.id", ondelete="CASCADE")),
    Column("channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcMillis, nullable=False),
    Column("due_at", UtcMillis, nullable=False),
    Column("first_attempt_at", UtcMillis),
    # Rows of one claim are one message. The claim of a crashed sender is retaken as a whole, under the same key.
    Column("message_key", Text),
    # Quiet hours or a silence delay it until then, also in a pass that waits for no group.
    Column("suppressed_until", UtcMillis),
    # The silence that delayed it. If the incident resolved during the silence, it isn't sent.
    Column("silence_id", Integer, ForeignKey("silences.id")),
    Column("leased_until", UtcMillis),
    Column("delivered_at", UtcMillis),
    # What the channel was notified of: a severity, or "resolved"; null if another message had said it.
    Column("notified_status", Text),
    # The hash of the severity and summary that were sent, to detect repeated text.
    Column("content_hash", Text),
    # For a dead letter: whether its message may have arrived. If so, it keeps its key when it is sent again.
    Column("is_possibly_delivered", Boolean),
    Column("error", Text),
    _one_of("state", *DeliveryState),
    sqlite_autoincrement=True,
)
# Read by every delivery: due rows, and rows of dead senders.
_partial(
    "ix_notifications_undelivered",
    notifications.c.channel,
    notifications.c.state,
    notifications.c.due_at,
    where="delivered_at IS NULL",
)
# Read by the health of a channel: its last delivery.
_partial(
    "ix_notifications_notified",
    notifications.c.channel,
    notifications.c.delivered_at,
    where="notified_status IS NOT NULL",
)
# Read by the digests: when the newest was written.
_partial(
    "ix_notifications_digests",
    notifications.c.channel,
    notifications.c.created_at,
    where="incident_id IS NULL",
)
# Read by every delivery: the last notifications about an incident.
Index("ix_notifications_incident_id", notifications.c.incident_id)
