"""Deliver what is due: claim a message, send it outside any transaction, and save how that went."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from threading import Event
from typing import TypeAlias

import structlog

from monitor.channels.channel import Channel
from monitor.channels.client_channel import ClientChannel
from monitor.channels.incident_channel import IncidentChannel
from monitor.core.messages.client import render_for_client
from monitor.core.messages.csv_attachment import csv_attachment
from monitor.core.messages.digest import Summary, render_digest
from monitor.core.messages.events import events_of
from monitor.core.messages.message import Message
from monitor.core.messages.render import FULL_BLOCKS, Item, render, sort_for_message
from monitor.core.routing.client_channels import MIN_NOTIFICATION_INTERVAL, throttled_until
from monitor.core.routing.routes import find_suppression
from monitor.core.scheduling.backoff import next_attempt_at, should_give_up
from monitor.errors import DeliveryError, StorageError
from monitor.jobs.context import JobContext
from monitor.logs import scrub
from monitor.storage import digests, notification_items, notification_log, outbox
from monitor.storage.installation import installation_id
from monitor.storage.outbox import Claim, Notified

log = structlog.get_logger()

FIRST_DIGEST_LOOKBACK = timedelta(days=1)
# Asking for links that takes longer leaves too little of the lease to send in.
MAX_LINK_LOOKUP = timedelta(seconds=20)
SAVE_RETRY_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 20)

# By the key of their message: what was sent, and the database hasn't taken.
UnsavedDeliveries: TypeAlias = dict[str, Mapping[int, Notified]]


def deliver_channel(
    channel: str,
    context: JobContext,
    unsaved: UnsavedDeliveries,
    *,
    wait: bool = True,
    on_progress: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """
    Send what is due for one channel, message by message; stop at the first failure, unless each has its own recipient.

    Args:
        unsaved: what this process has sent and the database hasn't taken yet; kept from one call to the next.
        wait: whether groups wait to fill; a single pass doesn't.
        on_progress: called at each step.

    Returns:
        How many messages were delivered, and how many failed.
    """
    delivered = failed = 0
    stops_at_failure = not isinstance(context.channels.get(channel), ClientChannel)
    while claimed := claim_message(channel, context, wait=wait):
        on_progress()
        if claimed.is_suppressed:
            continue
        is_delivered = deliver(claimed, context, unsaved, on_progress)
        delivered += is_delivered is True
        failed += is_delivered is False
        if is_delivered is False and stops_at_failure:
            break
    return delivered, failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMessage:
    """
    A claim, and what its message says.

    Args:
        items: what it says of incidents.
        summary: what it says if it is a digest.
        installation: the id of this installation, for an incident service.
        is_suppressed: whether its time has not come, so that it was given back.
    """

    claim: Claim
    items: Sequence[Item]
    summary: Summary | None = None
    installation: str = ""
    is_suppressed: bool = False


def claim_message(channel: str, context: JobContext, *, wait: bool) -> ClaimedMessage | None:
    """Claim the next message of a channel in one transaction; None if nothing is due."""
    now = context.clock()
    destination = context.channels.get(channel)
    is_client, is_service = isinstance(destination, ClientChannel), isinstance(destination, IncidentChannel)
    with context.database.begin() as store:
        store.lock(f"channel {channel}")
        claim = outbox.claim(
            store,
            now,
            channel=channel,
            message_key=context.new_message_key(),
            wait=wait,
            whole=is_client,
            one_incident=is_service,
        )
        if claim is None:
            return None
        loaded = notification_items.load_items(store, claim, context.dashboards, as_events=is_service)
        routing = context.current_routing(store, now)
        suppressed = {
            item.incident.id: found
            for item in loaded
            if item.incident.id and item.reason
            if (found := find_suppression(item.incident, item.target, channel, routing, now))
        }
        if suppressed:
            outbox.suppress(store, claim, suppressed)
        items = [item for item in loaded if item.incident.id not in suppressed]
        if suppressed and not items:
            return ClaimedMessage(claim=claim, items=(), is_suppressed=True)
        if items and is_client:
            sent_at, severity = notification_log.last_client_notification(
                store, claim, now - MIN_NOTIFICATION_INTERVAL
            )
            until = throttled_until(sort_for_message(items), now, notified_at=sent_at, notified=severity)
            if until:
                outbox.defer(store, claim, until=until)
                return ClaimedMessage(claim=claim, items=(), is_suppressed=True)
        route = next(
            (each for each in routing.routes if claim.digest and claim.digest == each.digest_group), None
        )
        summary = None
        if route and claim.digest:
            last_at = digests.last_digest_at(store, channel, claim.digest, delivered=True)
            summary = digests.load_summary(
                store,
                route.match,
                now,
                since=last_at or now - FIRST_DIGEST_LOOKBACK,
                routing=context.routing,
                clock_offset=context.clock_offset,
            )
        installation = installation_id(store) if is_service else ""
        return ClaimedMessage(claim=claim, items=items, summary=summary, installation=installation)


def deliver(
    claimed: ClaimedMessage,
    context: JobContext,
    unsaved: UnsavedDeliveries,
    on_progress: Callable[[], None],
) -> bool | None:
    """Send one message and save how that went; None if nothing was left to send, or another sender has it."""
    claim = claimed.claim
    if (sent := unsaved.get(claim.message_key)) is not None:
        save_delivery(claim, sent, context, unsaved, on_progress)
        return None
    destination = recipient(claimed, context)
    if destination is None:
        reason = (
            "the managed user has no valid address; correct its user name and retry"
            if claim.channel in context.channels
            else f"no channel {claim.channel!r} in the configuration; add it back and retry"
        )
        dead_letter(claim, reason, context)
        return False
    began_at = context.clock()
    items = with_links(claimed.items, destination, context)
    if context.clock() - began_at > MAX_LINK_LOOKUP:
        with context.database.begin() as store:
            renewed = outbox.renew_lease(store, claim, context.clock())
        if renewed is None:
            return None
        claim = renewed
    sends, notified = compose(replace(claimed, claim=claim, items=items), destination, context)
    if not all(try_to_send(send, claim, context) for send in sends):
        return False
    save_delivery(claim, notified, context, unsaved, on_progress)
    if not sends:
        return None
    log.info(
        "notification.delivered", channel=claim.channel, message=claim.message_key, incidents=len(notified)
    )
    return True


def recipient(claimed: ClaimedMessage, context: JobContext) -> Channel | None:
    """Return the channel that a message goes to: of a channel for clients, the one of its managed user."""
    channel = context.channels.get(claimed.claim.channel)
    if not isinstance(channel, ClientChannel):
        return channel
    target = next((item.target for item in claimed.items if item.target), None)
    return channel.for_target(target) if target else None


def with_links(items: Sequence[Item], destination: Channel, context: JobContext) -> Sequence[Item]:
    """Add the reconnect link of each managed user that needs one, if the channel may show it and there are few."""
    needed = {
        item.target.id: item.target
        for item in sort_for_message(items)
        if item.target and item.connection and item.incident.is_open and not item.incident.remedy
    }
    if not destination.allow_reconnect_links or len(needed) > FULL_BLOCKS:
        return items
    links = {id_: context.reconnect_link(target) for id_, target in needed.items()}
    return [
        replace(item, reconnect_url=links.get(item.target.id, "")) if item.target else item for item in items
    ]


def compose(
    claimed: ClaimedMessage, destination: Channel, context: JobContext
) -> tuple[Sequence[Callable[[], None]], Mapping[int, Notified]]:
    """Return the calls that send what is true now, none if nothing is left to say, and what they say by incident."""
    claim, items, now = claimed.claim, claimed.items, context.clock()
    if isinstance(destination, IncidentChannel):
        said = [
            (
                item,
                events_of(
                    item,
                    installation=claimed.installation,
                    message_key=claim.message_key,
                    now=now,
                    time_zone=destination.time_zone,
                ),
            )
            for item in items
        ]
        sends = [partial(destination.send_event, event) for _, events in said for event in events]
        return sends, {
            item.incident.id: outbox.notified_status(item)
            for item, events in said
            if events and item.incident.id
        }
    if claimed.summary:
        message: Message | None = render_digest(
            claimed.summary,
            now=now,
            key=claim.message_key,
            limit=destination.body_limit,
            time_zone=destination.time_zone,
        )
    else:
        message = render_message(claim, items, destination, context)
    notified = {
        item.incident.id: outbox.notified_status(item) for item in items if item.reason and item.incident.id
    }
    return [partial(destination.send, message)] if message else [], notified


def render_message(
    claim: Claim, items: Sequence[Item], destination: Channel, context: JobContext
) -> Message | None:
    """Write what is true now, by the template of the channel if it has one; None if nothing is left to say."""
    now = context.clock()
    ordered = [
        replace(item, clock_offset=context.clock_offset(item.target.account)) if item.target else item
        for item in sort_for_message(items)
    ]
    channel, time_zone = context.channels.get(claim.channel), destination.time_zone
    write = (
        partial(render_for_client, sender=channel.sender) if isinstance(channel, ClientChannel) else render
    )
    message = write(
        ordered, now=now, key=claim.message_key, limit=destination.body_limit, time_zone=time_zone
    )
    if message and destination.name in context.templates:
        template = context.templates[destination.name]
        message = template.apply(message, ordered, now, limit=destination.body_limit, time_zone=time_zone)
    # A service may take the text and refuse the file: then every second attempt does without.
    with_file = destination.takes_attachments and claim.attempts % 2 == 1
    if message and len(ordered) > FULL_BLOCKS and with_file:
        message = replace(message, attachment=csv_attachment(ordered))
    return message


def try_to_send(send: Callable[[], None], claim: Claim, context: JobContext) -> bool:
    """Send; if the channel doesn't take it, plan the next attempt or give up, and return False."""
    try:
        send()
    except DeliveryError as error:
        now, reason = context.clock(), scrub(str(error))  # a server may repeat what it was sent
        if should_give_up(
            now,
            first_attempt_at=claim.first_attempt_at,
            attempts=claim.attempts,
            permanent=error.permanent,
        ):
            dead_letter(claim, reason, context, is_possibly_delivered=error.uncertain)
            return False
        due_at = next_attempt_at(
            now, attempts=claim.attempts, chance=context.random(), retry_after=error.retry_after
        )
        log.warning(
            "notification.failed",
            channel=claim.channel,
            message=claim.message_key,
            attempts=claim.attempts,
            error=reason,
            due_at=due_at.isoformat(),
        )
        with context.database.begin() as store:
            if error.uncertain or claim.may_be_delivered:
                outbox.retry_same_key(store, claim, until=due_at, error=reason)
            else:
                outbox.release(store, claim, due_at=due_at, error=reason)
        return False
    return True


def save_delivery(
    claim: Claim,
    notified: Mapping[int, Notified],
    context: JobContext,
    unsaved: UnsavedDeliveries,
    on_progress: Callable[[], None],
) -> None:
    """
    Save that a message was sent, with patience.

    What can't be saved is remembered: the claim comes back when its lease has ended, and isn't sent again. Only a
    process that dies in between forgets.
    """
    unsaved[claim.message_key] = notified
    for pause in (*SAVE_RETRY_SECONDS, None):
        try:
            with context.database.begin() as store:
                outbox.mark_delivered(store, claim, context.clock(), notified=notified)
        except StorageError as error:
            if pause is None:
                raise
            log.error("database.unavailable", error=str(error), message=claim.message_key)
            on_progress()
            Event().wait(pause)
        else:
            del unsaved[claim.message_key]
            return


def dead_letter(
    claim: Claim, error: str, context: JobContext, *, is_possibly_delivered: bool = False
) -> None:
    """Stop sending a message: it stays among the dead letters until somebody retries it or its channel recovers."""
    with context.database.begin() as store:
        outbox.mark_dead(store, claim, error=error, is_possibly_delivered=is_possibly_delivered)
    log.error("notification.dead_lettered", channel=claim.channel, message=claim.message_key, error=error)
