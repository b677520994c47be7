"""The rules, with their defaults."""

from dataclasses import dataclass

from monitor.core.model import RuleName
from monitor.core.rules.account import DEFAULT_ACCOUNT_RULES, AccountFailure
from monitor.core.rules.base import ConnectionRule
from monitor.core.rules.connection_removed import ConnectionRemoved
from monitor.core.rules.connection_test import ConnectionTestFailed
from monitor.core.rules.damping import DEFAULT_FLAPPING, DEFAULT_MASS_CHANGE, Flapping, MassChange
from monitor.core.rules.publish_error import PublishErrorRule
from monitor.core.rules.renewal import RenewalOverdue
from monitor.core.rules.token_expiry import TokenExpiry

# These problems come and go, so they resolve only after two good polls. Problems with tokens resolve after one.
NEEDS_TWO_RECOVERIES = frozenset({RuleName.API_UNREACHABLE, RuleName.BAD_ANSWER, RuleName.CONNECTION_REMOVED})


# These rules compare a token's date with the time, so they use the API's clock, which wrote the date.
BY_API_TIME = frozenset({RuleName.TOKEN_EXPIRY, RuleName.RENEWAL_OVERDUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    The enabled rules.

    Args:
        removed_after: successful polls in a row without a connection until it counts as removed.
    """

    connection: tuple[ConnectionRule, ...] = (
        TokenExpiry(),
        RenewalOverdue(),
        PublishErrorRule(),
        ConnectionTestFailed(),
        ConnectionRemoved(),
    )
    account: tuple[AccountFailure, ...] = DEFAULT_ACCOUNT_RULES
    removed_after: int = 3
    flapping: Flapping = DEFAULT_FLAPPING
    mass_change: MassChange = DEFAULT_MASS_CHANGE


DEFAULT_RULES = Rules()
