"""A whole workspace from the command line: found, polled, shown, and what a client would get."""

import re
import socket
from pathlib import Path

import pytest
import yaml

import monitor
from monitor.clock import utc_now
from monitor.sandbox.profiles import SocialProfile
from monitor.sandbox.samples import SANDBOX_KEY
from tests.cli.conftest import CliEnvironment
from tests.factories import DAY, HOUR
from tests.receivers import smtp_receiver
from tests.sandbox.server import serve
from tests.sandbox.worlds import sample_world

EXAMPLE = Path(monitor.__file__).parent.parent / "config.example.yaml"


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


def add_user(cli_env: CliEnvironment, name: str, *platform_ids: str) -> str:
    user = cli_env.fake_service.add_user(f"{name.lower()}@example.com", display_name=name)
    for platform_id in platform_ids:
        profile = SocialProfile(
            platform_id=platform_id, username=name.lower(), expires_at=utc_now() + 60 * DAY
        )
        cli_env.fake_service.add_connection(profile, user=user)
    return user


@pytest.fixture
def workspace(cli_env: CliEnvironment) -> CliEnvironment:
    """Give a place whose account has three managed users; two share a profile."""
    cli_env.tree["accounts"][0]["managed_users"] = "all"
    cli_env.tree["polling"] = {"requests_per_minute": 3000}
    add_user(cli_env, "North", "linkedin-1", "threads-2")
    add_user(cli_env, "South", "linkedin-1")
    add_user(cli_env, "Empty")
    return cli_env


def test_one_pass_finds_everybody_polls_them_and_names_them(workspace: CliEnvironment) -> None:
    ran = workspace.run("poll")
    assert ran.status == 0
    rows = workspace.run("status", "--json").json()
    assert {row["managed_user"] for row in rows} == {None, "North", "South"}
    assert len(rows) == 6
    paths = [request.path for request in workspace.server.requests]
    assert paths.count("/api/v1/workspace/users") == 1
    assert paths.count("/api/v1/platform-connections") == 4


def test_a_profile_connected_twice_is_shown_side_by_side(workspace: CliEnvironment) -> None:
    workspace.run("poll")
    rows = workspace.run("status", "--shared", "--json").json()
    assert [(row["platform_id"], row["managed_user"]) for row in rows] == [
        ("linkedin-1", "North"),
        ("linkedin-1", "South"),
    ]


def test_a_refused_key_is_asked_with_once_and_said_once(workspace: CliEnvironment) -> None:
    workspace.run("poll")
    other = "sk_other1_00ff.11ee"
    workspace.fake_service.replace_key(other)
    workspace.server.requests.clear()
    ran = workspace.run("poll")
    assert ran.status == 1
    refused = [line for line in ran.out.splitlines() if line.startswith("not polled:")]
    assert len(refused) == 2
    assert "3 more targets not polled" in refused[1]
    asked = [each for each in workspace.server.requests if each.path.endswith("/platform-connections")]
    assert len(asked) == 1
    workspace.fake_service.replace_key(workspace.server.requests[0].headers["x-api-key"], other)
    assert workspace.run("poll").status == 0


def test_the_check_says_how_often_a_budget_lets_everybody_be_looked_at(workspace: CliEnvironment) -> None:
    ids = [f"{n:024x}" for n in range(1000)]
    workspace.tree["accounts"][0] |= {"managed_users": ids, "include_owner": False, "every": "5m"}
    workspace.tree["polling"] = {"requests_per_minute": 60}
    ran = workspace.run("check-config")
    assert ran.status == 0
    assert "1000 targets" in ran.out
    assert "can't be kept" in ran.out
    assert "17 minutes" in ran.out
    workspace.tree["polling"] = {"requests_per_minute": 600}
    assert "can't be kept" not in workspace.run("check-config").out


def test_accounts_with_one_key_are_checked_against_one_budget(workspace: CliEnvironment) -> None:
    [account] = workspace.tree["accounts"]
    ids = [f"{n:024x}" for n in range(1000)]
    workspace.tree["accounts"] = [
        account | {"name": name, "managed_users": some, "include_owner": False, "every": "10m"}
        for name, some in (("north", ids[:500]), ("south", ids[500:]))
    ]
    workspace.tree["polling"] = {"requests_per_minute": 60}
    ran = workspace.run("check-config")
    assert ran.status == 0
    for name in ("north", "south"):
        assert f"account {name}: every 10 minutes can't be kept for 1000 targets" in ran.out


def test_the_check_names_the_owner_among_the_managed_users(workspace: CliEnvironment) -> None:
    account = workspace.fake_service.account()
    workspace.tree["accounts"][0]["managed_users"] = [account.owner.id.upper(), *account.users]
    workspace.run("poll")
    ran = workspace.run("check-config")
    [line] = [line for line in ran.out.splitlines() if "seems to be the owner" in line]
    assert account.owner.id in line
    assert "take it out of managed_users" in line


