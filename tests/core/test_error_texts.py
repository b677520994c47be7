"""Real error texts of every platform, each with the cause that stands behind it."""

import pytest

from monitor.core.model import Cause, Severity
from monitor.core.rules.base import Problem
from monitor.core.rules.error_catalog import classify
from monitor.core.rules.publish_error import PublishErrorRule
from tests.factories import NOW, connection, error, known

AUTHORIZATION, PERMISSION, POLICY, CONTENT, TRANSIENT, UNKNOWN = Cause

# The codes that the vendor documents as stable; they stand alone, before a text, or in JSON.
VENDOR = {
    "PLATFORM_AUTH_EXPIRED": AUTHORIZATION,
    "AUTH_REVOKED": AUTHORIZATION,
    "LINKEDIN_TOKEN_EXPIRED": AUTHORIZATION,
    "TOKEN_EXPIRED": AUTHORIZATION,
    "THREADS_PERMISSION_REQUIRED": PERMISSION,
    "INVALID_CONTENT": CONTENT,
    "CONTENT_TOO_LARGE": CONTENT,
    "CONTENT_TOO_LONG": CONTENT,
    "PLATFORM_VALIDATION_ERROR": CONTENT,
    "THREADS_INVALID_THREAD_PART": CONTENT,
    "THREAD_PART_TOO_LONG": CONTENT,
    "MEDIA_ASPECT_RATIO_INVALID": CONTENT,
    "MEDIA_TYPE_NOT_SUPPORTED": CONTENT,
    "VIDEO_DURATION_EXCEEDED": CONTENT,
    "RATE_LIMITED": TRANSIENT,
    "LINKEDIN_RATE_LIMITED": TRANSIENT,
    "LINKEDIN_REQUEST_TIMEOUT": TRANSIENT,
    "PLATFORM_SERVER_ERROR": TRANSIENT,
    "NETWORK_ERROR": TRANSIENT,
    "TIMEOUT_ERROR": TRANSIENT,
    "THREADS_PERMISSIONS_UNAVAILABLE": TRANSIENT,
    "PUBLISH_OUTCOME_UNKNOWN": UNKNOWN,
    "THREAD_PARTIALLY_PUBLISHED": UNKNOWN,
}

META = {
    AUTHORIZATION: [
        "Error validating access token: Session has expired on Sunday, 22-Feb-26 08:00:00 PST.",
        "Error validating access token: The session has been invalidated because the user changed their password",
        "Error validating access token; code=190; subcode=463",
        "Invalid OAuth access token; code=190",
        "REVOKED_ACCESS_TOKEN",
        "Session key invalid or no longer valid; code=102",
        "(#102) A user access token is required to request this resource.",
        "The user is enrolled in a blocking, logged-in checkpoint; code=190; subcode=490",
        "The session was invalidated; code=190; subcode=492",
        '{"error":{"message":"Denied","type":"OAuthException","code":368,"error_subcode":1404078}}',
        "You need to complete Page Publishing Authorization to publish as this Page; code=200; subcode=1404078",
    ],
    PERMISSION: [
        "(#10) Application does not have permission for this action",
        "(#200) If posting to a page, requires both pages_read_engagement and pages_manage_posts",
        "(#200) Unpublished posts must be posted to a page as the page itself.",
        "(#100) No permission to publish the video",
        "Permissions error; code=200",
        "Application does not have the capability to make this API call; code=10",
        "Not enough permissions to post",
        "The user is not an Instagram Business account",
        "Reconnect your Threads account and allow reply publishing to publish a thread with multiple posts.",
    ],
    POLICY: [
        "(#368) The action attempted has been deemed abusive or is otherwise disallowed",
        "Temporarily blocked for policies violations; code=368",
        '{"error":{"code":368,"error_subcode":1346003}}',
        "We couldn't post your comment; code=1; subcode=1404006",
        "Your post goes against our standards; code=200; subcode=1404102",
        "Your account has limited access to the site for a few days; subcode=1404112",
        "Confirm your identity before you can publish as this Page; code=200; subcode=4854002",
        "The Instagram account is restricted; code=25; subcode=2207050",
        "We restrict certain activity to protect our community; code=4; subcode=2207051",
        "Your post was detected as spam; code=-1; subcode=2207001",
        "User restricted; subcode=4279013",
    ],
    CONTENT: [
        "Media upload failed: Invalid image format",
        "(#100) Param message must be a valid string",
        "(#506) Duplicate status message",
        "Photos should be smaller than 4 MB and saved as JPG, PNG; code=324; subcode=1366046",
        "These photos were already posted; subcode=1366051",
        "Invalid parameter; code=100; subcode=2061006",
        "Cannot post Facebook.com links; code=100; subcode=1609008",
        "Invalid file; subcode=2069019",
        "Invalid parameter; code=100; subcode=1349125",
        "Name parameter too long",
        "The submitted image with aspect ratio ('900/2000',) cannot be published; code=36003",
        "The image format is not supported; code=36001; subcode=2207005",
        "The caption was too long; code=36004; subcode=2207010",
        "The media could not be fetched from this URI: https://cdn.example/401.jpg; subcode=2207052",
        "Too little or too many attachments",
        "The param collaborators is not allowed for carousel",
        "Error 1363026",
    ],
    TRANSIENT: [
        "Authorization Error; code=100; subcode=33",
        '{"error":{"message":"Authorization Error","code":100,"error_subcode":33,"fbtrace_id":"A1b2"}}',
        "(#4) Application request limit reached",
        "Calls to this api have exceeded the rate limit; code=613",
        "There have been too many calls to this Page account; code=80001",
        "User request limit reached; code=17",
        "Page request limit reached; code=32",
        "An unknown error occurred; code=1; subcode=99",
        "Service temporarily unavailable; code=2",
        "Service temporarily unavailable; code=2; subcode=1363047",
        "An error occurred; subcode=1609010",
        "You are posting too fast; code=368; subcode=1390008",
        "The media is not ready for publishing, please wait for a moment; code=9007; subcode=2207027",
        "Timeout downloading media; subcode=2207003",
        "Media expired; subcode=2207020",
        "Failed to create media; subcode=2207032",
        "The creation ID does not exist; subcode=2207008",
        "Unknown upload error; subcode=2207053",
        "Could not upload your media; subcode=2207082",
        "You reached the maximum number of posts per day; code=9; subcode=2207042",
    ],
    UNKNOWN: [
        "Unsupported post request. Object with ID '17841400011122' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation",
    ],
}

