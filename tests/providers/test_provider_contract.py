"""What every provider must do, whatever its name."""

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.model import Connection, FailureScope, Outcome, PublishError, RuleName
from monitor.errors import ConfigError, FetchError
from monitor.http.client import HttpClient
from monitor.providers import PROVIDERS, connect
from monitor.providers.base import Brand
from tests.providers.http_server import Handler, StandIn

from .conftest import KEY, NOW, MakeHttp, account, failure_of, payload

USER = "65f0c0ffee65f0c0ffee65f0"


def test_the_two_names_of_the_service_are_as_documented() -> None:
    postpost, publora = PROVIDERS["postpost"], PROVIDERS["publora"]
    assert (
        postpost.base_url,
        postpost.key_header,
        postpost.user_header,
        postpost.requests_per_minute,
    ) == ("https://api.postpost.dev", "x-api-key", "x-postpost-user-id", 300)
    assert (
        publora.base_url,
        publora.key_header,
        publora.user_header,
        publora.requests_per_minute,
    ) == ("https://api.publora.com", "x-publora-key", "x-publora-user-id", 300)
    assert postpost.dashboard_url == "https://app.postpost.dev"
    assert publora.dashboard_url == "https://app.publora.com"


def test_a_request_carries_the_documented_headers_and_no_others(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    account(server.url, http, brand=brand).connections()
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/platform-connections", b"")
    assert {
        "host": server.url.removeprefix("http://"),
        "user-agent": "postpost-monitor/1.2.3",
        "accept": "application/json",
        "accept-encoding": "gzip",
        brand.key_header: KEY,
    } == request.headers


def test_a_managed_user_is_named_in_the_brands_own_header(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    provider = account(server.url, http, brand=brand)
    provider.connections(USER)
    provider.connections()
    assert server.requests[0].headers[brand.user_header] == USER
    assert brand.user_header not in server.requests[1].headers


def test_connect_finds_the_brand_by_its_name(server: StandIn, http: HttpClient, brand: Brand) -> None:
    provider = connect(brand.name, base_url=server.url, api_key=KEY, http=http, clock=lambda: NOW)
    assert brand.dashboard_url == provider.dashboard_url
    assert provider.connections().connections == ()


def test_the_documented_answer_is_read_as_documented(server: StandIn, http: HttpClient, brand: Brand) -> None:
    server.says(payload("2026-02-22_three_connections.json"))
    answer = account(server.url, http, brand=brand).connections()
    assert (
        Connection(
            platform_id="twitter-123456789",
            username="yourhandle",
            display_name="Your Name",
            token_status="unknown",
            last_successful_post_at=datetime(2026, 2, 20, 14, 30, tzinfo=UTC),
        ),
        Connection(
            platform_id="linkedin-Tz9W5i6ZYG",
            username="John Doe",
            display_name="John Doe",
            token_status="valid",
            expires_at=datetime(2026, 5, 15, 10, 30, tzinfo=UTC),
            last_successful_post_at=datetime(2026, 2, 22, 9, 15, tzinfo=UTC),
        ),
        Connection(
            platform_id="instagram-17841412345678",
            username="yourinstagram",
            display_name="Your Brand",
            token_status="expiring_soon",
            expires_at=datetime(2026, 2, 25, 8, tzinfo=UTC),
            last_error=PublishError(
                message="Media upload failed: Invalid image format",
                occurred_at=datetime(2026, 2, 21, 16, 45, tzinfo=UTC),
            ),
        ),
    ) == answer.connections
    assert ((), frozenset(), frozenset()) == (
        answer.warnings,
        answer.unreadable_ids,
        answer.unknown_fields,
    )


def test_rate_limits_are_told_where_the_api_tells_them(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    provider = account(server.url, http, brand=brand)
    assert _limits(provider.connections()) == (None, None, None)
    server.says(
        {"connections": []},
        X_RateLimit_Limit="60",
        x_ratelimit_remaining="12",
        X_RateLimit_Reset="30",
    )
    assert (60, 12, timedelta(seconds=30)) == _limits(provider.connections())
    server.says(
        {"connections": []},
        X_RateLimit_Limit="60",
        X_RateLimit_Remaining="-1",
        X_RateLimit_Reset=str(int(NOW.timestamp()) + 45),
    )
    assert (60, None, timedelta(seconds=45)) == _limits(provider.connections())
    server.says({"connections": []}, X_RateLimit_Limit="lots", X_RateLimit_Reset="soon")
    assert _limits(provider.connections()) == (None, None, None)


def _limits(answer: object) -> tuple[object, ...]:
    return tuple(getattr(answer, name) for name in ("limit", "remaining", "reset_after"))


@pytest.mark.parametrize(
    ("status", "words", "outcome", "rule", "in_error", "in_remedy"),
    [
        (400, "Invalid {user}", "bad_request", "access_denied", "not an id", "managed_users"),
        (401, "API key is required", "unauthorized", "api_key_rejected", "no API key", "{key}"),
        (401, "Invalid API key", "unauthorized", "api_key_rejected", "invalid or was revoked", "{app}"),
        (401, "Invalid API key owner", "unauthorized", "api_key_rejected", "owner", "{app}"),
        (401, "Token of yore", "unauthorized", "api_key_rejected", "401 Token of yore", "{app}"),
        (403, "API access is not enabled for this account", "forbidden", "access_denied", "plan", "{app}"),
        (403, "MCP access is not enabled for this account", "forbidden", "access_denied", "MCP", "proxy"),
        (403, "Workspace access is not enabled for this key", "forbidden", "access_denied", "users", "{app}"),
        (403, "User is not managed by key", "forbidden", "access_denied", "not managed", "managed_users"),
        (403, "Go away", "forbidden", "access_denied", "403 Go away", "{app}"),
        (404, "Cannot GET /api/v9", "bad_request", "access_denied", "404 Cannot GET #", "base_url"),
        (408, "", "timeout", "api_unreachable", "errors: HTTP 408 Request Timeout", None),
        (429, "", "rate_limited", "api_unreachable", "rate limit was exceeded", "requests_per_minute"),
        (500, "Internal server error", "server_error", "api_unreachable", "errors: HTTP 500 Internal", None),
        (
            500,
            "Failed to fetch platform connections",
            "server_error",
            "api_unreachable",
            "HTTP 500 Failed",
            None,
        ),
        (502, "<html>", "server_error", "api_unreachable", "HTTP 502 Bad Gateway", None),
        (504, "", "timeout", "api_unreachable", "HTTP 504 Gateway Timeout", None),
        (599, "", "server_error", "api_unreachable", "HTTP 599", None),
    ],
)
def test_a_refusal_is_named_with_its_remedy(
    *,
    server: StandIn,
    http: HttpClient,
    brand: Brand,
    status: int,
    words: str,
    outcome: str,
    rule: str,
    in_error: str,
    in_remedy: str | None,
) -> None:
    words = words.format(user=brand.user_header)
    server.says(b"<html>" if words == "<html>" else {"error": words}, status=status)
    failure = failure_of(account(server.url, http, brand=brand))
    assert (Outcome(outcome), RuleName(rule), status) == (failure.outcome, failure.rule, failure.http_status)
    assert in_error in failure.error
    if in_remedy is None:  # the monitor keeps retrying, and nobody else can do anything
        assert failure.remedy == ""
    else:
        assert in_remedy.format(key=brand.key_header, app=brand.dashboard_url) in failure.remedy


@pytest.mark.parametrize(("status", "words"), [(400, "Invalid {user}"), (403, "User is not managed by key")])
def test_a_managed_user_the_key_may_not_ask_for_is_that_users_problem(
    server: StandIn, http: HttpClient, brand: Brand, status: int, words: str
) -> None:
    server.says({"error": words.format(user=brand.user_header)}, status=status)
    assert RuleName.USER_NOT_MANAGED is failure_of(account(server.url, http, brand=brand), USER).rule


@pytest.mark.parametrize("user", ["", "a b", "x\r\nx-api-key: y", "ü", "a" * 256])
def test_a_managed_user_id_that_no_header_can_hold_is_refused_unsent(
    server: StandIn, http: HttpClient, brand: Brand, user: str
) -> None:
    failure = failure_of(account(server.url, http, brand=brand), user)
    assert (failure.outcome, failure.rule) == (Outcome.BAD_REQUEST, RuleName.USER_NOT_MANAGED)
    assert server.requests == []


@pytest.mark.parametrize("key", ["", "sk_a b", "sk_a\nb", "sk_ä", "sk_\x00", "k" * 256])
def test_a_key_that_no_header_can_hold_is_refused_at_once_and_not_shown(http: HttpClient, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        account("https://api.postpost.dev", http, api_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.postpost.dev",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "ftp://localhost",
        "api.postpost.dev",
        "https://",
        "https://user:hunter2@api.postpost.dev",
        "https://[::1",
        "https://api.postpost.dev:99999",
        "https://api.postpost.dev?x=1",
    ],
)
def test_a_base_url_that_would_show_the_key_or_leads_nowhere_is_refused(http: HttpClient, url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        account(url, http)
    assert "hunter2" not in str(caught.value)


def _echo(status: int) -> Callable[[Handler], None]:
    return lambda handler: handler.say({"error": f"no such key: {KEY}"}, status=status)


@pytest.mark.parametrize(
    "answer",
    [
        _echo(200),
        _echo(401),
        _echo(404),
        _echo(500),
        lambda handler: handler.say(f"{KEY} is not JSON".encode()),
        lambda handler: handler.say({"connections": KEY}),
        lambda handler: handler.say(b"", status=302, Location=f"http://other.example/?k={KEY}"),
        lambda handler: handler.raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
        lambda handler: handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + KEY.encode()[:5]),
        lambda handler: handler.reset(),
    ],
)
def test_the_key_is_in_no_failure_and_nowhere_in_its_traceback(
    server: StandIn, http: HttpClient, brand: Brand, answer: Callable[[Handler], None]
) -> None:
    server.answer = answer
    provider = account(server.url, http, brand=brand)
    with pytest.raises(FetchError) as caught:
        provider.connections(USER)
    notified = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY[:20] not in "".join(notified.format())
    assert KEY[:20] not in repr(caught.value) + repr(caught.value.failure) + repr(provider) + repr(vars(http))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_the_key_is_in_no_connection_and_no_complaint(server: StandIn, http: HttpClient) -> None:
    said = {"platformId": "x-1", "lastError": f"{KEY} was refused", "displayName": [KEY], "username": KEY}
    server.says({"connections": [said, {"platformId": "x-2", "accessTokenExpiresAt": KEY}]})
    assert KEY[:20] not in repr(account(server.url, http).connections())


def test_equal_causes_give_equal_text(server: StandIn, http: HttpClient, brand: Brand) -> None:
    provider = account(server.url, http, brand=brand)
    server.says({"error": "upstream 10.0.0.3:8080 failed, request 7f3a-11"}, status=500)
    first = failure_of(provider)
    server.says({"error": "upstream 10.0.0.9:9090 failed, request 8b2c-97"}, status=500)
    assert first == failure_of(provider)


def test_a_code_that_is_known_counts_before_the_words(server: StandIn, http: HttpClient) -> None:
    provider = account(server.url, http)
    server.says({"code": "E_KEY", "error": "Invalid API key", "message": "sorry"}, status=401)
    assert "invalid or was revoked" in failure_of(provider).error
    server.says({"code": "E_NEW", "error": "Something", "message": "sorry"}, status=401)
    assert "401 E_NEW" in failure_of(provider).error
    server.says({"error": {"message": "User is not managed by key"}}, status=403)
    assert "not managed" in failure_of(provider).error


def test_words_from_the_server_are_cleaned_and_cut(server: StandIn, http: HttpClient) -> None:
    server.says({"error": "\x1b[31mred\nsecond line \u202e" + "long " * 99}, status=418)
    error = failure_of(account(server.url, http)).error
    assert error.isprintable()
    assert len(error) < 170


@pytest.mark.parametrize(
    ("status", "header", "body", "seconds"),
    [
        (429, "30", {}, 30),
        (429, "0", {}, 0),
        (429, "1.5", {}, 1.5),
        (503, "Sun, 22 Feb 2026 20:02:00 GMT", {}, 120),
        (500, "7", {}, 7),
        (429, None, {"retryAfter": 12}, 12),
        (429, "soon", {"retryAfter": 2.5}, 2.5),
        (429, "5", {"retryAfter": 12}, 5),
        (429, "86400", {}, 3600),
        (429, "9" * 5000, {}, 3600),
        (429, "inf", {}, 3600),
        (429, None, {"retryAfter": 10**30}, 3600),
        (429, "-5", {}, None),
        (429, "nan", {}, None),
        (429, "Sun, 22 Feb 2026 19:00:00 GMT", {}, None),
        (429, "Sun, 99 Feb 2026 19:00:00 GMT", {}, None),
        (429, "soon", {"retryAfter": "later"}, None),
        (429, "", {"retryAfter": True}, None),
        (429, None, {"retryAfter": -1}, None),
        (401, "30", {"retryAfter": 12}, None),
    ],
)
def test_how_long_to_stay_away(
    *, server: StandIn, http: HttpClient, status: int, header: str | None, body: object, seconds: float | None
) -> None:
    server.says(body, status=status, **({} if header is None else {"Retry_After": header}))
    wanted = None if seconds is None else timedelta(seconds=seconds)
    assert wanted == failure_of(account(server.url, http)).retry_after


@pytest.mark.parametrize("status", [203, 206])
def test_an_answer_that_is_not_whole_is_a_bad_answer_whatever_it_holds(
    server: StandIn, http: HttpClient, status: int
) -> None:
    provider = account(server.url, http)
    server.says({"connections": [], "users": []}, status=status)
    failure = failure_of(provider)
    with pytest.raises(FetchError) as caught:
        provider.workspace_users()
    assert [(Outcome.BAD_ANSWER, RuleName.BAD_ANSWER, status)] * 2 == [
        (each.outcome, each.rule, each.http_status) for each in (failure, caught.value.failure)
    ]
    assert "isn't whole" in failure.error


@pytest.mark.parametrize(
    ("body", "in_error"),
    [
        (b"", "empty"),
        (b"<html><body>Log in</body></html>", "not JSON, it begins"),
        (b'{"connections": [{"platformId": "x-1"}', "cut off"),
        (b'{"connections": [{"platformId": "x-', "cut off"),
        (b'{"connections": [,]}', "not valid JSON"),
        (b"[]", "should be a JSON object, but is a list"),
        (b"null", "should be a JSON object, but is nothing"),
        (b'{"success": true}', "`connections` is missing"),
        (b'{"connections": null}', "should be a list, but is nothing"),
        (b'{"connections": {}}', "should be a list, but is an object"),
        (b'{"connections": "none"}', 'should be a list, but is "none"'),
        (b'{"success": false, "error": "Try later"}', 'success: false, which says "Try later"'),
        (b'{"success": false, "connections": []}', "success: false"),
        (b'{"connections": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON that can't be read"),
    ],
)
def test_an_unreadable_answer_is_named(server: StandIn, http: HttpClient, body: bytes, in_error: str) -> None:
    server.says(body)
    failure = failure_of(account(server.url, http))
    assert (
        failure.outcome,
        failure.rule,
        failure.http_status,
    ) == (Outcome.BAD_ANSWER, RuleName.BAD_ANSWER, 200)
    assert in_error in failure.error
    assert len(failure.error) < 140


def test_one_bad_connection_costs_only_itself(server: StandIn, http: HttpClient, brand: Brand) -> None:
    good = json.loads(payload("2026-02-22_three_connections.json"))["connections"]
    bad = {"platformId": "instagram-1", "accessTokenExpiresAt": 42}
    server.says({"connections": [good[0], None, good[1], bad, good[2]]})
    answer = account(server.url, http, brand=brand).connections()
    assert [each["platformId"] for each in good] == [each.platform_id for each in answer.connections]
    assert answer.warnings == (
        "connections[1]: expected an object, got nothing",
        "connections[3] (instagram-1): accessTokenExpiresAt: expected a time, got 42",
    )
    assert {"instagram-1"} == answer.unreadable_ids


def test_the_users_of_a_workspace_are_listed_in_both_shapes(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    provider = account(server.url, http, brand=brand)
    server.says(
        {
            "users": [
                {
                    "_id": USER,
                    "username": "acme",
                    "displayName": "Acme",
                    "role": "user",
                    "connectionsPageUrl": "https://app.example/c/secret",
                    "connectionsPageTokenExpiresAt": "2026-05-01T00:00:00.000Z",
                },
                {"_id": "65f0c0ffee65f0c0ffee65f1", "username": "beta", "connectionsPageUrl": None},
                {"_id": 5},
            ]
        }
    )
    workspace = provider.workspace_users()
    acme, beta = workspace.users
    assert (acme.id, acme.name, acme.reconnect_url) == (USER, "Acme", "https://app.example/c/secret")
    assert datetime(2026, 5, 1, tzinfo=UTC) == acme.reconnect_url_expires_at
    assert (beta.name, beta.reconnect_url, beta.reconnect_url_expires_at) == ("beta", None, None)
    assert workspace.warnings == ("users[2]: _id: expected an id, got 5",)
    assert "secret" not in repr(workspace)
    server.says([{"id": USER, "email": "a@b.example"}])
    assert [user.name for user in provider.workspace_users().users] == ["a@b.example"]
    assert server.requests[-1].path == "/api/v1/workspace/users"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"users": [{"_id": USER}], "success": False, "error": "timed out"},
            'success: false, which says "timed out"',
        ),
        ({"users": None}, "`users` should be a list, but is nothing"),
        ({"users": {USER: {}}}, "`users` should be a list, but is an object"),
        ({}, "`users` should be a list, but is nothing"),
        ("users", "`users` should be a list"),
    ],
    ids=["not whole", "null", "an object", "nothing", "text"],
)
def test_what_is_no_list_of_users_is_a_bad_answer_not_an_empty_workspace(
    server: StandIn, http: HttpClient, brand: Brand, body: object, words: str
) -> None:
    server.says(body)
    with pytest.raises(FetchError) as caught:
        account(server.url, http, brand=brand).workspace_users()
    assert caught.value.failure.outcome is Outcome.BAD_ANSWER
    assert words in caught.value.failure.error


def test_an_id_of_a_managed_user_has_one_spelling(server: StandIn, http: HttpClient, brand: Brand) -> None:
    server.says({"users": [{"_id": USER.upper()}, {"_id": USER}, {"_id": "Acme-1"}]})
    workspace = account(server.url, http, brand=brand).workspace_users()
    assert [user.id for user in workspace.users] == [USER, "Acme-1"]
    assert workspace.unreadable_ids == frozenset()


def test_a_reconnect_link_is_asked_for_and_rotated_only_when_told(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    provider = account(server.url, http, brand=brand)
    server.says({"url": "https://app.example/c/secret", "tokenExpiresAt": "2026-05-01T00:00:00Z"})
    link = provider.connection_url(USER)
    assert ("https://app.example/c/secret", datetime(2026, 5, 1, tzinfo=UTC)) == (link.url, link.expires_at)
    server.says({"connectionUrl": "https://app.example/d", "expiresAt": "2026-06-01T00:00:00Z"})
    assert provider.connection_url(USER, rotate=True).url == "https://app.example/d"
    first, second = server.requests
    assert ("POST", f"/api/v1/workspace/users/{USER}/connection-url") == (first.method, first.path)
    assert (first.headers["content-length"], first.headers["content-type"]) == ("2", "application/json")
    assert (first.body, json.loads(second.body)) == (b"{}", {"rotate": True})
    server.says({"url": "javascript:secret"})
    with pytest.raises(FetchError) as caught:
        provider.connection_url(USER)
    assert "secret" not in str(caught.value)


def test_a_link_for_a_user_who_is_gone_is_that_users_problem(
    server: StandIn, http: HttpClient, brand: Brand
) -> None:
    server.says({"error": "User not found or not managed by this key"}, status=404)
    with pytest.raises(FetchError) as caught:
        account(server.url, http, brand=brand).connection_url(USER)
    failure = caught.value.failure
    assert (RuleName.USER_NOT_MANAGED, FailureScope.USER) == (failure.rule, failure.scope)
    assert "not managed by this API key" in failure.error


def test_questions_have_no_body_and_no_content_type(server: StandIn, http: HttpClient, brand: Brand) -> None:
    provider = account(server.url, http, brand=brand)
    server.says({"success": True, "connections": []})
    provider.connections()
    provider.connections(USER)
    server.says({"users": []})
    provider.workspace_users()
    for request in server.requests:
        assert (request.method, request.body) == ("GET", b"")
        assert not {"content-type", "content-length", "transfer-encoding"} & set(request.headers)


def test_a_connection_can_be_tried_now(server: StandIn, http: HttpClient, brand: Brand) -> None:
    provider = account(server.url, http, brand=brand)
    server.says({"status": "error", "message": "Invalid bot token"})
    trial = provider.run_connection_test("bluesky-did:plc:abc/123", USER)
    assert (trial.passed, trial.message) == (False, "Invalid bot token")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/test-connection/bluesky-did%3Aplc%3Aabc%2F123")
    assert request.headers[brand.user_header] == USER
    assert (request.body, request.headers.get("content-length", "0")) == (b"", "0")
    assert "content-type" not in request.headers
    server.says({"status": "ok"})
    assert provider.run_connection_test("x-1").passed
    server.says({"status": ["ok"]})
    with pytest.raises(FetchError, match="should be ok or error"):
        provider.run_connection_test("x-1")
    server.says({"error": "Connection not found"}, status=404)
    with pytest.raises(FetchError, match="does not know this connection"):
        provider.run_connection_test("x-1")


def test_nothing_listening_is_a_network_error(make_http: MakeHttp) -> None:
    gone = StandIn()
    gone.stop()
    failure = failure_of(account(gone.url, make_http()))
    assert (failure.outcome, failure.rule) == (Outcome.NETWORK_ERROR, RuleName.API_UNREACHABLE)
    assert "refused" in failure.error
