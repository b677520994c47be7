"""The sandbox's service with everything that may happen to it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from monitor.core.model import to_milliseconds
from monitor.sandbox import fake_service


class FakeService(fake_service.FakeService):
    """The service, whose plans, keys, users and profiles a test changes. Each method is one change."""

    def change_plan(
        self,
        *,
        key: str | None = None,
        has_owner: bool | None = None,
        api_access: bool | None = None,
        mcp_access: bool | None = None,
        workspace_access: bool | None = None,
    ) -> None:
        """Change what an account may do; what isn't given stays."""
        with self.lock:
            account = self.account(key)
            account.has_owner = account.has_owner if has_owner is None else has_owner
            account.api_access = account.api_access if api_access is None else api_access
            account.mcp_access = account.mcp_access if mcp_access is None else mcp_access
            if workspace_access is not None:
                account.workspace_access = workspace_access

    def revoke_key(self, key: str | None = None) -> None:
        """Forget a key, with everything behind it."""
        with self.lock:
            del self._accounts[self.account(key).key]

    def replace_key(self, new_key: str, key: str | None = None) -> None:
        """Give an account another key: the old one is refused from now on."""
        with self.lock:
            account = self.account(key)
            del self._accounts[account.key]
            account.key = new_key
            self._accounts[new_key] = account

    def rename_user(self, user: str, username: str, *, key: str | None = None) -> None:
        """Give a managed user another name, for itself and for people."""
        with self.lock:
            person = self.person(key, user)
            person.username = person.display_name = username

    def remove_user(self, user: str, *, key: str | None = None) -> None:
        """Detach a managed user from the workspace."""
        with self.lock:
            del self.account(key).users[self.person(key, user).id]

    def expire_link(self, user: str, *, key: str | None = None) -> None:
        """Let the link a managed user holds run out now."""
        with self.lock:
            self.person(key, user).link_expires_at = self.now()

    def remove_connection(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Unlink a profile."""
        with self.lock:
            del self.person(key, user).profiles[self.profile(platform_id, key=key, user=user).platform_id]

    def rename_connection(
        self,
        platform_id: str,
        *,
        username: str,
        display_name: str | None = None,
        key: str | None = None,
        user: str | None = None,
    ) -> None:
        """Give a profile another handle and another name."""
        self._change(platform_id, key, user, username=username, display_name=display_name)

    def set_expiry(
        self,
        platform_id: str,
        expires_at: datetime | None,
        *,
        key: str | None = None,
        user: str | None = None,
    ) -> None:
        """Set when a token expires; None for one that doesn't."""
        expires_at = None if expires_at is None else to_milliseconds(expires_at)
        self._change(platform_id, key, user, expires_at=expires_at)

    def expire(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Let a token expire now; where no date is given, the platform rejects it."""
        self._change(platform_id, key, user, expires_at=self.now(), is_rejected=True)

    def revoke_grant(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Withdraw the permission at the platform: only a test of the connection shows it."""
        self._change(platform_id, key, user, is_revoked=True)

    def clear_error(self, platform_id: str, *, key: str | None = None, user: str | None = None) -> None:
        """Forget the last error."""
        self._change(platform_id, key, user, last_error=None)

    def override(
        self,
        platform_id: str,
        fields: Mapping[str, object] | None = None,
        *,
        left_out: Iterable[str] = (),
        key: str | None = None,
        user: str | None = None,
    ) -> None:
        """Show other fields than the true ones, of any name and type, or leave some out."""
        self._change(platform_id, key, user, overrides=dict(fields or {}), left_out=frozenset(left_out))