X = {
    AUTHORIZATION: [
        "Invalid or expired token.",
        "Could not authenticate you.",
        '{"errors":[{"code":32,"message":"Could not authenticate you."}]}',
        "Bad Authentication data.",
        "Unsupported Authentication",
        "Value passed for the token was invalid.",
        '{"title":"Unauthorized","type":"about:blank","status":401,"detail":"Unauthorized"}',
    ],
    PERMISSION: [
        "Your client app is not configured with the appropriate oauth1 app permissions for this endpoint.",
        "Read-only application cannot POST.",
        "Your credentials do not allow access to this resource; code: 220",
    ],
    POLICY: [
        "You are not permitted to perform this action.",
        "You are not permitted to perform this action",
        "Your account is not permitted to access this feature.",
        "Your account is suspended and is not permitted to access this feature.",
        "user-suspended",
        "To protect our users from spam and other malicious activity, this account is temporarily locked. "
        "Please log in to https://twitter.com to unlock your account.",
        "This request looks like it might be automated. To protect our users from spam and other malicious "
        "activity, we can't complete this action right now.",
    ],
    CONTENT: [
        "You are not allowed to create a Tweet with duplicate content.",
        "duplicate-rules",
        "There can be a maximum of one cashtag per post",
        "media_ids: maximum of 4 items",
        "The Tweet contains an invalid URL.",
        "This user is not allowed to post a video longer than 2 minutes",
        "Tweet needs to be a bit shorter.",
    ],
    TRANSIENT: [
        "Too Many Requests",
        "usage-capped",
        "Usage cap exceeded: Monthly product cap",
        "User is over daily status update limit",
        "Over capacity",
        "Service Unavailable",
        "Internal error",
    ],
}

LINKEDIN = {
    AUTHORIZATION: [
        "Unable to verify access token",
        "The token used in the request has been revoked by the user",
        "The token used in the request has expired",
        "REVOKED_ACCESS_TOKEN",
        "EXPIRED_ACCESS_TOKEN",
        "Empty oauth2_access_token",
        "Invalid access token",
    ],
    PERMISSION: [
        "Organization permissions must be used when using organization as author",
        "Not enough permissions to access: ugcPosts.CREATE.NO_VERSION",
        "Not enough permissions to access: partnerApiPostsExternal.CREATE.20260101",
        "ACCESS_DENIED",
    ],
    POLICY: ["Member is restricted"],
    CONTENT: [
        "Content is a duplicate of urn:li:share:7165432109876543210",
        "Unpermitted fields present in REQUEST_BODY: Data Processing Exception while processing fields [/foo]",
        "MEDIA_ASSET_PROCESSING_FAILED",
        "urn:li:video:C4D10 does not exist or is not in a state that allows publishing",
    ],
    TRANSIENT: [
        "Resource level throttle limit for calls to this resource is reached.",
        "Unable to obtain activity",
        "The resource is forbidden",
        "Service Unavailable",
    ],
}

