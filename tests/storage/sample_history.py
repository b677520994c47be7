"""A history with something of everything: tokens, errors, failures, acknowledgements, silences."""

from datetime import timedelta

from monitor.core.model import Connection, Outcome
from monitor.storage import Database, people
from tests.factories import DAY, HOUR, connection, error, failure
from tests.house import House

USERS = ("65a1b2c3d4e5f60718293a4b", "65a1b2c3d4e5f60718293a4c")


def live(database: Database) -> House:
    """Fill an empty database with nine hours of history."""
    house = House(database, users=USERS)
    linkedin, nameless = connection(), {"expires_at": None, "token_status": "unknown"}

    def brand(status: str, left: timedelta) -> Connection:
        return connection(
            platform_id="instagram-1784",
            username="brand",
            token_status=status,
            expires_at=house.clock() + left,
        )

    def client(**given: object) -> Connection:
        names = {"username": "client", "display_name": "Client & Söhne", "expires_at": None}
        return connection(platform_id="youtube-1", **names | given)

    house.api.lists(linkedin, brand("expiring_soon", 3 * DAY))
    house.api.lists(client(), user=USERS[0])
    house.api.lists(client(), connection(platform_id="twitter-2", **nameless), user=USERS[1])
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
    house.api.fails(failure(Outcome.SERVER_ERROR), user=USERS[1])
    house.api.lists(client(last_error=error(occurred_at=house.clock())), user=USERS[0])
    house.live(2 * HOUR)
    house.api.lists(linkedin, brand("expired", -HOUR))
    house.live(HOUR)
    house.api.lists(linkedin, brand("valid", 60 * DAY))
    house.live(HOUR)
    house.api.lists(brand("expired", -HOUR))
    house.live(2 * HOUR)
    return house
