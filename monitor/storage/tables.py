"""
The tables of the history database, as the newest migration leaves them.

They are ours to change; what people query are the views in ``storage/views.py``.
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


# Of closed sets alone: rules, outcomes, and reasons get new members, and none of them needs a migration.
def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _partial(name: str, *columns: Column[Any], where: str, unique: bool = False) -> Index:
    """Make an index of the rows that a condition holds for; it must name no value that a statement brings along."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


targets = Table(
    "targets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("managed_user_id", Text),
    Column("managed_user", Text),
    Column("first_seen_at", UtcDateTime, nullable=False),
    # Set while the configuration or the workspace no longer names it: it is polled no more.
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
    # How many connections the newest snapshot would have changed at once, had it been believed.
    Column("suspect_changes", Integer, nullable=False, server_default="0"),
    # The managed user's own name, by which a client channel may find its address.
    Column("managed_username", Text),
    # Since when the workspace has not listed the managed user; null while it does.
    Column("missing_since", UtcDateTime),
    Column("failure_scope", Text),
    # Of its failures in a row, those before which others of its account had an answer.
    Column("isolated_failures", Integer, nullable=False, server_default="0"),
    # Since when its list has been too short to be believed; null after a good one.
    Column("shrunk_since", UtcDateTime),
    # Seconds by which the API's time was ahead of local time at the newest look at its connections.
    Column("clock_offset_seconds", Integer, nullable=False, server_default="0"),
)
# One row a target, however often it is registered.
Index(
    "uq_targets_account_managed_user_id",
    targets.c.account,
    func.coalesce(targets.c.managed_user_id, ""),
    unique=True,
)
# Read by the review: whose deadline has passed.
Index("ix_targets_next_evaluation_at", targets.c.next_evaluation_at)

# An account as a source of answers: how its discovery goes, and whether its key is paused.
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
    # Set while the key, or its access to managed users, is refused: only the probe is polled.
    Column("paused_at", UtcDateTime),
    Column("paused_scope", Text),
    Column("canary_target_id", Integer),
    # Since when the list of managed users has been too short to be believed; null after a good one.
    Column("shrunk_since", UtcDateTime),
)

# The moving hands of a target, apart from the rest and narrow on purpose: every poll rewrites this row.
target_schedule = Table(
    "target_schedule",
    metadata,
    Column("target_id", Integer, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("next_poll_at", UtcMillis, nullable=False),
    Column("last_polled_at", UtcMillis),
    Column("run_length", Integer, nullable=False, server_default="0"),
)

# Polls in a row that ended alike. The newest run of a target is still growing, and has no end yet: its end and
# its length are in ``target_schedule`` until another outcome closes it.
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
# At most one growing run a target; read by every decision that isn't steady.
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
    # Since when its token has had the date that it has; null where that is since it was first seen.
    Column("expiry_set_at", UtcDateTime),
    Column("renewed_at", UtcDateTime),
    Column("renewals", Integer, nullable=False, server_default="0"),
    # The newest renewals, as JSON: seconds before the expiry, of the new life, between the looks.
    Column("recent_renewals", Text),
)
# One row a connection of a target; read by every decision.
Index(
    "uq_connections_target_id_platform_id",
    connections.c.target_id,
    connections.c.platform_id,
    unique=True,
)

# Read by the history of one connection, by its profile alone.
Index("ix_connections_platform_id", connections.c.platform_id)
UNHEARD = "token_status NOT IN ('valid', 'expiring_soon', 'expired', 'unknown') AND removed_at IS NULL"
# Read by every decision about an account: whose token status is a word that the monitor doesn't know.
_partial("ix_connections_unheard", connections.c.target_id, where=UNHEARD)

