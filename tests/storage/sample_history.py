"""A history with something of everything: tokens, errors, failures, acknowledgements, silences."""

from datetime import datetime, timedelta
from itertools import count

from monitor.core.model import Connection, Outcome
from monitor.storage import Database, people
from tests.factories import DAY, HOUR, NOW, connection, error, failure
from tests.fakes import FrozenClock
from tests.house import House

USERS = ("65a1b2c3d4e5f60718293a4b", "65a1b2c3d4e5f60718293a4c")


LASTS = timedelta(hours=8)


def live(database: Database) -> House:
    """Fill an empty database with eight hours of history."""
    house = House(database, users=USERS)
    linkedin = connection()

    house.api.lists(linkedin, _brand("expiring_soon", house.clock() + 3 * DAY))
    house.api.lists(_client(), user=USERS[0])
    nameless = connection(platform_id="twitter-2", expires_at=None, token_status="unknown")
    house.api.lists(_client(), nameless, user=USERS[1])
    house.live(2 * HOUR)
    with database.begin() as store:
        people.acknowledge(store.connection, 1, house.clock(), by="mia", why="asked the client", until=None)
        people.silence(
            store.connection,
            {"managed_user": ["Client*"]},
            house.clock(),
            until=house.clock() + 30 * DAY,
            by="mia",
            why="it's known",
            routing=house.routing,
        )
    _fail_to_publish(house)
    house.live(2 * HOUR)
    house.api.lists(linkedin, _brand("expired", house.clock() - HOUR))
    house.live(HOUR)
    house.api.lists(linkedin, _brand("valid", house.clock() + 60 * DAY))
    house.live(HOUR)
    house.api.lists(_brand("expired", NOW + LASTS - 3 * HOUR))
    house.live(2 * HOUR)
    assert house.clock() == NOW + LASTS
    return house


def resume(database: Database) -> House:
    """Go on where ``live`` has left a database."""
    house = House(database, clock=FrozenClock(NOW + LASTS), users=USERS, names=count(1000), is_resumed=True)
    _fail_to_publish(house)
    house.api.lists(_brand("expired", NOW + LASTS - 3 * HOUR))
    return house


def _fail_to_publish(house: House) -> None:
    house.api.fails(failure(Outcome.SERVER_ERROR), user=USERS[1])
    house.api.lists(_client(last_error=error(occurred_at=NOW + 2 * HOUR)), user=USERS[0])


def _brand(status: str, expires_at: datetime) -> Connection:
    return connection(
        platform_id="instagram-1784", username="brand", token_status=status, expires_at=expires_at
    )


def _client(**given: object) -> Connection:
    names = {"username": "client", "display_name": "Client & Söhne", "expires_at": None}
    return connection(platform_id="youtube-1", **names | given)
