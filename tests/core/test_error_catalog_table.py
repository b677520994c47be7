"""The table of wordings, line by line: each with what a platform really says, and what that means."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.messages.phrases import PLATFORMS
from monitor.core.model import Cause
from monitor.core.rules.error_catalog import CATALOG_DATE, ERROR_PATTERNS, classify, match_pattern
from tests.core.test_error_texts import TEXTS, VENDOR

AUTHORIZATION, PERMISSION, POLICY, CONTENT, TRANSIENT, UNKNOWN = Cause

# A line of the table, what it means, and words that it stands for.
LINES = [
    ("not JSON", TRANSIENT, "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON"),
    ("an upload that took too long", TRANSIENT, "Media container expired before it was published"),
    ("account locked", POLICY, '{"errors":[{"code":326,"message":"this account is temporarily locked"}]}'),
    ("account suspended", POLICY, "Your account is suspended and is not permitted to access this feature."),
    ("account taken down", POLICY, "AccountTakedown: Account has been taken down"),
    ("login not usable", POLICY, "Your login is currently disabled"),
    ("permission code", PERMISSION, "(#10) Application does not have permission for this action"),
    ("permission code", PERMISSION, "(#200) Permissions error"),
    ("permission code", PERMISSION, "(#299) The user must have accepted the TOS"),
    (
        "permission code as JSON",
        PERMISSION,
        '{"error":{"message":"Denied","type":"OAuthException","code":200,"fbtrace_id":"A1"}}',
    ),
    (
        "permission code as JSON",
        PERMISSION,
        '{\n "error": {\n "code": 10,\n "fbtrace_id": "A1"\n }\n}',
    ),
    ("missing permission", PERMISSION, "This endpoint requires the 'pages_manage_posts' permission"),
    ("no permission", PERMISSION, "Not enough permissions to access: ugcPosts.CREATE.NO_VERSION"),
    ("permission denied", PERMISSION, "PERMISSION_DENIED"),
    ("permission denied", PERMISSION, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    ("insufficient scope", PERMISSION, "This action is outside the authorized scopes"),
    ("scope not granted", PERMISSION, "scope_not_authorized"),
    ("not granted by the user", PERMISSION, "The user hasn't authorized the application to do this"),
    ("bot not allowed", PERMISSION, "Forbidden: bot was kicked from the channel chat"),
    ("bot not allowed", PERMISSION, "Forbidden: bot was blocked by the user"),
    ("action not allowed", PERMISSION, "This action is not allowed"),
    ("token code", AUTHORIZATION, "(#190) This method must be called with a Page Access Token"),
    ("token code", AUTHORIZATION, '{"error":{"type":"OAuthException","code":190,"fbtrace_id":"A1"}}'),
    *(
        ("token subcode", AUTHORIZATION, f'{{"error_subcode":{subcode},"message":"Denied"}}')
        for subcode in range(458, 468)
    ),
    ("session invalid", AUTHORIZATION, "Error validating access token: Session has expired on Sunday"),
    ("application removed", AUTHORIZATION, "The user has not authorized application 1234567890."),
    ("checkpoint", AUTHORIZATION, "You cannot access the app till you log in to www.facebook.com"),
    ("invalid grant", AUTHORIZATION, "invalid_grant: Token has been expired or revoked."),
    ("invalid token", AUTHORIZATION, 'Bearer error="invalid_token"'),
    ("expired or revoked token", AUTHORIZATION, "REVOKED_ACCESS_TOKEN"),
    ("expired or revoked token", AUTHORIZATION, "EXPIRED_ACCESS_TOKEN"),
    ("empty token", AUTHORIZATION, "Empty oauth2_access_token"),
    ("invalid or expired token", AUTHORIZATION, "Invalid or expired token."),
    ("invalid or expired token", AUTHORIZATION, '{"errors":[{"code":89}]}'),
    ("could not authenticate", AUTHORIZATION, "Could not authenticate you."),
    ("token invalid", AUTHORIZATION, "access_token_invalid"),
    ("unauthenticated", AUTHORIZATION, "Request had invalid authentication credentials."),
    ("bot unauthorised", AUTHORIZATION, "401: Unauthorized"),
    ("expired session", AUTHORIZATION, "ExpiredToken: Token has expired"),
    ("wrong password", AUTHORIZATION, "Invalid identifier or password"),
    ("nobody logged in", AUTHORIZATION, "This method requires an authenticated user"),
    ("HTTP 401", AUTHORIZATION, "Request failed with status code 401"),
    ("HTTP 401", AUTHORIZATION, "Unauthorized"),
    ("a token that is no good", AUTHORIZATION, "The token used in the request has been revoked by the user"),
    ("a login that is asked for", AUTHORIZATION, "Please reconnect your Instagram account"),
    ("abusive", POLICY, "(#368) The action attempted has been deemed abusive or is otherwise disallowed"),
    ("automated", POLICY, "This request looks like it might be automated."),
    ("spam", POLICY, "spam_risk_too_many_posts"),
    ("unaudited client", POLICY, "unaudited_client_can_only_post_to_private_accounts"),
    ("blocked", POLICY, "The post violates our Community Guidelines"),
    ("rate limit code", TRANSIENT, "(#4) Application request limit reached"),
    ("rate limit", TRANSIENT, "Too Many Requests"),
    ("quota", TRANSIENT, "quotaExceeded"),
    ("no connection", TRANSIENT, "getaddrinfo ENOTFOUND graph.facebook.com"),
    ("trouble on their side", TRANSIENT, "Request failed with status code 503"),
    ("media refused", CONTENT, "Media upload failed: Invalid image format"),
    ("parameter refused", CONTENT, "(#100) Invalid parameter"),
    ("duplicate", CONTENT, "You are not allowed to create a Tweet with duplicate content."),
    ("size", CONTENT, "Tweet needs to be a bit shorter."),
    ("limit", CONTENT, "Validation failed: Text character limit of 500 exceeded"),
    ("field refused", CONTENT, "Unpermitted fields present in REQUEST_BODY"),
    ("check failed", CONTENT, "picture_size_check_failed"),
    ("bad record", CONTENT, "Invalid app.bsky.feed.post record"),
    ("bad request", CONTENT, "Bad Request: wrong file identifier/HTTP URL specified"),
    ("not as it should be", CONTENT, "Unsupported video codec"),
    ("HTTP 403", UNKNOWN, "Request failed with status code 403"),
]


@pytest.mark.parametrize(("name", "cause", "message"), LINES)
def test_a_line_fits_what_it_stands_for_before_any_other_does(name: str, cause: Cause, message: str) -> None:
    found = match_pattern(message)
    assert found is not None
    assert (name, cause) == (found.name, found.cause)


def test_every_line_has_a_name_of_its_own_and_is_the_first_that_fits_a_real_text() -> None:
    names = [wording.name for wording in ERROR_PATTERNS]
    assert len(names) == len(set(names))
    texts = [*((platform, text) for platform, text, _ in TEXTS), *(("", text) for _, _, text in LINES)]
    texts += [("", code) for code in VENDOR]
    found = {wording.name for platform, text in texts if (wording := match_pattern(text, platform))}
    assert set() == set(names) - found


def test_every_line_names_its_source_and_the_date_of_it() -> None:
    for wording in ERROR_PATTERNS:
        assert wording.source.title
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", wording.source.date)
        assert wording.source.date[:7] <= CATALOG_DATE


def test_lines_for_single_platforms_name_platforms_that_there_are() -> None:
    assert set() == {platform for wording in ERROR_PATTERNS for platform in wording.platforms} - set(
        PLATFORMS
    )


@pytest.mark.parametrize(
    "message",
    [
        "",
        " ",
        "Something went wrong",
        "投稿に失敗しました",
        "Error 1900",
        "code 2000",
        "#1901",
        "Failed: 4010",
    ],
)
def test_what_no_line_fits_is_unknown(message: str) -> None:
    assert classify(message) is UNKNOWN


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        # two kinds in one text: the one that tells what to do counts
        ("403 Forbidden: quotaExceeded", TRANSIENT),
        ("HTTP 403: You are not allowed to create a Tweet with duplicate content.", CONTENT),
        ("HTTP 400: invalid_grant", AUTHORIZATION),
        ("Bad Request: not enough rights to send photos to the chat", PERMISSION),
        ("Media upload failed: Invalid or expired token", AUTHORIZATION),
        ("Media upload failed: timeout of 30000ms exceeded", TRANSIENT),
    ],
)
def test_of_two_kinds_the_one_that_says_what_to_do_counts(message: str, cause: Cause) -> None:
    assert classify(message) is cause


@given(st.text(max_size=1000))
def test_no_text_is_too_much_for_it(message: str) -> None:
    assert classify(message) in Cause
