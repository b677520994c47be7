"""Send what is due and record how it went: claim, send outside any transaction, settle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import structlog

from monitor.channels import Channel, ClientChannel, IncidentChannel
from monitor.clock import Clock
from monitor.core.client_words import render_for_client
from monitor.core.clients import AT_MOST_EVERY, wait_until
from monitor.core.digest import Summary, render_digest
from monitor.core.events import events_of
from monitor.core.listing import spreadsheet
from monitor.core.messages import FULL_BLOCKS, Item, in_order, render
from monitor.core.model import Target
from monitor.core.outgoing import Message
from monitor.core.retry import is_given_up, next_attempt_at
from monitor.core.routes import Hold, Routing, hold
from monitor.errors import DeliveryError, StorageError
from monitor.logs import scrub
from monitor.storage import Database, digests, outbox
from monitor.storage import items as outbox_items
from monitor.storage import told as told_before
from monitor.storage.installation import installation_id
from monitor.storage.outbox import Claim, Notified
from monitor.storage.store import Store
from monitor.templates import Words

log = structlog.get_logger()

FIRST_DIGEST_LOOKS_BACK = timedelta(days=1)
NOWHERE = Routing(routes=())
# Asking for links that takes longer leaves too little of the lease to send in.
LINKS_WITHIN = timedelta(seconds=20)
PATIENCE_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """
    What delivering needs.

    Args:
        dashboards: where to reconnect by hand, by account.
        dice: a number from 0 to 1, another one at each call.
        new_name: a name for a message, another one at each call.
        words: of the channels that have templates.
        routing: what digests are made by.
        clock_offset: gives what local time is corrected by when expiry is judged, by account.
        link_of: gives the page where a managed user reconnects; empty where there is none.
        moved: told the channel's name at each step of a pass over it.
        unwritten: by the name of their message, what channels were told and the database wouldn't take.
    """

    database: Database
    channels: Mapping[str, Channel]
    dashboards: Mapping[str, str]
    clock: Clock
    dice: Callable[[], float]
    new_name: Callable[[], str]
    words: Mapping[str, Words] = field(default_factory=dict)
    routing: Routing = NOWHERE
    clock_offset: Callable[[str], timedelta] = field(default=lambda account: timedelta(), repr=False)
    link_of: Callable[[Target], str] = field(default=lambda target: "", repr=False)
    moved: Callable[[str], None] = field(default=lambda channel: None, repr=False)
    unwritten: dict[str, Mapping[int, Notified]] = field(default_factory=dict, repr=False)


def deliver_to(channel: str, post: Post, *, wait: bool = True) -> tuple[int, int]:
    """
    Send what is due for one channel, message by message; stop at the first that isn't taken, unless each goes
    to somebody else.

    Args:
        wait: whether groups wait to fill; a single pass doesn't.

    Returns:
        How many messages were delivered, and how many failed.
    """
    delivered = failed = 0
    place = post.channels.get(channel)
    tells_clients = isinstance(place, ClientChannel)
    while taken := _take(channel, post, wait=wait):
        post.moved(channel)
        if taken.items is None:
            continue
        is_delivered = _deliver(taken, taken.items, post)
        delivered += is_delivered is True
        failed += is_delivered is False
        if is_delivered is False and not tells_clients:
            break
    return delivered, failed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """
    A claim, and what it tells.

    Args:
        items: None where its time has not come.
        told_of: what a digest tells.
        installation: the id of this installation, for a service with incidents of its own.
    """

    claimed: Claim
    items: list[Item] | None
    told_of: Summary | None
    installation: str


def _take(channel: str, post: Post, *, wait: bool) -> _Taken | None:
    """Claim the next message of a channel; None where nothing is due."""
    now = post.clock()
    place = post.channels.get(channel)
    tells_clients, takes_events = isinstance(place, ClientChannel), isinstance(place, IncidentChannel)
    with post.database.begin() as store:
        store.take_turns(f"channel {channel}")
        claimed = outbox.claim(
            store.connection,
            now,
            channel=channel,
            name=post.new_name(),
            wait=wait,
            whole=tells_clients,
            one_incident=takes_events,
        )
        if claimed is None:
            return None
        items = _told_now(store, claimed, post, now, as_events=takes_events)
        if items and tells_clients and (until := _client_waits_until(store, claimed, items, now)):
            outbox.defer(store.connection, claimed, until=until)
            items = None
        return _Taken(
            claimed=claimed,
            items=items,
            told_of=_summary(store, claimed, post, now),
            installation=installation_id(store.connection) if takes_events else "",
        )


def _deliver(taken: _Taken, items: list[Item], post: Post) -> bool | None:
    """Send one message; None where there was nothing left to tell, or another sender has it."""
    claimed, told_of = taken.claimed, taken.told_of
    if (went_out := post.unwritten.get(claimed.name)) is not None:
        _settle(post, claimed, went_out)
        return None
    now = post.clock()
    place = post.channels.get(claimed.channel)
    is_client = isinstance(place, ClientChannel)
    to = _client(place, items) if isinstance(place, ClientChannel) else place
    if to is None:
        _bury(post, claimed, _nobody(claimed.channel, post))
        return False
    if told_of:
        message: Message | None = render_digest(told_of, now=now, key=claimed.name, limit=to.body_limit)
    else:
        items = _with_links(items, to, post)
        if post.clock() - now > LINKS_WITHIN:
            with post.database.begin() as store:
                renewed = outbox.renew(store.connection, claimed, post.clock())
            if renewed is None:
                return None
            claimed = renewed
        if isinstance(to, IncidentChannel):
            return _deliver_events(claimed, items, to, post, taken.installation)
        message = _message(items, to, post, claimed, is_client=is_client)
    if message and not _send(post, claimed, partial(to.send, message)):
        return False
    told = {item.incident.id: _told(item) for item in items if item.news and item.incident.id}
    _settle(post, claimed, told)
    if message is None:
        return None
    log.info("notification.delivered", channel=claimed.channel, message=claimed.name, incidents=len(told))
    return True


def _deliver_events(
    claimed: Claim, items: Sequence[Item], to: IncidentChannel, post: Post, installation: str
) -> bool | None:
    """Send what a service with incidents of its own doesn't know yet, event by event; None if it knows it all."""
    told: dict[int, Notified] = {}
    for item in items:
        events = events_of(item, installation=installation, message_key=claimed.name, now=post.clock())
        if not all(_send(post, claimed, partial(to.send_event, event)) for event in events):
            return False
        if events and item.incident.id:
            told[item.incident.id] = _told(item)
    _settle(post, claimed, told)
    if not told:
        return None
    log.info("notification.delivered", channel=claimed.channel, message=claimed.name, incidents=len(told))
    return True


