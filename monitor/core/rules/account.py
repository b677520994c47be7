"""Accounts that can't be asked: from which failed poll on that is a problem, and how severe."""

from dataclasses import dataclass

from monitor.core.model import RuleName, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFailure:
    """
    An account that can't be asked: its key, its plan, the way to the API, or the answers; ``source`` judges it.

    Args:
        name: which kind of failure it looks for.
        after: failed polls in a row of one target until it is a problem.
    """

    name: RuleName
    severity: Severity
    after: int = 1


DEFAULT_ACCOUNT_RULES: tuple[AccountFailure, ...] = (
    AccountFailure(name=RuleName.API_KEY_REJECTED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.ACCESS_DENIED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.USER_NOT_MANAGED, severity=Severity.WARNING),
    AccountFailure(name=RuleName.API_UNREACHABLE, severity=Severity.WARNING, after=3),
    AccountFailure(name=RuleName.BAD_ANSWER, severity=Severity.WARNING, after=2),
)
