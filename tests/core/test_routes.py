"""Who is told of what, in which group, and when: patterns, labels, quiet hours."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Cause, Incident, Reason, Resolution, RuleName, Severity, Subject, Target
from monitor.core.routing.client_channels import ClientUrl
from monitor.core.routing.routes import (
    WEEKDAYS,
    Labels,
    Matcher,
    QuietHours,
    Route,
    Routing,
    Schedule,
    Silence,
    Suppression,
    find_suppression,
    labels_of,
    matching_routes,
    plan_notifications,
    tell_operators,
    unreachable_users,
)
from tests.factories import DAY, HOUR, MINUTE, NOW, target

NOTICE, WARNING, CRITICAL = Severity
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(starts=time(20), ends=time(8), zone=BERLIN)


def about(**given: Any) -> Labels:
    usual: dict[str, Any] = {
        "account": "agency",
        "rule": "token_expiry",
        "severity": WARNING,
        "platform": "linkedin",
        "cause": ("authorization", "permission"),
        "managed_user": ("Acme [EU]", "65f0c0ffee65f0c0ffee65f0"),
        "labels": {"team": "emea"},
    }
    return Labels(**usual | given)


def change(
    reason: Reason | None = Reason.OPENED, severity: Severity = WARNING, **given: Any
) -> IncidentChange:
    usual: dict[str, Any] = {
        "rule": RuleName.TOKEN_EXPIRY,
        "subject": Subject(account="agency", target_id=1, platform_id="telegram--1001234567890"),
        "severity": severity,
        "max_severity": severity,
        "summary": "token expires soon",
        "opened_at": NOW,
    }
    return IncidentChange(incident=Incident(**usual | given), reason=reason)


def over(worst: Severity = WARNING) -> IncidentChange:
    return change(
        Reason.RESOLVED, NOTICE, max_severity=worst, resolved_at=NOW, resolution=Resolution.RECOVERED
    )


def channels(
    *routes: Route, notified: IncidentChange | None = None, about: Target | None = None
) -> list[str]:
    return [
        each.channel
        for each in plan_notifications(notified or change(), about or target(), Routing(routes=routes), NOW)
    ]


@pytest.mark.parametrize(
    ("match", "takes"),
    [
        (Matcher(), True),
        (Matcher(account=("agency",)), True),
        (Matcher(account=("other",)), False),
        (Matcher(account=("other", "agency")), True),
        (Matcher(account=("agen",)), False),
        (Matcher(account=("agen*",)), True),
        (Matcher(account=("*ency",)), True),
        (Matcher(account=("a*n*y",)), True),
        (Matcher(account=("Agency",)), False),
        (Matcher(platform=("linkedin", "threads")), True),
        (Matcher(platform=("threads",)), False),
        (Matcher(rule=("token_*",)), True),
        (Matcher(rule=("publish_error",)), False),
        (Matcher(severity=("warning", "critical")), True),
        (Matcher(severity=("critical",)), False),
        (Matcher(managed_user=("65f0c0ffee65f0c0ffee65f0",)), True),
        (Matcher(managed_user=("Acme [EU]",)), True),
        (Matcher(managed_user=("Acme*",)), True),
        (Matcher(managed_user=("Acme E",)), False),
        (Matcher(cause=("auth*",)), True),
        (Matcher(cause=("content", "permission")), True),
        (Matcher(cause=("content",)), False),
        (Matcher(labels={"team": ("emea",)}), True),
        (Matcher(labels={"team": ("apac", "e*")}), True),
        (Matcher(labels={"team": ("apac",)}), False),
        (Matcher(labels={"tier": ("gold",)}), False),
        (Matcher(labels={"tier": ("*",)}), False),
        (Matcher(labels={"team": ("emea",), "tier": ("gold",)}), False),
        (Matcher(account=("agency",), platform=("threads",)), False),
        (Matcher(account=("agency",), platform=("linkedin",), severity=("warning",)), True),
    ],
)
def test_every_key_must_match_by_any_of_its_patterns(match: Matcher, takes: bool) -> None:
    assert takes is match.matches(about())


@pytest.mark.parametrize("pattern", ["?gency", "[a]gency", "agency$", ".*", "agency|other", "a+gency"])
def test_only_the_star_is_a_pattern(pattern: str) -> None:
    assert not Matcher(account=(pattern,)).matches(about())
    assert Matcher(account=(pattern,)).matches(about(account=pattern))


@pytest.mark.parametrize("match", [Matcher(platform=("*",)), Matcher(managed_user=("*",))])
def test_what_is_not_there_matches_no_pattern(match: Matcher) -> None:
    nowhere = about(platform="", managed_user=())
    assert not match.matches(nowhere)
    assert Matcher().matches(nowhere)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_star_stands_for_any_text(start: str, rest: str) -> None:
    name = f"x{start.replace('*', '+')}{rest}"
    assert Matcher(account=(f"x{start.replace('*', '+')}*",)).matches(about(account=name))


def test_every_matching_route_delivers_until_one_says_stop() -> None:
    first = Route(channels=("a",), match=Matcher(account=("agency",)))
    other = Route(channels=("b",), match=Matcher(account=("other",)), continues=False)
    last = Route(channels=("c",), continues=False)
    after = Route(channels=("d",))
    assert [first, last] == matching_routes(about(), [first, other, last, after])
    assert ["a", "c"] == channels(first, other, last, after)


def test_a_channel_named_by_several_routes_is_told_once_by_the_first() -> None:
    slow = Route(channels=("ops", "mail"), group_by=("platform",), group_wait=HOUR)
    quick = Route(channels=("pager", "ops"), group_by=("severity",), group_wait=MINUTE)
    planned = plan_notifications(change(), target(), Routing(routes=[slow, quick]), NOW)
    assert [(each.channel, each.group, each.due_at - NOW) for each in planned] == [
        ("ops", "platform=telegram", HOUR),
        ("mail", "platform=telegram", HOUR),
        ("pager", "severity=warning", MINUTE),
    ]


def test_a_group_is_what_is_equal_in_all_it_goes_by() -> None:
    route = Route(channels=("ops",), group_by=("account", "managed_user", "rule"))
    user = target(managed_user="Acme", managed_user_id="65f0")
    (notification,) = plan_notifications(change(), user, Routing(routes=[route]), NOW)
    assert notification.group == "account=agency managed_user=Acme rule=token_expiry"


def test_labels_are_those_of_the_incidents_account() -> None:
    route = Route(channels=("ops",), match=Matcher(labels={"team": ("emea",)}))
    for labels, expected in (({"agency": {"team": "emea"}}, 1), ({"other": {"team": "emea"}}, 0)):
        assert expected == len(
            plan_notifications(change(), target(), Routing(routes=[route], labels=labels), NOW)
        )


def test_what_is_no_news_is_told_to_nobody() -> None:
    assert [] == channels(Route(channels=("ops",)), notified=change(None))


def test_recoveries_can_be_left_out_and_another_route_still_tells_them() -> None:
    quiet, loud = Route(channels=("ops",), send_resolved=False), Route(channels=("ops", "mail"))
    assert [] == channels(quiet, notified=over())
    assert ["ops", "mail"] == channels(quiet, loud, notified=over())
    assert ["ops"] == channels(quiet)


def test_who_was_told_of_the_worst_is_told_of_the_end() -> None:
    pager = Route(channels=("pager",), match=Matcher(severity=("critical",)))
    assert ["pager"] == channels(pager, notified=over(worst=CRITICAL))
    assert [] == channels(pager, notified=over(worst=WARNING))


def test_an_account_as_a_source_has_no_platform_and_no_managed_user() -> None:
    source = change(subject=Subject(account="agency"))
    route = Route(channels=("ops",), group_by=("account", "managed_user", "platform"))
    (notification,) = plan_notifications(source, None, Routing(routes=[route]), NOW)
    assert notification.group == "account=agency managed_user= platform="


# Quiet hours


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-02-22 19:59:59.999", None),
        ("2026-02-22 20:00", "2026-02-23 08:00"),
        ("2026-02-22 23:59", "2026-02-23 08:00"),
        ("2026-02-23 00:00", "2026-02-23 08:00"),
        ("2026-02-23 07:59:59.999", "2026-02-23 08:00"),
        ("2026-02-23 08:00", None),
        ("2026-02-23 12:00", None),
        ("2026-12-31 22:00", "2027-01-01 08:00"),
    ],
)
def test_quiet_hours_may_last_over_midnight(now: str, until: str | None) -> None:
    assert (berlin(until) if until else None) == NIGHT.until(berlin(now))


@pytest.mark.parametrize(
    ("now", "until"),
    [("11:59", None), ("12:00", "14:00"), ("13:59", "14:00"), ("14:00", None), ("00:00", None)],
)
def test_quiet_hours_may_lie_within_a_day(now: str, until: str | None) -> None:
    nap = QuietHours(starts=time(12), ends=time(14), zone=BERLIN)
    day = "2026-02-22 "
    assert (berlin(day + until) if until else None) == nap.until(berlin(day + now))


@pytest.mark.parametrize(
    ("now", "until", "hours"),
    [
        ("2026-03-28 20:00", "2026-03-29 08:00", 11),
        ("2026-10-24 20:00", "2026-10-25 08:00", 13),
        ("2026-02-22 20:00", "2026-02-23 08:00", 12),
    ],
)
def test_a_night_in_which_the_clocks_change_ends_at_the_same_time_of_day(
    now: str, until: str, hours: int
) -> None:
    assert berlin(until) == NIGHT.until(berlin(now))
    assert berlin(until) - berlin(now) == hours * HOUR


@pytest.mark.parametrize(
    ("now", "fold", "ends", "until_utc"),
    [
        # 2026-10-25: 03:00 is 02:00 again
        ("2026-10-25 02:10", 0, time(2, 30), "2026-10-25T00:30Z"),
        ("2026-10-25 02:10", 1, time(2, 30), "2026-10-25T01:30Z"),
        ("2026-10-25 02:40", 0, time(2, 30), None),
        ("2026-10-25 02:40", 1, time(2, 30), None),
        # 2026-03-29: 02:00 is 03:00 at once
        ("2026-03-29 01:59", 0, time(2, 30), "2026-03-29T01:30Z"),
        ("2026-03-29 03:00", 0, time(2, 30), None),
    ],
)
def test_quiet_hours_that_end_while_the_clocks_change(
    now: str, fold: int, ends: time, until_utc: str | None
) -> None:
    quiet = QuietHours(starts=time(20), ends=ends, zone=BERLIN)
    expected = datetime.fromisoformat(until_utc) if until_utc else None
    assert expected == quiet.until(berlin(now, fold))


times = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
instants = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE
)
near_changes = st.builds(
    lambda day, minutes: day + minutes * MINUTE,
    st.sampled_from([datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)]),
    st.integers(0, 48 * 60),
)


@given(starts=times, ends=times, zone=zones.map(ZoneInfo), now=instants | near_changes)
def test_quiet_always_ends_ahead_within_a_day_and_then_it_is_not_quiet(
    starts: time, ends: time, zone: ZoneInfo, now: datetime
) -> None:
    quiet = QuietHours(starts=starts, ends=ends, zone=zone)
    until = quiet.until(now)
    if until is not None:
        assert now < until <= now + DAY + HOUR
        assert quiet.until(until) is None


@given(now=instants | near_changes, wait=st.timedeltas(timedelta(), HOUR), severity=st.sampled_from(Severity))
def test_nothing_is_due_before_its_group_has_waited_and_nothing_but_critical_in_quiet_hours(
    now: datetime, wait: timedelta, severity: Severity
) -> None:
    route = Route(channels=("ops",), group_wait=wait, quiet_hours=NIGHT)
    (notification,) = plan_notifications(change(severity=severity), target(), Routing(routes=[route]), now)
    assert notification.due_at >= now + wait
    if severity is CRITICAL:
        assert notification.due_at == now + wait
    else:
        assert NIGHT.until(notification.due_at) is None


def test_critical_waits_too_where_it_is_told_to() -> None:
    night = QuietHours(starts=time(20), ends=time(8), zone=BERLIN, critical=False)
    route = Route(channels=("ops",), quiet_hours=night)
    (notification,) = plan_notifications(change(severity=CRITICAL), target(), Routing(routes=[route]), NOW)
    assert notification.due_at == berlin("2026-02-23 08:00")


def test_a_group_that_fills_until_after_quiet_has_begun_waits_for_its_end() -> None:
    route = Route(channels=("ops",), group_wait=10 * MINUTE, quiet_hours=NIGHT)
    now = berlin("2026-02-22 19:55")
    (notification,) = plan_notifications(change(), target(), Routing(routes=[route]), now)
    assert notification.due_at == berlin("2026-02-23 08:00")


# Silences


def test_a_silence_holds_back_what_it_matches_until_it_ends() -> None:
    short = Silence(id=1, match=Matcher(), ends_at=NOW + HOUR)
    long = Silence(id=2, match=Matcher(platform=("telegram",)), ends_at=NOW + DAY)
    other = Silence(id=3, match=Matcher(platform=("threads",)), ends_at=NOW + 9 * DAY)
    routing = Routing(routes=[Route(channels=("ops",))], silences=[short, long, other])
    (notification,) = plan_notifications(change(), target(), routing, NOW)
    assert (NOW + DAY, 2) == (notification.due_at, notification.silence_id)


def test_a_silence_that_is_nearly_over_does_not_shorten_the_wait_for_a_group() -> None:
    silence = Silence(id=1, match=Matcher(), ends_at=NOW + MINUTE)
    routing = Routing(routes=[Route(channels=("ops",), group_wait=HOUR)], silences=[silence])
    (notification,) = plan_notifications(change(), target(), routing, NOW)
    assert notification.due_at == NOW + HOUR


def test_a_silence_that_ends_in_quiet_hours_is_followed_by_quiet() -> None:
    silence = Silence(id=1, match=Matcher(), ends_at=berlin("2026-02-23 03:00"))
    routing = Routing(routes=[Route(channels=("ops",), quiet_hours=NIGHT)], silences=[silence])
    for severity, due in ((WARNING, "2026-02-23 08:00"), (CRITICAL, "2026-02-23 03:00")):
        (notification,) = plan_notifications(
            change(severity=severity), target(), routing, berlin("2026-02-22 19:00")
        )
        assert notification.due_at == berlin(due)


# Regular summaries


@pytest.mark.parametrize(
    ("now", "weekday", "due"),
    [
        ("2026-02-23 08:59", None, "2026-02-22 09:00"),
        ("2026-02-23 09:00", None, "2026-02-23 09:00"),
        ("2026-02-23 09:00", "monday", "2026-02-23 09:00"),
        ("2026-02-23 08:59", "monday", "2026-02-16 09:00"),
        ("2026-02-28 12:00", "monday", "2026-02-23 09:00"),
        ("2026-03-29 12:00", None, "2026-03-29 09:00"),
    ],
)
def test_a_summary_was_due_at_its_time_of_day(now: str, weekday: str | None, due: str) -> None:
    schedule = Schedule(time_of_day=time(9), zone=BERLIN, weekday=weekday)
    assert berlin(due) == schedule.last_due_at(berlin(now))


def test_a_summary_at_a_time_that_the_clocks_leap_over_is_not_due_before_it_comes() -> None:
    # 2026-03-29: 02:00 is 03:00 at once, so 02:30 is half past three
    schedule = Schedule(time_of_day=time(2, 30), zone=BERLIN)
    assert berlin("2026-03-28 02:30") == schedule.last_due_at(berlin("2026-03-29 03:10"))
    assert berlin("2026-03-29 03:30") == schedule.last_due_at(berlin("2026-03-29 03:30"))


@given(
    at=times,
    zone=zones.map(ZoneInfo),
    now=instants | near_changes,
    weekday=st.none() | st.sampled_from(WEEKDAYS),
)
def test_a_summary_was_due_within_the_last_day_or_week_and_never_ahead(
    at: time, zone: ZoneInfo, now: datetime, weekday: str | None
) -> None:
    due = Schedule(time_of_day=at, zone=zone, weekday=weekday).last_due_at(now)
    assert now - (DAY if weekday is None else 7 * DAY) - 2 * HOUR < due <= now
    if weekday is not None:
        number = WEEKDAYS.index(weekday)
        assert (due + HOUR).astimezone(zone).weekday() in {number, (number + 1) % 7}


# Problems of the monitor itself


FAILING = change(rule=RuleName.CHANNEL_FAILING, subject=Subject(channel="ops"))
CLIENT = ClientUrl(template="mailto://x@example.com?to={managed_user.username}")


@pytest.mark.parametrize(
    ("routes", "told"),
    [
        pytest.param([], ["pager", "chat"], id="no-route"),
        pytest.param([Route(channels=("ops",))], ["pager", "chat"], id="the-failing-channel-alone"),
        pytest.param([Route(channels=("ops", "chat"))], ["chat"], id="a-route-names-another"),
        pytest.param(
            [Route(channels=("chat",), match=Matcher(account=("agency",)))],
            ["pager", "chat"],
            id="no-route-takes-it",
        ),
    ],
)
def test_operators_hear_of_the_monitor_by_a_route_or_by_every_other_channel(
    routes: list[Route], told: list[str]
) -> None:
    routing = Routing(routes=routes, clients={"client": CLIENT})
    notified = tell_operators(FAILING, ["ops", "pager", "client", "chat"], routing, NOW, itself="ops")
    assert told == [each.channel for each in notified]
    assert {NOW + timedelta(seconds=30)} == {each.due_at for each in notified}


def test_nobody_is_left_to_hear_of_the_only_channel() -> None:
    routing = Routing(routes=[Route(channels=("ops",))], clients={"client": CLIENT})
    assert () == tell_operators(FAILING, ["ops", "client"], routing, NOW, itself="ops")


# What is held back when it is about to be sent


def test_what_is_critical_is_not_held_back_by_quiet_hours() -> None:
    routing = Routing(
        routes=[Route(channels=("ops",), match=Matcher(managed_user=("Acme",)), quiet_hours=NIGHT)]
    )
    now, user = berlin("2026-02-22 21:00"), target(managed_user="Acme")
    assert find_suppression(change(severity=CRITICAL).incident, user, "ops", routing, now) is None
    assert find_suppression(change().incident, user, "ops", routing, now) is not None


@pytest.mark.parametrize(
    ("routing", "channel", "suppression"),
    [
        pytest.param(Routing(routes=[Route(channels=("ops",))]), "ops", None, id="nothing"),
        pytest.param(
            Routing(routes=[Route(channels=("ops",), quiet_hours=NIGHT)]),
            "ops",
            Suppression(until=berlin("2026-02-23 08:00")),
            id="quiet-hours",
        ),
        pytest.param(
            Routing(routes=[Route(channels=("ops",), quiet_hours=NIGHT)]),
            "pager",
            None,
            id="of-another-channel",
        ),
        pytest.param(
            Routing(routes=[Route(channels=("chat",)), Route(channels=("ops",), quiet_hours=NIGHT)]),
            "ops",
            Suppression(until=berlin("2026-02-23 08:00")),
            id="of-the-route-that-names-it",
        ),
        pytest.param(
            Routing(
                routes=[Route(channels=("ops",))],
                silences=[Silence(id=7, match=Matcher(), ends_at=NOW + HOUR)],
            ),
            "ops",
            Suppression(until=NOW + HOUR, silence_id=7),
            id="silence",
        ),
        pytest.param(
            Routing(routes=[], silences=[Silence(id=7, match=Matcher(), ends_at=NOW + HOUR)]),
            "ops",
            Suppression(until=NOW + HOUR, silence_id=7),
            id="silence-without-a-route",
        ),
        pytest.param(
            Routing(
                routes=[Route(channels=("ops",))], silences=[Silence(id=7, match=Matcher(), ends_at=NOW)]
            ),
            "ops",
            None,
            id="silence-that-is-over",
        ),
        pytest.param(
            Routing(
                routes=[Route(channels=("ops",), quiet_hours=NIGHT)],
                silences=[Silence(id=7, match=Matcher(), ends_at=NOW + HOUR)],
            ),
            "ops",
            Suppression(until=berlin("2026-02-23 08:00"), silence_id=7),
            id="silence-that-ends-in-quiet-hours",
        ),
    ],
)
def test_quiet_hours_and_silences_hold_back_what_was_planned_before_them(
    routing: Routing, channel: str, suppression: Suppression | None
) -> None:
    incident = change().incident
    assert suppression == find_suppression(incident, target(), channel, routing, berlin("2026-02-22 21:00"))


# Clients without an address


def test_clients_that_a_channel_is_to_reach_and_cannot_are_found() -> None:
    reachable = target(id=1, managed_user_id="a" * 24, username="a@example.com")
    lost = target(id=2, managed_user_id="b" * 24, managed_user="Bakery", username="no address")
    elsewhere = target(id=3, account="other", managed_user_id="c" * 24)
    users = [reachable, lost, elsewhere]

    def unreached(channel: str = "client", **match: Any) -> list[Target]:
        routes = [Route(channels=("ops", "client"), match=Matcher(**match))]
        labels = {"agency": {"team": "emea"}}
        routing = Routing(routes=routes, clients={"client": CLIENT}, labels=labels)
        return unreachable_users(channel, users, routing)

    assert [lost, elsewhere] == unreached()
    assert [] == unreached("ops")
    assert [lost] == unreached(account=("agency",))
    assert [lost] == unreached(managed_user=("Bakery",))
    assert [lost] == unreached(managed_user=("b*",))
    assert [lost] == unreached(labels={"team": ("emea",)})
    # What a route takes of a client's problems says nothing of whether the client is meant.
    assert [lost, elsewhere] == unreached(
        platform=("threads",), rule=("token_expiry",), severity=("critical",)
    )
    assert [] == unreachable_users("client", users, Routing(routes=[], clients={"client": CLIENT}))


@pytest.mark.parametrize(
    ("given", "platform", "causes", "severity"),
    [
        pytest.param({}, "telegram", (), WARNING, id="open"),
        pytest.param({"cause": Cause.CONTENT}, "telegram", ("content",), WARNING, id="cause"),
        pytest.param(
            {"cause": Cause.CONTENT, "max_severity": CRITICAL},
            "telegram",
            ("content",),
            WARNING,
            id="was-worse",
        ),
        pytest.param(
            {"cause": Cause.CONTENT, "max_severity": CRITICAL, "resolved_at": NOW},
            "telegram",
            ("content", "authorization", "permission"),
            CRITICAL,
            id="ended-and-was-critical",
        ),
        pytest.param(
            {"cause": Cause.CONTENT, "severity": NOTICE, "max_severity": WARNING, "resolved_at": NOW},
            "telegram",
            ("content",),
            WARNING,
            id="ended-and-was-a-warning",
        ),
        pytest.param(
            {"cause": Cause.PERMISSION, "severity": CRITICAL, "max_severity": CRITICAL, "resolved_at": NOW},
            "telegram",
            ("permission",),
            CRITICAL,
            id="ended-critical",
        ),
        pytest.param({"subject": Subject(account="agency")}, "", (), WARNING, id="account"),
    ],
)
def test_an_incident_is_matched_by_what_it_is_about(
    given: dict[str, Any], platform: str, causes: tuple[str, ...], severity: Severity
) -> None:
    user = target(managed_user="Acme", managed_user_id="a" * 24)
    routing = Routing(routes=[], labels={"agency": {"team": "emea"}})
    assert labels_of(change(**given).incident, user, routing) == Labels(
        account="agency",
        rule="token_expiry",
        severity=severity,
        platform=platform,
        cause=causes,
        managed_user=("Acme", "a" * 24),
        labels={"team": "emea"},
    )


def test_an_incident_about_nobody_has_no_managed_user_and_no_account() -> None:
    labels = labels_of(FAILING.incident, None, Routing(routes=[]))
    assert (labels.account, labels.managed_user, labels.labels) == ("", (), {})


@pytest.mark.parametrize(
    ("wait", "silenced", "suppressed_until"),
    [
        pytest.param(HOUR, None, None, id="the-wait-for-a-group"),
        pytest.param(timedelta(), HOUR, NOW + HOUR, id="a-silence"),
        pytest.param(HOUR, MINUTE, None, id="a-silence-within-the-wait"),
    ],
)
def test_only_what_is_held_beyond_its_group_is_suppressed(
    wait: timedelta, silenced: timedelta | None, suppressed_until: datetime | None
) -> None:
    silences = [Silence(id=1, match=Matcher(), ends_at=NOW + silenced)] if silenced else []
    routing = Routing(routes=[Route(channels=("ops",), group_wait=wait)], silences=silences)
    (notification,) = plan_notifications(change(), target(), routing, NOW)
    assert notification.suppressed_until == suppressed_until


def test_a_service_with_incidents_of_its_own_waits_for_no_group() -> None:
    routes = [Route(channels=("ops", "pager"), group_wait=HOUR)]
    routing = Routing(routes=routes, incident_channels=frozenset({"pager"}))
    planned = plan_notifications(change(), target(), routing, NOW)
    assert {"ops": NOW + HOUR, "pager": NOW} == {each.channel: each.due_at for each in planned}


def test_a_client_is_told_of_its_own_connections_in_a_group_of_its_own() -> None:
    client = target(managed_user_id="a" * 24, username="a@example.com")
    routing = Routing(routes=[Route(channels=("client",))], clients={"client": CLIENT})
    (notification,) = plan_notifications(change(), client, routing, NOW)
    assert (notification.group, notification.reason) == (f"client {'a' * 24} of agency", Reason.OPENED)
    # One that can't be reached keeps nobody else from hearing of it.
    both = replace(routing, routes=[Route(channels=("client", "ops"))])
    assert ["ops"] == [each.channel for each in plan_notifications(change(), target(), both, NOW)]
    assert () == plan_notifications(change(), replace(client, username=None), routing, NOW)
    assert () == plan_notifications(change(), target(), routing, NOW)
    assert () == plan_notifications(change(), None, routing, NOW)
    assert () == plan_notifications(change(subject=Subject(account="agency")), client, routing, NOW)
