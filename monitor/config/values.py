"""The types of single values, and how they are written back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from monitor.config.errors import RENAMED_KEYS, config_error, expected

HIDDEN = "***"

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_DURATION = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_LONGEST = timedelta(days=36500)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadContext:
    """
    What a configuration refers to outside its own text.

    Args:
        folder: the folder for relative file names.
        warnings: settings that are valid and probably not intended; filled while loading.
        notes: notes; filled while loading.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Section(BaseModel):
    """A frozen mapping of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Keys of later versions, and advice for keys that people write by mistake.
    later: ClassVar[frozenset[str]] = frozenset()
    misspellings: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def written_keys(cls) -> tuple[str, ...]:
        """List the keys as they are written."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def resolve_references(cls, given: dict[str, Any], context: LoadContext) -> dict[str, Any]:
        """Replace references with the values they refer to."""
        return given

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, dict):
            return given
        for key in given:
            if key not in cls.written_keys():
                raise config_error(cls._unknown_key_text(str(key)), str(key))
        return cls.resolve_references(given, info.context or LoadContext())

    @classmethod
    def _unknown_key_text(cls, key: str) -> str:
        import difflib

        if key in cls.later:
            return "not supported yet"
        if RENAMED_KEYS.get(key) in cls.written_keys():
            return f"renamed; write {RENAMED_KEYS[key]!r}"
        if key in cls.misspellings:
            return f"unknown key; {cls.misspellings[key]}"
        near = difflib.get_close_matches(key.lower(), cls.written_keys(), n=1)
        return (
            f"unknown key; did you mean {near[0]!r}?"
            if near
            else f"unknown key; want {join_choices(cls.written_keys())}"
        )


@dataclass(frozen=True, slots=True)
class Written:
    """
    How a value of core is written: a section validates the keys, and the configuration holds the value itself.

    Args:
        section: its fields have the names that the value's fields have; an alias is the key in the file.
    """

    section: type[Section]

    def __get_pydantic_core_schema__(self, value_class: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema that builds the value from a section, and writes it back as one."""
        keys, section = self.section.model_fields, handler.generate_schema(self.section)
        taken = [each.name for each in fields(value_class) if each.name in keys]
        return core_schema.no_info_after_validator_function(
            lambda given: value_class(**{name: getattr(given, name) for name in taken}),
            section,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, write: write(
                    self.section.model_construct(**{name: getattr(value, name) for name in keys})
                ),
                schema=section,
            ),
        )


def parse_duration(text: str, *, least: timedelta = timedelta(seconds=1)) -> timedelta:
    """
    Read a duration such as ``10s``, ``15m``, ``24h``, ``7d`` or ``1h30m``.

    Raises:
        ValueError: it isn't one, is shorter than ``least``, or longer than a hundred years.
    """
    match = _DURATION.fullmatch(text.strip())
    counts = match.groups() if match else ()
    if any(count is not None for count in counts):
        parts = zip(counts, _UNITS.values(), strict=True)
        duration = sum((int(count) * unit for count, unit in parts if count), timedelta())
        if least <= duration <= _LONGEST:
            return duration
    raise ValueError(f"found {text[:40]!r}, want {_duration_words(least)}")


def format_duration(duration: timedelta) -> str:
    """Write a duration as ``parse_duration`` reads it."""
    written = ""
    for letter, unit in _UNITS.items():
        count, duration = divmod(duration, unit)
        written += f"{count}{letter}" if count else ""
    return written or "0s"


def join_choices(choices: tuple[str, ...]) -> str:
    """Return choices as text: ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))


def whole(low: int, high: int) -> BeforeValidator:
    """Accept a whole number in a range, also as text, since ``${NAME}`` gives text."""

    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise expected(f"a whole number from {low} to {high}")
        return value

    return BeforeValidator(check)


def duration(least: timedelta) -> BeforeValidator:
    """Accept a duration that is no shorter than ``least``."""

    def check(value: object) -> timedelta:
        try:
            if isinstance(value, str):
                return parse_duration(value, least=least)
        except ValueError:
            pass
        raise expected(_duration_words(least))

    return BeforeValidator(check)


def percentage(example: int, *, most: int) -> BeforeValidator:
    """Accept a percentage from 0% to ``most``, and give the share that it is."""

    def check(value: object) -> float:
        match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if match is None or float(match[1]) > most:
            raise expected(f"a percentage such as {example}%, from 0% to {most}%")
        return float(match[1]) / 100

    return BeforeValidator(check)


def _size(value: object) -> int:
    try:
        size = TypeAdapter(ByteSize).validate_python(value)
    except ValidationError:
        size = ByteSize(0)
    if not 64 * 2**10 <= size <= 2**30:
        raise expected("a size such as 2MiB, from 64KiB to 1GiB")
    return int(size)


def _duration_words(least: timedelta) -> str:
    return f"a duration such as 15m (s, m, h, d; from {format_duration(least)} to {_LONGEST.days}d)"


def checked_name(value: object) -> str:
    """Accept the name of an account or a channel."""
    if not isinstance(value, str):
        raise expected("text (put it in quotes)")
    if not 1 <= len(value) <= 64 or not value.isprintable() or value != value.strip():
        raise expected("1 to 64 printable characters without a space at either end")
    return value


def checked_clock_time(value: object) -> time:
    """Accept a time of day, to the minute."""
    match = _CLOCK_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise expected('a time of day such as "20:00"')
    return time(int(match[1]), int(match[2]))


def checked_zone(value: object) -> ZoneInfo:
    """Accept the name of a time zone."""
    try:
        if isinstance(value, str):
            return ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        pass
    raise expected("a time zone such as Europe/Berlin or UTC")


def checked_list(value: object) -> object:
    """Refuse a list without items."""
    if value == []:
        raise config_error("found an empty list, want at least one item")
    return value


Duration: TypeAlias = Annotated[timedelta, duration(timedelta(seconds=1)), PlainSerializer(format_duration)]
Wait: TypeAlias = Annotated[timedelta, duration(timedelta()), PlainSerializer(format_duration)]
Size: TypeAlias = Annotated[
    int, BeforeValidator(_size), PlainSerializer(lambda size: ByteSize(size).human_readable(separator=""))
]
AS_PERCENTAGE = PlainSerializer(lambda share: f"{share * 100:g}%")
Name: TypeAlias = Annotated[str, BeforeValidator(checked_name)]
ClockTime: TypeAlias = Annotated[
    time, BeforeValidator(checked_clock_time), PlainSerializer(lambda clock: clock.strftime("%H:%M"))
]
Zone: TypeAlias = Annotated[ZoneInfo, BeforeValidator(checked_zone), PlainSerializer(str)]
OneOrMore = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
NotEmpty = BeforeValidator(checked_list)
