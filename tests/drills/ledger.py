"""What receivers got, held against what the history says happened."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import create_engine, text

from monitor.channels.apprise_channel import KEY_HEADER
from tests.receivers import Request


def compare(url: str, received: Sequence[Request], *, is_over: bool = True, repeats: int = 0) -> list[str]:
    """
    Say where what was received and the history differ, one line each; nothing where they agree.

    Args:
        url: of the history database.
        received: all that came, of one channel.
        is_over: whether everything must have been told by now; else some of it may still wait.
        repeats: how many messages may have come twice: a sender that is killed may have sent already.
    """
    names = Counter(request.headers.get(KEY_HEADER.lower(), "") for request in received)
    engine = create_engine(url)
    try:
        with engine.connect() as history:
            notified = set(
                history.execute(
                    text(
                        "SELECT DISTINCT message_key FROM notifications WHERE notified_status IS NOT NULL "
                        "AND state = 'delivered'"
                    )
                ).scalars()
            )
            waiting = list(
                history.execute(
                    text("SELECT id FROM notifications WHERE state IN ('pending', 'sending')")
                ).scalars()
            )
            being_sent = set(
                history.execute(
                    text("SELECT message_key FROM notifications WHERE state = 'sending'")
                ).scalars()
            )
            dead = list(
                history.execute(text("SELECT id FROM notifications WHERE state = 'failed'")).scalars()
            )
            untold = list(
                history.execute(
                    text(
                        "SELECT i.id FROM incidents i WHERE i.resolved_at IS NULL AND NOT EXISTS"
                        " (SELECT 1 FROM notifications n WHERE n.incident_id = i.id AND n.notified_status IS NOT NULL)"
                    )
                ).scalars()
            )
    finally:
        engine.dispose()
    found = []
    if lost := notified - names.keys():
        found.append(f"said to be told, and nobody got it: {sorted(lost)}")
    if unknown := names.keys() - notified - being_sent:
        found.append(f"received, and the history knows nothing of it: {sorted(unknown)}")
    twice = {name: count for name, count in names.items() if count > 1}
    if sum(count - 1 for count in twice.values()) > repeats:
        found.append(f"told more than once: {twice}")
    if dead:
        found.append(f"given up: {dead}")
    if is_over and waiting:
        found.append(f"still waiting to be told: {waiting}")
    if is_over and untold:
        found.append(f"open, and nobody was told: {untold}")
    return found
