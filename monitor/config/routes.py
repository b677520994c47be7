"""The configuration of routes: which incidents go to which channels, and when."""

from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from monitor.config.errors import config_error, expected
from monitor.config.values import (
    ClockTime,
    Duration,
    Name,
    NotEmpty,
    OneOrMore,
    Section,
    Wait,
    Written,
    Zone,
    join_choices,
    whole,
)
from monitor.core.model import Cause, RuleName, Severity
from monitor.core.routing.routes import Matcher, QuietHours, Schedule

Weekday: TypeAlias = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Grouping: TypeAlias = Literal["account", "managed_user", "platform", "rule", "severity"]


def checked_pattern(text: str) -> str:
    """Refuse a pattern that can match nothing."""
    if not text or not text.isprintable():
        raise expected("a name, or a pattern with *")
    return text


def checked_rule_pattern(text: str) -> str:
    """Refuse a pattern that fits no rule."""
    if not any(fnmatchcase(rule, text) for rule in RuleName):
        raise expected(f"{join_choices(tuple(RuleName))}, or a pattern with * that fits one of them")
    return text


Pattern: TypeAlias = Annotated[str, AfterValidator(checked_pattern)]
Patterns: TypeAlias = Annotated[tuple[Pattern, ...], OneOrMore, NotEmpty]
RulePattern: TypeAlias = Annotated[str, AfterValidator(checked_rule_pattern)]


class MatchSection(Section):
    """What a route takes: every given key must match, by any of its patterns. An absent key matches everything."""

    severity: Annotated[tuple[Severity, ...], OneOrMore, NotEmpty] = Field(default=())
    platform: Patterns = Field(default=())
    account: Patterns = Field(default=())
    managed_user: Patterns = Field(default=())
    rule: Annotated[tuple[RulePattern, ...], OneOrMore, NotEmpty] = Field(default=())
    cause: Annotated[tuple[Cause, ...], OneOrMore, NotEmpty] = Field(default=())
    labels: Mapping[str, Patterns] = {}

    @model_serializer(mode="wrap")
    def _dump_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: patterns for key, patterns in dump(self).items() if patterns}


class QuietHoursSection(Section):
    """A daily time in which only critical alerts are sent, or none."""

    starts: ClockTime = Field(alias="from")
    ends: ClockTime = Field(alias="to")
    zone: Zone = Field(alias="time_zone")
    critical: bool = True

    @model_validator(mode="after")
    def _check_duration(self) -> Self:
        if self.starts == self.ends:
            raise config_error("the quiet hours end when they begin; want another time", "to")
        return self


class DigestSection(Section):
    """A regular summary of open incidents, coming expiries and healthy connections. A weekly one is due on Mondays."""

    every: Literal["daily", "weekly"]
    time_of_day: ClockTime = Field(alias="at")
    zone: Zone = Field(alias="time_zone")
    weekday: Weekday | None = Field(
        default_factory=lambda given: "monday" if given["every"] == "weekly" else None
    )

    @model_validator(mode="after")
    def _check_weekday(self) -> Self:
        if self.every == "daily" and self.weekday:
            raise config_error(
                "a daily digest has no weekday; leave it out or write every: weekly", "weekday"
            )
        return self


class Template(Section):
    """A channel's own text, in Jinja2. An absent one is the built-in text."""

    title: str | None = None
    body: str | None = None

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if self.title is None and self.body is None:
            raise config_error("want title, body or both")
        return self


class RouteSection(Section):
    """Which incidents go to which channels, in which groups, how soon and how often."""

    channels: Annotated[tuple[Name, ...], NotEmpty]
    match: Annotated[Matcher, Written(MatchSection)] = Matcher()
    group_by: tuple[Grouping, ...] = ("account",)
    group_wait: Wait = timedelta(seconds=30)
    remind_every: Duration | None = None
    remind_at_most: Annotated[int, whole(1, 1_000_000)] | None = None
    quiet_hours: Annotated[QuietHours, Written(QuietHoursSection)] | None = None
    send_resolved: bool = True
    continues: bool = Field(default=True, alias="continue")
    digest: Annotated[Schedule, Written(DigestSection)] | None = None

    @model_validator(mode="after")
    def _check_reminders(self) -> Self:
        if self.remind_at_most is not None and self.remind_every is None:
            raise config_error(
                "there are no reminders to count; want remind_every beside it", "remind_at_most"
            )
        return self
