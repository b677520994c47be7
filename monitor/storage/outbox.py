"""
The outbox: notifications are claimed for a while and sent; the claim of a sender that crashed is retaken.

A row that is ``sending`` belongs to a sender until its lease ends. One that is ``pending`` and still has a
message key may have been delivered: it is sent again with all rows of its claim, under the same key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal, or_, select, update

from monitor.core.messages.render import Item
from monitor.core.model import DeliveryState, Reason
from monitor.core.routing.routes import Suppression
from monitor.core.scheduling.backoff import MAX_RETRY_AFTER
from monitor.storage.tables import notifications
from monitor.storage.transaction import Transaction
from monitor.storage.types import UtcMillis

LEASE = timedelta(minutes=2)
# A row that would be due this soon after another of its group is sent with it.
COALESCE_WINDOW = timedelta(minutes=1)
NOTIFIED_RESOLVED = "resolved"

# Beside every state except ``delivered``, so that the index of undelivered rows is used, not all rows.
UNDELIVERED = notifications.c.delivered_at.is_(None)
PENDING = and_(UNDELIVERED, notifications.c.state == DeliveryState.PENDING)
SENDING = and_(UNDELIVERED, notifications.c.state == DeliveryState.SENDING)
# Not ``in_``, which SQLAlchemy expands at execution and can't expand if one statement runs for many incidents.
UNSENT = or_(PENDING, SENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    Rows of one channel and one group that are one message.

    Args:
        message_key: the same for each attempt while the message may have been delivered.
        ids: the rows, oldest first.
        attempts: the most attempts of any row, including this one.
        first_attempt_at: the first attempt of any row.
        digest: the group of a digest; None for a message about incidents.
        leased_until: when another sender may take it; until then no other sender had it.
        may_be_delivered: whether an earlier attempt may have delivered it.
    """

    message_key: str
    channel: str
    ids: tuple[int, ...]
    attempts: int
    first_attempt_at: datetime
    leased_until: datetime
    digest: str | None = None
    may_be_delivered: bool = False


@dataclass(frozen=True, slots=True)
class Notified:
    """
    What a message said about one incident.

    Args:
        status: a severity, or ``resolved``.
        content_hash: equal for equal text; None if it says that the incident resolved.
    """

    status: str
    content_hash: str | None = None


def notified_status(item: Item) -> Notified:
    """Return what a message says about an incident."""
    if not item.incident.is_open:
        return Notified(NOTIFIED_RESOLVED)
    return Notified(item.incident.severity, item.content_hash)


def due_channels(store: Transaction, now: datetime, *, wait: bool = True) -> list[str]:
    """
    Return the channels that have something to send, the longest overdue first.

    Args:
        wait: whether groups wait to fill; a single pass doesn't.
    """
    ready = or_(and_(PENDING, _is_due(now, wait=wait)), _is_abandoned(now))
    query = select(notifications.c.channel).where(UNDELIVERED, ready).group_by(notifications.c.channel)
    return list(store.connection.execute(query.order_by(func.min(notifications.c.due_at))).scalars())


def claim(
    store: Transaction,
    now: datetime,
    *,
    channel: str,
    message_key: str,
    wait: bool = True,
    whole: bool = False,
    one_incident: bool = False,
) -> Claim | None:
    """
    Claim the next message of a channel: an abandoned claim first, else the group that has been due the longest.

    What another sender is sending to the channel must not be overtaken: news of the same incidents waits until
    that is done. Two that claim for one channel must take turns.

    Args:
        message_key: of a new claim; one that was abandoned keeps its own.
        whole: whether all of a group goes as soon as some of it is due.
        one_incident: whether a new claim is about one incident, whatever its group.

    Returns:
        None if nothing is due.
    """
    of_channel = and_(UNDELIVERED, notifications.c.channel == channel)
    is_kept = and_(PENDING, notifications.c.message_key.is_not(None), _is_due(now, wait=True))
    is_free = or_(_is_abandoned(now), is_kept)
    abandoned = (
        select(notifications.c.message_key)
        .where(of_channel, is_free)
        .order_by(notifications.c.first_attempt_at, notifications.c.id)
    )
    if taken := store.connection.execute(abandoned).scalars().first():
        whole_claim = and_(of_channel, notifications.c.message_key == taken, or_(PENDING, _is_abandoned(now)))
        retaken = store.connection.execute(_lease(now).where(whole_claim))
        # If another sender was faster, the claim is active again and belongs to it.
        return (
            replace(_load_claim(store, channel, taken), may_be_delivered=True) if retaken.rowcount else None
        )
    is_due = _is_due(now, wait=wait)
    about = notifications.c.incident_id
    in_delivery = select(about).where(of_channel, SENDING, about.is_not(None))
    is_new_row = and_(PENDING, notifications.c.message_key.is_(None))
    is_new = and_(is_new_row, or_(about.is_(None), about.not_in(in_delivery)))
    # A row without an incident has no incident for a key either.
    unit = func.coalesce(about, 0) if one_incident else notifications.c.group_key
    units = (
        select(unit)
        .where(of_channel, is_new, is_due)
        .group_by(unit)
        .order_by(func.min(notifications.c.due_at))
    )
    first = store.connection.execute(units).scalars().first()
    if first is None:
        return None
    goes_along = and_(notifications.c.attempts == 0, notifications.c.due_at <= now + COALESCE_WINDOW)
    if whole:
        goes_along = notifications.c.silence_id.is_(None) | (notifications.c.due_at <= now)
    taken_now = store.connection.execute(
        _lease(now)
        .values(message_key=message_key)
        .where(of_channel, is_new, unit == first, or_(is_due, goes_along))
    )
    if not taken_now.rowcount:
        return None
    # A message describes an incident as it is now. It covers all waiting rows about it, whatever their group.
    in_it = select(about).where(of_channel, SENDING, notifications.c.message_key == message_key)
    not_suppressed = or_(notifications.c.suppressed_until.is_(None), notifications.c.suppressed_until <= now)
    store.connection.execute(
        _lease(now)
        .values(message_key=message_key)
        .where(of_channel, is_new_row, not_suppressed, about.in_(in_it))
    )
    return _load_claim(store, channel, message_key)


