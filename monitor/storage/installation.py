"""The id of this installation: created once, kept in the history, part of every incident key."""

import secrets
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from monitor.storage.tables import installation
from monitor.storage.transaction import Transaction


def _random_id() -> str:
    return secrets.token_hex(8)


def installation_id(store: Transaction, new_id: Callable[[], str] = _random_id) -> str:
    """Return the id of this installation, and create it if there is none. Of two created at once, one counts."""
    found: str | None = store.connection.execute(select(installation.c.name)).scalar()
    if found is not None:
        return found
    insert = postgresql.insert if store.connection.dialect.name == "postgresql" else sqlite.insert
    store.connection.execute(insert(installation).values(id=1, name=new_id()).on_conflict_do_nothing())
    name: str = store.connection.execute(select(installation.c.name)).scalar_one()
    return name
