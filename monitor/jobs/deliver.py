"""Send what is due and record how it went: claim, send outside any transaction, settle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import structlog

from monitor.channels.channel import Channel
from monitor.channels.client_channel import ClientChannel
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.templates import MessageTemplate
from monitor.clock import Clock
from monitor.core.messages.client import render_for_client
from monitor.core.messages.csv_attachment import csv_attachment
from monitor.core.messages.digest import Summary, render_digest
from monitor.core.messages.events import events_of
from monitor.core.messages.message import Message
from monitor.core.messages.render import FULL_BLOCKS, Item, render, sort_for_message
from monitor.core.model import Target
from monitor.core.routing.client_channels import MIN_NOTIFICATION_INTERVAL, throttled_until
from monitor.core.routing.routes import Routing, Suppression, find_suppression
from monitor.core.scheduling.backoff import next_attempt_at, should_give_up
from monitor.errors import DeliveryError, StorageError
from monitor.logs import scrub
from monitor.storage import digests, outbox
from monitor.storage import notification_items as outbox_items
from monitor.storage import notification_log as told_before
from monitor.storage.database import Database
from monitor.storage.installation import installation_id
from monitor.storage.outbox import Claim, Notified
from monitor.storage.store import Store

log = structlog.get_logger()

FIRST_DIGEST_LOOKBACK = timedelta(days=1)
NO_ROUTING = Routing(routes=())
# Asking for links that takes longer leaves too little of the lease to send in.
MAX_LINK_LOOKUP = timedelta(seconds=20)
SAVE_RETRY_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryContext:
    """
    What delivering needs.

    Args:
        dashboards: where to reconnect by hand, by account.
        random: a number from 0 to 1, another one at each call.
        new_message_key: a name for a message, another one at each call.
        templates: of the channels that have templates.
        routing: what digests are made by.
        clock_offset: gives what local time is corrected by when expiry is judged, by account.
        reconnect_link: gives the page where a managed user reconnects; empty where there is none.
        on_progress: told the channel's name at each step of a pass over it.
        unsaved_deliveries: by the name of their message, what channels were told and the database wouldn't take.
    """

    database: Database
    channels: Mapping[str, Channel]
    dashboards: Mapping[str, str]
    clock: Clock
    random: Callable[[], float]
    new_message_key: Callable[[], str]
    templates: Mapping[str, MessageTemplate] = field(default_factory=dict)
    routing: Routing = NO_ROUTING
    clock_offset: Callable[[str], timedelta] = field(default=lambda account: timedelta(), repr=False)
    reconnect_link: Callable[[Target], str] = field(default=lambda target: "", repr=False)
    on_progress: Callable[[str], None] = field(default=lambda channel: None, repr=False)
    unsaved_deliveries: dict[str, Mapping[int, Notified]] = field(default_factory=dict, repr=False)


def deliver_channel(channel: str, context: DeliveryContext, *, wait: bool = True) -> tuple[int, int]:
    """
    Send what is due for one channel, message by message; stop at the first that isn't taken, unless each goes
    to somebody else.

    Args:
        wait: whether groups wait to fill; a single pass doesn't.

    Returns:
        How many messages were delivered, and how many failed.
    """
    delivered = failed = 0
    destination = context.channels.get(channel)
    notifies_clients = isinstance(destination, ClientChannel)
    while taken := _claim_next(channel, context, wait=wait):
        context.on_progress(channel)
        if taken.items is None:
            continue
        is_delivered = _deliver(taken, taken.items, context)
        delivered += is_delivered is True
        failed += is_delivered is False
        if is_delivered is False and not notifies_clients:
            break
    return delivered, failed


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClaimedMessage:
    """
    A claim, and what it tells.

    Args:
        items: None where its time has not come.
        digest_summary: what a digest tells.
        installation: the id of this installation, for a service with incidents of its own.
    """

    claimed: Claim
    items: list[Item] | None
    digest_summary: Summary | None
    installation: str


def _claim_next(channel: str, context: DeliveryContext, *, wait: bool) -> _ClaimedMessage | None:
    """Claim the next message of a channel; None where nothing is due."""
    now = context.clock()
    place = context.channels.get(channel)
    notifies_clients, takes_events = isinstance(place, ClientChannel), isinstance(place, IncidentChannel)
    with context.database.begin() as store:
        store.lock(f"channel {channel}")
        claimed = outbox.claim(
            store.connection,
            now,
            channel=channel,
            message_key=context.new_message_key(),
            wait=wait,
            whole=notifies_clients,
            one_incident=takes_events,
        )
        if claimed is None:
            return None
        items = _load_items(store, claimed, context, now, as_events=takes_events)
        if items and notifies_clients and (until := _client_throttled_until(store, claimed, items, now)):
            outbox.defer(store.connection, claimed, until=until)
            items = None
        return _ClaimedMessage(
            claimed=claimed,
            items=items,
            digest_summary=_summary(store, claimed, context, now),
            installation=installation_id(store.connection) if takes_events else "",
        )


def _deliver(taken: _ClaimedMessage, items: list[Item], context: DeliveryContext) -> bool | None:
    """Send one message; None where there was nothing left to tell, or another sender has it."""
    claimed, digest_summary = taken.claimed, taken.digest_summary
    if (went_out := context.unsaved_deliveries.get(claimed.message_key)) is not None:
        _mark_delivered(context, claimed, went_out)
        return None
    now = context.clock()
    destination = context.channels.get(claimed.channel)
    is_client = isinstance(destination, ClientChannel)
    to = _client_channel(destination, items) if isinstance(destination, ClientChannel) else destination
    if to is None:
        _mark_dead(context, claimed, _no_recipient_reason(claimed.channel, context))
        return False
    if digest_summary:
        message: Message | None = render_digest(
            digest_summary, now=now, key=claimed.message_key, limit=to.body_limit
        )
    else:
        items = _with_links(items, to, context)
        if context.clock() - now > MAX_LINK_LOOKUP:
            with context.database.begin() as store:
                renewed = outbox.renew_lease(store.connection, claimed, context.clock())
            if renewed is None:
                return None
            claimed = renewed
        if isinstance(to, IncidentChannel):
            return _deliver_events(claimed, items, to, context, taken.installation)
        message = _render_message(items, to, context, claimed, is_client=is_client)
    if message and not _send(context, claimed, partial(to.send, message)):
        return False
    notified = {
        item.incident.id: _notified_status(item) for item in items if item.reason and item.incident.id
    }
    _mark_delivered(context, claimed, notified)
    if message is None:
        return None
    log.info(
        "notification.delivered",
        channel=claimed.channel,
        message=claimed.message_key,
        incidents=len(notified),
    )
    return True


def _deliver_events(
    claimed: Claim, items: Sequence[Item], to: IncidentChannel, post: DeliveryContext, installation: str
) -> bool | None:
    """Send what a service with incidents of its own doesn't know yet, event by event; None if it knows it all."""
    notified: dict[int, Notified] = {}
    for item in items:
        events = events_of(item, installation=installation, message_key=claimed.message_key, now=post.clock())
        if not all(_send(post, claimed, partial(to.send_event, event)) for event in events):
            return False
        if events and item.incident.id:
            notified[item.incident.id] = _notified_status(item)
    _mark_delivered(post, claimed, notified)
    if not notified:
        return None
    log.info(
        "notification.delivered",
        channel=claimed.channel,
        message=claimed.message_key,
        incidents=len(notified),
    )
    return True


