"""
The managed users as their workspaces last listed them, with their reconnect links.

Anyone who has such a link can act as the user. It is kept here only: no table has it, and the log hides it.
"""

from collections.abc import Sequence
from threading import Lock

from monitor.logs import redact_links
from monitor.providers.base import ManagedUser, ReconnectLink


class ManagedUsers:
    """The managed users of all accounts. Safe for threads."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, ManagedUser]] = {}
        self._created_links: dict[tuple[str, str], ReconnectLink] = {}
        self._owners: set[int] = set()
        self._lock = Lock()

    def is_loaded(self, account: str) -> bool:
        """Return whether the list of an account was loaded since the program started."""
        return account in self._users

    def update(self, account: str, users: Sequence[ManagedUser]) -> None:
        """Replace an account's list."""
        redact_links(user.reconnect_url for user in users if user.reconnect_url)
        with self._lock:
            self._users[account] = {user.id: user for user in users}

    def add_link(self, account: str, user_id: str, link: ReconnectLink) -> None:
        """Add a link that the monitor created for a managed user."""
        redact_links([link.url])
        with self._lock:
            self._created_links[account, user_id] = link

    def links(self, account: str, user_id: str) -> list[ReconnectLink]:
        """Return the links of a managed user, the one from the list first."""
        with self._lock:
            user = self._users.get(account, {}).get(user_id)
            made = self._created_links.get((account, user_id))
        found = [made] if made else []
        if user and user.reconnect_url:
            found.insert(0, ReconnectLink(url=user.reconnect_url, expires_at=user.reconnect_url_expires_at))
        return found

    def is_new_owner(self, target_id: int) -> bool:
        """Return whether this is the first time that a managed user seems to be the owner of its key."""
        with self._lock:
            is_new = target_id not in self._owners
            self._owners.add(target_id)
        return is_new
