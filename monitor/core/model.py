"""The values that core uses: connections, targets, snapshots, problems, incidents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class TokenStatus(StrEnum):
    """The four statuses that the API documents for a token."""

    VALID = "valid"
    EXPIRING_SOON = "expiring_soon"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


# The stored status if the API sent none, or null.
NO_STATUS = "null"


class Severity(StrEnum):
    """The severity of a problem, from the mildest to the worst."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The position in that order; 0 is the mildest."""
        return _SEVERITY_RANKS[self]


_SEVERITY_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class RuleName(StrEnum):
    """Every kind of problem."""

    TOKEN_EXPIRY = "token_expiry"  # noqa: S105 - the name of a rule
    RENEWAL_OVERDUE = "renewal_overdue"
    PUBLISH_ERROR = "publish_error"
    CONNECTION_REMOVED = "connection_removed"
    CONNECTION_TEST_FAILED = "connection_test_failed"
    API_KEY_REJECTED = "api_key_rejected"
    ACCESS_DENIED = "access_denied"
    USER_NOT_MANAGED = "user_not_managed"
    API_UNREACHABLE = "api_unreachable"
    BAD_ANSWER = "bad_answer"
    RECONNECT_LINK_EXPIRING = "reconnect_link_expiring"
    CHANNEL_FAILING = "channel_failing"
    CLOCK_SKEW = "clock_skew"


class Cause(StrEnum):
    """The cause of a failure, which says who can fix it."""

    AUTHORIZATION = "authorization"  # the platform rejects the token: a person must reconnect
    PERMISSION = "permission"  # a permission is missing: a person must reconnect and grant it
    POLICY = "policy"  # the platform blocks or limits the account
    CONTENT = "content"  # the platform refused what was posted
    TRANSIENT = "transient"  # a retry may succeed
    UNKNOWN = "unknown"  # not recognized; still reported

    @property
    def needs_reconnect(self) -> bool:
        """Whether a person must reconnect the account."""
        return self in {Cause.AUTHORIZATION, Cause.PERMISSION}


class Resolution(StrEnum):
    """Why an incident ended."""

    RECOVERED = "recovered"
    REMOVED = "removed"
    SUPERSEDED = "superseded"


class Reason(StrEnum):
    """Why a notification was written."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UPDATED = "updated"
    REMINDER = "reminder"
    ACKNOWLEDGED = "acknowledged"  # only for incident services
    RESOLVED = "resolved"
    DIGEST = "digest"
    TEST = "test"


class DeliveryState(StrEnum):
    """The state of a notification. ``FAILED`` ones are dead letters."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """How one poll ended."""

    OK = "ok"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    NETWORK_ERROR = "network_error"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishError:
    """
    The last error of a platform when publishing.

    Args:
        message: the platform's text, cut to length and storable in a database.
        occurred_at: aware UTC, or None if the API gave bare text.
    """

    message: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    One linked social profile, as in one answer of the API.

    Args:
        platform_id: ``platform-id`` as the API gives it; the id may contain colons and a leading dash.
        token_status: one of the four statuses in lower case, or any other value as it came. A value that isn't
            text is kept as JSON, and ``NO_STATUS`` means none. See ``status``.
        expires_at: aware UTC, or None if the token doesn't expire.
        last_successful_post_at: aware UTC, or None if never or unknown.
    """

    platform_id: str
    username: str
    display_name: str | None = None
    token_status: str = NO_STATUS
    expires_at: datetime | None = None
    last_successful_post_at: datetime | None = None
    last_error: PublishError | None = None

    @property
    def platform(self) -> str:
        """The platform: the part before the first dash."""
        return self.platform_id.partition("-")[0]

    @property
    def status(self) -> TokenStatus | None:
        """The status, in any letter case; None for any value but the four."""
        return _STATUSES.get(self.token_status.lower())

    @property
    def name(self) -> str:
        """The display name, else the handle, else the id."""
        return self.display_name or self.username or self.platform_id