def _told_now(
    store: Store, claimed: Claim, post: Post, now: datetime, *, as_events: bool
) -> list[Item] | None:
    """Load what a claim tells of, but for what silences and quiet hours hold by now; None if that is all."""
    items = outbox_items.items_of(store.connection, claimed, post.dashboards, as_events=as_events)
    routing = replace(post.routing, silences=store.silences(now))
    held: dict[int, Hold] = {}
    for item in items:
        found = item.news and hold(item.incident, item.target, claimed.channel, routing, now)
        if found and item.incident.id:
            held[item.incident.id] = found
    if held:
        outbox.hold(store.connection, claimed, held)
    left = [item for item in items if item.incident.id not in held]
    return left if left or not held else None


def _nobody(channel: str, post: Post) -> str:
    if channel in post.channels:
        return "the managed user has no plausible address any more; correct its user name and retry"
    return f"no channel {channel!r} in the configuration; add it back and retry"


def _client(place: ClientChannel, items: Sequence[Item]) -> Channel | None:
    target = next((item.target for item in items if item.target), None)
    return place.of(target) if target else None


def _client_waits_until(
    store: Store, claimed: Claim, items: Sequence[Item], now: datetime
) -> datetime | None:
    told_at, told = told_before.told_lately(store.connection, claimed, now - AT_MOST_EVERY)
    return wait_until(in_order(items), now, told_at=told_at, told=told)


def _with_links(items: Sequence[Item], to: Channel, post: Post) -> list[Item]:
    """Give who needs it the managed user's own link, where the channel may carry one and few are told of."""
    needy = {
        item.target.id: item.target
        for item in in_order(items)
        if item.target and item.connection and item.incident.is_open and not item.incident.remedy
    }
    if not to.private or len(needy) > FULL_BLOCKS:
        return list(items)
    links = {id_: post.link_of(target) for id_, target in needy.items()}
    return [
        replace(item, reconnect_url=links.get(item.target.id, "")) if item.target else item for item in items
    ]


