"""The words of the monitor as values: what the API says, what is known, what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class TokenStatus(StrEnum):
    """The four words that the API documents for a token; whatever their case."""

    VALID = "valid"
    EXPIRING_SOON = "expiring_soon"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


# What is kept where the API sent no word for a token, or null.
NO_STATUS = "null"


class Severity(StrEnum):
    """How bad a problem is. The order of definition is the ladder."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position on the ladder: 0 is the mildest."""
        return _SEVERITY_RANKS[self]


_SEVERITY_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class RuleName(StrEnum):
    """Every kind of problem there can be."""

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
    """What lies behind a failure: it says who can mend it."""

    AUTHORIZATION = "authorization"  # the platform takes the token no more: a person must reconnect
    PERMISSION = "permission"  # the token may not do this: a person must reconnect and grant more
    POLICY = "policy"  # the platform blocks or limits the account
    CONTENT = "content"  # the platform refused what was posted
    TRANSIENT = "transient"  # it may well work the next time
    UNKNOWN = "unknown"  # not recognized, and never dropped for that

    @property
    def needs_reconnect(self) -> bool:
        """Whether only a person who reconnects the account can mend it."""
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
    ACKNOWLEDGED = "acknowledged"  # for services with incidents of their own alone
    RESOLVED = "resolved"
    DIGEST = "digest"
    TEST = "test"


class DeliveryState(StrEnum):
    """Where a notification stands. ``FAILED`` ones were given up: the dead letters."""

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
    The last error that a platform gave when something was posted.

    Args:
        message: the platform's words, cut to length and free of what no database can store.
        occurred_at: aware UTC, or None if the API gave bare text.
    """

    message: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    One linked social profile, as one answer of the API shows it.

    Args:
        platform_id: ``platform-id`` as the API gives it; the id may hold colons and a leading dash.
        token_status: one of the four words in lower case, or whatever else the API sent, as it came; what is
            no text is kept as JSON, and ``NO_STATUS`` stands for no word at all. ``status`` is how it is
            understood.
        expires_at: aware UTC, or None if the token doesn't expire.
        last_successful_post_at: aware UTC, or None if never or not told.
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
        """The platform's name: what stands before the first dash."""
        return self.platform_id.partition("-")[0]

    @property
    def status(self) -> TokenStatus | None:
        """The status as the monitor understands it, whatever its case: None for any word but the four."""
        return _STATUSES.get(self.token_status.lower())

    @property
    def name(self) -> str:
        """What people call it: the display name, else the handle, else the id."""
        return self.display_name or self.username or self.platform_id