def _load_items(
    store: Store, claimed: Claim, context: DeliveryContext, now: datetime, *, as_events: bool
) -> list[Item] | None:
    """Load what a claim tells of, but for what silences and quiet hours hold by now; None if that is all."""
    items = outbox_items.load_items(store.connection, claimed, context.dashboards, as_events=as_events)
    routing = replace(context.routing, silences=store.active_silences(now))
    suppressed: dict[int, Suppression] = {}
    for item in items:
        found = item.reason and find_suppression(item.incident, item.target, claimed.channel, routing, now)
        if found and item.incident.id:
            suppressed[item.incident.id] = found
    if suppressed:
        outbox.suppress(store.connection, claimed, suppressed)
    left = [item for item in items if item.incident.id not in suppressed]
    return left if left or not suppressed else None


def _no_recipient_reason(channel: str, context: DeliveryContext) -> str:
    if channel in context.channels:
        return "the managed user has no plausible address any more; correct its user name and retry"
    return f"no channel {channel!r} in the configuration; add it back and retry"


def _client_channel(place: ClientChannel, items: Sequence[Item]) -> Channel | None:
    target = next((item.target for item in items if item.target), None)
    return place.for_target(target) if target else None


def _client_throttled_until(
    store: Store, claimed: Claim, items: Sequence[Item], now: datetime
) -> datetime | None:
    told_at, notified = told_before.last_client_notification(
        store.connection, claimed, now - MIN_NOTIFICATION_INTERVAL
    )
    return throttled_until(sort_for_message(items), now, notified_at=told_at, notified=notified)


