"""The rules as they are configured: which are in force, and from when something is a problem."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from monitor.config.errors import config_error, expected
from monitor.config.values import Duration, Section, format_duration, join_choices, parse_duration, whole
from monitor.core.model import RuleName, Severity

Thresholds: TypeAlias = Mapping[timedelta, Severity]


def _thresholds(value: object) -> dict[timedelta, Severity]:
    if not isinstance(value, dict):
        raise config_error("want a mapping of durations to severities, such as {7d: notice, 1d: critical}")
    thresholds: dict[timedelta, Severity] = {}
    for written, severity in value.items():
        try:
            before = parse_duration(written)
        except ValueError as error:
            raise config_error(str(error)) from None
        if severity not in set(Severity):
            raise expected(join_choices(tuple(Severity)), written)
        if before in thresholds:
            raise config_error("another rung has the same time left; want each once", written)
        thresholds[before] = Severity(severity)
    climbing = sorted(thresholds.items(), reverse=True)
    for (_, milder), (before, severity) in pairwise(climbing):
        if severity.rank < milder.rank:
            raise config_error(
                f"{format_duration(before)} is {severity}, milder than the longer one before it; "
                f"want severities that only rise as the time gets shorter"
            )
    return dict(climbing)


def _shown_thresholds(ladder: Thresholds) -> dict[str, str]:
    return {format_duration(before): str(severity) for before, severity in ladder.items()}


class TokenExpiry(Section):
    """A token that comes to its end; ``expired`` is always critical."""

    rule: Literal[RuleName.TOKEN_EXPIRY] = RuleName.TOKEN_EXPIRY
    enabled: bool = True
    before: Annotated[Thresholds, BeforeValidator(_thresholds), PlainSerializer(_shown_thresholds)] = Field(
        default={
            timedelta(days=7): Severity.NOTICE,
            timedelta(days=3): Severity.WARNING,
            timedelta(days=1): Severity.CRITICAL,
        }
    )


class PublishError(Section):
    """A post that the platform refused; one older than ``max_age`` at first sight is history."""

    rule: Literal[RuleName.PUBLISH_ERROR] = RuleName.PUBLISH_ERROR
    enabled: bool = True
    max_age: Duration = timedelta(days=7)


class RenewalOverdue(Section):
    """A token that renews by itself and didn't when it usually does."""

    rule: Literal[RuleName.RENEWAL_OVERDUE] = RuleName.RENEWAL_OVERDUE
    enabled: bool = True


class ConnectionTestFailed(Section):
    """A connection that an active test has found broken, or short of permissions that it had."""

    rule: Literal[RuleName.CONNECTION_TEST_FAILED] = RuleName.CONNECTION_TEST_FAILED
    enabled: bool = True


class ConnectionRemoved(Section):
    """A connection that is no longer listed; ``damping.removed_after`` says from when on."""

    rule: Literal[RuleName.CONNECTION_REMOVED] = RuleName.CONNECTION_REMOVED
    enabled: bool = True


Polls: TypeAlias = Annotated[int, whole(1, 1000)]


class ApiKeyRejected(Section):
    """The API refuses the key."""

    rule: Literal[RuleName.API_KEY_REJECTED] = RuleName.API_KEY_REJECTED
    enabled: bool = True
    after: Polls = 1


class AccessDenied(Section):
    """The key may not do what is asked of it."""

    rule: Literal[RuleName.ACCESS_DENIED] = RuleName.ACCESS_DENIED
    enabled: bool = True
    after: Polls = 1


class ApiUnreachable(Section):
    """The API doesn't answer, or only with errors of its own."""

    rule: Literal[RuleName.API_UNREACHABLE] = RuleName.API_UNREACHABLE
    enabled: bool = True
    after: Polls = 3


class BadAnswer(Section):
    """The API's answer can't be read."""

    rule: Literal[RuleName.BAD_ANSWER] = RuleName.BAD_ANSWER
    enabled: bool = True
    after: Polls = 2


Rule: TypeAlias = (
    TokenExpiry
    | RenewalOverdue
    | PublishError
    | ConnectionTestFailed
    | ConnectionRemoved
    | ApiKeyRejected
    | AccessDenied
    | ApiUnreachable
    | BadAnswer
)

DEFAULT_RULES: tuple[Rule, ...] = (
    TokenExpiry(),
    RenewalOverdue(),
    PublishError(),
    ConnectionTestFailed(),
    ConnectionRemoved(),
    ApiKeyRejected(),
    AccessDenied(),
    ApiUnreachable(),
    BadAnswer(),
)
RULE_NAMES = tuple(str(rule.rule) for rule in DEFAULT_RULES)


def _known(given: object) -> object:
    if not isinstance(given, dict):
        raise config_error("want a mapping with the key 'rule', such as {rule: token_expiry}")
    if "rule" not in given:
        raise config_error("missing; want the name of a rule", "rule")
    name = given["rule"]
    if isinstance(name, str) and name in RULE_NAMES:
        return given
    if isinstance(name, str) and name in set(RuleName):
        raise config_error(f"{name} is not supported yet", "rule")
    raise expected(join_choices(RULE_NAMES), "rule")


def _with_defaults(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    given: dict[RuleName, Rule] = {}
    for index, rule in enumerate(rules):
        if rule.rule in given:
            raise config_error(f"{rule.rule} stands here a second time; want each rule once", index, "rule")
        given[rule.rule] = rule
    return tuple(given.get(default.rule, default) for default in DEFAULT_RULES)


_OneRule = Annotated[Rule, Field(discriminator="rule"), BeforeValidator(_known)]
RuleList: TypeAlias = Annotated[
    tuple[_OneRule, ...], Field(default=DEFAULT_RULES), AfterValidator(_with_defaults)
]
