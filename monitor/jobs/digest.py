"""Write a digest for every channel that is due one."""

from monitor.clock import Clock
from monitor.core.routing.routes import Routing
from monitor.storage import digests
from monitor.storage.database import Database


def write_digests(*, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Write the digests that are due; what they say is gathered when they are sent.

    One that fell due while the monitor was down is written when it is back, once; one that fell due before
    there was any history isn't.

    Returns:
        How many were written.
    """
    now = clock()
    written = 0
    for route in routing.routes:
        if route.digest is None:
            continue
        due_at = route.digest.last_due_at(now)
        with database.begin() as store:
            store.lock("digest")
            begun_at = digests.first_seen_at(store.connection)
            if begun_at is None or due_at < begun_at:
                continue
            for channel in set(route.channels) - routing.clients.keys():  # a digest tells of everybody
                last = digests.last_digest_at(store.connection, channel, route.digest_group)
                if last is None or last < due_at:
                    digests.write_digest(store.connection, channel, route.digest_group, now)
                    written += 1
    return written