def _with_links(items: Sequence[Item], to: Channel, context: DeliveryContext) -> list[Item]:
    """Give who needs it the managed user's own link, where the channel may carry one and few are told of."""
    needy = {
        item.target.id: item.target
        for item in sort_for_message(items)
        if item.target and item.connection and item.incident.is_open and not item.incident.remedy
    }
    if not to.allow_reconnect_links or len(needy) > FULL_BLOCKS:
        return list(items)
    links = {id_: context.reconnect_link(target) for id_, target in needy.items()}
    return [
        replace(item, reconnect_url=links.get(item.target.id, "")) if item.target else item for item in items
    ]


def _summary(store: Store, claimed: Claim, context: DeliveryContext, now: datetime) -> Summary | None:
    """Gather a digest; None for any other message, and where no route asks for it any more."""
    routes = (
        route for route in context.routing.routes if claimed.digest and claimed.digest == route.digest_group
    )
    route = next(routes, None)
    if route is None or claimed.digest is None:
        return None
    last = digests.last_digest_at(store.connection, claimed.channel, claimed.digest, delivered=True)
    since = last or now - FIRST_DIGEST_LOOKBACK
    return digests.load_summary(
        store.connection,
        route.match,
        now,
        since=since,
        routing=context.routing,
        clock_offset=context.clock_offset,
    )


def _render_message(
    items: Sequence[Item], to: Channel, context: DeliveryContext, claimed: Claim, *, is_client: bool
) -> Message | None:
    """Write what is true now; None where nothing is left to tell."""
    now = context.clock()
    notified = [
        replace(item, clock_offset=context.clock_offset(item.target.account)) if item.target else item
        for item in sort_for_message(items)
    ]
    write = render_for_client if is_client else render
    message = write(notified, now=now, key=claimed.message_key, limit=to.body_limit)
    if message and to.name in context.templates:
        message = context.templates[to.name].apply(message, notified, now, limit=to.body_limit)
    # A service may take the words and refuse the file: then every second attempt does without.
    with_file = to.takes_attachments and claimed.attempts % 2 == 1
    if message and len(notified) > FULL_BLOCKS and with_file:
        message = replace(message, attachment=csv_attachment(notified))
    return message


def _mark_delivered(context: DeliveryContext, claimed: Claim, notified: Mapping[int, Notified]) -> None:
    """
    Write down that a message went out, with patience.

    Where it can't be, it is remembered: the claim comes back when its lease has ended, and isn't sent again.
    Only a process that dies meanwhile forgets.
    """
    context.unsaved_deliveries[claimed.message_key] = notified
    for pause in SAVE_RETRY_SECONDS:
        try:
            with context.database.begin() as store:
                outbox.mark_delivered(store.connection, claimed, context.clock(), notified=notified)
        except StorageError as error:
            log.error("database.unavailable", error=str(error), message=claimed.message_key)
            context.on_progress(claimed.channel)
            Event().wait(pause)
        else:
            del context.unsaved_deliveries[claimed.message_key]
            return
    with context.database.begin() as store:
        outbox.mark_delivered(store.connection, claimed, context.clock(), notified=notified)
    del context.unsaved_deliveries[claimed.message_key]


def _send(context: DeliveryContext, claimed: Claim, send: Callable[[], None]) -> bool:
    try:
        send()
    except DeliveryError as error:
        now = context.clock()
        reason = scrub(str(error))  # a server may repeat what it was sent
        if should_give_up(
            now,
            first_attempt_at=claimed.first_attempt_at,
            attempts=claimed.attempts,
            permanent=error.permanent,
        ):
            _mark_dead(context, claimed, reason, is_possibly_delivered=error.uncertain)
            return False
        due_at = next_attempt_at(
            now, attempts=claimed.attempts, chance=context.random(), retry_after=error.retry_after
        )
        log.warning(
            "notification.failed",
            channel=claimed.channel,
            message=claimed.message_key,
            attempts=claimed.attempts,
            error=reason,
            due_at=due_at.isoformat(),
        )
        with context.database.begin() as store:
            if error.uncertain or claimed.may_be_delivered:
                outbox.retry_same_key(store.connection, claimed, until=due_at, error=reason)
            else:
                outbox.release(store.connection, claimed, due_at=due_at, error=reason)
        return False
    return True


def _mark_dead(
    context: DeliveryContext, claimed: Claim, error: str, *, is_possibly_delivered: bool = False
) -> None:
    with context.database.begin() as store:
        outbox.mark_dead(store.connection, claimed, error=error, is_possibly_delivered=is_possibly_delivered)
    log.error("notification.dead_lettered", channel=claimed.channel, message=claimed.message_key, error=error)


def _notified_status(item: Item) -> Notified:
    if not item.incident.is_open:
        return Notified(outbox.NOTIFIED_RESOLVED)
    return Notified(item.incident.severity, item.content_hash)
