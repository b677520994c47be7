"""The data of the service: keys, managed users and linked profiles. Any thread may change it at any time."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from threading import RLock

from monitor.core.model import PublishError, to_milliseconds
from monitor.sandbox.profiles import TOKEN_LIFETIMES, Contract, SocialProfile


class Shape(StrEnum):
    """The shape of the workspace endpoints' answers. Both shapes are documented."""

    DOCUMENTED = "documented"  # {"users": [{"_id", "username", …}]}, {"url", "tokenExpiresAt"}
    BARE = "bare"  # [{"id", "email", …}], {"connectionUrl", "expiresAt"}


@dataclass(slots=True, kw_only=True)
class Person:
    """The owner of profiles: the owner of a key, or a managed user."""

    id: str
    username: str
    display_name: str | None = None
    link_url: str | None = None
    link_expires_at: datetime | None = None
    profiles: dict[str, SocialProfile] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Account:
    """A key with its owner and the permissions of its plan."""

    key: str = field(repr=False)
    owner: Person
    users: dict[str, Person] = field(default_factory=dict)
    has_owner: bool = True
    api_access: bool = True
    mcp_access: bool = True
    workspace_access: bool = True


class FakeService:
    """
    The state of the sandbox. Each method is one atomic change.

    ``key`` may be left out if there is one account. ``user`` is the id of a managed user, None for the owner. An
    unknown name raises LookupError.

    Args:
        clock: the clock by which tokens age, aware.
        shape: the shape of the workspace endpoints' answers.
        requests_per_minute: the rate limit of each key, by ``clock``; None for no limit.
        contract: how the API reports tokens; it may change while the service runs.

    Attributes:
        is_failing: every request is answered with a 500.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        shape: Shape = Shape.DOCUMENTED,
        requests_per_minute: int | None = None,
        contract: Contract = Contract.SEED,
    ) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._links_made = 0
        self.lock = RLock()
        self.shape = shape
        self.requests_per_minute = requests_per_minute
        self.contract = contract
        self.is_failing = False

    def now(self) -> datetime:
        """Return the time of the service: aware UTC, whole milliseconds."""
        return to_milliseconds(self._clock())

    # Keys and plans

    def add_account(self, key: str, *, owner: str = "owner@example.com") -> str:
        """Add an account whose plan allows everything; returns the key."""
        with self.lock:
            self._accounts[key] = Account(key=key, owner=Person(id=_new_id(key, owner), username=owner))
        return key

    # Managed users

    def add_user(
        self,
        username: str,
        *,
        display_name: str | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> str:
        """Add a managed user to the workspace; returns its id, 24 hex characters."""
        with self.lock:
            account = self.account(key)
            user_id = user_id or _new_id(account.key, username, len(account.users))
            account.users[user_id] = Person(id=user_id, username=username, display_name=display_name)
            return user_id

    def make_link(
        self,
        user: str,
        *,
        lifetime: timedelta = timedelta(days=90),
        rotate: bool = False,
        key: str | None = None,
    ) -> tuple[str, datetime]:
        """Return a managed user's reconnect link: the existing one while it is valid, or a new one."""
        with self.lock:
            person = self.person(key, user)
            held = person.link_url, person.link_expires_at
            if not rotate and held[0] is not None and held[1] is not None and held[1] > self.now():
                return held[0], held[1]
            self._links_made += 1
            token = hashlib.sha256(f"{person.id}/{self._links_made}".encode()).hexdigest()[:32]
            person.link_url = url = f"https://app.postpost.dev/connections/{token}"
            person.link_expires_at = until = self.now() + lifetime
            return url, until

    # Linked profiles

    def add_connection(
        self, profile: SocialProfile, *, key: str | None = None, user: str | None = None
    ) -> None:
        """Link a profile at the end of the list, or replace the one with the same id in place."""
        with self.lock:
            self.person(key, user).profiles[profile.platform_id] = profile

    def reconnect(
        self,
        platform_id: str,
        *,
        lifetime: timedelta | None = None,
        key: str | None = None,
        user: str | None = None,
    ) -> None:
        """
        Grant access again, as a person does in the dashboard. Past posts and errors stay.

        Args:
            lifetime: lifetime of the new token; by default the platform's usual one.
        """
        with self.lock:
            lifetime = lifetime or TOKEN_LIFETIMES.get(platform_id.partition("-")[0])
            expires_at = None if lifetime is None else self.now() + lifetime
            self._change(platform_id, key, user, expires_at=expires_at, is_revoked=False, is_rejected=False)

    def post(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Post successfully now. The last error stays, because it is still the last one."""
        self._change(platform_id, key, user, last_successful_post_at=self.now())

    def fail(
        self,
        platform_id: str,
        message: str,
        *,
        has_time: bool = True,
        key: str | None = None,
        user: str | None = None,
    ) -> None:
        """
        Fail to post now. This is when a platform shows the vendor that access was withdrawn.

        Args:
            has_time: False: the API shows the error as bare text.
        """
        error = PublishError(message=message, occurred_at=self.now() if has_time else None)
        with self.lock:
            profile = self.profile(platform_id, key=key, user=user)
            is_rejected = profile.is_rejected or profile.is_revoked
            self._change(platform_id, key, user, last_error=error, is_rejected=is_rejected)

    # Lookups. Hold ``lock`` while using the results

    def account(self, key: str | None = None) -> Account:
        """Return the account of a key; without a key, the only account."""
        if key is None and len(self._accounts) == 1:
            return next(iter(self._accounts.values()))
        if key is None or key not in self._accounts:
            raise LookupError("no account has this key" if key else "say which account: give a key")
        return self._accounts[key]

    def person(self, key: str | None = None, user: str | None = None) -> Person:
        """Return the owner of the profiles: the account's owner, or a managed user."""
        account = self.account(key)
        if user is None or user == account.owner.id:
            return account.owner
        if user not in account.users:
            raise LookupError(f"no managed user has the id {user}")
        return account.users[user]

    def profile(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> SocialProfile:
        """Return a linked profile by its id."""
        with self.lock:
            profiles = self.person(key, user).profiles
            if platform_id not in profiles:
                raise LookupError(f"nothing is linked as {platform_id}")
            return profiles[platform_id]

    def _change(self, platform_id: str, key: str | None, user: str | None, **changes: object) -> None:
        with self.lock:
            changed = replace(self.profile(platform_id, key=key, user=user), **changes)  # type: ignore[arg-type]  # by name
            self.person(key, user).profiles[platform_id] = changed


def _new_id(*parts: object) -> str:
    """Return an id of 24 hex characters, the same in every run."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:24]