_STATUSES: Mapping[str, TokenStatus] = {status.value: status for status in TokenStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    What one request asks about: an account itself, or one managed user of it.

    Args:
        id: the key of its row in the history database.
        managed_user_id: None for the account itself.
        managed_user: the name people know the managed user by, where known.
        username: what the managed user itself goes by, often an address.
    """

    id: int
    account: str
    managed_user_id: str | None = None
    managed_user: str | None = None
    username: str | None = None


class FailureScope(StrEnum):
    """Whom a failure concerns, as far as the failure itself says."""

    KEY = "key"  # whatever is asked with this key
    USERS = "users"  # every managed user of this key, not the account itself
    USER = "user"  # this one target alone
    UNCLEAR = "unclear"  # one or all: how many fail will tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why a poll saw nothing, in words that stay the same as long as the cause does.

    Args:
        rule: the kind of problem this failure is when it lasts.
        error: what happened, one line, no secrets and nothing that varies from poll to poll.
        remedy: what the operator can do about it, one line.
        http_status: where the API answered at all.
        retry_after: how long the server asked us to stay away.
        limit: requests a minute that the server grants, where it says so.
        may_be_received: whether the server may have had the request all the same.
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
    What one poll saw, or why it saw nothing.

    Args:
        taken_at: when the answer was complete, local time, aware UTC.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
        connections: in the order given, each ``platform_id`` once; empty after a failure.
        failure: None after a good answer.
        warnings: what was wrong with single connections of a good answer; they are left out.
        unreadable_ids: the ``platform_id`` of those left out, where it could be read: a connection that
            is listed but unreadable is not missing.
        response_digest: equal for equal answers, across restarts; empty if the answer must be looked at.
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

    @property
    def outcome(self) -> Outcome:
        """How the poll ended."""
        return self.failure.outcome if self.failure else Outcome.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """
    One renewal, as it was seen.

    Args:
        lead: how long before the old token's end; negative where it had ended.
        lifetime: what the new token had ahead of it.
        gap: since the look before, when the old token was still there.
    """

    lead: timedelta
    lifetime: timedelta
    gap: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalHistory:
    """
    What is remembered of the renewals of one connection.

    Args:
        count: how many were ever seen.
        renewed_at: when the newest was seen.
        expiry_set_at: since when the token has had the date that it has; None for since it was first seen. So the
            date was never further ahead than it was then.
        recent: the newest that tell something, oldest first, at most ``MAX_RENEWALS``.
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
    INCONCLUSIVE = "inconclusive"  # it can't be tested this way, or something passing was in the way


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestHistory:
    """
    What is known from the tests of a connection.

    Args:
        result: of the newest test that proved something; None before the first.
        result_at: when that was.
        message: the API's words about it.
        permissions: those that its tests have shown.
        missing_permissions: those of them that were missing when it last passed.
        passed_at: when a test last passed; None if none ever did.
    """

    result: ConnectionTestResult | None = None
    result_at: datetime | None = None
    message: str = ""
    permissions: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()
    passed_at: datetime | None = None

    def is_older_than(self, *good: datetime | None) -> bool:
        """Return whether something good was seen since: a post that went well, a new token."""
        return self.result_at is not None and any(each > self.result_at for each in good if each)


NEVER_TESTED = ConnectionTestHistory()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionState:
    """
    A connection as the history database remembers it.

    Args:
        id: the key of its row; None until it is recorded.
        error_seen_at: when the monitor first saw the error that ``connection.last_error`` holds.
        error_cleared_at: errors that occurred up to here are history and open nothing.
        missed_polls: successful polls in a row that did not list it.
        last_seen_at: when the newest report of it was made; None while every good poll brings one.
        removed_at: when it was taken as gone.
        renewals: how its token was renewed so far.
        last_test: what active tests have shown.
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

    A connection is named by its target and its ``platform_id``, an API by its base URL; the database key follows
    from them.
    """

    account: str | None = None
    target_id: int | None = None
    platform_id: str | None = None
    channel: str | None = None
    base_url: str | None = None

    @property
    def key(self) -> str:
        """One text for one subject: two problems about the same thing have the same."""
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
        summary: one line in plain words, outside text cleaned.
        remedy: what to do about it, one line.
        max_severity: the worst severity it ever had; who was told of that is told of the end.
        cause: what lies behind it, where that can be told.
        deadline_at: when it gets worse by itself (a token's expiry), aware UTC.
        notified_levels: what the rule must remember of what was told; mark to step.
        notified_severity: the severity that people were last to hear of; None if that is how it began.
        flap_count: how often it came within the window when it was told as flapping; 0 if it isn't.
        recovering_since: since when a flapping one shows no problem.
        acknowledged_by: who has it in hand; None if nobody does.
        acknowledged_until: when the acknowledgement ends by itself; None for not at all.
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
        """Whether somebody still must act."""
        return self.resolved_at is None

    @property
    def is_notifiable(self) -> bool:
        """Whether people are to hear of it: not as long as nothing but a doubt stands behind it."""
        return not self.notified_levels or any(self.notified_levels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """
    All that is known of one target: what a decision is taken on.

    Args:
        taken_at: when the newest recorded snapshot was taken; None before the first.
        last_ok_at: when the newest good snapshot was taken; None before the first.
        consecutive_failures: failed polls in a row; 0 after a good one.
        failing_since: when the first of them was; None after a good one.
        response_digest: of the newest good snapshot; empty if the next one must be looked at.
        next_evaluation_at: when the clock alone changes a verdict; None if never.
        suspect_changes: how many connections the newest snapshot would have changed at once, had it been believed.
        shrunk_since: since when the list has been too short to be believed; None after a good one.
        clock_offset: the API's time minus local time when the connections were last seen as they are known.
        connections: by ``platform_id``, removed ones included.
        incidents: the open ones about this target or its connections.
        recent_opens: how often each problem was opened lately, by subject key and rule.
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
    Cut an aware time to UTC milliseconds, the precision that every part of the monitor keeps.

    Raises:
        ValueError: the time is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment.isoformat()}")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