TIKTOK = {
    AUTHORIZATION: [
        "access_token_invalid",
        "The access token is invalid or not found in the request.",
        "The user has revoked the authorization",
        "Access token is incorrect or has been revoked",
        "Access token has expired",
        "auth_removed",
        "token_not_authorized_for_specified_open_id",
    ],
    PERMISSION: [
        "scope_not_authorized: The user did not authorize the scope required for completing this request.",
        "scope_permission_missed",
    ],
    POLICY: [
        "spam_risk_user_banned_from_posting",
        "spam_risk_too_many_posts",
        "spam_risk_too_many_pending_share",
        "spam_risk_text",
        "unaudited_client_can_only_post_to_private_accounts",
        "app_version_check_failed",
    ],
    CONTENT: [
        "picture_size_check_failed",
        "file_format_check_failed",
        "duration_check_failed",
        "frame_rate_check_failed",
        "video_pull_failed",
        "photo_pull_failed",
        "url_ownership_unverified",
        "invalid_file_upload",
        "invalid_params",
        "privacy_level_option_mismatch",
    ],
    TRANSIENT: [
        "rate_limit_exceeded",
        "internal_error",
        "internal",
        "publish_cancelled",
        "reached_active_user_cap",
    ],
}

YOUTUBE = {
    AUTHORIZATION: [
        "invalid_grant: Token has been expired or revoked.",
        "invalid_grant: Account has been deleted",
        "Account has been deleted",
        "invalid_grant",
        "reauth related error (invalid_rapt)",
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential.",
        "Unauthorized",
        "authError: Invalid Credentials",
        "unauthorized_client",
    ],
    PERMISSION: [
        "Request had insufficient authentication scopes.",
        "insufficientPermissions: Insufficient Permission",
        "PERMISSION_DENIED",
        "The caller does not have permission",
        "admin_policy_enforced",
    ],
    POLICY: [
        "youtubeSignupRequired",
        "The authenticated user doesn't have permissions to upload and set custom video thumbnails "
        "(youtube.thumbnail).",
        "channelSuspended: the channel of the authenticated user has been suspended",
        "accountSuspended",
        "channelClosed",
        "authenticatedUserAccountSuspended",
    ],
    CONTENT: [
        "invalidTitle: The request metadata specifies an invalid or empty video title.",
        "invalidTags",
        "invalidDescription",
        "invalidCategoryId",
        "invalidPublishAt",
        "invalidFilename",
        "invalidVideoMetadata",
        "defaultLanguageNotSet",
        "mediaBodyRequired",
        "imageFormatUnsupported",
        "imageTooTall",
        "failedPrecondition",
    ],
    TRANSIENT: [
        "quotaExceeded: The request cannot be completed because you have exceeded your quota.",
        "uploadLimitExceeded: The user has exceeded the number of videos they may upload.",
        "rateLimitExceeded",
        "RESOURCE_EXHAUSTED",
        "backendError",
        "The upload session expired before the video was uploaded",
    ],
}

BLUESKY = {
    AUTHORIZATION: [
        "AuthFactorTokenRequired",
        "AuthFactorTokenRequired: A sign in code has been sent to your email address",
        "ExpiredToken: Token has expired",
        "InvalidToken: Bad token scope",
        "InvalidToken: Token could not be verified",
        "AuthMissing: Authentication Required",
        "AuthenticationRequired: Invalid identifier or password",
        "Invalid credentials",
    ],
    POLICY: [
        "AccountTakedown: Account has been taken down",
        "AccountDeactivated: Account is deactivated",
        "unconfirmed_email",
    ],
    CONTENT: [
        "InvalidRequest: Invalid app.bsky.feed.post record: Record/text must not be longer than 300 graphemes",
        "BlobTooLarge: This file is too large. It is 1.2MB but the maximum size is 976.56KB.",
        "Could not upload video, job failed",
        "JOB_STATE_FAILED",
    ],
    TRANSIENT: ["RateLimitExceeded: Rate Limit Exceeded", "UpstreamFailure", "Video upload timed out"],
}

