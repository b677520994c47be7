"""What platforms say when they refuse a post: who must do what about it, and is it the same as last time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Cause
from monitor.core.rules.error_catalog import classify, normalize

RECONNECT = [
    # Meta: Facebook, Instagram, Threads
    "Error validating access token: Session has expired on Sunday, 22-Feb-26 08:00:00 PST. "
    "The current time is Sunday, 22-Feb-26 09:14:31 PST.",
    "Error validating access token: The session has been invalidated because the user changed their "
    "password or Facebook has changed the session for security reasons.",
    "Error validating access token: The user has not authorized application 1234567890.",
    "Invalid OAuth 2.0 Access Token",
    "(#190) This method must be called with a Page Access Token",
    '{"error":{"message":"Malformed access token","type":"OAuthException","code":190,"fbtrace_id":"AxYz"}}',
    "(#200) The user hasn't authorized the application to perform this action",
    "(#10) Application does not have permission for this action",
    "(#10) This endpoint requires the 'instagram_content_publish' permission or the feature to be approved",
    "(#200) If posting to a page, requires both pages_read_engagement and pages_manage_posts as an admin "
    "with sufficient administrative permission",
    "(#200) Permissions error",
    "You cannot access the app till you log in to www.facebook.com and follow the instructions given.",
    "The user is enrolled in a blocking, logged-in checkpoint",
    "Error validating access token: Sessions for the user are not allowed because the user is not a "
    "confirmed user.",
    # LinkedIn
    "The token used in the request has been revoked by the user",
    "The token used in the request has expired",
    "REVOKED_ACCESS_TOKEN",
    "EXPIRED_ACCESS_TOKEN",
    "Empty oauth2_access_token",
    "Invalid access token",
    "Not enough permissions to access: ugcPosts.CREATE.NO_VERSION",
    # X
    "Invalid or expired token.",
    "Could not authenticate you.",
    '{"title":"Unauthorized","type":"about:blank","status":401,"detail":"Unauthorized"}',
    "Request failed with status code 401",
    "Value passed for the token was invalid.",
    # TikTok
    "access_token_invalid",
    "The access token is invalid or not found in the request.",
    "scope_not_authorized: The user did not authorize the scope required for completing this request.",
    "token_not_authorized_for_specified_open_id",
    # YouTube and Google
    "invalid_grant: Token has been expired or revoked.",
    "invalid_grant",
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
    "valid authentication credential.",
    "Request had insufficient authentication scopes.",
    "The caller does not have permission",
    "Login Required.",
    "unauthorized_client",
    # Bluesky
    "ExpiredToken: Token has expired",
    "InvalidToken",
    "AuthenticationRequired: Invalid identifier or password",
    "Token has been revoked",
    # Mastodon
    "The access token is invalid",
    "The access token was revoked",
    "This action is outside the authorized scopes",
    "This method requires an authenticated user",
    # Telegram
    "Unauthorized",
    "Forbidden: bot was kicked from the channel chat",
    "Forbidden: bot is not a member of the channel chat",
    "Bad Request: not enough rights to send text messages to the chat",
    "Bad Request: need administrator rights in the channel chat",
    # Pinterest
    "Authentication failed.",
    "Authorization failed.",
    # what the vendor between may make of them
    "Please reconnect your Instagram account",
    "Account access revoked, please re-authorize",
]

MEND_THE_POST = [
    "Media upload failed: Invalid image format",
    # Meta
    "The image's aspect ratio is not supported. Please use an image with an aspect ratio between 4:5 and 1.91:1",
    "Only photo or video can be accepted as media type.",
    "The media could not be fetched from this URI: https://cdn.example/401.jpg",
    "(#4) Application request limit reached",
    "(#368) The action attempted has been deemed abusive or is otherwise disallowed",
    "(#506) Duplicate status message",
    "An unknown error has occurred.",
    "Media container expired before it was published",
    "The video upload session has expired",
    "Param text must be at most 500 characters long.",
    # LinkedIn
    "Content is a duplicate of urn:li:share:7165432109876543210",
    "Resource level throttle limit for calls to this resource is reached.",
    "Unpermitted fields present in REQUEST_BODY: Data Processing Exception while processing fields [/foo]",
    # X
    "You are not allowed to create a Tweet with duplicate content.",
    "Too Many Requests",
    "Tweet needs to be a bit shorter.",
    "The file size exceeds the limit of 5242880 bytes",
    "This request looks like it might be automated.",
    "To protect our users from spam and other malicious activity, this account is temporarily locked. "
    "Please log in to https://twitter.com to unlock your account.",
    # TikTok
    "spam_risk_too_many_posts",
    "picture_size_check_failed",
    "unaudited_client_can_only_post_to_private_accounts",
    "frame_rate_check_failed",
    # YouTube
    "quotaExceeded: The request cannot be completed because you have exceeded your quota.",
    "uploadLimitExceeded: The user has exceeded the number of videos they may upload.",
    "invalidTitle: The request metadata specifies an invalid or empty video title.",
    # Bluesky
    "InvalidRequest: Invalid app.bsky.feed.post record: Record/text must not be longer than 300 graphemes",
    "BlobTooLarge: This file is too large. It is 1.2MB but the maximum size is 976.56KB.",
    # Mastodon
    "Validation failed: Text character limit of 500 exceeded",
    # Telegram
    "Bad Request: message is too long",
    "Bad Request: wrong file identifier/HTTP URL specified",
    # Pinterest
    "Sorry! We blocked this link because it may lead to spam.",
    "Board not found.",
    # the way there
    "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
    "Unexpected token < in JSON at position 0: invalid response",
    "socket hang up",
    "timeout of 30000ms exceeded",
    "getaddrinfo ENOTFOUND graph.facebook.com",
    "",
    "投稿に失敗しました",
]


@pytest.mark.parametrize("message", RECONNECT)
def test_what_only_a_reconnect_mends(message: str) -> None:
    assert classify(message).needs_reconnect


@pytest.mark.parametrize("message", MEND_THE_POST)
def test_what_a_reconnect_would_not_mend(message: str) -> None:
    assert not classify(message).needs_reconnect


@pytest.mark.parametrize("message", [each for each in RECONNECT if each.isascii()])
def test_capitals_make_no_difference(message: str) -> None:
    assert classify(message.upper()).needs_reconnect
    assert classify(message.lower()).needs_reconnect


@pytest.mark.parametrize(
    "message",
    [
        "(#10) Application does not have permission for this action",
        "Not enough permissions to access: ugcPosts.CREATE.NO_VERSION",
        "Request had insufficient authentication scopes.",
        "This action is outside the authorized scopes",
    ],
)
def test_a_missing_permission_is_told_from_a_lost_login(message: str) -> None:
    assert classify(message) is Cause.PERMISSION


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Rate limit, try again in 30 s", "Rate limit, try again in 900 s"),
        ("Request 0a1b2c3d-77 failed", "Request ffee0011-12 failed"),
        ("Failed to fetch https://a.example/1.jpg", "Failed to fetch https://b.example/2.jpg?x=1"),
        ("An error (fbtrace_id: AbCdEfGhIjK)", "An error (fbtrace_id: XyZabCdEfGh)"),
        ("Upload failed, request id: abcdef", "Upload failed, request id: ghijkl"),
        (RECONNECT[0], RECONNECT[0].replace("Sunday, 22", "Monday, 23").replace("09:14:31", "21:00:02")),
        ("file is 12.5 MB", "file is 8 MB"),
        ("Publishing   failed", "publishing failed\n"),
    ],
)
def test_the_same_failure_again_is_the_same(first: str, second: str) -> None:
    assert normalize(first) == normalize(second)


def test_different_failures_are_different() -> None:
    essences = {normalize(message) for message in RECONNECT + MEND_THE_POST}
    assert len(essences) == len(RECONNECT + MEND_THE_POST)


@given(st.text(max_size=300))
def test_any_text_has_a_class_and_a_short_essence(message: str) -> None:
    assert classify(message) in Cause
    assert len(normalize(message)) <= 120
    assert normalize(message) == normalize(f"  {message}\n")