_STATUSES: Mapping[str, TokenStatus] = {status.value: status for status in TokenStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    What one request asks about: an account itself, or one managed user of it.

    Args:
        id: the key of its row in the history database.
        managed_user_id: None for the account itself.
        managed_user: the display name of the managed user, if known.
        username: the user's own name, often an address.
    """

    id: int
    account: str
    managed_user_id: str | None = None
    managed_user: str | None = None
    username: str | None = None


class FailureScope(StrEnum):
    """What a failure concerns, if the failure says so."""

    KEY = "key"  # everything with this key
    USERS = "users"  # every managed user of this key, not the account itself
    USER = "user"  # only this target
    UNCLEAR = "unclear"  # one or all, depending on how many fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why a poll failed. The text stays the same as long as the cause does.

    Args:
        rule: the rule of the problem if this failure lasts.
        error: what happened, one line, no secrets and nothing that varies from poll to poll.
        remedy: what the operator can do about it, one line.
        http_status: None if there was no answer.
        retry_after: how long the server asked the monitor to wait.
        limit: requests a minute that the server allows, if it says so.
        may_be_received: whether the server may have received the request.
        is_clock_suspect: whether a wrong local clock would explain it.
    """

    outcome: Outcome
    rule: RuleName
    error: str
    remedy: str
    http_status: int | None = None
    retry_after: timedelta | None = None
    scope: FailureScope = FailureScope.UNCLEAR
    limit: int | None = None
    may_be_received: bool = False
    is_clock_suspect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    What one poll saw, or why it failed.

    Args:
        taken_at: when the answer was complete, local time, aware UTC.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
        undecoded: decodes the answer; until then only its digest is known. None if it is decoded.
        connections: in the order given, each ``platform_id`` once; empty after a failure.
        failure: None after a good answer.
        warnings: problems with single connections of a good answer, which are left out.
        unreadable_ids: the ``platform_id`` of those left out, if it could be read: an unreadable connection is
            not missing.
        response_digest: equal for equal answers, across restarts; empty if the answer must be evaluated.
        unknown_fields: names in the answer that the monitor doesn't know, a sign that the API changed.
    """

    target: Target
    taken_at: datetime
    connections: tuple[Connection, ...] = ()
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    unreadable_ids: frozenset[str] = frozenset()
    response_digest: bytes = b""
    unknown_fields: frozenset[str] = frozenset()
    clock_offset: timedelta = timedelta()
    undecoded: "Callable[[], Snapshot] | None" = field(default=None, repr=False, compare=False)

    def decoded(self) -> "Snapshot":
        """Return the snapshot with its connections, or why they can't be read."""
        return self.undecoded() if self.undecoded else self

    @property
    def outcome(self) -> Outcome:
        """How the poll ended."""
        return self.failure.outcome if self.failure else Outcome.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """
    One observed renewal.

    Args:
        lead: time until the old token's end; negative if it had ended.
        lifetime: time until the new token's end.
        gap: time since the previous poll, which saw the old token.
    """

    lead: timedelta
    lifetime: timedelta
    gap: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalHistory:
    """
    The observed renewals of one connection.

    Args:
        count: number of renewals ever seen.
        renewed_at: when the newest was seen.
        expiry_set_at: since when the token has had its date; None for since it was first seen. The date was
            never further ahead than it was then.
        recent: the newest usable ones, oldest first, at most ``MAX_RENEWALS``.
    """

    count: int = 0
    renewed_at: datetime | None = None
    expiry_set_at: datetime | None = None
    recent: tuple[Renewal, ...] = ()


NO_HISTORY = RenewalHistory()


class ConnectionTestResult(StrEnum):
    """What a test proves."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"  # it can't be tested this way, or a temporary problem prevented it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestHistory:
    """
    The results of the tests of a connection.

    Args:
        result: of the newest conclusive test; None before the first.
        result_at: when that was.
        message: the API's text about it.
        permissions: the permissions that its tests have shown.
        missing_permissions: those that were missing when it last passed.
        passed_at: when a test last passed; None if none ever did.
    """

    result: ConnectionTestResult | None = None
    result_at: datetime | None = None
    message: str = ""
    permissions: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()
    passed_at: datetime | None = None

    def is_older_than(self, *good: datetime | None) -> bool:
        """Return whether a successful post or a new token was seen since."""
        return self.result_at is not None and any(each > self.result_at for each in good if each)


NEVER_TESTED = ConnectionTestHistory()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionState:
    """
    A connection as stored in the history database.

    Args:
        id: the key of its row; None until it is recorded.
        error_seen_at: when the monitor first saw ``connection.last_error``.
        error_cleared_at: errors up to this time open no incident.
        missed_polls: successful polls in a row that did not list it.
        last_seen_at: when it was last listed; None while every good poll lists it.
        removed_at: when it counted as removed.
        renewals: the renewals of its token.
        last_test: the results of active tests.
    """

    connection: Connection
    first_seen_at: datetime
    id: int | None = None
    error_seen_at: datetime | None = None
    error_cleared_at: datetime | None = None
    missed_polls: int = 0
    last_seen_at: datetime | None = None
    removed_at: datetime | None = None
    renewals: RenewalHistory = NO_HISTORY
    last_test: ConnectionTestHistory = NEVER_TESTED


API_KEY_PREFIX = "api:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    What a problem is about: exactly one of a connection, a target, an account, a channel, an API.

    A connection is identified by its target and its ``platform_id``, an API by its base URL. The database key
    follows from them.
    """

    account: str | None = None
    target_id: int | None = None
    platform_id: str | None = None
    channel: str | None = None
    base_url: str | None = None

    @property
    def key(self) -> str:
        """A text that identifies the subject."""
        if self.base_url is not None:
            return f"{API_KEY_PREFIX}{self.base_url}"
        if self.channel is not None:
            return f"channel:{self.channel}"
        if self.platform_id is not None:
            return f"connection:{self.target_id}:{self.platform_id}"
        if self.target_id is not None:
            return f"target:{self.target_id}"
        return f"account:{self.account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """
    A problem somebody must act on, from opened to resolved.

    Args:
        id: the key of its row; None until it is recorded.
        summary: one line in plain words, with outside text made harmless.
        remedy: what to do about it, one line.
        max_severity: the worst severity it ever had. The channels that were notified of it are notified of the
            end.
        cause: the cause, if known.
        deadline_at: when it gets worse without a change (a token's expiry), aware UTC.
        notified_levels: the levels that were notified, by dedup key.
        notified_severity: the severity of the newest notification; None if that is the initial one.
        flap_count: how often it opened within the window when it was marked as flapping; 0 if it isn't.
        recovering_since: since when a flapping incident has shown no problem.
        acknowledged_by: who acknowledged it; None if it isn't acknowledged.
        acknowledged_until: when the acknowledgement ends; None for no limit.
    """

    rule: RuleName
    subject: Subject
    severity: Severity
    summary: str
    opened_at: datetime
    max_severity: Severity
    id: int | None = None
    cause: Cause | None = None
    remedy: str = ""
    deadline_at: datetime | None = None
    notified_levels: Mapping[str, int] = field(default_factory=dict)
    notified_severity: Severity | None = None
    flap_count: int = 0
    recovering_since: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_until: datetime | None = None
    resolved_at: datetime | None = None
    resolution: Resolution | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self.resolved_at is None

    @property
    def is_notifiable(self) -> bool:
        """Whether it is sent to channels. An incident at level 0 still waits for confirmation."""
        return not self.notified_levels or any(self.notified_levels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """
    The stored state of one target, on which an evaluation is based.

    Args:
        taken_at: when the newest recorded snapshot was taken; None before the first.
        last_ok_at: when the newest good snapshot was taken; None before the first.
        consecutive_failures: failed polls in a row; 0 after a good one.
        failing_since: when the first of them was; None after a good one.
        response_digest: of the newest good snapshot; empty if the next one must be evaluated.
        next_evaluation_at: when the clock alone changes a result; None if never.
        suspect_changes: how many connections the newest, unconfirmed snapshot would have changed at once.
        shrunk_since: since when the list has been suspiciously short; None after a good one.
        clock_offset: the API's time minus local time at the newest report of the connections.
        connections: by ``platform_id``, including removed ones.
        incidents: the open ones about this target or its connections.
        recent_opens: how often each problem opened lately, by subject key and rule.
    """

    target: Target
    taken_at: datetime | None = None
    last_ok_at: datetime | None = None
    consecutive_failures: int = 0
    failing_since: datetime | None = None
    response_digest: bytes = b""
    next_evaluation_at: datetime | None = None
    suspect_changes: int = 0
    shrunk_since: datetime | None = None
    clock_offset: timedelta = timedelta()
    connections: Mapping[str, ConnectionState] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    recent_opens: Mapping[tuple[str, RuleName], int] = field(default_factory=dict)


def to_milliseconds(moment: datetime) -> datetime:
    """
    Cut an aware time to UTC milliseconds, the precision of all stored times.

    Raises:
        ValueError: the time is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment.isoformat()}")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
