"""Whole lives of tokens in the words of both contracts, read as they come over the wire, on a walked clock."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pytest

from monitor.core.model import Outcome, Severity
from monitor.providers.base import ConnectionList
from monitor.providers.wire import read_connections
from monitor.storage.database import Database
from monitor.storage.erasure import erase
from tests.factories import DAY, HOUR, MINUTE, NOW, failure
from tests.fakes import FakeProvider
from tests.needs import on_sqlite
from tests.simulator import EVERY, Simulator

NOTICE, WARNING, CRITICAL = Severity
WEEK = 7 * DAY
Entry: TypeAlias = dict[str, Any]
Entries: TypeAlias = Callable[[datetime], Iterable[Entry]]


pytestmark = on_sqlite


@dataclass(slots=True)
class WireProvider(FakeProvider):
    """An API whose answers are bodies, read as the real ones are."""

    body: bytes = b'{"success": true, "connections": []}'

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        FakeProvider.connections(self, managed_user_id)  # fails if it is told to
        return read_connections(self.body)


@pytest.fixture
def simulator(database: Database) -> Simulator:
    return Simulator(database, api=WireProvider())


def entry(platform: str, status: Any, date: datetime | None = None, **fields: Any) -> Entry:
    return {
        "platformId": f"{platform}-1",
        "username": f"@{platform}",
        "displayName": f"Your {platform}",
        "accessTokenExpiresAt": date.isoformat().replace("+00:00", "Z") if date else None,
        "tokenStatus": status,
        **fields,
    }


def older(platform: str, date: datetime) -> Callable[[datetime], list[Entry]]:
    """A token under the older contract: its word follows from its date."""

    def at(now: datetime) -> list[Entry]:
        left = date - now
        word = "valid" if left >= WEEK else "expiring_soon" if left > timedelta() else "expired"
        return [entry(platform, word, date)]

    return at


def shown(simulator: Simulator, *entries: Entry) -> bytes:
    return json.dumps({"success": True, "connections": entries}, ensure_ascii=False).encode()


def walk(simulator: Simulator, entries: Entries, duration: timedelta, step: timedelta = EVERY) -> list[str]:
    """Let time pass while the API lists what it lists at each moment; returns the titles of what was sent."""
    assert isinstance(simulator.api, WireProvider)
    before, ends = len(simulator.sent), simulator.clock.now + duration
    while simulator.clock.now < ends:
        simulator.clock.advance(min(step, ends - simulator.clock.now))
        simulator.api.body = shown(simulator, *entries(simulator.clock.now))
        simulator.tick()
    return simulator.titles()[before:]


def same(*entries: Entry) -> Entries:
    return lambda now: entries


def severities(simulator: Simulator) -> list[Severity | None]:
    return [message.severity for message in simulator.sent]


# What was told wrongly before


def test_a_tiktok_token_that_expires_soon_is_told_all_the_way_and_never_good_again(
    simulator: Simulator,
) -> None:
    date = NOW + 30 * DAY

    def token(now: datetime) -> list[Entry]:
        return [entry("tiktok", "expiring_soon" if now < date else "expired", date)]

    walk(simulator, token, 31 * DAY, step=8 * HOUR)
    assert [NOTICE, WARNING, CRITICAL, CRITICAL] == severities(simulator)
    assert not any(title.startswith("[RESOLVED]") for title in simulator.titles())


@pytest.mark.parametrize("platform", ["youtube", "tiktok", "twitter", "linkedin"])
def test_a_valid_token_whose_date_has_passed_is_never_told_of(simulator: Simulator, platform: str) -> None:
    date = NOW + DAY
    assert [] == walk(simulator, same(entry(platform, "valid", date)), 30 * DAY, step=6 * HOUR)
    assert simulator.rows("incident_log") == []


@pytest.mark.parametrize("platform", ["youtube", "tiktok", "facebook", "instagram"])
def test_a_token_first_seen_as_expiring_soon_is_told_at_once(simulator: Simulator, platform: str) -> None:
    assert 1 == len(walk(simulator, same(entry(platform, "expiring_soon", NOW + 6 * DAY)), HOUR))
    assert [NOTICE] == severities(simulator)


@pytest.mark.parametrize("word", ["revoked", "", None, 7, ["expired"], {"is": "expired"}, True])
def test_a_word_that_nobody_knows_silences_no_token(simulator: Simulator, word: Any) -> None:
    date = NOW + 9 * DAY
    well = entry("instagram", "valid", NOW + 60 * DAY)

    def listed(now: datetime) -> list[Entry]:
        return [entry("linkedin", word, date), well]

    walk(simulator, listed, 30 * DAY, step=6 * HOUR)
    assert [WARNING, NOTICE, WARNING, CRITICAL, CRITICAL] == severities(simulator)
    [anomaly, expiry] = simulator.rows("incident_log")
    stored = word if isinstance(word, str) else json.dumps(word)
    assert ("bad_answer", None) == (anomaly["rule"], anomaly["platform_id"])
    assert f'"{stored}" (LinkedIn Your linkedin)' in anomaly["summary"]
    assert "linkedin-1" == expiry["platform_id"]
    [polls] = simulator.rows("poll_log")
    assert ("ok", 30 * 4) == (polls["outcome"], polls["polls"])
    [kept] = simulator.rows("current_connections", f"WHERE token_status = '{stored}'")
    assert "linkedin-1" == kept["platform_id"]


@pytest.mark.parametrize("word", ["EXPIRED", "Expired", "expired"])
def test_expired_in_any_case_is_told_at_once_and_is_stored_in_one(simulator: Simulator, word: str) -> None:
    assert 1 == len(walk(simulator, same(entry("linkedin", word)), HOUR))
    assert [CRITICAL] == severities(simulator)
    assert ["expired"] == [row["token_status"] for row in simulator.rows("current_connections")]


def test_an_entry_without_a_status_is_one_of_a_word_that_nobody_knows(simulator: Simulator) -> None:
    bare = entry("linkedin", "valid", NOW + 60 * DAY)
    del bare["tokenStatus"]
    walk(simulator, same(bare), HOUR)
    [anomaly] = simulator.rows("incident_log")
    assert '"null" (LinkedIn Your linkedin)' in anomaly["summary"]


# The older contract


def test_instagram_for_sixty_days_and_a_reconnect(simulator: Simulator) -> None:
    date = NOW + 60 * DAY
    walk(simulator, older("instagram", date), 62 * DAY, step=12 * HOUR)
    assert [NOTICE, WARNING, CRITICAL, CRITICAL] == severities(simulator)
    renewed = older("instagram", simulator.clock.now + 60 * DAY)
    assert ["[RESOLVED] Instagram @instagram (Your instagram): token is valid again"] == walk(
        simulator, renewed, DAY, step=HOUR
    )
    [incident] = simulator.rows("incident_log")
    assert "recovered" == incident["resolution"]


def test_facebook_whose_renewals_fail_in_silence(simulator: Simulator) -> None:
    # Renewed every 50 days, 9 days before its end, until it isn't any more.
    stops = NOW + 155 * DAY

    def token(now: datetime) -> list[Entry]:
        renewed_at = NOW + (min(now, stops) - NOW) // (50 * DAY) * (50 * DAY)
        return older("facebook", renewed_at + 59 * DAY)(now)

    assert [] == walk(simulator, token, stops - NOW, step=DAY)
    walk(simulator, token, 60 * DAY, step=12 * HOUR)
    assert [WARNING, NOTICE, WARNING, CRITICAL, CRITICAL] == severities(simulator)
    [overdue, expiry] = simulator.rows("incident_log")
    assert ("renewal_overdue", "superseded") == (overdue["rule"], overdue["resolution"])
    assert ("token_expiry", None) == (expiry["rule"], expiry["resolved_at"])


def test_x_and_bluesky_are_unknown_and_flicker_without_a_word(simulator: Simulator) -> None:
    def listed(now: datetime) -> list[Entry]:
        word = "unknown" if now.hour % 2 else "valid"
        return [entry("twitter", word), entry("bluesky", word)]

    assert [] == walk(simulator, listed, 3 * DAY, step=HOUR)
    assert simulator.rows("incident_log") == []


@pytest.mark.parametrize("platform", ["twitter", "bluesky", "linkedin"])
def test_an_unknown_token_whose_date_passes_is_one_warning(simulator: Simulator, platform: str) -> None:
    date = NOW + 10 * DAY
    assert [] == walk(simulator, same(entry(platform, "unknown", date)), 10 * DAY - HOUR, step=6 * HOUR)
    assert 1 == len(walk(simulator, same(entry(platform, "unknown", date)), 20 * DAY, step=6 * HOUR))
    assert [WARNING] == severities(simulator)
    [incident] = simulator.rows("incident_log")
    assert (
        "token may have expired, because the API reports no status after its date, 2026-03-04 20:00 UTC"
        == (incident["summary"])
    )


# The newer contract


def test_tiktok_access_tokens_renewed_by_the_hour_and_then_by_nobody(simulator: Simulator) -> None:
    def token(now: datetime) -> list[Entry]:
        return [entry("tiktok", "valid", now.replace(minute=5) + 24 * HOUR)]

    assert [] == walk(simulator, token, 3 * DAY, step=30 * MINUTE)
    left_alone = same(*token(simulator.clock.now))
    assert [] == walk(simulator, left_alone, 10 * DAY, step=12 * HOUR)
    assert simulator.rows("incident_log") == []


def test_tiktok_access_tokens_of_a_refresh_token_that_ends_are_told_once_until_it_has_expired(
    simulator: Simulator,
) -> None:
    def token(word: str) -> Entries:
        return lambda now: [entry("tiktok", word, now.replace(minute=5) + 24 * HOUR)]

    walk(simulator, token("valid"), DAY, step=HOUR)
    walk(simulator, token("expiring_soon"), 3 * DAY, step=40 * MINUTE)
    assert [NOTICE] == severities(simulator)
    assert "expires in" not in simulator.titles()[0]
    walk(simulator, token("expired"), DAY, step=HOUR)
    assert [NOTICE, CRITICAL] == severities(simulator)
    assert ["[RESOLVED] TikTok @tiktok (Your tiktok): token is valid again"] == walk(
        simulator, token("valid"), DAY, step=HOUR
    )


def test_a_tiktok_refresh_token_from_valid_to_expired(simulator: Simulator) -> None:
    date = NOW + 40 * DAY

    def token(now: datetime) -> list[Entry]:
        left = date - now
        word = "valid" if left >= 30 * DAY else "expiring_soon" if left > timedelta() else "expired"
        return [entry("tiktok", word, date)]

    walk(simulator, token, 10 * DAY, step=12 * HOUR)
    assert [] == severities(simulator)
    walk(simulator, token, 31 * DAY, step=6 * HOUR)
    assert [NOTICE, WARNING, CRITICAL, CRITICAL] == severities(simulator)


def test_youtube_with_a_date_in_the_past_for_weeks_and_then_expired(simulator: Simulator) -> None:
    date = NOW + HOUR
    assert [] == walk(simulator, same(entry("youtube", "valid", date)), 21 * DAY, step=12 * HOUR)
    heard = walk(simulator, same(entry("youtube", "expired", date)), 9 * DAY, step=12 * HOUR)
    assert ["[CRITICAL] YouTube @youtube (Your youtube): token has expired"] == heard
    assert "ago" not in simulator.sent[0].body.partition("Last successful post")[0]


def test_facebook_without_a_date_valid_and_then_expired(simulator: Simulator) -> None:
    assert [] == walk(simulator, same(entry("facebook", "valid")), 30 * DAY, step=12 * HOUR)
    heard = walk(simulator, same(entry("facebook", "expired")), 5 * DAY, step=12 * HOUR)
    assert ["[CRITICAL] Facebook @facebook (Your facebook): token has expired"] == heard
    assert 1 == len(walk(simulator, same(entry("facebook", "valid")), DAY, step=12 * HOUR))


def test_x_without_a_date_is_well_until_it_is_expired_with_a_date_ahead(simulator: Simulator) -> None:
    assert [] == walk(simulator, same(entry("twitter", "valid")), 30 * DAY, step=12 * HOUR)
    rejected = entry("twitter", "expired", simulator.clock.now + 30 * DAY)
    assert 1 == len(walk(simulator, same(rejected), 40 * DAY, step=12 * HOUR))
    assert [CRITICAL] == severities(simulator)


def test_the_vendor_changes_the_contract_and_nobody_hears_of_it(simulator: Simulator) -> None:
    before = [
        entry("twitter", "unknown"),
        entry("bluesky", "unknown"),
        entry("facebook", "valid", NOW + 20 * DAY),
    ]
    after = [entry("twitter", "valid"), entry("bluesky", "valid"), entry("facebook", "valid")]
    assert [] == walk(simulator, same(*before), DAY, step=HOUR) + walk(
        simulator, same(*after), 30 * DAY, step=6 * HOUR
    )


# While the API is away


@pytest.mark.parametrize(
    ("platform", "word", "left", "heard"),
    [
        ("linkedin", "valid", 8 * DAY, [NOTICE, WARNING, CRITICAL, CRITICAL]),
        ("linkedin", "valid", 6 * DAY, []),
        ("facebook", "valid", 8 * DAY, []),
        ("youtube", "valid", 8 * DAY, []),
        ("facebook", "expiring_soon", 6 * DAY, [NOTICE, WARNING, CRITICAL, CRITICAL]),
        ("tiktok", "expiring_soon", 20 * DAY, [NOTICE, WARNING, CRITICAL, CRITICAL]),
        ("tiktok", "expiring_soon", 20 * HOUR, [NOTICE]),
        ("youtube", "expiring_soon", 6 * DAY, [NOTICE]),
        ("linkedin", "unknown", 8 * DAY, [WARNING]),
        ("linkedin", "odd", 8 * DAY, [WARNING, NOTICE, WARNING, CRITICAL, CRITICAL]),
    ],
)
def test_the_clock_goes_on_from_what_was_last_reported(
    simulator: Simulator, platform: str, word: str, left: timedelta, heard: list[Severity]
) -> None:
    walk(simulator, same(entry(platform, word, NOW + left)), HOUR)
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.advance(left + DAY, step=3 * HOUR)
    notified = [
        message.severity for message in simulator.sent if "API is returning errors" not in message.title
    ]
    assert heard == notified


def test_what_an_outage_made_of_a_token_is_settled_by_the_next_answer(simulator: Simulator) -> None:
    date = NOW + 8 * DAY
    walk(simulator, same(entry("linkedin", "valid", date)), HOUR)
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.advance(10 * DAY, step=3 * HOUR)
    simulator.api.failing.clear()
    renewed = entry("linkedin", "valid", simulator.clock.now + 60 * DAY)
    titles = walk(simulator, same(renewed), 8 * HOUR)
    assert ["[RESOLVED] LinkedIn @linkedin (Your linkedin): token is valid again"] == [
        each for each in titles if "LinkedIn" in each
    ]


# Words that nobody knows, and bytes that nobody can read


def test_one_problem_names_all_words_and_connections_and_ends_when_they_are_gone(
    simulator: Simulator,
) -> None:
    well = [entry("linkedin", "valid", NOW + 60 * DAY), entry("threads", "valid", NOW + 60 * DAY)]
    odd = [well[0] | {"tokenStatus": "revoked"}, well[1] | {"tokenStatus": "paused"}]
    ending = older("instagram", NOW + 9 * DAY)
    walk(simulator, lambda now: [*well, *ending(now)], HOUR)
    walk(simulator, lambda now: [*odd, *ending(now)], 6 * DAY, step=HOUR)
    walk(simulator, lambda now: [*well, *ending(now)], DAY)
    [anomaly] = simulator.rows("incident_log", "WHERE rule = 'bad_answer'")
    assert '"paused" (Threads Your threads), "revoked" (LinkedIn Your linkedin)' in anomaly["summary"]
    assert ("recovered", None) == (anomaly["resolution"], anomaly["platform_id"])
    assert [WARNING, NOTICE, WARNING] == [
        each for each in severities(simulator) if each
    ]  # Instagram's as ever
    [over] = [title for title in simulator.titles() if title.startswith("[RESOLVED]")]
    assert "API response is complete again" in over
    assert {"ok"} == {row["outcome"] for row in simulator.rows("poll_log")}


def test_an_api_that_goes_away_is_told_though_a_word_is_unheard_of(simulator: Simulator) -> None:
    walk(simulator, same(entry("linkedin", "revoked", NOW + 60 * DAY)), HOUR)
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.advance(3 * HOUR)
    simulator.api.failing.clear()
    walk(simulator, same(entry("linkedin", "revoked", NOW + 60 * DAY)), 3 * HOUR)
    rules = [(row["rule"], row["resolution"]) for row in simulator.rows("incident_log")]
    assert [("bad_answer", None), ("api_unreachable", "recovered")] == rules
    assert 3 == len(simulator.sent)


def test_an_id_that_is_not_utf_8_is_named_and_is_nobody_else(simulator: Simulator) -> None:
    assert isinstance(simulator.api, WireProvider)
    good = shown(
        simulator, entry("linkedin", "valid", NOW + 60 * DAY), entry("instagram", "valid", NOW + 60 * DAY)
    )
    simulator.api.body = good
    simulator.poll_all()
    simulator.api.body = good.replace(b"linkedin-1", b"linkedin-\xff")
    simulator.advance(5 * DAY, step=HOUR)
    [anomaly] = simulator.rows("incident_log")
    assert ("bad_answer", None) == (anomaly["rule"], anomaly["platform_id"])
    assert "1 of 2 connections can't be read: linkedin-\ufffd" == anomaly["summary"]
    assert ["instagram-1", "linkedin-1"] == sorted(
        row["platform_id"] for row in simulator.rows("current_connections", "WHERE removed_at IS NULL")
    )
    simulator.api.body = good
    simulator.advance(3 * HOUR)
    assert 2 == len(simulator.sent)


def test_who_was_erased_is_named_by_no_problem_of_the_account(database: Database) -> None:
    user = "65f0c0ffee65f0c0ffee65f0"
    simulator = Simulator(database, api=WireProvider(), users=(user,))
    walk(simulator, same(entry("linkedin", "revoked")), HOUR)
    [incident] = simulator.rows("incident_log")
    assert '"revoked" (LinkedIn Your linkedin, LinkedIn Your linkedin)' in incident["summary"]
    assert list(erase(database, "agency", user, simulator.clock()))
    [incident] = simulator.rows("incident_log")
    assert "Your linkedin" not in incident["summary"]