def _summary(store: Store, claimed: Claim, post: Post, now: datetime) -> Summary | None:
    """Gather a digest; None for any other message, and where no route asks for it any more."""
    routes = (
        route for route in post.routing.routes if claimed.digest and claimed.digest == route.digest_group
    )
    route = next(routes, None)
    if route is None or claimed.digest is None:
        return None
    last = digests.last_digest_at(store.connection, claimed.channel, claimed.digest, delivered=True)
    since = last or now - FIRST_DIGEST_LOOKS_BACK
    return digests.summary(
        store.connection,
        route.match,
        now,
        since=since,
        routing=post.routing,
        clock_offset=post.clock_offset,
    )


def _message(
    items: Sequence[Item], to: Channel, post: Post, claimed: Claim, *, is_client: bool
) -> Message | None:
    """Write what is true now; None where nothing is left to tell."""
    now = post.clock()
    told = [
        replace(item, clock_offset=post.clock_offset(item.target.account)) if item.target else item
        for item in in_order(items)
    ]
    write = render_for_client if is_client else render
    message = write(told, now=now, key=claimed.name, limit=to.body_limit)
    if message and to.name in post.words:
        message = post.words[to.name].rewritten(message, told, now, limit=to.body_limit)
    # A service may take the words and refuse the file: then every second attempt does without.
    with_file = to.takes_attachments and claimed.attempts % 2 == 1
    if message and len(told) > FULL_BLOCKS and with_file:
        message = replace(message, attachment=spreadsheet(told))
    return message


def _settle(post: Post, claimed: Claim, told: Mapping[int, Notified]) -> None:
    """
    Write down that a message went out, with patience.

    Where it can't be, it is remembered: the claim comes back when its lease has ended, and isn't sent again.
    Only a process that dies meanwhile forgets.
    """
    post.unwritten[claimed.name] = told
    for pause in PATIENCE_SECONDS:
        try:
            with post.database.begin() as store:
                outbox.settle(store.connection, claimed, post.clock(), told=told)
        except StorageError as error:
            log.error("database.unavailable", error=str(error), message=claimed.name)
            post.moved(claimed.channel)
            Event().wait(pause)
        else:
            del post.unwritten[claimed.name]
            return
    with post.database.begin() as store:
        outbox.settle(store.connection, claimed, post.clock(), told=told)
    del post.unwritten[claimed.name]


def _send(post: Post, claimed: Claim, send: Callable[[], None]) -> bool:
    try:
        send()
    except DeliveryError as error:
        now = post.clock()
        reason = scrub(str(error))  # a server may repeat what it was sent
        if is_given_up(
            now,
            first_tried_at=claimed.first_tried_at,
            attempts=claimed.attempts,
            permanent=error.permanent,
        ):
            _bury(post, claimed, reason, is_possibly_delivered=error.uncertain)
            return False
        due_at = next_attempt_at(
            now, attempts=claimed.attempts, chance=post.dice(), retry_after=error.retry_after
        )
        log.warning(
            "notification.failed",
            channel=claimed.channel,
            message=claimed.name,
            attempts=claimed.attempts,
            error=reason,
            due_at=due_at.isoformat(),
        )
        with post.database.begin() as store:
            if error.uncertain or claimed.may_be_out:
                outbox.keep(store.connection, claimed, until=due_at, error=reason)
            else:
                outbox.put_back(store.connection, claimed, due_at=due_at, error=reason)
        return False
    return True


def _bury(post: Post, claimed: Claim, error: str, *, is_possibly_delivered: bool = False) -> None:
    with post.database.begin() as store:
        outbox.bury(store.connection, claimed, error=error, is_possibly_delivered=is_possibly_delivered)
    log.error("notification.given_up", channel=claimed.channel, message=claimed.name, error=error)


def _told(item: Item) -> Notified:
    if not item.incident.is_open:
        return Notified(outbox.TOLD_RESOLVED)
    return Notified(item.incident.severity, item.content_hash)