# The newest test of a connection, and when the next one is due.
connection_tests = Table(
    "connection_tests",
    metadata,
    Column("connection_id", Integer, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("tested_at", UtcDateTime, nullable=False),
    Column("next_test_at", UtcDateTime, nullable=False),
    # What the newest test that proved something proved, and when; later ones may have proved nothing.
    Column("result", Text),
    Column("result_at", UtcDateTime),
    Column("message", Text, nullable=False),
    # As JSON: those that a test has shown, and of these the ones that were missing when it last passed.
    Column("permissions", Text, nullable=False),
    Column("missing_permissions", Text, nullable=False),
    # When a test last passed, whatever the newest one proved: a Telegram connection that ever did is a bot's.
    Column("passed_at", UtcDateTime),
)

# What changed, and only that: a connection as it was from ``taken_at`` on.
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
    # Who has it in hand now; who had it before is in ``acknowledgements``.
    Column("acknowledged_at", UtcMillis),
    Column("acknowledged_by", Text),
    Column("acknowledged_until", UtcMillis),
    # Not in milliseconds: people ask the view for what is not resolved, and only a bare column has an index.
    Column("resolved_at", UtcDateTime),
    Column("resolution", Text),
    # What lies behind it, where that can be told: routes match by it.
    Column("cause", Text),
    # The severity that people were last to hear of; null where it never moved since it was opened.
    Column("notified_severity", Text),
    _one_of("severity", *Severity),
    _one_of("max_severity", *Severity),
    CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name="resolved"),
    sqlite_autoincrement=True,  # an id that people have seen is never given to another incident
)
# At most one open incident for one problem of one subject, whoever races.
_partial("uq_incidents_open", incidents.c.rule, incidents.c.subject, unique=True, where="resolved_at IS NULL")
# Read by every decision that isn't steady: the open incidents of a target.
_partial("ix_incidents_open_target_id", incidents.c.target_id, where="resolved_at IS NULL")
# Read by the history of one connection.
Index("ix_incidents_connection_id", incidents.c.connection_id)
# Read by whoever asks what is open in one account.
_partial("ix_incidents_open_account", incidents.c.account, where="resolved_at IS NULL")
# Read by every decision about an account: how often a problem of its key came lately.
_partial(
    "ix_incidents_of_accounts",
    incidents.c.account,
    incidents.c.opened_at,
    where="connection_id IS NULL",
)
# Read by the history of one account.
Index("ix_incidents_account", incidents.c.account)
# Read by every decision that isn't steady: how often a problem came lately.
Index("ix_incidents_target_id_opened_at", incidents.c.target_id, incidents.c.opened_at)

# Who took an incident in hand, why, and until when: history, never rewritten.
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
# Read when an incident ends or gets worse, and by its history.
Index("ix_acknowledgements_incident_id", acknowledgements.c.incident_id)

# When nobody watched: from the newest poll before a daemon's start to that start.
downtimes = Table(
    "downtimes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
)

# What is not to be told for a while, who said so and why: history, never deleted.
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
    # Set when somebody ended it sooner.
    Column("ended_at", UtcDateTime),
    Column("ended_by", Text),
    sqlite_autoincrement=True,
)

# One row: by what name services with incidents of their own know this installation, made when it is first needed.
installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# What was erased on request: how much it was, and nothing else of it.
erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("erased_at", UtcDateTime, nullable=False),
    # Null where all of an account was erased: its name may be the client's.
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
    # Null for what is about no incident: a test, a digest.
    Column("incident_id", Integer, ForeignKey("incidents.id", ondelete="CASCADE")),
    Column("channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcMillis, nullable=False),
    Column("due_at", UtcMillis, nullable=False),
    Column("first_attempt_at", UtcMillis),
    # Rows of one claim are one message; a crashed sender's claim is retaken whole, under the same name.
    Column("message_key", Text),
    # Quiet hours or a silence hold it back until then, also from a pass that waits for no group to fill.
    Column("suppressed_until", UtcMillis),
    # The silence that held it back; what was over when that ended is not told.
    Column("silence_id", Integer, ForeignKey("silences.id")),
    Column("leased_until", UtcMillis),
    Column("delivered_at", UtcMillis),
    # What the channel was told: a severity, or "resolved"; null where another message had said it.
    Column("notified_status", Text),
    # Of the severity and summary that the channel was told: the same again is no news.
    Column("content_hash", Text),
    # Of a dead letter: whether its message may have arrived. If so, it keeps its key when it is sent again.
    Column("is_possibly_delivered", Boolean),
    Column("error", Text),
    _one_of("state", *DeliveryState),
    sqlite_autoincrement=True,
)
# Read by every delivery: what is due, and whose sender has died.
_partial(
    "ix_notifications_undelivered",
    notifications.c.channel,
    notifications.c.state,
    notifications.c.due_at,
    where="delivered_at IS NULL",
)
# Read by the health of a channel: when it last took a message.
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
# Read by every delivery: what channels were last told of an incident.
Index("ix_notifications_incident_id", notifications.c.incident_id)