def test_a_managed_user_is_named_in_either_case(workspace: CliEnvironment) -> None:
    workspace.run("poll")
    user = next(iter(workspace.fake_service.account().users))
    ran = workspace.run("test-connection", "linkedin-1", "--managed-user", user.upper())
    assert ran.status == 0


def test_the_check_counts_whom_a_workspace_was_seen_to_hold(workspace: CliEnvironment) -> None:
    assert "0 targets known so far" not in workspace.run("check-config").out
    workspace.run("poll")
    assert "4 targets known so far" in workspace.run("check-config").out


def test_a_client_gets_a_real_mail_of_its_own_and_the_check_shows_one(workspace: CliEnvironment) -> None:
    with smtp_receiver() as mails:
        workspace.tree["channels"].append(
            {
                "name": "clients",
                "url": f"mailto://{mails.address}/?from=robot@example.com&to={{managed_user.username}}",
                "allow_reconnect_links": True,
            }
        )
        workspace.tree["routes"] = [
            {"channels": ["ops"]},
            {"channels": ["clients"], "match": {"rule": "token_expiry"}},
        ]
        users = list(workspace.fake_service.account().users)
        odd = workspace.fake_service.add_user("nobody at all", display_name="Odd")
        for user in (*users[:2], odd):
            profile = SocialProfile(platform_id="tiktok-9", username="t", expires_at=utc_now() - HOUR)
            workspace.fake_service.add_connection(profile, user=user)
        link, _ = workspace.fake_service.make_link(users[0])
        rehearsed = workspace.run("poll", "--dry-run")
        assert "would notify clients: Please reconnect your TikTok account" in rehearsed.out
        assert (
            mails.mails,
            [each.method for each in workspace.server.requests if each.method == "POST"],
        ) == ([], [])
        assert workspace.run("poll").status == 0
        received = {mail.recipients: mail for mail in mails.mails}
        assert set(received) == {("north@example.com",), ("south@example.com",)}
        north, south = received["north@example.com",], received["south@example.com",]
        assert link in north.text()
        assert link not in south.text()
        assert "Hello North," in north.text()
        shown = workspace.run("check-config")
        assert shown.status == 0
        assert "sample:" in shown.out
        assert "Please reconnect your Instagram account" in shown.out
        assert "without a usable address: Odd" in shown.out
        token = link.rpartition("/")[2]
        assert token not in workspace.database.read_bytes().decode("latin-1")
        for args in (("export", "deliveries"), ("deliveries", "--json"), ("incidents", "--all", "--json")):
            assert token not in workspace.run(*args).out
        assert workspace.run("db", "check").status == 0
        refused = workspace.run("test-channel", "clients")
        assert refused.status == 2
        assert "notifies each managed user" in refused.err


def test_a_channel_for_clients_needs_somebody_else_for_the_rest(workspace: CliEnvironment) -> None:
    url = "mailto://u:p@mail.example.com/?to={managed_user.username}"
    workspace.tree["channels"] = [{"name": "clients", "url": url, "allow_reconnect_links": True}]
    ran = workspace.run("check-config")
    assert ran.status == 2
    assert "no route takes" in ran.err


def test_the_agency_example_works_unchanged_against_the_sandbox(cli_env: CliEnvironment) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    lines = text.partition("# database: {url: sqlite:///agency.db}\n")[2].partition("\n\n")[0]
    example = "database: {url: sqlite:///agency.db}\n" + re.sub("^# ?", "", lines, flags=re.MULTILINE)
    (port,) = map(int, re.findall(r"base_url: http://127.0.0.1:(\d+)", example))
    with socket.socket() as free:
        is_taken = free.connect_ex(("127.0.0.1", port)) == 0
    if is_taken:
        taken, port = port, free_port()
        example = example.replace(f":{taken}", f":{port}")
    tree = yaml.safe_load(example)
    (cli_env.folder / "agency.yaml").write_text(example)
    with pytest.MonkeyPatch.context() as patch, serve(sample_world(utc_now), port=port):
        patch.setenv("POSTPOST_API_KEY", SANDBOX_KEY)
        checked = cli_env.run("--config", str(cli_env.folder / "agency.yaml"), "check-config", bare=True)
        assert checked.status == 0
        ran = cli_env.run("--config", str(cli_env.folder / "agency.yaml"), "poll", bare=True)
        rows = cli_env.run(
            "--config", str(cli_env.folder / "agency.yaml"), "status", "--json", bare=True
        ).json()
    assert tree["accounts"][0]["managed_users"] == "all"
    assert {row["managed_user"] for row in rows} == {None, "North Bakery", "Velo Works"}
    assert "not polled" not in ran.out
