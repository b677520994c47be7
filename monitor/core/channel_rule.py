"""A channel that takes no messages is a problem too: told through the others."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.core.model import Incident, RuleName, Severity, Target
from monitor.core.rules import Answer, Problem, Verdict, at
from monitor.core.text import harmless

FAILING_ATTEMPTS = 3
FAILING_FOR = timedelta(minutes=10)
NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """
    How a channel took what it was sent.

    Args:
        attempts: the most that a message still waiting was tried.
        dead: how many messages were given up since it last took one.
        failing_since: when the oldest of either was first tried; None where there is none.
        delivered_at: when it last took a message; None if never.
        error: what the newest failure said.
        incident: the open one about it.
        tells_clients: whether it is another place for each managed user.
        unreached: those of them that it can't tell, for want of an address.
    """

    channel: str
    attempts: int = 0
    dead: int = 0
    failing_since: datetime | None = None
    delivered_at: datetime | None = None
    error: str = ""
    incident: Incident | None = None
    tells_clients: bool = False
    unreached: tuple[Target, ...] = ()


def look_at_channel(known: ChannelState, now: datetime) -> Verdict:
    """
    Judge a channel: failing after several attempts and some minutes, well when it takes a message again.

    Silence is no proof: a channel that nothing was sent to since stays as it is.
    """
    lasts = known.failing_since is not None and now - known.failing_since >= FAILING_FOR
    # Where each message goes to somebody else, one that isn't taken says nothing of the others.
    is_one_of_many = (
        known.tells_clients
        and known.delivered_at is not None
        and known.failing_since is not None
        and known.delivered_at >= known.failing_since
    )
    fails = known.dead or (lasts and known.attempts >= FAILING_ATTEMPTS)
    if known.failing_since and fails and not is_one_of_many:
        return Problem(
            rule=RuleName.CHANNEL_FAILING,
            severity=Severity.WARNING,
            summary=(
                f"channel {harmless(known.channel, 64)} takes no messages since {at(known.failing_since)}: "
                f"{harmless(known.error) or 'no reason given'}"
            ),
            remedy="check the channel with `postpost-monitor send-test`, then see `deliveries --failed`",
            mark=known.channel,
            step=2,
        )
    if known.unreached:
        return _unreached(known)
    if known.tells_clients:
        return Answer.HOLD if known.failing_since else Answer.CLEAR
    if known.incident and known.delivered_at and known.delivered_at > known.incident.opened_at:
        return Answer.CLEAR
    return Answer.HOLD


def _unreached(known: ChannelState) -> Problem:
    names = [harmless(user.managed_user or user.managed_user_id or "", 60) for user in known.unreached]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    many = "managed users have" if len(names) > 1 else "managed user has"
    return Problem(
        rule=RuleName.CHANNEL_FAILING,
        severity=Severity.NOTICE,
        summary=(
            f"channel {harmless(known.channel, 64)} can't tell everybody: {len(names)} {many} no plausible "
            f"address: {', '.join(names[:NAMED])}{more}"
        ),
        remedy="give each a user name that is an address; until then tell them yourself",
        mark=" ".join(str(user.id) for user in known.unreached[:NAMED]) + f" of {len(names)}",
        mark_is_news=True,
    )
