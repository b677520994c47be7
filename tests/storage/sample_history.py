"""A history with something of everything: tokens, errors, failures, acknowledgements, silences."""

from datetime import datetime, timedelta
from itertools import count

from monitor.core.model import Connection, Outcome
from monitor.storage import acknowledgements, silences
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, NOW, connection, error, failure
from tests.fakes import FrozenClock
from tests.simulator import Simulator

USERS = ("65a1b2c3d4e5f60718293a4b", "65a1b2c3d4e5f60718293a4c")


LASTS = timedelta(hours=8)


def live(database: Database) -> Simulator:
    """Fill an empty database with eight hours of history."""
    simulator = Simulator(database, users=USERS)
    linkedin = connection()

    simulator.api.lists(linkedin, _brand("expiring_soon", simulator.clock() + 3 * DAY))
    simulator.api.lists(_client(), user=USERS[0])
    nameless = connection(platform_id="twitter-2", expires_at=None, token_status="unknown")
    simulator.api.lists(_client(), nameless, user=USERS[1])
    simulator.advance(2 * HOUR)
    with database.begin() as store:
        acknowledgements.acknowledge(
            store, 1, simulator.clock(), author="mia", comment="asked the client", until=None
        )
        silences.add_silence(
            store,
            {"managed_user": ["Client*"]},
            simulator.clock(),
            until=simulator.clock() + 30 * DAY,
            author="mia",
            comment="it's known",
            routing=simulator.routing,
        )
    _fail_to_publish(simulator)
    simulator.advance(2 * HOUR)
    simulator.api.lists(linkedin, _brand("expired", simulator.clock() - HOUR))
    simulator.advance(HOUR)
    simulator.api.lists(linkedin, _brand("valid", simulator.clock() + 60 * DAY))
    simulator.advance(HOUR)
    simulator.api.lists(_brand("expired", NOW + LASTS - 3 * HOUR))
    simulator.advance(2 * HOUR)
    assert simulator.clock() == NOW + LASTS
    return simulator


def resume(database: Database) -> Simulator:
    """Go on where ``live`` has left a database."""
    simulator = Simulator(
        database, clock=FrozenClock(NOW + LASTS), users=USERS, names=count(1000), is_resumed=True
    )
    _fail_to_publish(simulator)
    simulator.api.lists(_brand("expired", NOW + LASTS - 3 * HOUR))
    return simulator


def _fail_to_publish(simulator: Simulator) -> None:
    simulator.api.fails(failure(Outcome.SERVER_ERROR), user=USERS[1])
    simulator.api.lists(_client(last_error=error(occurred_at=NOW + 2 * HOUR)), user=USERS[0])


def _brand(status: str, expires_at: datetime) -> Connection:
    return connection(
        platform_id="instagram-1784", username="brand", token_status=status, expires_at=expires_at
    )


def _client(**given: object) -> Connection:
    names = {"username": "client", "display_name": "Client & Söhne", "expires_at": None}
    return connection(platform_id="youtube-1", **names | given)
