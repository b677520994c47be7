"""What people read: exact texts of the usual messages, and what holds for every one."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration, format_roughly, list_some, platform_name
from monitor.core.messages.render import Item, NotificationReason, render
from monitor.core.messages.wording import Wording
from monitor.core.model import Cause, Connection, Incident, Reason, Resolution, RuleName, Severity, Subject
from monitor.core.text import sanitize
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, target

NOTICE, WARNING, CRITICAL = Severity
SECOND = timedelta(seconds=1)
INSTAGRAM = connection(
    platform_id="instagram-17841412345678",
    username="@yourinstagram",
    display_name="Your Brand",
    token_status="expiring_soon",
    expires_at=NOW + timedelta(days=2, hours=12),
)


def incident(**given: Any) -> Incident:
    usual: dict[str, Any] = {
        "id": 12,
        "rule": RuleName.TOKEN_EXPIRY,
        "subject": Subject(account="agency", target_id=1, platform_id="instagram-17841412345678"),
        "severity": WARNING,
        "summary": "token expires at 2026-02-25 08:00 UTC",
        "deadline_at": NOW + timedelta(days=2, hours=12),
        "opened_at": NOW,
    }
    return Incident(**{"max_severity": given.get("severity", WARNING)} | usual | given)


def ended(resolution: Resolution = Resolution.RECOVERED, **given: Any) -> Incident:
    times = {"opened_at": NOW - 3 * HOUR, "resolved_at": NOW}
    return incident(resolution=resolution, **times | given)


def item(about: Incident | None = None, **given: Any) -> Item:
    usual: dict[str, Any] = {
        "incident": about or incident(),
        "reasons": frozenset({Reason.OPENED}),
        "target": target(),
        "connection": INSTAGRAM,
        "dashboard_url": "https://app.postpost.dev",
    }
    return Item(**usual | given)


def source(**given: Any) -> Item:
    usual: dict[str, Any] = {
        "rule": RuleName.API_KEY_REJECTED,
        "subject": Subject(account="agency"),
        "severity": CRITICAL,
        "summary": "the API key is invalid or was revoked",
        "remedy": "replace the key with a valid one from https://app.postpost.dev",
        "deadline_at": None,
    }
    return item(incident(**usual | given), connection=None, target=None)


def written(*items: Item, limit: int | None = None) -> Message:
    """Write a message as readers see it: without the zero-width space that keeps ``@`` from acting."""
    message = sent(*items, limit=limit)
    return replace(
        message, title=message.title.replace("\u200b", ""), body=message.body.replace("\u200b", "")
    )


def sent(*items: Item, limit: int | None = None) -> Message:
    message = render(items, now=NOW, key="0a1b2c3d4e", limit=limit)
    assert message
    return message


# The usual messages, word for word: who is woken by one must need nothing else.


def test_a_token_that_expires_and_a_post_that_failed_word_for_word() -> None:
    failed = incident(
        id=13,
        rule=RuleName.PUBLISH_ERROR,
        cause=Cause.CONTENT,
        summary="publishing failed at 2026-02-21 16:45 UTC: Media upload failed: Invalid image format",
        remedy="correct the post and publish it again",
        deadline_at=None,
    )
    message = written(item(failed), item())
    assert message.title == (
        "[WARNING] Instagram @yourinstagram (Your Brand): token expires in 2 days and 1 more problem"
    )
    assert message.body == (
        "WARNING: Access expires in 2 days (25 Feb, 08:00 UTC). Posts to this account will fail after that.\n"
        "Open since 22 Feb, 20:00 UTC.\n"
        "WARNING: The post was not published. Other posts are not affected.\n"
        "Publishing failed at 21 Feb, 16:45 UTC: Media upload failed: Invalid image format.\n"
        "Open since 22 Feb, 20:00 UTC.\n"
        "What to do: reconnect this account at https://app.postpost.dev\n"
        "What to do: correct the post and publish it again\n"
        "Connection: Your Brand (@yourinstagram) on Instagram, account agency.\n"
        "\n"
        "Incidents 12, 13 · message 0a1b2c3d4e"
    )
    assert message.severity is WARNING


def test_a_token_that_has_expired_word_for_word() -> None:
    expired = incident(
        severity=CRITICAL,
        summary="token expired at 2026-02-22 19:30 UTC",
        deadline_at=NOW - 30 * MINUTE,
        opened_at=NOW - 7 * DAY,
    )
    seen = replace(INSTAGRAM, last_successful_post_at=NOW - DAY)
    user = target(managed_user="Acme", managed_user_id="65f0c0ffee65f0c0ffee65f0")
    message = written(item(expired, last_severity=WARNING, connection=seen, target=user))
    assert message.title == "[CRITICAL] Instagram @yourinstagram (Acme): token expired 30 minutes ago"
    assert message.body == (
        "Escalated to CRITICAL: access expired 30 minutes ago (22 Feb, 19:30 UTC)."
        " Posts to this account will fail until it is reconnected.\n"
        "Open since 15 Feb, 20:00 UTC.\n"
        "Last successful post: 21 Feb, 20:00 UTC.\n"
        "What to do: reconnect this account at https://app.postpost.dev\n"
        "Connection: Your Brand (@yourinstagram) on Instagram, managed user Acme, account agency.\n"
        "\n"
        "Incident 12 · message 0a1b2c3d4e"
    )


def test_a_recovery_word_for_word() -> None:
    seen = replace(INSTAGRAM, token_status="valid", expires_at=NOW + 60 * DAY)
    message = written(item(ended(max_severity=CRITICAL), last_severity=CRITICAL, connection=seen))
    assert message.title == "[RESOLVED] Instagram @yourinstagram (Your Brand): token is valid again"
    assert message.body == (
        "The token is valid again until 23 Apr, 20:00 UTC. The problem lasted 3 hours.\n"
        "Connection: Your Brand (@yourinstagram) on Instagram, account agency.\n"
        "\n"
        "Incident 12 · message 0a1b2c3d4e"
    )
    assert message.severity is None


@pytest.mark.parametrize("left", [timedelta(), HOUR, 7 * DAY, -30 * DAY])
def test_a_token_is_not_said_to_be_good_until_its_access_token_ends(left: timedelta) -> None:
    seen = replace(INSTAGRAM, token_status="valid", expires_at=NOW + left)
    message = written(item(ended(max_severity=CRITICAL), last_severity=CRITICAL, connection=seen))
    assert message.body.startswith("The token is valid again. The problem lasted 3 hours.\n")


def test_a_rejected_key_word_for_word() -> None:
    message = written(source())
    assert message.title == "[CRITICAL] Account agency: API key rejected"
    assert message.body == (
        "The monitor can't check the connections of this account."
        " New problems go unnoticed until the API accepts the key.\n"
        "The API key is invalid or was revoked.\n"
        "Open since 22 Feb, 20:00 UTC.\n"
        "What to do: replace the key with a valid one from https://app.postpost.dev\n"
        "\n"
        "Incident 12 · message 0a1b2c3d4e"
    )


def test_a_reminder_word_for_word() -> None:
    message = written(
        item(incident(opened_at=NOW - 4 * DAY), last_severity=WARNING, reasons=frozenset({Reason.REMINDER}))
    )
    assert (
        message.title == "[WARNING] Instagram @yourinstagram (Your Brand): token expires in 2 days (reminder)"
    )
    assert message.body.splitlines()[:2] == [
        "Still open: access expires in 2 days (25 Feb, 08:00 UTC)."
        " Posts to this account will fail after that.",
        "Open since 18 Feb, 20:00 UTC.",
    ]


def test_what_came_and_went_word_for_word() -> None:
    seen = replace(INSTAGRAM, token_status="valid", expires_at=NOW + 60 * DAY)
    message = written(item(ended(), connection=seen))
    assert message.title == "[RESOLVED] Instagram @yourinstagram (Your Brand): token is valid again"
    assert message.body.splitlines()[0] == (
        "The token is valid again until 23 Apr, 20:00 UTC. The problem began and ended before this message "
        "could be sent. It lasted 3 hours: Access expires at 25 Feb, 08:00 UTC."
    )


def test_a_connection_that_is_gone_word_for_word() -> None:
    message = written(item(ended(Resolution.REMOVED), last_severity=WARNING))
    assert message.title == "[REMOVED] Instagram @yourinstagram (Your Brand): connection is no longer listed"
    assert message.body.splitlines()[0] == (
        "The API no longer lists this connection. Its last problem: Access expires at 25 Feb, 08:00 UTC."
    )


def test_many_at_once_are_a_line_each_word_for_word() -> None:
    message = written(*crowd(6))
    assert message.title == (
        "[WARNING] agency: reconnect Instagram @brand1 (2 hours left), Instagram @brand2 (3 hours left) and 4 more"
    )
    assert message.body == (
        "Posts to 6 accounts will fail, the first in 2 hours (22 Feb, 22:00 UTC).\n\n"
        + "".join(
            f"WARNING: Instagram @brand{n} (Brand {n}): "
            f"Access expires in {n + 1} hours ({22 + (21 + n) // 24} Feb, {(21 + n) % 24:02}:00 UTC). Incident {n}.\n"
            for n in range(1, 7)
        )
        + "\nWhat to do: reconnect these accounts at https://app.postpost.dev\n"
        "\n"
        "Incidents 1, 2, 3, 4, 5, 6 · message 0a1b2c3d4e"
    )


def crowd(count: int) -> list[Item]:
    """So many Instagram tokens, each expiring an hour after the one before it."""
    return [
        item(
            incident(
                id=n,
                subject=Subject(account="agency", target_id=1, platform_id=f"instagram-{n}"),
                deadline_at=NOW + (n + 1) * HOUR,
            ),
            connection=connection(
                platform_id=f"instagram-{n}", username=f"brand{n}", display_name=f"Brand {n}"
            ),
        )
        for n in range(1, count + 1)
    ]


# What is news


def expected_news(
    is_open: bool,
    notified: Severity | None,
    last_was_resolved: bool,
    severity: Severity,
    reasons: frozenset[Reason],
) -> NotificationReason | None:
    if not is_open:
        return (
            None
            if last_was_resolved
            else NotificationReason.RESOLVED
            if notified
            else NotificationReason.MISSED
        )
    if last_was_resolved or notified is None:
        return NotificationReason.OPENED
    if severity.rank > notified.rank:
        return NotificationReason.ESCALATED
    if reasons - {Reason.REMINDER, Reason.RESOLVED}:
        return NotificationReason.UPDATED
    return NotificationReason.REMINDER if Reason.REMINDER in reasons else None


REASONS = [
    frozenset[Reason](),
    *(frozenset({reason}) for reason in (Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.REMINDER)),
    frozenset({Reason.OPENED, Reason.RESOLVED}),
    frozenset({Reason.UPDATED, Reason.REMINDER}),
]


@pytest.mark.parametrize(("notified", "reasons"), [*product([None, *Severity, "resolved"], REASONS)])
def test_news_is_the_difference_between_what_was_told_and_what_is_true(
    notified: Severity | str | None, reasons: frozenset[Reason]
) -> None:
    last_was_resolved = notified == "resolved"
    last = None if last_was_resolved or notified is None else Severity(notified)
    for severity in Severity:
        for about in (incident(severity=severity), ended(severity=severity)):
            one = item(about, last_severity=last, last_was_resolved=last_was_resolved, reasons=reasons)
            assert one.reason is expected_news(about.is_open, last, last_was_resolved, severity, reasons)


@pytest.mark.parametrize("notified", [None, *Severity])
def test_what_gave_way_to_something_worse_is_never_said_to_be_over(notified: Severity | None) -> None:
    one = item(ended(Resolution.SUPERSEDED), last_severity=notified, reasons=frozenset(Reason))
    assert one.reason is None
    assert render([one], now=NOW, key="k") is None


def test_opened_and_resolved_before_it_was_sent_is_told_as_one() -> None:
    one = item(ended(), reasons=frozenset({Reason.OPENED, Reason.ESCALATED, Reason.RESOLVED}))
    assert one.reason is NotificationReason.MISSED


def test_nothing_is_told_twice_once_it_was_told() -> None:
    for about in (incident(), ended()):
        notified = None if about.resolved_at else about.severity
        one = item(about, last_severity=notified, last_was_resolved=not about.is_open, reasons=frozenset())
        assert render([one], now=NOW, key="k") is None


def test_without_news_there_is_no_message() -> None:
    assert render([], now=NOW, key="k") is None


# What is true when it is written


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (timedelta(), "Access expires in 2 days (25 Feb, 08:00 UTC)."),
        (2 * DAY, "Access expires in 12 hours (25 Feb, 08:00 UTC)."),
        (timedelta(days=2, hours=12), "Access expired less than a minute ago (25 Feb, 08:00 UTC)."),
        (3 * DAY, "Access expired 12 hours ago (25 Feb, 08:00 UTC)."),
    ],
)
def test_countdowns_are_true_when_the_message_is_written(later: timedelta, said: str) -> None:
    assert said == Wording(now=NOW + later).describe(item())


@pytest.mark.parametrize(
    ("summary", "title", "said"),
    [
        pytest.param(
            "token expires soon",
            "token expires soon",
            "Access expires soon. Posts to this account will fail after that.",
            id="soon",
        ),
        pytest.param(
            "token has expired",
            "token has expired",
            "Access has expired. Posts to this account will fail until it is reconnected.",
            id="expired",
        ),
        pytest.param(
            "token has expired before its date, 2026-04-03 20:00 UTC",
            "token has expired before its date",
            "Access has expired before its date, 3 Apr, 20:00 UTC. "
            "Posts to this account will fail until it is reconnected.",
            id="before its date",
        ),
    ],
)
def test_a_token_without_a_deadline_is_not_said_to_be_what_it_is_not(
    summary: str, title: str, said: str
) -> None:
    message = written(item(incident(summary=summary, deadline_at=None, severity=CRITICAL)))
    assert message.title == f"[CRITICAL] Instagram @yourinstagram (Your Brand): {title}"
    assert message.body.splitlines()[0] == said


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (-DAY, "less than a minute"),
        (29 * SECOND, "less than a minute"),
        (MINUTE, "1 minute"),
        (59 * MINUTE, "59 minutes"),
        (HOUR, "1 hour"),
        (HOUR + MINUTE, "1 hour 1 minute"),
        (23 * HOUR + 59 * MINUTE, "23 hours 59 minutes"),
        (DAY - SECOND, "1 day"),
        (3 * DAY - MINUTE, "3 days"),
        (2 * DAY + 12 * HOUR, "2 days 12 hours"),
        (82 * DAY + 4 * HOUR + 20 * MINUTE, "82 days 4 hours"),
    ],
)
def test_durations_are_written_for_people(duration: timedelta, said: str) -> None:
    assert said == format_duration(duration)


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (-DAY, "less than a minute"),
        (100 * MINUTE, "1 hour 40 minutes"),
        (2 * HOUR + 29 * MINUTE, "2 hours 29 minutes"),
        (2 * HOUR + 31 * MINUTE, "3 hours"),
        (21 * HOUR + 57 * MINUTE, "22 hours"),
        (2 * DAY - HOUR, "47 hours"),
        (2 * DAY - MINUTE, "2 days"),
        (3 * DAY - HOUR, "2 days"),
        (3 * DAY, "3 days"),
    ],
)
def test_a_title_has_durations_in_one_unit_and_never_promises_a_day_too_many(
    duration: timedelta, said: str
) -> None:
    assert said == format_roughly(duration)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (list("abcde"), "a, b and 3 more"),
    ],
)
def test_names_are_joined_as_people_join_them(names: list[str], said: str) -> None:
    assert said == list_some(names, 2)


@pytest.mark.parametrize(
    ("zone", "moment", "said"),
    [
        ("UTC", NOW, "22 Feb, 20:00 UTC"),
        ("Europe/Berlin", NOW, "22 Feb, 21:00 Berlin"),
        ("America/Argentina/Buenos_Aires", NOW, "22 Feb, 17:00 Buenos Aires"),
        ("Europe/Berlin", NOW + 365 * DAY, "22 Feb 2027, 21:00 Berlin"),
    ],
)
def test_times_are_in_the_zone_of_the_readers_and_name_another_year(
    zone: str, moment: datetime, said: str
) -> None:
    assert said == Wording(now=NOW, time_zone=ZoneInfo(zone)).time(moment)


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ("failed at 2026-02-21 23:45 UTC: no", "failed at 22 Feb, 00:45 Berlin: no"),
        ("failed at 2026-02-31 23:45 UTC", "failed at 2026-02-31 23:45 UTC"),
        ("failed at 9999-12-31 23:45 UTC", "failed at 9999-12-31 23:45 UTC"),
    ],
)
def test_times_in_a_summary_are_written_for_the_readers(summary: str, said: str) -> None:
    assert said == Wording(now=NOW, time_zone=ZoneInfo("Europe/Berlin")).localize(summary)


# Order, titles and groups


def test_the_worst_comes_first_then_the_nearest_deadline_and_what_is_over_last() -> None:
    late, soon = crowd(2)[1], crowd(2)[0]
    worst = item(incident(id=3, severity=CRITICAL, deadline_at=NOW + DAY))
    over = item(ended(id=4), last_severity=CRITICAL)
    body = written(over, late, worst, soon).body
    places = [body.index(text) for text in ("CRITICAL:", "Brand 1 ", "Brand 2 ")]
    assert places == sorted(places)
    assert body.index("RESOLVED:") > body.index("CRITICAL:")
    assert written(over, late, worst, soon) == written(soon, worst, late, over)


def test_titles_count_what_is_open_and_name_the_account_or_how_many() -> None:
    elsewhere = item(incident(subject=Subject(account="other", target_id=2, platform_id="tiktok-1")))
    over = item(ended(id=4), last_severity=CRITICAL)
    assert written(item(), elsewhere).title == (
        "[WARNING] 2 accounts: reconnect Instagram @yourinstagram (2 days left) and "
        "Instagram @yourinstagram (2 days left)"
    )
    assert (
        written(item(), over).title
        == "[WARNING] Instagram @yourinstagram (Your Brand): token expires in 2 days"
    )
    two_over = [
        item(ended(id=n, subject=Subject(account="agency", target_id=n)), last_severity=WARNING)
        for n in (1, 2)
    ]
    assert written(*two_over).title == (
        "[RESOLVED] agency: Instagram @yourinstagram and Instagram @yourinstagram"
    )


def test_a_channel_that_fails_has_no_account() -> None:
    failing = incident(
        rule=RuleName.CHANNEL_FAILING,
        subject=Subject(channel="ops"),
        summary="3 messages could not be sent",
        remedy="see the log",
        deadline_at=None,
    )
    message = written(item(failing, connection=None, target=None))
    assert message.title == "[WARNING] Channel ops: messages are not delivered"
    assert message.body.startswith(
        "Alerts for this channel are not being delivered.\n3 messages could not be sent.\n"
    )


@pytest.mark.parametrize("rule", RuleName)
def test_every_kind_of_problem_has_words_for_every_kind_of_news(rule: RuleName) -> None:
    for about, notified, reasons in (
        (incident(rule=rule), None, {Reason.OPENED}),
        (incident(rule=rule, severity=CRITICAL), WARNING, {Reason.ESCALATED}),
        (incident(rule=rule), WARNING, {Reason.UPDATED}),
        (incident(rule=rule), WARNING, {Reason.REMINDER}),
        (ended(rule=rule), WARNING, {Reason.RESOLVED}),
        (ended(rule=rule), None, {Reason.RESOLVED}),
        (ended(Resolution.REMOVED, rule=rule), WARNING, {Reason.RESOLVED}),
    ):
        message = written(item(about, last_severity=notified, reasons=frozenset(reasons)))
        assert "_" not in message.title
        assert "Instagram @yourinstagram (Your Brand): " in message.title
        assert message.body.endswith("Incident 12 · message 0a1b2c3d4e")


@pytest.mark.parametrize(
    ("display_name", "username", "who"),
    [
        ("Your Brand", "@brand", "Your Brand (@brand) on Instagram"),
        ("brand", "brand", "brand on Instagram"),
        (None, "brand", "brand on Instagram"),
        (None, "", "instagram-17841412345678 on Instagram"),
        ("Your Brand", "", "Your Brand on Instagram"),
    ],
)
def test_a_connection_is_called_what_people_call_it(
    display_name: str | None, username: str, who: str
) -> None:
    seen = replace(INSTAGRAM, display_name=display_name, username=username)
    assert f"\nConnection: {who}, account agency.\n" in written(item(connection=seen)).body


def test_platforms_have_the_names_that_people_know() -> None:
    assert ["X", "LinkedIn", "YouTube", "snapchat", "unknown platform"] == [
        platform_name(name) for name in ("twitter", "linkedin", "youtube", "snapchat", "")
    ]


# Lengths


@pytest.mark.parametrize("count", [1, 2, 5, 6, 40, 500])
@pytest.mark.parametrize("limit", [40, 80, 140, 160, 250, 500, 1000, 1900, 4096, 30_000])
def test_a_message_keeps_within_the_limit_and_cuts_no_line(count: int, limit: int) -> None:
    body = sent(*crowd(count), limit=limit).body
    assert len(body) <= limit
    if limit < 80:
        return  # what can't hold a line is told where the rest is, as far as that goes
    *lines, _, foot = body.splitlines()
    assert foot.endswith("message 0a1b2c3d4e")
    shown = [line for line in lines if line.startswith("WARNING")]
    assert all(re.search(r"(Incident \d+\.|\(incident \d+\)|fail after that\.)$", line) for line in shown)
    counted = [line for line in lines if "see `postpost-monitor incidents`" in line]
    if stories := [line for line in lines if line == "Open since 22 Feb, 20:00 UTC."]:
        assert len(stories) == count <= 5
    elif counted:
        assert len(counted) == 1
        assert int("".join(c for c in counted[0] if c.isdigit())) == count - len(shown)
    else:
        assert len(shown) == count


def test_where_only_some_fit_the_worst_are_shown_and_the_rest_counted() -> None:
    body = written(*crowd(40), limit=1000).body
    assert "(Brand 1)" in body
    assert "(Brand 40)" not in body
    shown = body.count("WARNING: ")
    assert f"and {40 - shown} more: see `postpost-monitor incidents`\n" in body
    assert body.endswith("Incidents 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 30 more · message 0a1b2c3d4e")


def test_where_one_line_does_not_fit_it_is_said_in_fewer_words() -> None:
    body = written(item(), limit=140).body
    assert body == ("WARNING: token expires in 2 days (incident 12)\n\nIncident 12 · message 0a1b2c3d4e")


texts = st.text(max_size=400) | st.sampled_from(["x" * 400, "@everyone\r\n<!channel> [a](https://evil)", ""])


@given(names=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=12), limit=st.integers(40, 3000))
def test_whatever_people_are_called_it_fits(names: list[tuple[str, str, str]], limit: int) -> None:
    items = [
        item(
            incident(id=n, subject=Subject(account="agency", target_id=1, platform_id=f"{kind}-{n}")),
            connection=connection(platform_id=f"{kind}-{n}", username=handle, display_name=name),
        )
        for n, (kind, handle, name) in enumerate(names, 1)
    ]
    assert len(sent(*items, limit=limit).body) <= limit


# Text from outside

HOSTILE = (
    "@everyone <!channel> <@U1> [click](https://evil.example)\r\nBcc: a@b\x1b[31m\u202e <script>&amp;```"
)
ACTIVE = ("@everyone", "<!", "<@", "](", "\r", "\x1b", "\u202e", "<script", "&amp", "```", "https://evil")


def hostile(**given: Any) -> Connection:
    return connection(platform_id=f"{HOSTILE}-1", username=HOSTILE, display_name=HOSTILE, **given)


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("limit", [None, 300])
def test_outside_text_does_nothing_in_the_body_and_in_the_title(count: int, limit: int | None) -> None:
    user = target(managed_user=HOSTILE)
    items = [
        item(
            incident(id=n, subject=Subject(account="agency", target_id=n, platform_id="x-1")),
            connection=hostile(),
            target=user,
        )
        for n in range(1, count + 1)
    ]
    message = sent(*items, limit=limit)
    for active in ACTIVE:
        assert active not in message.body
        assert active not in message.title


@example(kind="", name="@", handle="0", user=None)
@given(kind=texts, name=texts, handle=texts, user=texts | st.none())
def test_names_in_a_title_are_harmless_and_leave_room_for_the_problem(
    kind: str, name: str, handle: str, user: str | None
) -> None:
    seen = connection(platform_id=f"{kind.replace('-', '')}~-1", username=handle, display_name=name)
    whose = target(managed_user=user)
    for one, start, end in (
        (item(connection=seen, target=whose), "[WARNING] ", ": token expires in 2 days"),
        (item(ended(), last_severity=WARNING, connection=seen), "[RESOLVED] ", ": token is valid again"),
    ):
        title = sent(one).title
        assert title.startswith(start)
        assert title.endswith(end)
        assert len(title) <= 250
        assert title == sanitize(title, 1000)
