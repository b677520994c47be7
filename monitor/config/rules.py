"""The configuration of rules: which are enabled, and their settings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from monitor.config.errors import config_error, expected
from monitor.config.values import (
    AS_PERCENTAGE,
    Duration,
    Section,
    Written,
    format_duration,
    join_choices,
    parse_duration,
    percentage,
    whole,
)
from monitor.core.model import RuleName, Severity
from monitor.core.rules.account import AccountFailure
from monitor.core.rules.base import ConnectionRule
from monitor.core.rules.damping import DEFAULT_FLAPPING, DEFAULT_MASS_CHANGE, Flapping, MassChange
from monitor.core.rules.registry import DEFAULT_RULES, Rules
from monitor.core.rules.renewal import RenewalProfile

AnyRule: TypeAlias = ConnectionRule | AccountFailure
_R = TypeVar("_R", ConnectionRule, AccountFailure)
Thresholds: TypeAlias = Mapping[timedelta, Severity]


def checked_thresholds(value: object) -> dict[timedelta, Severity]:
    """Accept severities by time left that only rise as the time gets shorter."""
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
            raise config_error("this time is given twice; want each once", written)
        thresholds[before] = Severity(severity)
    climbing = sorted(thresholds.items(), reverse=True)
    for (_, milder), (before, severity) in pairwise(climbing):
        if severity.rank < milder.rank:
            raise config_error(
                f"{format_duration(before)} is {severity}, milder than the longer one before it; "
                f"want severities that only rise as the time gets shorter"
            )
    return dict(climbing)


Polls: TypeAlias = Annotated[int, whole(1, 1000)]
# How the fields of a rule's class are written. A field of another type isn't among the keys of its rule.
_WRITTEN: Mapping[object, Any] = {
    timedelta: Duration,
    int: Polls,
    Mapping[timedelta, Severity]: Annotated[
        Thresholds,
        BeforeValidator(checked_thresholds),
        PlainSerializer(
            lambda given: {format_duration(before): str(severity) for before, severity in given.items()}
        ),
    ],
}


class RuleSection(Section):
    """What is configured of one rule. Each rule has a section of its own, with a key for each of its settings."""

    rule: RuleName
    enabled: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the rule, by the names of its fields."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in RuleSection.model_fields
        }


def _section_of(rule: AnyRule) -> type[RuleSection]:
    settings: dict[str, Any] = {
        each.name: (_WRITTEN[each.type], Field(default=getattr(rule, each.name)))
        for each in fields(rule)
        if each.type in _WRITTEN
    }
    return create_model(f"{rule.name}", __base__=RuleSection, rule=(RuleName, rule.name), **settings)


_ALL_RULES: tuple[AnyRule, ...] = (*DEFAULT_RULES.connection, *DEFAULT_RULES.account)
SECTIONS: Mapping[str, type[RuleSection]] = {
    rule.name: _section_of(rule)
    for rule in _ALL_RULES
    if rule.name is not RuleName.USER_NOT_MANAGED  # the monitor acts on it, so there is nothing to configure
}


def _known(given: object) -> object:
    if not isinstance(given, dict):
        raise config_error("want a mapping with the key 'rule', such as {rule: token_expiry}")
    if "rule" not in given:
        raise config_error("missing; want the name of a rule", "rule")
    name = given["rule"]
    if isinstance(name, str) and name in SECTIONS:
        return given
    if isinstance(name, str) and name in set(RuleName):
        raise config_error(f"{name} is not supported yet", "rule")
    raise expected(join_choices(tuple(SECTIONS)), "rule")


class _ByName:
    """Validates the section of a rule as the one that its name asks for."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(section) for name, section in SECTIONS.items()}
        return core_schema.tagged_union_schema(choices, "rule")


def _with_defaults(rules: tuple[RuleSection, ...]) -> tuple[RuleSection, ...]:
    given: dict[str, RuleSection] = {}
    for index, rule in enumerate(rules):
        if rule.rule in given:
            raise config_error(f"{rule.rule} is listed twice; want each rule once", index, "rule")
        given[rule.rule] = rule
    return tuple(given.get(name, DEFAULT_SECTIONS[name]) for name in SECTIONS)


DEFAULT_SECTIONS = {name: section(rule=RuleName(name)) for name, section in SECTIONS.items()}
RuleList: TypeAlias = Annotated[
    tuple[Annotated[RuleSection, _ByName(), BeforeValidator(_known)], ...],
    Field(default=tuple(DEFAULT_SECTIONS.values())),
    AfterValidator(_with_defaults),
]


class FlappingSection(Section):
    """When a problem that comes and goes is flapping: one alert, and one at its end."""

    times: Annotated[int, whole(2, 1000)] = DEFAULT_FLAPPING.times
    window: Duration = Field(default=DEFAULT_FLAPPING.window, alias="within")
    quiet_for: Duration = Field(default=DEFAULT_FLAPPING.quiet_for, alias="calm")


class MassChangeSection(Section):
    """How many tokens of one list may get worse at once before the next poll must confirm it."""

    share: Annotated[float, percentage(50, most=100), AS_PERCENTAGE] = DEFAULT_MASS_CHANGE.share
    count: Annotated[int, whole(1, 1_000_000)] = DEFAULT_MASS_CHANGE.count


class Damping(Section):
    """How to avoid alerts about problems that come and go."""

    flapping: Annotated[Flapping, Written(FlappingSection)] = DEFAULT_FLAPPING
    mass_change: Annotated[MassChange, Written(MassChangeSection)] = Field(
        default=DEFAULT_MASS_CHANGE, alias="blast_radius"
    )
    removed_after: Annotated[int, whole(1, 1000)] = DEFAULT_RULES.removed_after


def active_rules(
    sections: tuple[RuleSection, ...], profiles: Mapping[str, RenewalProfile], damping: Damping
) -> Rules:
    """Return the rules in force, as they are configured; a disabled one is left out."""
    written = {section.rule: section for section in sections}

    def configured(rules: Iterable[_R]) -> Iterator[_R]:
        for rule in rules:
            section = written.get(rule.name)
            if section is None:
                yield rule
            elif section.enabled:
                settings = {**section.settings, "profiles": profiles}
                known = {each.name for each in fields(rule)}
                yield replace(rule, **{name: value for name, value in settings.items() if name in known})

    return Rules(
        connection=tuple(configured(DEFAULT_RULES.connection)),
        account=tuple(configured(DEFAULT_RULES.account)),
        removed_after=damping.removed_after,
        flapping=damping.flapping,
        mass_change=damping.mass_change,
    )
