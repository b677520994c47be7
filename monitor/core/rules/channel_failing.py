"""A channel that refuses messages is a problem, sent through the other channels."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.core.model import Incident, RuleName, Severity, Target
from monitor.core.rules.base import NoProblem, Problem, RuleResult
from monitor.core.text import format_time, sanitize

MIN_FAILED_ATTEMPTS = 3
MIN_FAILING_TIME = timedelta(minutes=10)
MAX_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """
    How deliveries to a channel went.

    Args:
        attempts: the most attempts of a pending message.
        dead: dead letters since its last delivery.
        failing_since: the first attempt of the oldest of either; None if there is none.
        delivered_at: its last delivery; None if never.
        error: the newest error.
        incident: the open one about it.
        notifies_clients: whether its URL differs for each managed user.
        unreachable_users: managed users without a usable address.
    """

    channel: str
    attempts: int = 0
    dead: int = 0
    failing_since: datetime | None = None
    delivered_at: datetime | None = None
    error: str = ""
    incident: Incident | None = None
    notifies_clients: bool = False
    unreachable_users: tuple[Target, ...] = ()


def check_channel(known: ChannelState, now: datetime) -> RuleResult:
    """
    Return whether a channel fails: after several attempts and some minutes, until it accepts a message.

    If nothing was sent to the channel since, the result stays the same.
    """
    lasts = known.failing_since is not None and now - known.failing_since >= MIN_FAILING_TIME
    # If each message goes to another address, one failure says nothing about the others.
    is_one_of_many = (
        known.notifies_clients
        and known.delivered_at is not None
        and known.failing_since is not None
        and known.delivered_at >= known.failing_since
    )
    fails = known.dead or (lasts and known.attempts >= MIN_FAILED_ATTEMPTS)
    if known.failing_since and fails and not is_one_of_many:
        return Problem(
            rule=RuleName.CHANNEL_FAILING,
            severity=Severity.WARNING,
            summary=(
                f"channel {sanitize(known.channel, 64)} has not accepted messages since "
                f"{format_time(known.failing_since)}: "
                f"{sanitize(known.error) or 'no reason given'}"
            ),
            remedy="test the channel with `postpost-monitor test-channel`",
            dedup_key=known.channel,
            level=2,
        )
    if known.unreachable_users:
        names = [
            sanitize(user.managed_user or user.managed_user_id or "", 60) for user in known.unreachable_users
        ]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        many = "managed users have" if len(names) > 1 else "managed user has"
        return Problem(
            rule=RuleName.CHANNEL_FAILING,
            severity=Severity.NOTICE,
            summary=(
                f"{len(names)} {many} no valid address for channel {sanitize(known.channel, 64)}: "
                f"{', '.join(names[:MAX_NAMED])}{more}"
            ),
            remedy="set the user name of each to a valid address",
            dedup_key=" ".join(str(user.id) for user in known.unreachable_users[:MAX_NAMED])
            + f" of {len(names)}",
            is_new_key=True,
        )
    if known.notifies_clients:
        return NoProblem.UNKNOWN if known.failing_since else NoProblem.OK
    if known.incident and known.delivered_at and known.delivered_at > known.incident.opened_at:
        return NoProblem.OK
    return NoProblem.UNKNOWN
