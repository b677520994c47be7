"""The id of this installation: made once, kept with the history and its copies, part of every key to a service."""

import secrets
from collections.abc import Callable

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from monitor.storage.tables import installation


def _random_id() -> str:
    return secrets.token_hex(8)


def installation_id(connection: DatabaseConnection, new_id: Callable[[], str] = _random_id) -> str:
    """Return the id of this installation; make it if there is none. Of two that are made at once, one counts."""
    found: str | None = connection.execute(select(installation.c.name)).scalar()
    if found is not None:
        return found
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(installation).values(id=1, name=new_id()).on_conflict_do_nothing())
    name: str = connection.execute(select(installation.c.name)).scalar_one()
    return name
