"""The link with which a managed user reconnects: an existing one, or a new one."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from monitor.clock import Clock
from monitor.core.model import Target
from monitor.core.rules.reconnect_link import LinkUse, usable_link
from monitor.errors import FetchError
from monitor.providers.base import Provider
from monitor.rate_limits import RateLimits
from monitor.workspace.managed_users import ManagedUsers

log = structlog.get_logger()

RETRY_AFTER = timedelta(minutes=15)
# A message doesn't wait for a link, so creating one may use requests of the next moments.
MAX_BORROWED_REQUESTS = 10


class ReconnectLinks:
    """
    Returns links, and creates missing ones if configured. It never rotates a link.

    Args:
        use: how links are used, by account.
    """

    def __init__(
        self,
        *,
        managed_users: ManagedUsers,
        providers: Mapping[str, Provider],
        use: Mapping[str, LinkUse],
        rate_limits: RateLimits,
        clock: Clock,
    ) -> None:
        self._managed_users = managed_users
        self._providers = providers
        self._use = use
        self._rate_limits = rate_limits
        self._clock = clock
        self._failed_at: dict[tuple[str, str], datetime] = {}

    def __call__(self, target: Target) -> str:
        """Return the page where a managed user reconnects; empty if there is none."""
        use = self._use.get(target.account, LinkUse.OFF)
        if use is LinkUse.OFF or target.managed_user_id is None:
            return ""
        now = self._clock()
        if link := usable_link(self._managed_users.links(target.account, target.managed_user_id), now):
            return link.url
        return self._create_link(target.account, target.managed_user_id, now) if use is LinkUse.CREATE else ""

    def _create_link(self, account: str, user_id: str, now: datetime) -> str:
        failed_at = self._failed_at.get((account, user_id))
        # A clock that was set back must not delay it further.
        if failed_at and timedelta() <= now - failed_at < RETRY_AFTER:
            return ""
        if not self._rate_limits.try_acquire(account, now, ahead=MAX_BORROWED_REQUESTS):
            return ""
        try:
            link = self._providers[account].connection_url(user_id)
        except FetchError as error:
            self._failed_at[account, user_id] = now
            self._rate_limits.on_rejection(account, self._clock(), error.failure)
            log.warning("link.failed", account=account, managed_user_id=user_id, error=error.failure.error)
            return ""
        self._managed_users.add_link(account, user_id, link)
        log.info("link.created", account=account, managed_user_id=user_id)
        return link.url
