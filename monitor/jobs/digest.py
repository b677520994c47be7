"""Write a digest for every channel that is due one."""

from monitor.jobs.context import JobContext
from monitor.storage import digests


def write_digests(context: JobContext) -> int:
    """
    Write the digests that are due; their content is loaded when they are sent.

    A digest that fell due while the monitor was down is written once when it is back; one that fell due before there
    was any history isn't.

    Returns:
        How many were written.
    """
    now, routing = context.clock(), context.routing
    written = 0
    for route in routing.routes:
        if route.digest is None:
            continue
        due_at = route.digest.last_due_at(now)
        with context.database.begin() as store:
            store.lock("digest")
            begun_at = digests.first_seen_at(store)
            if begun_at is None or due_at < begun_at:
                continue
            for channel in set(route.channels) - routing.clients.keys():  # a digest names every client
                last = digests.last_digest_at(store, channel, route.digest_group)
                if last is None or last < due_at:
                    digests.write_digest(store, channel, route.digest_group, now)
                    written += 1
    return written
