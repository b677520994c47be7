"""The command that tests one connection now."""

from monitor.sandbox.profiles import SocialProfile
from tests.cli.conftest import CliEnvironment

X = "twitter-123456789"


def test_a_connection_that_works_is_said_to(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    ran = cli_env.run("test-connection", X)
    assert (0, "") == (ran.status, ran.err)
    assert ran.out == "X Your Name (agency): it works (Connected as Your Name)\n"


def test_a_broken_one_is_said_to_be_and_its_incident_is_recorded(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.fake_service.revoke_grant(X)
    ran = cli_env.run("test-connection", X)
    assert ran.status == 1
    assert ran.out.startswith("X Your Name (agency): broken: Error validating access token")
    [incident] = [each for each in cli_env.run("incidents", "--json").json() if each["platform_id"] == X]
    assert ("connection_test_failed", "critical") == (incident["rule"], incident["severity"])
    cli_env.fake_service.reconnect(X)
    assert cli_env.run("test-connection", X).status == 0
    assert not [each for each in cli_env.run("incidents", "--json").json() if each["platform_id"] == X]


def test_what_has_no_test_is_not_asked_about(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.add_connection(SocialProfile(platform_id="bluesky-did:plc:abc123", username="ann"))
    cli_env.run("poll")
    ran = cli_env.run("test-connection", "bluesky-did:plc:abc123")
    assert ran.status == 0
    assert "not tested" in ran.out
    assert not [seen for seen in cli_env.server.requests if "test-connection" in seen.path]


def test_a_failure_that_proves_nothing_says_so(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.add_connection(
        SocialProfile(platform_id="telegram--1001", username="ann", is_bot=False)
    )
    cli_env.run("poll")
    ran = cli_env.run("test-connection", "--", "telegram--1001")
    assert ran.status == 0
    assert "no result" in ran.out
    assert "Invalid bot token" in ran.out


def test_an_api_that_refuses_is_told_with_what_to_do(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.fake_service.change_plan(api_access=False)
    ran = cli_env.run("test-connection", X)
    assert ran.status == 1
    assert "the test could not be done" in ran.out


def test_a_connection_that_nobody_lists_is_refused(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    ran = cli_env.run("test-connection", "twitter-0")
    assert ran.status == 1
    assert "no connection 'twitter-0';" in ran.complaint


def test_before_the_first_poll_there_is_nothing_to_test(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("test-connection", X)
    assert ran.status == 1
    assert "no history yet" in ran.complaint
    assert not cli_env.database.exists()


def test_an_account_that_is_not_there_is_a_mistake_in_the_command(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("test-connection", X, "--account", "nobody")
    assert ran.status == 2
    assert "no account 'nobody'" in ran.complaint


def test_one_that_is_listed_twice_must_be_told_apart(cli_env: CliEnvironment) -> None:
    cli_env.tree["accounts"].append({**cli_env.tree["accounts"][0], "name": "again"})
    cli_env.run("poll")
    ran = cli_env.run("test-connection", X)
    assert ran.status == 2
    assert "--account again, --account agency" in ran.complaint
    assert cli_env.run("test-connection", X, "--account", "again").status == 0
