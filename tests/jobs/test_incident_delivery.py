"""Services with incidents of their own: one event for each change, one key from the first to the last."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from monitor.core.model import DeliveryState, Reason, RuleName
from monitor.core.routing.routes import Matcher, QuietHours, Route
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import RenewalOverdue, RenewalProfile, RenewedBy
from monitor.core.rules.token_expiry import TokenExpiry
from monitor.errors import DeliveryError, StorageError
from monitor.jobs import deliver
from monitor.jobs.acknowledgements import pass_on_acknowledgements
from monitor.jobs.backfill_notifications import backfill_notifications
from monitor.jobs.check_channels import check_channels
from monitor.jobs.deliver import UnsavedDeliveries
from monitor.jobs.refresh import refresh
from monitor.jobs.remind import remind
from monitor.jobs.sync_targets import sync_targets
from monitor.storage import acknowledgements, outbox, silences
from monitor.storage.installation import installation_id
from monitor.storage.outbox import LEASE
from monitor.storage.tables import notifications
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error
from tests.fakes import FakeChannel, FakeIncidentChannel
from tests.incident_services import KINDS, Alertmanager, Standing, standing
from tests.jobs.simulator import JobSimulator

DEAD = connection(token_status="expired", expires_at=NOW - HOUR)
REFUSED = DeliveryError("the service answered 500")
UNSURE = DeliveryError("no answer in time", uncertain=True)
PAGER = Route(channels=("pager",), remind_every=HOUR)


@pytest.fixture
def pager(simulator: JobSimulator) -> FakeIncidentChannel:
    """Give the house one channel, to a service with incidents of its own."""
    channel = FakeIncidentChannel()
    simulator.channels.clear()
    simulator.services["pager"] = channel
    simulator.routes = (PAGER,)
    return channel


def expiring(left: timedelta, **given: Any) -> Any:
    return connection(token_status="expiring_soon", expires_at=NOW + left, **given)


def acknowledge(simulator: JobSimulator, *, by: str = "mia", until: datetime | None = None) -> None:
    with simulator.database.begin() as store:
        acknowledgements.acknowledge(store, 1, simulator.clock(), author=by, comment="on it", until=until)


def pass_on(simulator: JobSimulator) -> int:
    return pass_on_acknowledgements(simulator.context)


def remind_all(simulator: JobSimulator) -> int:
    return remind(simulator.context)


def silence(simulator: JobSimulator, lasts: timedelta) -> None:
    with simulator.database.begin() as store:
        silences.add_silence(
            store,
            {"platform": ["*"]},
            simulator.clock(),
            until=simulator.clock() + lasts,
            author="mia",
            comment="move",
            routing=simulator.routing,
        )


def reasons(simulator: JobSimulator) -> list[tuple[str, str]]:
    return [(row["reason"], row["state"]) for row in simulator.view("delivery_log")]


# A whole life, on the wire


def life(simulator: JobSimulator, there: Standing) -> None:
    """Open an incident, remind of it, let it get worse, acknowledge it, and end it."""

    def deliver_now() -> None:
        there.service.now = simulator.clock()
        simulator.deliver(wait=True)
        there.service.now = simulator.clock()

    simulator.services["pager"] = there.channel
    simulator.channels.clear()
    simulator.routes = (PAGER,)
    simulator.poll_connections(expiring(2 * DAY))
    deliver_now()
    simulator.advance(HOUR)
    remind_all(simulator)
    deliver_now()
    simulator.advance(DAY)
    simulator.review()
    deliver_now()
    acknowledge(simulator)
    pass_on(simulator)
    deliver_now()
    simulator.advance()
    simulator.poll_connections(connection())
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
    file_simulator: JobSimulator, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = file_simulator
    with standing(kind, monkeypatch) as there:
        life(simulator, there)
        assert [] == there.service.refused
        assert LIVES[kind] == there.service.story
    with simulator.database.read() as store:
        key = f"{installation_id(store)}-1"
    assert {key} == there.service.keys
    assert {} == there.service.open
    takes_acknowledgements = there.channel.takes_acknowledgements
    assert [
        ("opened", "delivered"),
        ("reminder", "delivered"),
        ("escalated", "delivered"),
        *([("acknowledged", "delivered")] if takes_acknowledgements else []),
        ("resolved", "delivered"),
    ] == reasons(simulator)


def test_an_alert_fires_with_one_severity_at_a_time(
    file_simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = file_simulator
    with standing("alertmanager", monkeypatch) as there:
        service: Alertmanager = there.service
        simulator.services["pager"] = there.channel
        simulator.routes = (Route(channels=("pager",)),)
        simulator.poll_connections(expiring(2 * DAY))
        simulator.deliver()
        (first,) = service.firing(simulator.clock()).values()
        service.now = simulator.advance(2 * DAY)
        simulator.review()
        simulator.deliver()
        (second,) = service.firing(simulator.clock()).values()
    assert [["warning"], ["critical"]] == [first, second]


# The machinery that every channel has


def test_an_incident_is_one_event_for_each_change_whatever_else_is_due(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.routes = (Route(channels=("pager",), group_by=()),)
    simulator.poll_connections(
        *(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y", "z"))
    )
    simulator.deliver(wait=True)
    assert [("opened", "critical")] * 3 == pager.story
    assert 3 == len({event.key for event in pager.events})
    assert 3 == len({event.message_key for event in pager.events})
    assert [("opened", "delivered")] * 3 == reasons(simulator)
    assert 3 == len({row["message"] for row in simulator.view("delivery_log")})


def test_nothing_waits_for_a_group(simulator: JobSimulator, pager: FakeIncidentChannel) -> None:
    simulator.channels["ops"] = FakeChannel()
    simulator.routes = (Route(channels=("pager", "ops"), group_wait=10 * MINUTE),)
    simulator.poll_connections(DEAD)
    simulator.deliver(wait=True)
    assert (1, 0) == (len(pager.events), len(simulator.sent))


def test_changes_that_could_not_be_told_in_time_are_one_event(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    for left in (6 * DAY, 2 * DAY, HOUR):
        simulator.poll_connections(expiring(left))
        simulator.deliver()
        simulator.advance()
    pager.refusal = None
    simulator.advance(HOUR)
    simulator.deliver()
    assert [("opened", "critical")] == pager.story
    assert {("opened", "delivered"), ("escalated", "delivered")} == set(reasons(simulator))


@pytest.mark.parametrize("dies_after", [False, True], ids=["before it is out", "after"])
def test_killed_between_sending_and_settling_the_next_one_bears_the_same_key(
    simulator: JobSimulator, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch, dies_after: bool
) -> None:
    class KilledError(BaseException):
        """The process ends here and now."""

    def die(*_: object) -> None:
        raise KilledError

    simulator.poll_connections(DEAD)
    with monkeypatch.context() as patched:
        if dies_after:
            patched.setattr(deliver, "save_delivery", die)
        else:
            patched.setattr(FakeIncidentChannel, "send_event", die)
        with pytest.raises(KilledError):
            simulator.deliver()
    assert [("opened", "sending")] == reasons(simulator)
    simulator.advance(LEASE)
    simulator.deliver()
    simulator.poll_connections(connection())
    simulator.deliver()
    assert ["opened"] * dies_after + ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len({event.key for event in pager.events})
    assert 2 == len({event.message_key for event in pager.events})
    assert {"delivered"} == {state for _, state in reasons(simulator)}


def test_killed_after_the_trigger_was_out_and_over_by_then_it_is_resolved(
    simulator: JobSimulator, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    simulator.poll_connections(DEAD)
    with monkeypatch.context() as patched:
        patched.setattr(deliver, "save_delivery", die)
        with pytest.raises(KeyboardInterrupt):
            simulator.deliver()
    simulator.advance(LEASE)
    simulator.poll_connections(connection())
    simulator.deliver()
    simulator.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len({event.key for event in pager.events})
    assert {"delivered"} == {state for _, state in reasons(simulator)}


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(
    simulator: JobSimulator, pager: FakeIncidentChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageError("the disk is full", transient=True)

    monkeypatch.setattr(deliver, "SAVE_RETRY_SECONDS", ())
    simulator.poll_connections(DEAD)
    context, unsaved = simulator.context, UnsavedDeliveries()
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "mark_delivered", away)
        with pytest.raises(StorageError):
            deliver.deliver_channel("pager", context, unsaved)
    simulator.advance(LEASE)
    deliver.deliver_channel("pager", context, unsaved)
    assert [("opened", "critical")] == pager.story
    assert [("opened", "delivered")] == reasons(simulator)


def test_a_refused_event_is_tried_again_and_then_given_up_under_the_same_key(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    simulator.poll_connections(DEAD)
    for _ in range(60):
        simulator.deliver()
        simulator.advance(HOUR)
    assert [("opened", "failed")] == reasons(simulator)
    pager.refusal = None
    backfill_notifications(simulator.context)
    simulator.deliver()
    assert [("opened", "critical")] == pager.story
    assert 1 == len({event.key for event in pager.tried})


def test_a_service_that_asks_for_patience_is_given_it(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = DeliveryError("the service answered 429", retry_after=20 * MINUTE)
    simulator.poll_connections(DEAD)
    simulator.deliver()
    pager.refusal = None
    simulator.advance(19 * MINUTE)
    simulator.deliver()
    assert [] == pager.events
    simulator.advance(MINUTE)
    simulator.deliver()
    assert 1 == len(pager.events)


# What begins there ends there, and nothing else does


def test_a_service_that_was_not_reached_before_the_end_hears_of_nothing(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    simulator.poll_connections(DEAD)
    simulator.deliver()
    pager.refusal = None
    simulator.advance()
    simulator.poll_connections(connection())
    simulator.deliver()
    assert [] == pager.events
    assert [("opened", "delivered"), ("resolved", "delivered")] == reasons(simulator)


def test_a_trigger_that_may_have_arrived_is_resolved_once_and_at_once(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = UNSURE
    simulator.poll_connections(DEAD)
    simulator.deliver()
    pager.refusal = None
    simulator.poll_connections(connection())  # sooner than the trigger is tried again
    simulator.deliver()
    assert [("resolved", "critical")] == pager.story
    simulator.advance(HOUR)
    simulator.deliver()
    assert ["opened", "resolved"] == [event.reason for event in pager.tried]
    assert [("opened", "delivered"), ("resolved", "delivered")] == reasons(simulator)


@pytest.mark.parametrize("refusal", [REFUSED, UNSURE], ids=["surely not taken", "perhaps taken"])
def test_a_trigger_that_was_given_up_is_resolved_if_it_may_have_arrived(
    simulator: JobSimulator, pager: FakeIncidentChannel, refusal: DeliveryError
) -> None:
    pager.refusal = refusal
    simulator.poll_connections(DEAD)
    for _ in range(60):
        simulator.deliver()
        simulator.advance(HOUR)
    assert [("opened", "failed")] == reasons(simulator)
    pager.refusal = None
    simulator.poll_connections(connection())
    simulator.deliver()
    assert ([("resolved", "critical")] if refusal is UNSURE else []) == pager.story
    assert 1 == len({event.key for event in pager.tried})


def test_an_end_that_was_given_up_is_sent_when_the_service_is_back(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    pager.refusal = REFUSED
    simulator.poll_connections(connection())
    for _ in range(60):
        simulator.deliver()
        simulator.advance(HOUR)
    assert [("opened", "delivered"), ("resolved", "failed")] == reasons(simulator)
    pager.refusal = None
    backfill_notifications(simulator.context)
    simulator.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_what_another_problem_took_the_place_of_is_resolved(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    profiles = {"facebook": RenewalProfile(renewed_by=RenewedBy.VENDOR, overdue_before=20 * DAY)}
    simulator.rules = Rules(connection=(TokenExpiry(profiles=profiles), RenewalOverdue(profiles=profiles)))
    own = connection(platform_id="facebook-1", expires_at=NOW + 40 * DAY)
    simulator.poll_connections(own)
    simulator.advance(25 * DAY)
    simulator.poll_connections(own)
    simulator.deliver()
    assert {RuleName.RENEWAL_OVERDUE} == {event.incident.rule for event in pager.events}
    simulator.advance()
    simulator.poll_connections(replace(own, token_status="expired"))
    simulator.deliver()
    reasons_of = {
        rule: [each.reason for each in pager.events if each.incident.rule is rule] for rule in RuleName
    }
    assert [Reason.OPENED, Reason.RESOLVED] == reasons_of[RuleName.RENEWAL_OVERDUE]
    assert [Reason.OPENED] == reasons_of[RuleName.TOKEN_EXPIRY]


def test_an_account_that_is_configured_no_more_resolves_what_it_had(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    sync_targets(replace(simulator.context, providers={}))
    simulator.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_the_end_is_told_whatever_the_routes_say_by_then(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    simulator.channels["ops"] = FakeChannel()
    simulator.routes = (Route(channels=("ops",)), Route(channels=("pager",), send_resolved=False))
    simulator.poll_connections(connection())
    simulator.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]
    assert 1 == len(
        [
            row
            for row in simulator.view("delivery_log")
            if row["reason"] == "resolved" and row["channel"] == "pager"
        ]
    )


def test_a_problem_that_is_back_before_its_end_was_told_is_another_incident(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    pager.refusal = REFUSED
    simulator.advance()
    simulator.poll_connections(connection())
    simulator.deliver()
    simulator.advance()
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW))
    pager.refusal = None
    simulator.advance(HOUR)
    simulator.deliver()
    first, second = (event.key for event in pager.events if event.reason is Reason.OPENED)
    assert first != second
    assert [first] == [event.key for event in pager.events if event.reason is Reason.RESOLVED]


def test_a_channel_that_is_gone_from_the_configuration_resolves_its_incident_elsewhere(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.channels["ops"] = FakeChannel(refusal=REFUSED)
    simulator.routes = (Route(channels=("ops", "pager")),)
    simulator.poll_connections(DEAD)
    for _ in range(20):
        simulator.deliver()
        simulator.advance(10 * MINUTE)
    check_channels(simulator.context)
    simulator.deliver()
    assert RuleName.CHANNEL_FAILING in {event.incident.rule for event in pager.events}
    check_channels(replace(simulator.context, channels={"pager": pager}))
    simulator.deliver()
    (failing,) = {event.key for event in pager.events if event.incident.rule is RuleName.CHANNEL_FAILING}
    assert ["opened", "resolved"] == [event.reason for event in pager.events if event.key == failing]


# Silences, quiet hours, routes


def test_what_came_and_went_within_a_silence_is_never_sent(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    silence(simulator, 2 * HOUR)
    simulator.poll_connections(DEAD)
    simulator.deliver()
    simulator.advance(HOUR)
    simulator.poll_connections(connection())
    simulator.advance(2 * HOUR)
    simulator.deliver()
    assert [] == pager.events


def test_what_ends_within_a_silence_is_resolved_after_it(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    silence(simulator, 2 * HOUR)
    simulator.poll_connections(connection())
    simulator.deliver()
    assert 1 == len(pager.events)
    simulator.advance(2 * HOUR)
    simulator.deliver()
    assert ["opened", "resolved"] == [what for what, _ in pager.story]


def test_quiet_hours_hold_what_isnt_critical(simulator: JobSimulator, pager: FakeIncidentChannel) -> None:
    quiet = QuietHours(
        starts=(NOW - HOUR).time(), ends=(NOW + 2 * HOUR).time(), zone=NOW.tzinfo or pytest.fail()
    )
    simulator.routes = (Route(channels=("pager",), quiet_hours=quiet),)
    simulator.poll_connections(expiring(2 * DAY), connection(platform_id="x-1", token_status="expired"))
    simulator.deliver()
    assert [("opened", "critical")] == pager.story
    simulator.advance(2 * HOUR)
    simulator.deliver()
    assert [("opened", "critical"), ("opened", "warning")] == pager.story


def test_a_route_by_severity_begins_with_the_escalation(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.routes = (Route(channels=("pager",), match=Matcher(severity=("critical",))),)
    simulator.poll_connections(expiring(2 * DAY))
    simulator.deliver()
    simulator.advance(DAY + HOUR)
    simulator.review()
    simulator.deliver()
    simulator.poll_connections(connection())
    simulator.deliver()
    assert [("opened", "critical"), ("resolved", "critical")] == pager.story


def test_a_problem_that_gets_milder_is_updated(simulator: JobSimulator, pager: FakeIncidentChannel) -> None:
    simulator.poll_connections(
        connection(last_error=error("Error validating access token", occurred_at=NOW - HOUR))
    )
    simulator.deliver()
    simulator.advance()
    simulator.poll_connections(connection(last_error=error("Rate limit exceeded", occurred_at=NOW)))
    simulator.deliver()
    assert [("opened", "critical"), ("updated", "notice")] == pager.story


# Acknowledgements


def test_an_acknowledgement_is_passed_on_once(simulator: JobSimulator, pager: FakeIncidentChannel) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    acknowledge(simulator)
    assert [1, 0] == [pass_on(simulator), pass_on(simulator)]
    simulator.deliver()
    assert ["opened", "acknowledged"] == [what for what, _ in pager.story]
    assert "mia" == pager.events[-1].incident.acknowledged_by
    simulator.advance()
    assert 0 == pass_on(simulator)
    simulator.advance()
    acknowledge(simulator, by="tom")
    assert 1 == pass_on(simulator)


def test_an_acknowledgement_is_passed_on_after_the_trigger(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.refusal = REFUSED
    simulator.poll_connections(DEAD)
    simulator.deliver()
    acknowledge(simulator)
    assert 0 == pass_on(simulator)
    pager.refusal = None
    simulator.advance()
    simulator.deliver()
    assert 1 == pass_on(simulator)
    simulator.deliver()
    assert ["opened", "acknowledged"] == [what for what, _ in pager.story]


def test_a_clock_that_was_set_back_passes_nothing_on_twice(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    acknowledge(simulator)
    simulator.clock.advance(-HOUR)
    assert [1, 0] == [pass_on(simulator), pass_on(simulator)]


def test_acknowledgements_are_for_services_that_take_them(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    pager.takes_acknowledgements = False
    simulator.channels["ops"] = FakeChannel()
    simulator.routes = (Route(channels=("pager", "ops")),)
    simulator.poll_connections(DEAD)
    simulator.deliver()
    acknowledge(simulator)
    assert 0 == pass_on(simulator)


def test_an_acknowledgement_does_not_move_the_beat_of_reminders(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(DEAD)
    simulator.deliver()
    simulator.advance(HOUR / 2)
    acknowledge(simulator, until=simulator.clock() + MINUTE)
    pass_on(simulator)
    simulator.deliver()
    simulator.advance(HOUR / 2)
    assert 1 == remind_all(simulator)


def test_what_is_acknowledged_is_not_reminded_of_and_an_escalation_ends_that(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(expiring(2 * DAY))
    simulator.deliver()
    acknowledge(simulator)
    pass_on(simulator)
    simulator.deliver()
    simulator.advance(2 * HOUR)
    assert 0 == remind_all(simulator)
    simulator.advance(DAY)
    simulator.review()
    simulator.deliver()
    simulator.advance(HOUR)
    assert 1 == remind_all(simulator)
    simulator.deliver()
    assert ["opened", "acknowledged", "escalated", "reminder"] == [what for what, _ in pager.story]


def test_an_acknowledgement_and_news_of_the_same_time_are_two_events(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    simulator.poll_connections(connection(last_error=error("Rate limit exceeded")))
    simulator.deliver()
    acknowledge(simulator)
    pass_on(simulator)
    simulator.advance()
    simulator.poll_connections(connection(last_error=error("Quota exceeded, try later", occurred_at=NOW)))
    simulator.deliver()
    assert ["opened", "updated", "acknowledged"] == [what for what, _ in pager.story]
    assert 3 == len({event.message_key for event in pager.events})


# Alertmanager forgets


def test_what_is_open_is_sent_again_every_minute_and_leaves_no_row(
    file_simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = file_simulator
    with standing("alertmanager", monkeypatch) as there:
        service: Alertmanager = there.service
        simulator.services["pager"] = there.channel
        simulator.routes = (Route(channels=("pager",)),)
        simulator.poll_connections(DEAD, expiring(2 * DAY, platform_id="threads-1"))

        def again() -> int:
            return refresh(simulator.context)

        assert 0 == again()  # nothing was told yet
        simulator.deliver()
        before = simulator.view("delivery_log")
        for _ in range(15):
            service.now = simulator.advance(MINUTE)
            assert 2 == again()
        firing = service.firing(simulator.clock())
        assert {("critical",), ("warning",)} == {tuple(severities) for severities in firing.values()}
        assert before == simulator.view("delivery_log")
        simulator.poll_connections(connection(), expiring(2 * DAY, platform_id="threads-1"))
        assert 1 == again()  # what is over isn't sent as open, though that was not told yet
        simulator.deliver()
        assert 1 == len(service.firing(simulator.clock()))
        service.now = simulator.advance(6 * MINUTE)
        assert {} == service.firing(simulator.clock())
        assert [] == service.refused


def test_a_severity_that_was_not_told_yet_is_not_sent_with_what_is_sent_again(
    file_simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = file_simulator
    with standing("alertmanager", monkeypatch) as there:
        simulator.services["pager"] = there.channel
        simulator.routes = (Route(channels=("pager",)),)
        simulator.poll_connections(expiring(2 * DAY))
        simulator.deliver()
        there.service.now = simulator.advance(2 * DAY)
        simulator.review()
        refresh(simulator.context)
        assert {("warning",)} == {tuple(each) for each in there.service.firing(simulator.clock()).values()}


def test_an_alertmanager_that_is_away_holds_nothing_up(
    file_simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = file_simulator
    with standing("alertmanager", monkeypatch) as there:
        simulator.services["pager"] = there.channel
        simulator.routes = (Route(channels=("pager",)),)
        simulator.poll_connections(DEAD)
        simulator.deliver()
        context = simulator.context
    assert 0 == refresh(context)


# What a configuration leaves behind


def test_a_digest_that_was_written_before_the_channel_took_incidents_is_let_go(
    simulator: JobSimulator, pager: FakeIncidentChannel
) -> None:
    with simulator.database.begin() as store:
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
    simulator.poll_connections(DEAD)
    simulator.deliver()
    assert [("opened", "critical")] == pager.story
    assert [("digest", "delivered"), ("opened", "delivered")] == reasons(simulator)


def test_a_group_that_was_claimed_before_the_channel_took_incidents_becomes_its_events(
    simulator: JobSimulator,
) -> None:
    simulator.poll_connections(
        *(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y"))
    )
    simulator.channel.refusal = UNSURE
    simulator.deliver()
    pager = FakeIncidentChannel("ops")
    simulator.channels.clear()
    simulator.services["ops"] = pager
    simulator.advance(HOUR)
    simulator.deliver()
    assert [("opened", "critical")] * 2 == pager.story
    assert 2 == len({event.key for event in pager.events})


@pytest.mark.parametrize("allow_reconnect_links", [False, True])
def test_a_link_that_its_reader_can_use_goes_to_private_channels_alone(
    simulator: JobSimulator, allow_reconnect_links: bool
) -> None:
    link = "https://app.postpost.dev/connections/abc"
    pager = FakeIncidentChannel(allow_reconnect_links=allow_reconnect_links)
    simulator.services["pager"] = pager
    simulator.routes = (Route(channels=("pager",)),)
    simulator.poll_connections(DEAD)
    deliver.deliver_channel("pager", replace(simulator.context, reconnect_link=lambda target: link), {})
    assert [link if allow_reconnect_links else ""] == [event.reconnect_url for event in pager.events]