def cap_due(store: Transaction, now: datetime) -> None:
    """Make due now what waits for its group or for another attempt, since the clock was set back."""
    waits = and_(PENDING, notifications.c.suppressed_until.is_(None), notifications.c.silence_id.is_(None))
    store.connection.execute(
        update(notifications).where(waits, notifications.c.due_at > now).values(due_at=now)
    )
    store.connection.execute(
        update(notifications)
        .where(SENDING, notifications.c.leased_until > now + LEASE)
        .values(leased_until=now + LEASE)
    )


def mark_delivered(
    store: Transaction, claimed: Claim, now: datetime, *, notified: Mapping[int, Notified]
) -> None:
    """
    Save that a claim was sent.

    Args:
        notified: what the message says of each incident; nothing was left to say of one that is not in it.
    """
    # Also if another sender postponed it, believing this one dead: it was delivered all the same.
    mine = and_(rows_of_claim(claimed), UNSENT)
    if notified:
        of_incident = notifications.c.incident_id == bindparam("b_incident_id")
        store.connection.execute(
            update(notifications)
            .where(mine, of_incident)
            .values(notified_status=bindparam("b_told"), content_hash=bindparam("b_content_hash")),
            [
                {"b_incident_id": id_, "b_told": what.status, "b_content_hash": what.content_hash}
                for id_, what in notified.items()
            ],
        )
    store.connection.execute(
        update(notifications)
        .where(mine)
        .values(
            state=DeliveryState.DELIVERED,
            delivered_at=now,
            first_attempt_at=None,
            leased_until=None,
            error=None,
            # The claim identifies rows that were sent together. Only the next digest looks for its group.
            group_key=case((notifications.c.incident_id.is_(None), notifications.c.group_key), else_=""),
        )
    )


def suppress(store: Transaction, claimed: Claim, suppressed: Mapping[int, Suppression]) -> None:
    """
    Release what of a claim must not be sent yet; this was no attempt.

    A claim whose message may have been delivered keeps its key if all of it is suppressed. A part of it can't: its
    receiver would drop one of two messages under one key.

    Args:
        suppressed: until when and by which silence, if by one, for each incident.
    """
    about = select(notifications.c.incident_id).where(_owns_claim(claimed))
    keeps_name = (
        claimed.may_be_delivered and set(store.connection.execute(about).scalars()) <= suppressed.keys()
    )
    store.connection.execute(
        update(notifications)
        .where(_owns_claim(claimed), notifications.c.incident_id == bindparam("b_incident_id"))
        .values(
            state=DeliveryState.PENDING,
            message_key=claimed.message_key if keeps_name else None,
            leased_until=None,
            attempts=notifications.c.attempts - 1,
            first_attempt_at=None,
            error=None,
            due_at=bindparam("b_until"),
            suppressed_until=bindparam("b_until"),
            silence_id=func.coalesce(bindparam("b_silence_id"), notifications.c.silence_id),
        ),
        [
            {"b_incident_id": id_, "b_until": suppression.until, "b_silence_id": suppression.silence_id}
            for id_, suppression in suppressed.items()
        ],
    )


