"""Tell channels of what is open and was never theirs to hear: they, or their routes, are new."""

from collections.abc import Collection
from dataclasses import replace

import structlog

from monitor.clock import Clock
from monitor.core.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routes import Routing, tell
from monitor.storage import Database, dead_letters, told
from monitor.storage.recording import Told

log = structlog.get_logger()


def catch_up(channels: Collection[str], *, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Bring what is open to whoever the configuration says should know and was never written to.

    To be done whenever the configuration may have changed. A channel that was renamed is a new one; what was
    given up for one that takes messages again, or is back, is due again.

    Returns:
        How many rows were written, or made due again.
    """
    now = clock()
    with database.begin() as store:
        store.take_turns("catch up")
        lost = dead_letters.lost(
            store.connection, channels=channels, attempts_below=dead_letters.ATTEMPTS_AT_MOST
        )
        dead_letters.requeue(store.connection, lost, now)
        routing = replace(routing, silences=store.silences(now))
        known = told.addressed(store.connection)
        missing: list[Told] = []
        for incident, target in told.still_open(store.connection):
            if not incident.is_told:
                continue
            change = IncidentChange(incident=incident, reason=Reason.OPENED)
            news = tuple(
                each
                for each in tell(change, target, routing, now)
                if (incident.id, each.channel) not in known and each.channel != incident.subject.channel
            )
            if news:
                missing.append((change, news))
        told.write(store.connection, missing, now)
    written = sum(len(tellings) for _, tellings in missing)
    if written or lost:
        log.info("notifications.caught_up", written=written, revived=len(lost))
    return written + len(lost)
