"""The command that tests one connection now."""

from monitor.sandbox.profiles import Profile
from tests.cli.conftest import Place

X = "twitter-123456789"


def test_a_connection_that_works_is_said_to(place: Place) -> None:
    place.run("poll")
    ran = place.run("test", X)
    assert (0, "") == (ran.status, ran.err)
    assert ran.out == "X Your Name (agency): it works (Connected as Your Name)\n"


def test_a_broken_one_is_said_to_be_and_its_incident_is_recorded(place: Place) -> None:
    place.run("poll")
    place.world.revoke_grant(X)
    ran = place.run("test", X)
    assert ran.status == 1
    assert ran.out.startswith("X Your Name (agency): broken: Error validating access token")
    [incident] = [each for each in place.run("incidents", "--json").json() if each["platform_id"] == X]
    assert ("connection_test_failed", "critical") == (incident["rule"], incident["severity"])
    place.world.reconnect(X)
    assert place.run("test", X).status == 0
    assert not [each for each in place.run("incidents", "--json").json() if each["platform_id"] == X]


def test_what_has_no_test_is_not_asked_about(place: Place) -> None:
    place.world.add_connection(Profile(platform_id="bluesky-did:plc:abc123", username="ann"))
    place.run("poll")
    ran = place.run("test", "bluesky-did:plc:abc123")
    assert ran.status == 0
    assert "not tested" in ran.out
    assert not [seen for seen in place.server.requests if "test-connection" in seen.path]


def test_a_failure_that_proves_nothing_says_so(place: Place) -> None:
    place.world.add_connection(Profile(platform_id="telegram--1001", username="ann", is_bot=False))
    place.run("poll")
    ran = place.run("test", "--", "telegram--1001")
    assert ran.status == 0
    assert "proves nothing" in ran.out
    assert "Invalid bot token" in ran.out


def test_an_api_that_refuses_is_told_with_what_to_do(place: Place) -> None:
    place.run("poll")
    place.world.change_plan(api_access=False)
    ran = place.run("test", X)
    assert ran.status == 1
    assert "the test could not be done" in ran.out


def test_a_connection_that_nobody_lists_is_refused(place: Place) -> None:
    place.run("poll")
    ran = place.run("test", "twitter-0")
    assert ran.status == 1
    assert "no connection 'twitter-0' is listed" in ran.complaint


def test_before_the_first_poll_there_is_nothing_to_test(place: Place) -> None:
    ran = place.run("test", X)
    assert ran.status == 1
    assert "no history yet" in ran.complaint
    assert not place.database.exists()


def test_an_account_that_is_not_there_is_a_mistake_in_the_command(place: Place) -> None:
    ran = place.run("test", X, "--account", "nobody")
    assert ran.status == 2
    assert "no account 'nobody'" in ran.complaint


def test_one_that_is_listed_twice_must_be_told_apart(place: Place) -> None:
    place.tree["accounts"].append({**place.tree["accounts"][0], "name": "again"})
    place.run("poll")
    ran = place.run("test", X)
    assert ran.status == 2
    assert "--account again, --account agency" in ran.complaint
    assert place.run("test", X, "--account", "again").status == 0
