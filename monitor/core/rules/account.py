"""Failures of an account: after how many failed polls they are a problem, and how severe."""

from dataclasses import dataclass

from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFailure:
    """
    A kind of failure of an account: key, access, connection to the API, or answers. ``evaluation.accounts``
    evaluates it.

    Args:
        name: the kind of failure.
        after: failed polls in a row of one target until it is a problem.
    """

    name: RuleName
    severity: Severity
    after: int = 1

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every severity that its problems can have, with what may lie behind it: nothing of a platform."""
        return ((self.severity, None),)


DEFAULT_ACCOUNT_RULES: tuple[AccountFailure, ...] = (
    AccountFailure(name=RuleName.API_KEY_REJECTED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.ACCESS_DENIED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.USER_NOT_MANAGED, severity=Severity.WARNING),
    AccountFailure(name=RuleName.API_UNREACHABLE, severity=Severity.WARNING, after=3),
    AccountFailure(name=RuleName.BAD_ANSWER, severity=Severity.WARNING, after=2),
)
