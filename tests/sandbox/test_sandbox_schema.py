"""Every answer of the stand-in against the schema of the documented fields, under both contracts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests

from monitor.core.model import PublishError
from monitor.sandbox.profiles import Contract, SocialProfile
from monitor.sandbox.samples import SANDBOX_KEY
from tests.sandbox import documented
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import sample_world, seed_world

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
HEADERS = {"x-api-key": SANDBOX_KEY}


@pytest.fixture(params=Contract)
def agency(request: pytest.FixtureRequest) -> Iterator[Server]:
    fake_service = sample_world(lambda: NOW)
    fake_service.contract = request.param
    for left in (timedelta(minutes=30), timedelta(hours=5), timedelta(0)):
        fake_service.add_connection(
            SocialProfile(
                platform_id=f"linkedin-{left.seconds}",
                username="Łódź Films",
                profile_url="https://social.example/łódź films",
                expires_at=NOW + left,
                last_error=PublishError(message="as bare text"),
            )
        )
    with serve(fake_service) as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> bytes:
    return requests.request(
        method, f"{server.url}/api/v1{path}", headers={**HEADERS, **headers}, timeout=5
    ).content


def users(server: Server) -> list[str]:
    answer = documented.WorkspaceUsers.model_validate_json(ask(server, "/workspace/users"))
    return [each.id for each in answer.users]


def test_lists_of_connections_have_the_documented_fields_and_no_other(agency: Server) -> None:
    owner = documented.ConnectionList.model_validate_json(ask(agency, "/platform-connections"))
    assert {each.platform_id.partition("-")[0] for each in owner.connections} >= {
        "twitter",
        "telegram",
        "pinterest",
    }
    for user in users(agency):
        answer = ask(agency, "/platform-connections", **{"x-postpost-user-id": user})
        documented.ConnectionList.model_validate_json(answer)


def test_the_example_of_the_vendor_has_the_documented_fields_and_no_other() -> None:
    with serve(seed_world(lambda: NOW)) as server:
        answer = documented.ConnectionList.model_validate_json(ask(server, "/platform-connections"))
    assert ["unknown", "valid", "expiring_soon"] == [each.token_status for each in answer.connections]


def test_answers_to_tests_have_the_documented_fields_and_no_other(agency: Server) -> None:
    owner = documented.ConnectionList.model_validate_json(ask(agency, "/platform-connections"))
    for each in owner.connections:
        answer = documented.TestAnswer.model_validate_json(
            ask(agency, f"/test-connection/{each.platform_id}", "POST")
        )
        assert each.platform_id == answer.platform_id


def test_links_and_users_have_the_documented_fields_and_no_other(agency: Server) -> None:
    for user in users(agency):
        documented.ConnectionUrl.model_validate_json(
            ask(agency, f"/workspace/users/{user}/connection-url", "POST")
        )
    assert all(
        each.connections_page_url
        for each in documented.WorkspaceUsers.model_validate_json(ask(agency, "/workspace/users")).users
    )


def test_refusals_have_the_documented_fields_and_no_other(agency: Server) -> None:
    refused = [
        ask(agency, "/platform-connections", **{"x-api-key": ""}),
        ask(agency, "/platform-connections", **{"x-postpost-user-id": "a" * 24}),
        ask(agency, "/test-connection/twitter-404", "POST"),
        ask(agency, f"/workspace/users/{'a' * 24}/connection-url", "POST"),
    ]
    agency.fake_service.requests_per_minute = 0
    refused.append(ask(agency, "/platform-connections"))
    notified = [documented.ErrorAnswer.model_validate_json(each) for each in refused]
    assert [
        "API key is required",
        "User is not managed by key",
        "Connection not found",
        "User not found or not managed by this key",
        "Too many requests",
    ] == [each.error for each in notified]
    assert notified[-1].retry_after


def test_a_contract_may_change_while_it_is_served(agency: Server) -> None:
    def x() -> str:
        answer = documented.ConnectionList.model_validate_json(ask(agency, "/platform-connections"))
        return answer.connections[0].token_status

    for contract, status in ((Contract.SEED, "unknown"), (Contract.NEWER, "valid")):
        agency.fake_service.contract = contract
        assert status == x()


def test_a_grant_that_was_withdrawn_is_expired_once_a_post_has_failed(agency: Server) -> None:
    fake_service, x = agency.fake_service, "twitter-901234567"
    fake_service.contract = Contract.NEWER

    def status() -> str:
        answer = documented.ConnectionList.model_validate_json(ask(agency, "/platform-connections"))
        return {each.platform_id: each.token_status for each in answer.connections}[x]

    fake_service.revoke_grant(x)
    assert status() == "valid"
    fake_service.fail(x, "Invalid or expired token.")
    assert status() == "expired"
    fake_service.reconnect(x)
    assert status() == "valid"
