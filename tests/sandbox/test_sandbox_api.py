"""The stand-in over real HTTP: the endpoints and the whole table of refusals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from monitor.sandbox.fake_service import Shape
from monitor.sandbox.profiles import SocialProfile
from tests.sandbox.server import Server, serve
from tests.sandbox.service import FakeService

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
KEY = "sk_api_0a1b.2c3d"
BLUESKY = "bluesky-did:plc:abc123"
TELEGRAM = "telegram--1001234567890"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Server, Clock]]:
    clock = Clock()
    fake_service = FakeService(clock)
    for key in (KEY, "sk_ownerless", "sk_no_api", "sk_no_mcp", "sk_no_workspace"):
        fake_service.add_account(key)
    fake_service.change_plan(key="sk_ownerless", has_owner=False)
    fake_service.change_plan(key="sk_no_api", api_access=False)
    fake_service.change_plan(key="sk_no_mcp", mcp_access=False)
    fake_service.change_plan(key="sk_no_workspace", workspace_access=False)
    fake_service.add_connection(SocialProfile(platform_id=BLUESKY, username="ann.bsky.social"), key=KEY)
    fake_service.add_connection(SocialProfile(platform_id=TELEGRAM, username="annnews"), key=KEY)
    with serve(fake_service) as server:
        yield server, clock


@pytest.fixture
def server(running: tuple[Server, Clock]) -> Iterator[Server]:
    server, clock = running
    yield server
    clock.now = NOW
    server.fake_service.shape = Shape.DOCUMENTED
    server.fake_service.requests_per_minute = None
    server.requests.clear()


@pytest.fixture
def clock(running: tuple[Server, Clock]) -> Clock:
    return running[1]


@pytest.fixture
def user(server: Server) -> Iterator[str]:
    user = server.fake_service.add_user("bob@example.com", display_name="Bob", key=KEY)
    server.fake_service.add_connection(
        SocialProfile(platform_id="twitter-7", username="bob"), key=KEY, user=user
    )
    yield user
    server.fake_service.remove_user(user, key=KEY)


def get(server: Server, path: str = "/platform-connections", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{server.url}/api/v1{path}", headers=named, timeout=5)


def post(server: Server, path: str, json: Any = None, **headers: str) -> requests.Response:
    named = {"x-api-key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.post(f"{server.url}/api/v1{path}", headers=named, json=json, timeout=5)


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"x_postpost_user_id": "not-an-id", "x_api_key": KEY}, 400, "Invalid x-postpost-user-id"),
        ({"x_postpost_user_id": "a" * 25, "x_api_key": KEY}, 400, "Invalid x-postpost-user-id"),
        ({"x_publora_user_id": "g" * 24, "x_publora_key": KEY}, 400, "Invalid x-publora-user-id"),
        ({}, 401, "API key is required"),
        ({"x_api_key": ""}, 401, "API key is required"),
        ({"x_api_key": "sk_wrong"}, 401, "Invalid API key"),
        ({"x_publora_key": "sk_wrong"}, 401, "Invalid API key"),
        ({"x_api_key": "sk_ownerless"}, 401, "Invalid API key owner"),
        ({"x_api_key": "sk_no_api"}, 403, "API access is not enabled for this account"),
        (
            {"x_api_key": "sk_no_mcp", "x_postpost_client": "mcp"},
            403,
            "MCP access is not enabled for this account",
        ),
        (
            {"x_publora_key": "sk_no_mcp", "x_publora_client": "mcp"},
            403,
            "MCP access is not enabled for this account",
        ),
        (
            {"x_api_key": "sk_no_workspace", "x_postpost_user_id": "a" * 24},
            403,
            "Workspace access is not enabled for this key",
        ),
        ({"x_api_key": KEY, "x_postpost_user_id": "a" * 24}, 403, "User is not managed by key"),
    ],
)
def test_each_refusal_has_the_vendors_status_and_words(
    server: Server, headers: dict[str, str], status: int, error: str
) -> None:
    answer = get(server, **headers)

    assert (status, {"error": error}) == (answer.status_code, answer.json())


def test_another_client_than_mcp_needs_no_entitlement(server: Server) -> None:
    assert get(server, x_api_key="sk_no_mcp", x_postpost_client="monitor").status_code == 200


@pytest.mark.parametrize("header", ["x_api_key", "x_publora_key", "X_API_Key"])
def test_the_key_is_taken_under_both_names(server: Server, header: str) -> None:
    answer = get(server, **{header: KEY})

    assert answer.json()["success"] is True
    assert [item["platformId"] for item in answer.json()["connections"]] == [BLUESKY, TELEGRAM]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("header", ["x_postpost_user_id", "x_publora_user_id"])
def test_a_managed_users_connections_are_its_own(server: Server, user: str, header: str) -> None:
    answer = get(server, x_api_key=KEY, **{header: user})

    assert [item["platformId"] for item in answer.json()["connections"]] == ["twitter-7"]


def test_the_owners_own_id_changes_nothing_even_without_workspace_access(server: Server) -> None:
    owner = server.fake_service.account("sk_no_workspace").owner.id

    assert get(server, x_api_key="sk_no_workspace", x_postpost_user_id=owner).status_code == 200


def test_a_revoked_key_is_refused_from_the_next_request_on(server: Server) -> None:
    server.fake_service.add_account("sk_short_lived")
    assert get(server, x_api_key="sk_short_lived").status_code == 200

    server.fake_service.replace_key("sk_next", "sk_short_lived")

    assert get(server, x_api_key="sk_short_lived").json() == {"error": "Invalid API key"}
    assert get(server, x_api_key="sk_next").status_code == 200
    server.fake_service.revoke_key("sk_next")
    assert get(server, x_api_key="sk_next").json() == {"error": "Invalid API key"}


@pytest.mark.parametrize(
    ("path", "platform_id"),
    [
        ("bluesky-did:plc:abc123", BLUESKY),
        ("bluesky-did%3Aplc%3Aabc123", BLUESKY),
        ("telegram--1001234567890", TELEGRAM),
        ("telegram%2D%2D1001234567890", TELEGRAM),
    ],
)
def test_a_connection_is_tested_by_its_id_encoded_or_not(server: Server, path: str, platform_id: str) -> None:
    answer = post(server, f"/test-connection/{path}")

    assert (200, platform_id) == (answer.status_code, answer.json()["platformId"])


def test_a_test_of_a_broken_connection_is_still_a_good_answer(server: Server) -> None:
    answer = post(server, f"/test-connection/{BLUESKY}")

    assert (answer.status_code, answer.json()["status"]) == (200, "error")


@pytest.mark.parametrize(
    ("platform_id", "status", "error"),
    [("twitter-404", 404, "Connection not found"), ("nodash", 400, "Invalid platformId format")],
)
def test_what_is_not_linked_cannot_be_tested(
    server: Server, platform_id: str, status: int, error: str
) -> None:
    answer = post(server, f"/test-connection/{platform_id}")

    assert (status, {"error": error}) == (answer.status_code, answer.json())


def test_the_user_list_has_the_documented_shape(server: Server, user: str) -> None:
    answer = get(server, "/workspace/users", x_api_key=KEY)

    assert answer.json() == {
        "users": [
            {
                "_id": user,
                "username": "bob@example.com",
                "displayName": "Bob",
                "role": "managed",
                "dailyPostsLeft": 50,
                "connectionsPageUrl": None,
                "connectionsPageTokenExpiresAt": None,
            }
        ]
    }


def test_the_user_list_may_be_bare(server: Server, user: str) -> None:
    server.fake_service.shape = Shape.BARE

    answer = get(server, "/workspace/users", x_api_key=KEY)

    assert answer.json() == [{"id": user, "email": "bob@example.com", "displayName": "Bob"}]


def test_the_workspace_is_closed_to_a_key_without_it(server: Server) -> None:
    error = {"error": "Workspace access is not enabled for this key"}

    assert get(server, "/workspace/users", x_api_key="sk_no_workspace").json() == error
    answer = post(server, f"/workspace/users/{'a' * 24}/connection-url", x_api_key="sk_no_workspace")
    assert answer.json() == error


def test_a_link_lasts_as_long_as_asked_and_comes_with_the_user_list(server: Server, user: str) -> None:
    made = post(server, f"/workspace/users/{user}/connection-url", {"expiresInDays": 30}).json()
    again = post(server, f"/workspace/users/{user}/connection-url").json()

    assert made["tokenExpiresAt"] == "2026-03-24T20:00:00.000Z"
    assert again == made
    shown = get(server, "/workspace/users", x_api_key=KEY).json()["users"][0]
    assert (made["url"], made["tokenExpiresAt"]) == (
        shown["connectionsPageUrl"],
        shown["connectionsPageTokenExpiresAt"],
    )


def test_rotating_kills_the_link_that_is_held(server: Server, user: str) -> None:
    held = post(server, f"/workspace/users/{user}/connection-url").json()

    rotated = post(server, f"/workspace/users/{user}/connection-url", {"rotate": True}).json()

    assert rotated["url"] != held["url"]
    assert rotated["tokenExpiresAt"] == "2026-05-23T20:00:00.000Z"


def test_a_link_may_have_the_other_shape(server: Server, user: str) -> None:
    server.fake_service.shape = Shape.BARE

    made = post(server, f"/workspace/users/{user}/connection-url").json()

    assert list(made) == ["connectionUrl", "expiresAt"]


@pytest.mark.parametrize("body", [{"expiresInDays": 0}, {"expiresInDays": "90"}, {"rotate": "yes"}, [90]])
def test_a_bad_wish_for_a_link_is_refused(server: Server, user: str, body: object) -> None:
    assert post(server, f"/workspace/users/{user}/connection-url", body).status_code == 400


def test_a_link_for_somebody_else_is_not_found(server: Server) -> None:
    answer = post(server, f"/workspace/users/{'b' * 24}/connection-url")

    error = {"error": "User not found or not managed by this key"}
    assert (answer.status_code, answer.json()) == (404, error)


def test_a_rate_limit_counts_down_and_then_says_how_long_to_wait(server: Server, clock: Clock) -> None:
    server.fake_service.requests_per_minute = 2
    first = get(server, x_api_key=KEY)
    clock.now += timedelta(seconds=19.5)
    assert get(server, x_api_key=KEY).status_code == 200

    refused = get(server, x_api_key=KEY)

    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    assert (
        refused.status_code,
        refused.headers["Retry-After"],
        refused.headers["X-RateLimit-Remaining"],
    ) == (429, "41", "0")
    assert refused.json() == {"error": "Too many requests", "retryAfter": 41}
    assert float(refused.headers["X-RateLimit-Reset"]) == (NOW + timedelta(minutes=1)).timestamp()
    assert get(server, x_api_key="sk_no_mcp").status_code == 200, "another key has a budget of its own"

    clock.now += timedelta(seconds=41)
    assert get(server, x_api_key=KEY).status_code == 200


def test_every_request_is_remembered_whatever_came_of_it(server: Server) -> None:
    get(server, x_api_key=KEY, x_postpost_client="here")
    post(server, "/test-connection/bluesky-did%3Aplc%3Aabc123", {"a": 1})
    get(server, "/nowhere?x=1")

    assert [(seen.method, seen.path) for seen in server.requests] == [
        ("GET", "/api/v1/platform-connections"),
        ("POST", "/api/v1/test-connection/bluesky-did%3Aplc%3Aabc123"),
        ("GET", "/api/v1/nowhere?x=1"),
    ]
    assert server.requests[0].headers["x-postpost-client"] == "here"
    assert server.requests[0].at == NOW
    assert server.requests[1].body == b'{"a": 1}'
    assert KEY not in repr(server.requests)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v1/nothing"), ("POST", "/api/v1/platform-connections")]
)
def test_what_is_not_served_is_not_found(server: Server, method: str, path: str) -> None:
    answer = requests.request(method, server.url + path, headers={"x-api-key": KEY}, timeout=5)

    assert (404, {"error": f"Cannot {method} {path}"}) == (answer.status_code, answer.json())


def test_a_browser_is_not_let_in_by_cors(server: Server) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Headers": "x-api-key"}
    answer = requests.options(f"{server.url}/api/v1/platform-connections", headers=asked, timeout=5)

    assert [name for name in answer.headers if name.lower().startswith("access-control")] == []


def test_text_beyond_ascii_arrives_and_a_lone_surrogate_is_escaped(server: Server) -> None:
    fake_service = server.fake_service
    fake_service.override(TELEGRAM, {"username": "Łódź 🚀"}, key=KEY)
    assert "Łódź 🚀".encode() in get(server, x_api_key=KEY).content

    fake_service.override(TELEGRAM, {"username": "half \ud83d"}, key=KEY)
    assert b"half \\ud83d" in get(server, x_api_key=KEY).content
    fake_service.override(TELEGRAM, key=KEY)
