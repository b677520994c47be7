"""Services with incidents of their own: one event for each change, one key from the first to the last."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from monitor.core.model import DeliveryState, Reason, RuleName
from monitor.core.renewal import Profile, RenewedBy
from monitor.core.routes import Match, QuietHours, Route
from monitor.core.rules import RenewalOverdue, Rules, TokenExpiry
from monitor.errors import DeliveryError, StorageError
from monitor.jobs import deliver
from monitor.jobs.acknowledged import pass_on_acknowledgements
from monitor.jobs.catch_up import catch_up
from monitor.jobs.discover import discover
from monitor.jobs.oversee import oversee
from monitor.jobs.refresh import refresh
from monitor.jobs.remind import remind
from monitor.storage import outbox, people
from monitor.storage.installation import installation_id
from monitor.storage.outbox import LEASE
from monitor.storage.tables import notifications
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error
from tests.fakes import FakeChannel, FakeIncidentChannel
from tests.incident_services import KINDS, Alertmanager, Standing, standing
from tests.jobs.house import House

DEAD = connection(token_status="expired", expires_at=NOW - HOUR)
REFUSED = DeliveryError("the service answered 500")
UNSURE = DeliveryError("no answer in time", uncertain=True)
PAGER = Route(channels=("pager",), remind_every=HOUR)


@pytest.fixture
def pager(house: House) -> FakeIncidentChannel:
    """Give the house one channel, to a service with incidents of its own."""
    channel = FakeIncidentChannel()
    house.channels.clear()
    house.services["pager"] = channel
    house.routes = (PAGER,)
    return channel


def expiring(left: timedelta, **given: Any) -> Any:
    return connection(token_status="expiring_soon", expires_at=NOW + left, **given)


def acknowledge(house: House, *, by: str = "mia", until: datetime | None = None) -> None:
    with house.database.begin() as store:
        people.acknowledge(store.connection, 1, house.clock(), by=by, why="on it", until=until)


def pass_on(house: House) -> int:
    return pass_on_acknowledgements(house.post.channels, database=house.database, clock=house.clock)


def remind_all(house: House) -> int:
    return remind(database=house.database, routing=house.routing, clock=house.clock)


def silence(house: House, lasts: timedelta) -> None:
    with house.database.begin() as store:
        people.silence(
            store.connection,
            {"platform": ["*"]},
            house.clock(),
            until=house.clock() + lasts,
            by="mia",
            why="move",
            routing=house.routing,
        )


def reasons(house: House) -> list[tuple[str, str]]:
    return [(row["reason"], row["state"]) for row in house.view("delivery_log")]


# A whole life, on the wire


def life(house: House, there: Standing) -> None:
    """Open an incident, remind of it, let it get worse, acknowledge it, and end it."""

    def deliver_now() -> None:
        there.service.now = house.clock()
        house.deliver(wait=True)
        there.service.now = house.clock()

    house.services["pager"] = there.channel
    house.channels.clear()
    house.routes = (PAGER,)
    house.sees(expiring(2 * DAY))
    deliver_now()
    house.later(HOUR)
    remind_all(house)
    deliver_now()
    house.later(DAY)
    house.review()
    deliver_now()
    acknowledge(house)
    pass_on(house)
    deliver_now()
    house.later()
    house.sees(connection())
    deliver_now()


def plain(*story: str) -> list[tuple[str, str | None]]:
    return [(what, None) for what in story]


LIVES: dict[str, list[tuple[str, str | None]]] = {
    "pagerduty": [
        ("trigger", "warning"),
        ("trigger", "warning"),
        ("trigger", "critical"),
        ("acknowledge", None),
        ("resolve", None),
    ],
    "opsgenie": [
        ("create", "P3"),
        ("create", "P3"),
        ("create", "P1"),
        ("acknowledge", None),
        ("close", None),
    ],
    "alertmanager": [
        ("firing", "warning"),
        ("firing", "warning"),
        ("resolved", "warning"),
        ("firing", "critical"),
        ("resolved", "critical"),
    ],
    "json": [
        ("opened", "warning"),
        ("reminder", "warning"),
        ("escalated", "critical"),
        ("acknowledged", "critical"),
        ("resolved", "critical"),
    ],
    "firehydrant": plain("OPEN", "OPEN", "OPEN", "CLOSED"),
    "goalert": plain("", "", "", "close"),
    "ilert": plain("ALERT", "ALERT", "ALERT", "ACCEPT", "RESOLVE"),
    "incidentio": plain("firing", "firing", "firing", "resolved"),
    "pagertree": plain("create", "create", "create", "acknowledge", "resolve"),
    "signl4": plain("", "", "", "acknowledged", "resolved"),
    "splunk": plain("WARNING", "WARNING", "CRITICAL", "ACKNOWLEDGEMENT", "RECOVERY"),
    "squadcast": plain("trigger", "trigger", "trigger", "resolve"),
}


def test_every_kind_of_service_has_its_life_here() -> None:
    assert KINDS.keys() == LIVES.keys()


@pytest.mark.parametrize("kind", LIVES)
def test_from_opened_to_resolved_a_service_is_sent_one_key(
    file_house: House, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = file_house
    with standing(kind, monkeypatch) as there:
        life(house, there)
        assert [] == there.service.refused
        assert LIVES[kind] == there.service.story
    with house.database.read() as store:
        key = f"{installation_id(store.connection)}-1"
    assert {key} == there.service.keys
    assert {} == there.service.open
    takes_acknowledgements = there.channel.takes_acknowledgements
    assert [
        ("opened", "delivered"),
        ("reminder", "delivered"),
        ("escalated", "delivered"),
        *([("acknowledged", "delivered")] if takes_acknowledgements else []),
        ("resolved", "delivered"),
    ] == reasons(house)


def test_an_alert_fires_with_one_severity_at_a_time(
    file_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = file_house
    with standing("alertmanager", monkeypatch) as there:
        service: Alertmanager = there.service
        house.services["pager"] = there.channel
        house.routes = (Route(channels=("pager",)),)
        house.sees(expiring(2 * DAY))
        house.deliver()
        (first,) = service.firing(house.clock()).values()
        service.now = house.later(2 * DAY)
        house.review()
        house.deliver()
        (second,) = service.firing(house.clock()).values()
    assert [["warning"], ["critical"]] == [first, second]


# The machinery that every channel has


def test_an_incident_is_one_event_for_each_change_whatever_else_is_due(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.routes = (Route(channels=("pager",), group_by=()),)
    house.sees(*(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y", "z")))
    house.deliver(wait=True)
    assert [("opened", "critical")] * 3 == pager.story
    assert 3 == len({event.key for event in pager.events})
    assert 3 == len({event.message_key for event in pager.events})
    assert [("opened", "delivered")] * 3 == reasons(house)
    assert 3 == len({row["message"] for row in house.view("delivery_log")})


def test_nothing_waits_for_a_group(house: House, pager: FakeIncidentChannel) -> None:
    house.channels["ops"] = FakeChannel()
    house.routes = (Route(channels=("pager", "ops"), group_wait=10 * MINUTE),)
    house.sees(DEAD)
    house.deliver(wait=True)
    assert (1, 0) == (len(pager.events), len(house.sent))


def test_changes_that_could_not_be_told_in_time_are_one_event(
    house: House, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    for left in (6 * DAY, 2 * DAY, HOUR):
        house.sees(expiring(left))
        house.deliver()
        house.later()
    pager.refusal = None
    house.later(HOUR)
    house.deliver()
    assert [("opened", "critical")] == pager.story
    assert {("opened", "delivered"), ("escalated", "delivered")} == set(reasons(house))


@pytest.mark.parametrize("dies_after", [False, True], ids=["before it is out", "after"])
def test_killed_between_sending_and_settling_the_next_one_bears_the_same_key(
    house: House, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch, dies_after: bool
) -> None:
    class KilledError(BaseException):
        """The process ends here and now."""

    def die(*_: object) -> None:
        raise KilledError

    house.sees(DEAD)
    with monkeypatch.context() as patched:
        if dies_after:
            patched.setattr(deliver, "_settle", die)
        else:
            patched.setattr(FakeIncidentChannel, "send_event", die)
        with pytest.raises(KilledError):
            house.deliver()
    assert [("opened", "sending")] == reasons(house)
    house.later(LEASE)
    house.deliver()
    house.sees(connection())
    house.deliver()
    assert ["opened"] * dies_after + ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len({event.key for event in pager.events})
    assert 2 == len({event.message_key for event in pager.events})
    assert {"delivered"} == {state for _, state in reasons(house)}


def test_killed_after_the_trigger_was_out_and_over_by_then_it_is_resolved(
    house: House, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    house.sees(DEAD)
    with monkeypatch.context() as patched:
        patched.setattr(deliver, "_settle", die)
        with pytest.raises(KeyboardInterrupt):
            house.deliver()
    house.later(LEASE)
    house.sees(connection())
    house.deliver()
    house.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len({event.key for event in pager.events})
    assert {"delivered"} == {state for _, state in reasons(house)}


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(
    house: House, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageError("the disk is full", passing=True)

    monkeypatch.setattr(deliver, "PATIENCE_SECONDS", ())
    house.sees(DEAD)
    post = house.post
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "settle", away)
        with pytest.raises(StorageError):
            deliver.deliver_to("pager", post)
    house.later(LEASE)
    deliver.deliver_to("pager", post)
    assert [("opened", "critical")] == pager.story
    assert [("opened", "delivered")] == reasons(house)


def test_a_refused_event_is_tried_again_and_then_given_up_under_the_same_key(
    house: House, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    house.sees(DEAD)
    for _ in range(60):
        house.deliver()
        house.later(HOUR)
    assert [("opened", "failed")] == reasons(house)
    pager.refusal = None
    catch_up(house.services, database=house.database, routing=house.routing, clock=house.clock)
    house.deliver()
    assert [("opened", "critical")] == pager.story
    assert 1 == len({event.key for event in pager.tried})


def test_a_service_that_asks_for_patience_is_given_it(house: House, pager: FakeIncidentChannel) -> None:
    pager.refusal = DeliveryError("the service answered 429", retry_after=20 * MINUTE)
    house.sees(DEAD)
    house.deliver()
    pager.refusal = None
    house.later(19 * MINUTE)
    house.deliver()
    assert [] == pager.events
    house.later(MINUTE)
    house.deliver()
    assert 1 == len(pager.events)


# What begins there ends there, and nothing else does


def test_a_service_that_was_not_reached_before_the_end_hears_of_nothing(
    house: House, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    house.sees(DEAD)
    house.deliver()
    pager.refusal = None
    house.later()
    house.sees(connection())
    house.deliver()
    assert [] == pager.events
    assert [("opened", "delivered"), ("resolved", "delivered")] == reasons(house)


def test_a_trigger_that_may_have_arrived_is_resolved_once_and_at_once(
    house: House, pager: FakeIncidentChannel
) -> None:
    pager.refusal = UNSURE
    house.sees(DEAD)
    house.deliver()
    pager.refusal = None
    house.sees(connection())  # sooner than the trigger is tried again
    house.deliver()
    assert [("resolved", "critical")] == pager.story
    house.later(HOUR)
    house.deliver()
    assert ["opened", "resolved"] == [event.reason for event in pager.tried]
    assert [("opened", "delivered"), ("resolved", "delivered")] == reasons(house)


@pytest.mark.parametrize("refusal", [REFUSED, UNSURE], ids=["surely not taken", "perhaps taken"])
def test_a_trigger_that_was_given_up_is_resolved_if_it_may_have_arrived(
    house: House, pager: FakeIncidentChannel, refusal: DeliveryError
) -> None:
    pager.refusal = refusal
    house.sees(DEAD)
    for _ in range(60):
        house.deliver()
        house.later(HOUR)
    assert [("opened", "failed")] == reasons(house)
    pager.refusal = None
    house.sees(connection())
    house.deliver()
    assert ([("resolved", "critical")] if refusal is UNSURE else []) == pager.story
    assert 1 == len({event.key for event in pager.tried})


def test_an_end_that_was_given_up_is_sent_when_the_service_is_back(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(DEAD)
    house.deliver()
    pager.refusal = REFUSED
    house.sees(connection())
    for _ in range(60):
        house.deliver()
        house.later(HOUR)
    assert [("opened", "delivered"), ("resolved", "failed")] == reasons(house)
    pager.refusal = None
    catch_up(house.services, database=house.database, routing=house.routing, clock=house.clock)
    house.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_what_another_problem_took_the_place_of_is_resolved(house: House, pager: FakeIncidentChannel) -> None:
    profiles = {"facebook": Profile(renewed_by=RenewedBy.VENDOR, overdue_before=20 * DAY)}
    house.rules = Rules(connection=(TokenExpiry(profiles=profiles), RenewalOverdue(profiles=profiles)))
    own = connection(platform_id="facebook-1", expires_at=NOW + 40 * DAY)
    house.sees(own)
    house.later(25 * DAY)
    house.sees(own)
    house.deliver()
    assert {RuleName.RENEWAL_OVERDUE} == {event.incident.rule for event in pager.events}
    house.later()
    house.sees(replace(own, token_status="expired"))
    house.deliver()
    reasons_of = {
        rule: [each.reason for each in pager.events if each.incident.rule is rule] for rule in RuleName
    }
    assert [Reason.OPENED, Reason.RESOLVED] == reasons_of[RuleName.RENEWAL_OVERDUE]
    assert [Reason.OPENED] == reasons_of[RuleName.TOKEN_EXPIRY]


def test_an_account_that_is_configured_no_more_resolves_what_it_had(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(DEAD)
    house.deliver()
    discover([], every={}, database=house.database, clock=house.clock, incident_channels=house.services)
    house.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_the_end_is_told_whatever_the_routes_say_by_then(house: House, pager: FakeIncidentChannel) -> None:
    house.sees(DEAD)
    house.deliver()
    house.channels["ops"] = FakeChannel()
    house.routes = (Route(channels=("ops",)), Route(channels=("pager",), resolved=False))
    house.sees(connection())
    house.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len(
        [
            row
            for row in house.view("delivery_log")
            if row["reason"] == "resolved" and row["channel"] == "pager"
        ]
    )


def test_a_problem_that_is_back_before_its_end_was_told_is_another_incident(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(DEAD)
    house.deliver()
    pager.refusal = REFUSED
    house.later()
    house.sees(connection())
    house.deliver()
    house.later()
    house.sees(connection(token_status="expired", expires_at=NOW))
    pager.refusal = None
    house.later(HOUR)
    house.deliver()
    first, second = (event.key for event in pager.events if event.reason is Reason.OPENED)
    assert first != second
    assert [first] == [event.key for event in pager.events if event.reason is Reason.RESOLVED]


def test_a_channel_that_is_gone_from_the_configuration_resolves_its_incident_elsewhere(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.channels["ops"] = FakeChannel(refusal=REFUSED)
    house.routes = (Route(channels=("ops", "pager")),)
    house.sees(DEAD)
    for _ in range(20):
        house.deliver()
        house.later(10 * MINUTE)
    names = {*house.channels, *house.services}
    oversee(names, database=house.database, routing=house.routing, clock=house.clock)
    house.deliver()
    assert RuleName.CHANNEL_FAILING in {event.incident.rule for event in pager.events}
    oversee({"pager"}, database=house.database, routing=house.routing, clock=house.clock)
    house.deliver()
    (failing,) = {event.key for event in pager.events if event.incident.rule is RuleName.CHANNEL_FAILING}
    assert ["opened", "resolved"] == [event.reason for event in pager.events if event.key == failing]


# Silences, quiet hours, routes


def test_what_came_and_went_within_a_silence_is_never_sent(house: House, pager: FakeIncidentChannel) -> None:
    silence(house, 2 * HOUR)
    house.sees(DEAD)
    house.deliver()
    house.later(HOUR)
    house.sees(connection())
    house.later(2 * HOUR)
    house.deliver()
    assert [] == pager.events


def test_what_ends_within_a_silence_is_resolved_after_it(house: House, pager: FakeIncidentChannel) -> None:
    house.sees(DEAD)
    house.deliver()
    silence(house, 2 * HOUR)
    house.sees(connection())
    house.deliver()
    assert 1 == len(pager.events)
    house.later(2 * HOUR)
    house.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_quiet_hours_hold_what_isnt_critical(house: House, pager: FakeIncidentChannel) -> None:
    quiet = QuietHours(
        starts=(NOW - HOUR).time(), ends=(NOW + 2 * HOUR).time(), zone=NOW.tzinfo or pytest.fail()
    )
    house.routes = (Route(channels=("pager",), quiet_hours=quiet),)
    house.sees(expiring(2 * DAY), connection(platform_id="x-1", token_status="expired"))
    house.deliver()
    assert [("opened", "critical")] == pager.story
    house.later(2 * HOUR)
    house.deliver()
    assert [("opened", "critical"), ("opened", "warning")] == pager.story


def test_a_route_by_severity_begins_with_the_escalation(house: House, pager: FakeIncidentChannel) -> None:
    house.routes = (Route(channels=("pager",), match=Match(severity=("critical",))),)
    house.sees(expiring(2 * DAY))
    house.deliver()
    house.later(DAY + HOUR)
    house.review()
    house.deliver()
    house.sees(connection())
    house.deliver()
    assert [("opened", "critical"), ("resolved", "critical")] == pager.story


def test_a_problem_that_gets_milder_is_updated(house: House, pager: FakeIncidentChannel) -> None:
    house.sees(connection(last_error=error("Error validating access token", occurred_at=NOW - HOUR)))
    house.deliver()
    house.later()
    house.sees(connection(last_error=error("Rate limit exceeded", occurred_at=NOW)))
    house.deliver()
    assert [("opened", "critical"), ("updated", "notice")] == pager.story


# Acknowledgements


def test_an_acknowledgement_is_passed_on_once(house: House, pager: FakeIncidentChannel) -> None:
    house.sees(DEAD)
    house.deliver()
    acknowledge(house)
    assert [1, 0] == [pass_on(house), pass_on(house)]
    house.deliver()
    assert ["opened", "acknowledged"] == [what for what, _ in pager.story]
    assert "mia" == pager.events[-1].incident.acknowledged_by
    house.later()
    assert 0 == pass_on(house)
    house.later()
    acknowledge(house, by="tom")
    assert 1 == pass_on(house)


def test_an_acknowledgement_is_passed_on_after_the_trigger(house: House, pager: FakeIncidentChannel) -> None:
    pager.refusal = REFUSED
    house.sees(DEAD)
    house.deliver()
    acknowledge(house)
    assert 0 == pass_on(house)
    pager.refusal = None
    house.later()
    house.deliver()
    assert 1 == pass_on(house)
    house.deliver()
    assert ["opened", "acknowledged"] == [what for what, _ in pager.story]


def test_a_clock_that_was_set_back_passes_nothing_on_twice(house: House, pager: FakeIncidentChannel) -> None:
    house.sees(DEAD)
    house.deliver()
    acknowledge(house)
    house.clock.advance(-HOUR)
    assert [1, 0] == [pass_on(house), pass_on(house)]


def test_acknowledgements_are_for_services_that_take_them(house: House, pager: FakeIncidentChannel) -> None:
    pager.takes_acknowledgements = False
    house.channels["ops"] = FakeChannel()
    house.routes = (Route(channels=("pager", "ops")),)
    house.sees(DEAD)
    house.deliver()
    acknowledge(house)
    assert 0 == pass_on(house)


def test_an_acknowledgement_does_not_move_the_beat_of_reminders(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(DEAD)
    house.deliver()
    house.later(HOUR / 2)
    acknowledge(house, until=house.clock() + MINUTE)
    pass_on(house)
    house.deliver()
    house.later(HOUR / 2)
    assert 1 == remind_all(house)


def test_what_is_acknowledged_is_not_reminded_of_and_an_escalation_ends_that(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(expiring(2 * DAY))
    house.deliver()
    acknowledge(house)
    pass_on(house)
    house.deliver()
    house.later(2 * HOUR)
    assert 0 == remind_all(house)
    house.later(DAY)
    house.review()
    house.deliver()
    house.later(HOUR)
    assert 1 == remind_all(house)
    house.deliver()
    assert ["opened", "acknowledged", "escalated", "reminder"] == [what for what, _ in pager.story]


def test_an_acknowledgement_and_news_of_the_same_time_are_two_events(
    house: House, pager: FakeIncidentChannel
) -> None:
    house.sees(connection(last_error=error("Rate limit exceeded")))
    house.deliver()
    acknowledge(house)
    pass_on(house)
    house.later()
    house.sees(connection(last_error=error("Quota exceeded, try later", occurred_at=NOW)))
    house.deliver()
    assert ["opened", "updated", "acknowledged"] == [what for what, _ in pager.story]
    assert 3 == len({event.message_key for event in pager.events})


# Alertmanager forgets


def test_what_is_open_is_sent_again_every_minute_and_leaves_no_row(
    file_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = file_house
    with standing("alertmanager", monkeypatch) as there:
        service: Alertmanager = there.service
        house.services["pager"] = there.channel
        house.routes = (Route(channels=("pager",)),)
        house.sees(DEAD, expiring(2 * DAY, platform_id="threads-1"))

        def again() -> int:
            post = house.post
            return refresh(
                post.channels, database=post.database, dashboards=post.dashboards, clock=post.clock
            )

        assert 0 == again()  # nothing was told yet
        house.deliver()
        before = house.view("delivery_log")
        for _ in range(15):
            service.now = house.later(MINUTE)
            assert 2 == again()
        firing = service.firing(house.clock())
        assert {("critical",), ("warning",)} == {tuple(severities) for severities in firing.values()}
        assert before == house.view("delivery_log")
        house.sees(connection(), expiring(2 * DAY, platform_id="threads-1"))
        assert 1 == again()  # what is over isn't sent as open, though that was not told yet
        house.deliver()
        assert 1 == len(service.firing(house.clock()))
        service.now = house.later(6 * MINUTE)
        assert {} == service.firing(house.clock())
        assert [] == service.refused


def test_a_severity_that_was_not_told_yet_is_not_sent_with_what_is_sent_again(
    file_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = file_house
    with standing("alertmanager", monkeypatch) as there:
        house.services["pager"] = there.channel
        house.routes = (Route(channels=("pager",)),)
        house.sees(expiring(2 * DAY))
        house.deliver()
        there.service.now = house.later(2 * DAY)
        house.review()
        post = house.post
        refresh(post.channels, database=post.database, dashboards=post.dashboards, clock=post.clock)
        assert {("warning",)} == {tuple(each) for each in there.service.firing(house.clock()).values()}


def test_an_alertmanager_that_is_away_holds_nothing_up(
    file_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = file_house
    with standing("alertmanager", monkeypatch) as there:
        house.services["pager"] = there.channel
        house.routes = (Route(channels=("pager",)),)
        house.sees(DEAD)
        house.deliver()
        channels = house.post.channels
    assert 0 == refresh(channels, database=house.database, dashboards={}, clock=house.clock)


# What a configuration leaves behind


def test_a_digest_that_was_written_before_the_channel_took_incidents_is_let_go(
    house: House, pager: FakeIncidentChannel
) -> None:
    with house.database.begin() as store:
        store.connection.execute(
            insert(notifications).values(
                channel="pager",
                reason=Reason.DIGEST,
                group_key="digest of old",
                state=DeliveryState.PENDING,
                created_at=NOW,
                due_at=NOW,
            )
        )
    house.sees(DEAD)
    house.deliver()
    assert [("opened", "critical")] == pager.story
    assert [("digest", "delivered"), ("opened", "delivered")] == reasons(house)


def test_a_group_that_was_claimed_before_the_channel_took_incidents_becomes_its_events(house: House) -> None:
    house.sees(*(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y")))
    house.channel.refusal = UNSURE
    house.deliver()
    pager = FakeIncidentChannel("ops")
    house.channels.clear()
    house.services["ops"] = pager
    house.later(HOUR)
    house.deliver()
    assert [("opened", "critical")] * 2 == pager.story
    assert 2 == len({event.key for event in pager.events})


@pytest.mark.parametrize("private", [False, True])
def test_a_link_that_its_reader_can_use_goes_to_private_channels_alone(house: House, private: bool) -> None:
    link = "https://app.postpost.dev/connections/abc"
    pager = FakeIncidentChannel(private=private)
    house.services["pager"] = pager
    house.routes = (Route(channels=("pager",)),)
    house.sees(DEAD)
    deliver.deliver_to("pager", replace(house.post, link_of=lambda target: link))
    assert [link if private else ""] == [event.reconnect_url for event in pager.events]