MASTODON = {
    AUTHORIZATION: [
        "The access token is invalid",
        "The access token was revoked",
        "The access token expired",
        "This method requires an authenticated user",
    ],
    PERMISSION: ["This action is outside the authorized scopes", "This action is not allowed"],
    POLICY: [
        "Your login is missing a confirmed e-mail address",
        "Your login is currently disabled",
        "Your login is currently pending approval",
        "Your account requires two-factor authentication",
    ],
    CONTENT: [
        "Validation failed: Text character limit of 500 exceeded",
        "Validation failed: Text can't be blank",
        "Media could not be found",
        "Media 111, 112 not found or already attached to another post",
    ],
    TRANSIENT: [
        "Cannot attach files that have not finished processing. Try again in a moment!",
        "Too many requests",
        "Remote SSL certificate could not be verified",
    ],
}

TELEGRAM = {
    AUTHORIZATION: [
        "AUTH_KEY_UNREGISTERED",
        "401: AUTH_KEY_UNREGISTERED (caused by messages.SendMedia)",
        "SESSION_REVOKED",
        "SESSION_EXPIRED",
        "AUTH_KEY_DUPLICATED",
        "USER_DEACTIVATED",
        "ETELEGRAM: 401 Unauthorized",
        "ETELEGRAM: 404 Not Found",
        "Unauthorized",
        "Invalid bot token",
        "Request failed with status code 401",
    ],
    PERMISSION: [
        "CHAT_WRITE_FORBIDDEN",
        "403: CHAT_WRITE_FORBIDDEN (caused by messages.SendMessage)",
        "CHAT_ADMIN_REQUIRED",
        "CHANNEL_PRIVATE",
        "CHAT_SEND_PHOTOS_FORBIDDEN",
        "USER_BANNED_IN_CHANNEL",
        "Forbidden: bot was kicked from the channel chat",
        "Forbidden: bot is not a member of the channel chat",
        "Forbidden: the group chat was deleted",
        "Bad Request: chat not found",
        "Bad Request: not enough rights to send text messages to the chat",
        "Bad Request: need administrator rights in the channel chat",
        "Bad Request: have no rights to send a message",
        "Bot needs channel administrator posting rights",
        "Channel is unavailable",
        "Request failed with status code 403",
    ],
    POLICY: ["USER_DEACTIVATED_BAN", "PEER_FLOOD"],
    CONTENT: [
        "Bad Request: message is too long",
        "Bad Request: wrong file identifier/HTTP URL specified",
        "Bad Request: file is too big",
        "MEDIA_CAPTION_TOO_LONG",
    ],
    TRANSIENT: [
        "Bad Request: group chat was upgraded to a supergroup chat",
        "group chat was upgraded to a supergroup",
        "Too Many Requests: retry after 17",
        "FLOOD_WAIT_42",
        "A wait of 42 seconds is required (caused by messages.SendMedia)",
        "SLOWMODE_WAIT_10",
    ],
}

PINTEREST = {
    AUTHORIZATION: ["Authentication failed.", "Authorization failed."],
    PERMISSION: [
        "Your application consumer type is not supported",
        "You are not permitted to access that resource.",
        "Authorization failed. Missing: ['pins:write']",
    ],
    POLICY: ["Sorry! We blocked this link because it may lead to spam."],
    CONTENT: [
        "Board not found.",
        "media_source does not satisfy the constraint: maxItems=5",
        "board_id does not match '^\\d+$'",
        "cover_image_url or cover_image_content_type and cover_image_data are required",
    ],
    TRANSIENT: [
        "Unable to reach the URL. Please check the URL is correct and try again.",
        "Rate limit exceeded",
    ],
}

ANYWHERE = {
    AUTHORIZATION: [
        "Request failed with status code 401",
        "Please reconnect your account",
        "Account access revoked, please re-authorize",
    ],
    POLICY: ["This account has been restricted. Log in to find out why."],
    TRANSIENT: [
        "Request failed with status code 429",
        "Request failed with status code 503",
        "socket hang up",
        "timeout of 30000ms exceeded",
        "The authentication service timed out",
        "Error 503: authentication backend is down",
        "Too many login attempts: rate limit reached",
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
    ],
    UNKNOWN: [
        "Request failed with status code 403",
        "Forbidden",
        "FORBIDDEN",
        "HTTP 403",
        "Something went wrong",
    ],
}