def release(store: Transaction, claimed: Claim, *, due_at: datetime, error: str) -> None:
    """Release a claim whose message was surely not delivered: its rows are grouped again when due."""
    store.connection.execute(
        update(notifications)
        .where(_owns_claim(claimed))
        .values(state=DeliveryState.PENDING, message_key=None, leased_until=None, due_at=due_at, error=error)
    )


def defer(store: Transaction, claimed: Claim, *, until: datetime) -> None:
    """Release a claim whose time has not come; this was no attempt."""
    store.connection.execute(
        update(notifications)
        .where(_owns_claim(claimed))
        .values(
            state=DeliveryState.PENDING,
            message_key=None,
            leased_until=None,
            first_attempt_at=None,
            error=None,
            due_at=until,
        )
    )


def renew_lease(store: Transaction, claimed: Claim, now: datetime) -> Claim | None:
    """Extend the lease of a claim; return None if it ended and another sender has the claim."""
    until = now + LEASE
    renewed = store.connection.execute(
        update(notifications).where(_owns_claim(claimed)).values(leased_until=until)
    )
    return replace(claimed, leased_until=until) if renewed.rowcount else None


def retry_same_key(store: Transaction, claimed: Claim, *, until: datetime, error: str) -> None:
    """Keep a claim together whose message may have been delivered: it is retried under the same key."""
    store.connection.execute(
        update(notifications)
        .where(_owns_claim(claimed))
        .values(state=DeliveryState.PENDING, leased_until=None, due_at=until, error=error)
    )


def mark_dead(store: Transaction, claimed: Claim, *, error: str, is_possibly_delivered: bool = False) -> None:
    """Make dead letters of a claim, and save whether its message may have been delivered."""
    store.connection.execute(
        update(notifications)
        .where(_owns_claim(claimed))
        .values(
            state=DeliveryState.FAILED,
            leased_until=None,
            error=error,
            is_possibly_delivered=is_possibly_delivered or claimed.may_be_delivered,
        )
    )


def rows_of_claim(claimed: Claim) -> ColumnElement[bool]:
    """Return the condition for the rows of a claim, as long as it isn't delivered."""
    of_channel = notifications.c.channel == claimed.channel
    return and_(UNDELIVERED, of_channel, notifications.c.message_key == claimed.message_key)


def _owns_claim(claimed: Claim) -> Any:
    """Return the condition for the rows of a claim that this sender still has: another one may have retaken it."""
    return and_(rows_of_claim(claimed), SENDING, notifications.c.leased_until == claimed.leased_until)


def _is_due(now: datetime, *, wait: bool) -> Any:
    # After the clock was set back, earlier rows lie too far ahead.
    is_ahead = and_(
        notifications.c.suppressed_until.is_(None),
        or_(
            notifications.c.created_at > now,
            and_(notifications.c.error.is_not(None), notifications.c.due_at > now + MAX_RETRY_AFTER),
        ),
    )
    is_due = or_(notifications.c.due_at <= now, is_ahead)
    if wait:
        return is_due
    is_suppressed = notifications.c.suppressed_until.is_not(None) & (notifications.c.suppressed_until > now)
    return or_(is_due, and_(notifications.c.attempts == 0, ~is_suppressed))


def _is_abandoned(now: datetime) -> Any:
    # A lease that ends much later than any lease can was given before the clock was set back. A little later: by
    # a sender that read the clock while this one waited for its turn.
    over = or_(notifications.c.leased_until <= now, notifications.c.leased_until > now + 2 * LEASE)
    return and_(SENDING, over)


def _lease(now: datetime) -> Any:
    return update(notifications).values(
        state=DeliveryState.SENDING,
        leased_until=now + LEASE,
        attempts=notifications.c.attempts + 1,
        first_attempt_at=func.coalesce(notifications.c.first_attempt_at, literal(now, UtcMillis)),
    )


def _load_claim(store: Transaction, channel: str, message_key: str) -> Claim:
    query = (
        select(
            notifications.c.id,
            notifications.c.attempts,
            notifications.c.first_attempt_at,
            notifications.c.reason,
            notifications.c.group_key,
            notifications.c.leased_until,
        )
        .where(SENDING, notifications.c.channel == channel, notifications.c.message_key == message_key)
        .order_by(notifications.c.id)
    )
    rows = store.connection.execute(query).all()
    return Claim(
        message_key=message_key,
        channel=channel,
        leased_until=max(row.leased_until for row in rows),
        ids=tuple(row.id for row in rows),
        attempts=max(row.attempts for row in rows),
        first_attempt_at=min(row.first_attempt_at for row in rows),
        digest=rows[0].group_key if rows[0].reason == Reason.DIGEST else None,
    )
