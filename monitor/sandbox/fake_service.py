"""What the service knows: keys, managed users and linked profiles, changed at any time from any thread."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from threading import RLock

from monitor.core.model import PublishError, to_milliseconds
from monitor.sandbox.profiles import TOKEN_LIFETIMES, Contract, SocialProfile


class Shape(StrEnum):
    """How the workspace endpoints word their answers: both wordings are documented somewhere."""

    DOCUMENTED = "documented"  # {"users": [{"_id", "username", …}]}, {"url", "tokenExpiresAt"}
    BARE = "bare"  # [{"id", "email", …}], {"connectionUrl", "expiresAt"}


@dataclass(slots=True, kw_only=True)
class Person:
    """Whose profiles are linked: the owner of a key, or a managed user."""

    id: str
    username: str
    display_name: str | None = None
    link_url: str | None = None
    link_expires_at: datetime | None = None
    profiles: dict[str, SocialProfile] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Account:
    """A key, whose it is, and what its plan allows."""

    key: str = field(repr=False)
    owner: Person
    users: dict[str, Person] = field(default_factory=dict)
    has_owner: bool = True
    api_access: bool = True
    mcp_access: bool = True
    workspace_access: bool = True


class FakeService:
    """
    The state of the sandbox. Each method is one change, done whole before anybody can ask again.

    ``key`` may be left out everywhere where the world has one account; ``user`` is the id of a managed user,
    None for the owner. Naming what doesn't exist raises LookupError.

    Args:
        clock: tells the time by which tokens age, aware.
        shape: how the workspace endpoints word their answers.
        requests_per_minute: the rate limit of each key, by ``clock``; None for no limit.
        contract: how the API reports tokens; it may change while the world is served.

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
        """Tell the time of this world: aware UTC, whole milliseconds."""
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
        """Bring a managed user into the workspace; returns its id, 24 hex characters."""
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
        """Return the link by which a managed user reconnects: the one it holds while that is good, or a new."""
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
        """Link a profile, at the end of the list; one of the same id is replaced where it stands."""
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
        Grant the permission anew, as a person does in the dashboard. What was posted and what failed stay.

        Args:
            lifetime: of the new token; by default what the platform usually gives.
        """
        with self.lock:
            lifetime = lifetime or TOKEN_LIFETIMES.get(platform_id.partition("-")[0])
            expires_at = None if lifetime is None else self.now() + lifetime
            self._change(platform_id, key, user, expires_at=expires_at, is_revoked=False, is_rejected=False)

    def post(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Post successfully now. The last error stays: it is still the last that occurred."""
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
        Fail to post now: that is when a platform shows the vendor that a grant was withdrawn.

        Args:
            has_time: without it the API shows the error as bare text.
        """
        error = PublishError(message=message, occurred_at=self.now() if has_time else None)
        with self.lock:
            profile = self.profile(platform_id, key=key, user=user)
            is_rejected = profile.is_rejected or profile.is_revoked
            self._change(platform_id, key, user, last_error=error, is_rejected=is_rejected)

    # Looking things up; hold ``lock`` while using what they return

    def account(self, key: str | None = None) -> Account:
        """Find an account by its key; without one, the only account there is."""
        if key is None and len(self._accounts) == 1:
            return next(iter(self._accounts.values()))
        if key is None or key not in self._accounts:
            raise LookupError("no account has this key" if key else "say which account: give a key")
        return self._accounts[key]

    def person(self, key: str | None = None, user: str | None = None) -> Person:
        """Find whose profiles are meant: the owner's, or a managed user's."""
        account = self.account(key)
        if user is None or user == account.owner.id:
            return account.owner
        if user not in account.users:
            raise LookupError(f"no managed user has the id {user}")
        return account.users[user]

    def profile(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> SocialProfile:
        """Find a linked profile by its id."""
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
    """Make an id of 24 hex characters, the same in every run."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:24]
