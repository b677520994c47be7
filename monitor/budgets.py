"""The requests that each account's key has, shared by everybody who asks with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from monitor.core.budget import Budget
from monitor.core.model import Failure, Outcome, Reach, Target

# Long enough for a refusal of the whole key to be recorded before anybody else asks with it.
_SETTLING = timedelta(seconds=2)
# A cadence that moved by less is not worth another word.
_WORTH_A_WORD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """
    How often the targets of an account are looked at, and why not more often.

    Args:
        every: as configured.
        kept: as the key's budget allows.
        targets: how many share it.
        per_minute: requests that the key has.
    """

    account: str
    every: timedelta
    kept: timedelta
    targets: int
    per_minute: int

    @property
    def is_stretched(self) -> bool:
        """Whether the budget can't keep what is configured."""
        return self.kept > self.every


class Budgets:
    """
    The budgets of all accounts; for any number of threads.

    Args:
        every: how often the targets of each account are to be looked at.
        budgets: of the accounts that have one; the others may ask without end. Accounts with the same key
            have the same one.
    """

    def __init__(self, every: Mapping[str, timedelta], budgets: Mapping[str, Budget]) -> None:
        self._every = dict(every)
        self._budgets = dict(budgets)
        self._targets: dict[str, int] = {}
        self._said: dict[str, timedelta] = {}
        self._lock = Lock()

    def watch(self, targets: Iterable[Target]) -> None:
        """Say who is polled from now on, of all accounts."""
        counted: dict[str, int] = {}
        for target in targets:
            counted[target.account] = counted.get(target.account, 0) + 1
        with self._lock:
            self._targets = counted

    def count(self, account: str, targets: int) -> None:
        """Say how many are polled of one account from now on."""
        with self._lock:
            self._targets[account] = targets

    def targets(self, account: str) -> int:
        """Say how many share an account's budget."""
        mine = self._budgets.get(account)
        return sum(
            self._targets.get(name, 1)
            for name in self._every
            if name == account or (mine is not None and self._budgets.get(name) is mine)
        )

    def take(self, account: str, now: datetime, *, ahead: int = 0) -> bool:
        """Use one request of an account, ``ahead`` of its time if need be; False where there is none."""
        budget = self._budgets.get(account)
        if budget is None:
            return True
        with self._lock:
            return budget.take(now, ahead=ahead)

    def spend(self, account: str, now: datetime) -> None:
        """Use a request that can't wait for its turn."""
        if budget := self._budgets.get(account):
            with self._lock:
                budget.spend(now)

    def is_paused(self, account: str, now: datetime) -> bool:
        """Return whether the server asked that no request is sent yet with the key of an account."""
        budget = self._budgets.get(account)
        if budget is None:
            return False
        with self._lock:
            return budget.is_paused(now)

    def admit(self, due: Iterable[Target], now: datetime) -> list[Target]:
        """Pick those that may be asked about now, in their order; nothing is used up by it."""
        room: dict[int, int] = {}
        admitted = []
        with self._lock:
            for target in due:
                budget = self._budgets.get(target.account)
                if budget is not None:
                    left = room[id(budget)] if id(budget) in room else budget.room(now)
                    room[id(budget)] = left - 1
                    if left < 1:
                        continue
                admitted.append(target)
        return admitted

    def most(self, now: datetime, otherwise: int) -> int:
        """Say how many requests at most any account has now; ``otherwise`` where one has no budget."""
        with self._lock:
            if not self._budgets or self._every.keys() - self._budgets.keys():
                return otherwise
            return min(max(budget.room(now) for budget in self._budgets.values()), otherwise)

    def answered(
        self,
        account: str,
        now: datetime,
        *,
        limit: int | None,
        remaining: int | None,
        reset_after: timedelta | None,
    ) -> None:
        """Learn from what a server says beside its answer."""
        budget = self._budgets.get(account)
        if budget is not None and (limit is not None or remaining is not None):
            with self._lock:
                budget.learn(now, limit=limit, remaining=remaining, reset_after=reset_after)

    def refused(self, account: str, now: datetime, failure: Failure) -> None:
        """Learn from a refusal: after one that concerns the key, nobody asks with it for a while."""
        budget = self._budgets.get(account)
        if budget is None or failure.reach is not Reach.KEY:
            return
        with self._lock:
            budget.learn(now, limit=failure.limit, remaining=None, reset_after=None)
            is_limited = failure.outcome is Outcome.RATE_LIMITED
            budget.pause(now, failure.retry_after if is_limited else _SETTLING)

    def cadence(self, account: str) -> timedelta:
        """Say how often each target of an account is looked at."""
        return self._pace(account).kept

    def cadences(self) -> dict[str, timedelta]:
        """Say how often the targets of every account are looked at."""
        return {account: self.cadence(account) for account in self._every}

    def paces(self) -> list[Pace]:
        """Give the pace of every account."""
        return [self._pace(account) for account in self._every]

    def news(self) -> list[Pace]:
        """Give the paces that are not as they were when this was last asked; each is news once."""
        fresh = []
        for pace in self.paces():
            said = self._said.get(pace.account, pace.every)
            if abs(pace.kept - said) > said * _WORTH_A_WORD:
                self._said[pace.account] = pace.kept
                fresh.append(pace)
        return fresh

    def _pace(self, account: str) -> Pace:
        every, targets = self._every[account], self.targets(account)
        budget = self._budgets.get(account)
        if budget is None:
            return Pace(account=account, every=every, kept=every, targets=targets, per_minute=0)
        return Pace(
            account=account,
            every=every,
            kept=budget.cadence(every, targets),
            targets=targets,
            per_minute=budget.limit,
        )