PLATFORMS = {
    "facebook": META,
    "instagram": META,
    "threads": META,
    "twitter": X,
    "linkedin": LINKEDIN,
    "tiktok": TIKTOK,
    "youtube": YOUTUBE,
    "bluesky": BLUESKY,
    "mastodon": MASTODON,
    "telegram": TELEGRAM,
    "pinterest": PINTEREST,
}
TEXTS = [
    (platform, text, cause)
    for platform, causes in {**PLATFORMS, "newcomer": ANYWHERE}.items()
    for cause, texts in causes.items()
    for text in texts
]


@pytest.mark.parametrize(("platform", "text", "cause"), TEXTS)
def test_a_text_of_a_platform_has_its_cause(platform: str, text: str, cause: Cause) -> None:
    assert classify(text, platform) is cause


@pytest.mark.parametrize(("platform", "text", "cause"), TEXTS)
def test_capitals_change_no_cause(platform: str, text: str, cause: Cause) -> None:
    assert (cause, cause) == (classify(text.upper(), platform), classify(text.lower(), platform))


@pytest.mark.parametrize(
    "other", ["Error validating access token", "Too Many Requests", "Invalid image format"]
)
@pytest.mark.parametrize(("code", "cause"), VENDOR.items())
def test_a_code_of_the_vendor_counts_whatever_the_text_beside_it_says(
    code: str, cause: Cause, other: str
) -> None:
    for text in (code, f"{code}: {other}", f"{other} ({code})", f'{{"code":"{code}","message":"{other}"}}'):
        assert classify(text, "instagram") is cause


@pytest.mark.parametrize("code", ["UNKNOWN_ERROR", "XAUTH_REVOKED", "AUTH_REVOKED_BY"])
def test_no_other_word_is_taken_for_a_code_of_the_vendor(code: str) -> None:
    assert classify(code) is UNKNOWN
    assert classify(f"{code}: Error validating access token") is AUTHORIZATION


def publish_failure(platform: str, text: str) -> Problem:
    subject = known(connection(platform_id=f"{platform}-1", last_error=error(message=text)))
    result = PublishErrorRule().check(subject, NOW)
    assert isinstance(result, Problem)
    return result


@pytest.mark.parametrize(("platform", "text", "cause"), TEXTS)
def test_a_text_is_critical_if_only_a_reconnect_helps(platform: str, text: str, cause: Cause) -> None:
    severity = {
        AUTHORIZATION: Severity.CRITICAL,
        PERMISSION: Severity.CRITICAL,
        TRANSIENT: Severity.NOTICE,
    }.get(cause, Severity.WARNING)
    found = publish_failure(platform, text)
    assert (severity, cause) == (found.severity, found.cause)


@pytest.mark.parametrize("platform", ["twitter", "linkedin", "instagram", "mastodon"])
def test_a_403_without_a_reason_is_a_warning_that_says_so(platform: str) -> None:
    found = publish_failure(platform, "Request failed with status code 403")
    assert (Severity.WARNING, UNKNOWN) == (found.severity, found.cause)
    assert "the platform answered 403 without a reason" in found.summary
    assert found.remedy.startswith("check the account on the platform")


@pytest.mark.parametrize("code", ["PUBLISH_OUTCOME_UNKNOWN", "THREAD_PARTIALLY_PUBLISHED"])
def test_a_post_that_may_be_out_is_not_to_be_published_again_unseen(code: str) -> None:
    found = publish_failure("threads", code)
    assert "the post may be published" in found.summary
    assert found.remedy == "check the account on the platform before you publish anything again"


def test_a_bot_without_rights_needs_its_rights_and_no_reconnect() -> None:
    for text in ("Forbidden: bot was kicked from the channel chat", "Request failed with status code 403"):
        assert publish_failure("telegram", text).remedy.startswith("make the bot an administrator")
    assert publish_failure("telegram", "Request failed with status code 401").remedy == ""


def test_a_number_of_one_platform_says_nothing_of_another() -> None:
    assert classify("code=4", "facebook") is TRANSIENT
    assert classify("code=200", "instagram") is PERMISSION
    assert classify("code=102", "threads") is AUTHORIZATION
    for text in ("code=4", "code=200", "code=102", "Channel is unavailable"):
        assert classify(text, "linkedin") is UNKNOWN
        assert classify(text) is UNKNOWN
    assert classify("Request failed with status code 200", "facebook") is UNKNOWN
