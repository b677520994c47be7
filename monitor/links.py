"""The link by which a managed user reconnects: the one it holds, or one that is made for it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from monitor.budgets import Budgets
from monitor.clock import Clock
from monitor.core.links import LinkUse, good_link
from monitor.core.model import Target
from monitor.errors import FetchError
from monitor.providers import Provider
from monitor.roster import Roster

log = structlog.get_logger()

TRIED_AGAIN_AFTER = timedelta(minutes=15)
# A message doesn't wait for a link, so it may be made with requests of the next moments.
MADE_AHEAD = 10


class Links:
    """
    Gives links, and makes those that are missing where that is wanted; none is ever rotated.

    Args:
        use: what is done with links, by account.
    """

    def __init__(
        self,
        *,
        roster: Roster,
        providers: Mapping[str, Provider],
        use: Mapping[str, LinkUse],
        budgets: Budgets,
        clock: Clock,
    ) -> None:
        self._roster = roster
        self._providers = providers
        self._use = use
        self._budgets = budgets
        self._clock = clock
        self._failed_at: dict[tuple[str, str], datetime] = {}

    def __call__(self, target: Target) -> str:
        """Give the page where a managed user reconnects; empty where there is none."""
        use = self._use.get(target.account, LinkUse.OFF)
        if use is LinkUse.OFF or target.managed_user_id is None:
            return ""
        now = self._clock()
        if link := good_link(self._roster.links(target.account, target.managed_user_id), now):
            return link.url
        return self._made(target.account, target.managed_user_id, now) if use is LinkUse.CREATE else ""

    def _made(self, account: str, user_id: str, now: datetime) -> str:
        failed_at = self._failed_at.get((account, user_id))
        # A clock that was set back must not put it off for longer.
        if failed_at and timedelta() <= now - failed_at < TRIED_AGAIN_AFTER:
            return ""
        if not self._budgets.take(account, now, ahead=MADE_AHEAD):
            return ""
        try:
            link = self._providers[account].connection_url(user_id)
        except FetchError as error:
            self._failed_at[account, user_id] = now
            self._budgets.refused(account, self._clock(), error.failure)
            log.warning("link.failed", account=account, managed_user_id=user_id, error=error.failure.error)
            return ""
        self._roster.made(account, user_id, link)
        log.info("link.made", account=account, managed_user_id=user_id)
        return link.url
