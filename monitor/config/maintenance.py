"""The configuration of renewal profiles and connection tests."""

import difflib
from datetime import timedelta
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, model_validator

from monitor.config.errors import config_error, expected
from monitor.config.values import Duration, Section, Written, join_choices, whole
from monitor.core.messages.phrases import PLATFORMS
from monitor.core.rules.connection_test import ConnectionTestSettings
from monitor.core.rules.renewal import WEEK, RenewalProfile, RenewedBy

MIN_TEST_INTERVAL = timedelta(hours=1)


class ProfileSection(Section):
    """
    Who renews the tokens of a platform. Overrides what the monitor learned.

    ``overdue_before`` is how long before its end a token that the vendor renews is overdue, instead of as
    learned. It must be more than a week, because the API itself reports ``expiring_soon`` in the last one.
    """

    renewed_by: RenewedBy
    overdue_before: Duration | None = None

    @model_validator(mode="after")
    def _overdue_is_of_the_vendor(self) -> Self:
        if self.overdue_before and self.renewed_by is RenewedBy.PERSON:
            raise config_error(
                "tokens that people renew have thresholds instead; leave it out, or write renewed_by: vendor",
                "overdue_before",
            )
        if self.overdue_before and self.overdue_before <= WEEK:
            raise config_error(
                "want more than 7d: in the last week the API itself reports expiring_soon", "overdue_before"
            )
        return self


def checked_test_interval(every: timedelta) -> timedelta:
    """Refuse to test a connection more often than hourly."""
    if every < MIN_TEST_INTERVAL:
        raise expected("1h or more: each test spends the platform's own quota")
    return every


class ConnectionTestsSection(Section):
    """Tests of connections without an expiry date. ``per_hour`` applies to the whole account."""

    every: Annotated[Duration, AfterValidator(checked_test_interval)] = timedelta(hours=24)
    per_hour: Annotated[int, whole(1, 360)] = 60


def checked_platforms(given: object) -> object:
    """Refuse platforms that the monitor doesn't know, with the nearest that it knows."""
    if not isinstance(given, dict):
        return given
    for name in given:
        if name not in PLATFORMS:
            near = difflib.get_close_matches(str(name).lower(), PLATFORMS, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"want {join_choices(tuple(PLATFORMS))}"
            raise config_error(f"unknown platform; {meant}", str(name))
    return given


Profiles: TypeAlias = Annotated[
    dict[str, Annotated[RenewalProfile, Written(ProfileSection)]], BeforeValidator(checked_platforms)
]
ConnectionTests: TypeAlias = Annotated[ConnectionTestSettings, Written(ConnectionTestsSection)]
