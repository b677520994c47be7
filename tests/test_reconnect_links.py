"""Links of managed users: kept in memory, given to whom they belong, hidden from every log."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import structlog

from monitor.core.model import RuleName, Target
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.reconnect_link import LinkUse, check_link, usable_link
from monitor.logs import configure_logs, redact_links, scrub
from monitor.providers.base import ManagedUser, ReconnectLink
from monitor.rate_limits import RateLimits
from monitor.workspace.managed_users import ManagedUsers
from monitor.workspace.reconnect_links import ReconnectLinks
from tests.factories import DAY, HOUR, NOW, failure
from tests.fakes import FakeProvider, FrozenClock

USER = "a" * 24
TARGET = Target(id=2, account="agency", managed_user_id=USER)
URL = "https://app.postpost.dev/connections/5f2b1c9d0e8a7f6b"


def links(
    use: LinkUse, provider: FakeProvider | None = None, **given: Any
) -> tuple[ReconnectLinks, FrozenClock]:
    clock, managed_users = FrozenClock(), ManagedUsers()
    if given:
        managed_users.update("agency", [ManagedUser(id=USER, name="North", **given)])
    made = ReconnectLinks(
        managed_users=managed_users,
        providers={"agency": provider or FakeProvider()},
        use={"agency": use},
        rate_limits=RateLimits({"agency": HOUR}, {}),
        clock=clock,
    )
    return made, clock


def test_the_link_that_the_user_holds_is_given_while_it_is_good() -> None:
    reconnect_link, clock = links(LinkUse.USE, reconnect_url=URL, reconnect_url_expires_at=NOW + DAY)
    assert reconnect_link(TARGET) == URL
    clock.advance(DAY)
    assert reconnect_link(TARGET) == ""


def test_one_without_a_date_is_good() -> None:
    reconnect_link, _ = links(LinkUse.USE, reconnect_url=URL)
    assert reconnect_link(TARGET) == URL


def test_a_missing_link_is_made_once_and_kept() -> None:
    class Counting(FakeProvider):
        made = 0

        def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
            assert not rotate
            Counting.made += 1
            return ReconnectLink(url=URL, expires_at=NOW + 90 * DAY)

    reconnect_link, _ = links(LinkUse.CREATE, Counting())
    assert [reconnect_link(TARGET), reconnect_link(TARGET)] == [URL, URL]
    assert Counting.made == 1


def test_a_link_that_cannot_be_made_is_not_asked_for_again_at_once() -> None:
    class Refusing(FakeProvider):
        asked_for = 0

        def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
            from monitor.errors import FetchError

            Refusing.asked_for += 1
            raise FetchError(failure())

    reconnect_link, clock = links(LinkUse.CREATE, Refusing())
    assert [reconnect_link(TARGET), reconnect_link(TARGET)] == ["", ""]
    assert Refusing.asked_for == 1
    clock.advance(HOUR)
    reconnect_link(TARGET)
    assert Refusing.asked_for == 2
    clock.advance(-365 * DAY)  # a clock that was set back puts it off no longer
    reconnect_link(TARGET)
    assert Refusing.asked_for == 3


@pytest.mark.parametrize("use", [LinkUse.OFF, LinkUse.USE])
def test_none_is_made_where_none_is_wanted(use: LinkUse) -> None:
    reconnect_link, _ = links(use)
    assert reconnect_link(TARGET) == ""


def test_an_account_itself_has_the_dashboard() -> None:
    reconnect_link, _ = links(LinkUse.CREATE)
    assert reconnect_link(Target(id=1, account="agency")) == ""


def test_the_log_hides_links_and_what_is_in_them_but_not_their_host() -> None:
    redact_links([URL, "https://app.postpost.dev/c?token=eyJhbGciOi.J9abcdef12.sig-natu_re"])
    out = io.StringIO()
    configure_logs(format="json", level="info", secrets=[], stream=out)
    structlog.get_logger().info("said", link=URL, token="5f2b1c9d0e8a7f6b", host="https://app.postpost.dev")
    line = json.loads(out.getvalue())
    assert "5f2b1c9d0e8a7f6b" not in out.getvalue()
    assert line["link"].startswith("https://app.postpost.dev/connections/")
    assert line["host"] == "https://app.postpost.dev"
    assert "J9abcdef12" not in scrub("token=eyJhbGciOi.J9abcdef12.sig-natu_re")
    structlog.reset_defaults()


def test_links_are_in_no_repr() -> None:
    user = ManagedUser(id=USER, name="North", reconnect_url=URL)
    assert URL not in repr(user) + repr(ReconnectLink(url=URL))


def test_of_several_links_the_first_good_one_counts() -> None:
    ended, good = ReconnectLink(url="a", expires_at=NOW), ReconnectLink(url="b", expires_at=NOW + HOUR)
    assert usable_link([ended, good], NOW) is good
    assert usable_link([ended], NOW) is None


@pytest.mark.parametrize(
    ("left", "needed_by", "use", "is_problem"),
    [
        (2 * DAY, 1, LinkUse.USE, True),
        (2 * DAY, 2, LinkUse.CREATE, True),
        (4 * DAY, 1, LinkUse.USE, False),
        (2 * DAY, 0, LinkUse.USE, False),
        (2 * DAY, 1, LinkUse.OFF, False),
        (None, 1, LinkUse.USE, False),
    ],
)
def test_a_link_is_a_problem_while_it_ends_soon_and_somebody_needs_it(
    left: timedelta | None, needed_by: int, use: LinkUse, is_problem: bool
) -> None:
    link = ReconnectLink(url=URL, expires_at=None if left is None else NOW + left)
    verdict = check_link(link, NOW, needed_by=needed_by, use=use)
    assert isinstance(verdict, Problem) is is_problem
    if isinstance(verdict, Problem):
        assert verdict.rule is RuleName.RECONNECT_LINK_EXPIRING
        assert URL not in verdict.summary + verdict.remedy


def test_without_a_link_nothing_is_known() -> None:
    assert check_link(None, NOW, needed_by=1, use=LinkUse.USE) is NoProblem.UNKNOWN
