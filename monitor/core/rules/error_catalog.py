"""
The meaning of a platform's error text: its cause, and what to do.

The catalog is data: one entry for each kind of text. Entries are tried in order, and the first match counts. To
add one, add an entry with its source and date here, and a real text of it to the tests.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from monitor.core.model import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    The source of an entry.

    Args:
        title: the name of the document or the program.
        date: when it was read or, for a program, the date of its version; ``YYYY-MM`` or longer.
    """

    title: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPattern:
    """
    One kind of error text.

    Args:
        name: its unique name.
        pattern: a pattern that occurs somewhere in the text.
        platforms: the platforms it applies to; empty for all.
        explanation: half a sentence for people, if the cause alone would mislead them.
        remedy: what to do, if it differs from the cause's remedy.
    """

    name: str
    cause: Cause
    pattern: re.Pattern[str]
    source: Source
    platforms: frozenset[str] = frozenset()
    explanation: str = ""
    remedy: str = ""


# When the catalog was last compared with its sources.
CATALOG_DATE = "2026-11"

_VENDOR = Source(title="PostPost and Publora, post errors and API error code catalog", date="2026-11")
_VENDOR_TESTS = Source(title="PostPost and Publora, test-connection", date="2026-11")
_META = Source(title="Meta, Graph API error codes", date="2026-10")
_GOOGLE = Source(title="Google, OAuth 2.0 and API error reasons", date="2026-10")
_X = Source(title="X, API error codes and problem types", date="2026-10")
_LINKEDIN = Source(title="LinkedIn, API error codes", date="2026-10")
_TIKTOK = Source(title="TikTok, Content Posting API error codes", date="2026-10")
_BOT_API = Source(title="Telegram, Bot API", date="2026-10")
_MTPROTO = Source(title="Telegram, errors of the MTProto API", date="2026-11")
_MASTODON = Source(title="Mastodon, API errors", date="2026-10")
_MASTODON_CODE = Source(title="Mastodon, responses of the API controllers", date="2026-11")
_BLUESKY = Source(title="Bluesky, AT Protocol lexicons", date="2026-10")
_PINTEREST = Source(title="Pinterest, API v5 error codes", date="2026-11")
_OAUTH = Source(title="RFC 6749 and RFC 6750", date="2026-10")
_PROGRAMS = Source(title="HTTP clients and servers", date="2026-10")
_POSTIZ = Source(title="Postiz 74b01ad, errors that its providers recognize", date="2026-08-21")
_MIXPOST = Source(title="Mixpost df57648, errors that its providers recognize", date="2026-03-16")
_OBSERVED = Source(title="texts of publish errors, the same in other words", date="2026-11")

_OF_META = frozenset({"facebook", "instagram", "threads"})
_OF_TELEGRAM = frozenset({"telegram"})
_OF_PINTEREST = frozenset({"pinterest"})
_OF_MASTODON = frozenset({"mastodon"})
_OF_TIKTOK = frozenset({"tiktok"})
_OF_X = frozenset({"twitter"})

_MAKE_ADMINISTRATOR = "make the bot an administrator of the channel again, with the right to post"


def _code(numbers: str) -> str:
    """Match a code as Meta and X write it: ``(#190)``, ``code=190``, ``"code":190``; not an HTTP status."""
    return rf"\(#(?:{numbers})\)|(?<!status )\bcode\W{{1,4}}(?:{numbers})\b"


def _subcode(numbers: str) -> str:
    """Match a subcode: ``subcode=463``, ``"error_subcode":463``."""
    return rf"sub_?code\W{{0,4}}(?:{numbers})\b"


def _number(numbers: str) -> str:
    """Match a number of seven digits anywhere, because no other code is so long."""
    return rf"\b(?:{numbers})\b"


def _line(
    cause: Cause,
    name: str,
    pattern: str,
    source: Source,
    platforms: frozenset[str] = frozenset(),
    *,
    explanation: str = "",
    remedy: str = "",
) -> ErrorPattern:
    return ErrorPattern(
        name=name,
        cause=cause,
        pattern=re.compile(pattern, re.IGNORECASE),
        source=source,
        platforms=platforms,
        explanation=explanation,
        remedy=remedy,
    )


# Codes stay the same when the text changes, so they come first.
_VENDOR_CODES = (
    _line(
        Cause.AUTHORIZATION,
        "vendor: authorization",
        r"\b(PLATFORM_AUTH_EXPIRED|AUTH_REVOKED|(LINKEDIN_)?TOKEN_EXPIRED)\b",
        _VENDOR,
    ),
    _line(Cause.PERMISSION, "vendor: permission", r"\bTHREADS_PERMISSION_REQUIRED\b", _VENDOR),
    _line(
        Cause.UNKNOWN,
        "vendor: outcome unknown",
        r"\b(PUBLISH_OUTCOME_UNKNOWN|THREAD_PARTIALLY_PUBLISHED)\b",
        _VENDOR,
        explanation="but the post may be published, whole or in parts",
        remedy="check the account on the platform before you publish anything again",
    ),
    _line(
        Cause.CONTENT,
        "vendor: content",
        r"\b(INVALID_CONTENT|INVALID_PLATFORM_CONTENT|CONTENT_TOO_(LARGE|LONG)|CONTENT_OR_MEDIA_REQUIRED"
        r"|PLATFORM_VALIDATION_ERROR|PLATFORM_SETTING_(REQUIRED|INVALID)"
        r"|THREADS_INVALID_THREAD_PART|THREAD_PART_TOO_LONG"
        r"|(MEDIA|VIDEO|IMAGES|DOCUMENTS)_(REQUIRED|(SIZE|COUNT|DURATION)_EXCEEDED|(TYPE_)?NOT_SUPPORTED"
        r"|(DIMENSIONS|ASPECT_RATIO)_INVALID|DURATION_TOO_SHORT))\b",
        _VENDOR,
    ),
    _line(
        Cause.TRANSIENT,
        "vendor: transient",
        r"\b((LINKEDIN_)?RATE_LIMITED|PLATFORM_SERVER_ERROR|NETWORK_ERROR|TIMEOUT_ERROR|LINKEDIN_REQUEST_TIMEOUT"
        r"|THREADS_PERMISSIONS_UNAVAILABLE)\b",
        _VENDOR,
    ),
)


# Texts that mention logins and permissions although neither is the problem.
_MISLEADING = (
    _line(Cause.TRANSIENT, "not JSON", r"unexpected (token|end of json)|not valid json", _PROGRAMS),
    _line(
        Cause.TRANSIENT,
        "an upload that took too long",
        r"\b(upload|media|container)( \w+)? (session |container )?(has )?(expired|timed out)|upload session",
        _META,
    ),
    _line(
        Cause.UNKNOWN,
        "object out of sight",
        r"\bobject with id\b.{0,80}\bdoes not exist, cannot be loaded due to missing permissions",
        _META,
        explanation="because the page or post is gone, or a permission is missing",
        remedy="reconnect the account, if the page still exists",
    ),
    _line(
        Cause.TRANSIENT, "object not there yet", rf"(?=.*\bcode\W{{1,4}}100\b).*{_subcode('33')}", _OBSERVED
    ),
    _line(
        Cause.TRANSIENT,
        "chat that moved",
        r"(group )?chat was upgraded to a supergroup",
        _BOT_API,
    ),
    _line(
        Cause.POLICY,
        "custom thumbnails not allowed",
        r"youtube\.thumbnail|set custom video thumbnails",
        _POSTIZ,
        explanation="because the channel may not set thumbnails (the video is published)",
        remedy="verify the channel's phone number on YouTube",
    ),
    _line(Cause.POLICY, "account locked", r"account is temporarily locked|code\W{0,3}326\b", _X),
    _line(
        Cause.POLICY,
        "account suspended",
        r"(account|user|channel)\b.{0,30}\bsuspended|suspended account|(account|channel)(suspended|closed)"
        r"|code\W{0,3}6[34]\b",
        _X,
    ),
    _line(
        Cause.POLICY,
        "action or feature closed to the account",
        r"not permitted to (perform this action|access this feature)",
        _X,
    ),
    _line(
        Cause.POLICY,
        "account taken down",
        r"account_?(takedown|suspended|closed|deactivated)|account (has been|is) (taken down|deactivated)"
        r"|\bUSER_DEACTIVATED_BAN\b",
        _BLUESKY,
    ),
    _line(Cause.POLICY, "e-mail not confirmed", r"\bunconfirmed_?email\b", _BLUESKY),
    _line(
        Cause.POLICY,
        "login not usable",
        r"\blogin is (missing a confirmed e-?mail|(currently )?(disabled|pending approval))"
        r"|account requires two-factor",
        _MASTODON_CODE,
    ),
    _line(
        Cause.POLICY,
        "account without a channel",
        r"youtube_?signup_?required",
        _POSTIZ,
    ),
    _line(
        Cause.POLICY,
        "blocked or limited by number",
        _number("1346003|1404006|1404102|1404112|4854002|2207001|2207050|2207051|4279013"),
        _POSTIZ,
    ),
    _line(
        Cause.TRANSIENT,
        "passing trouble by number",
        _number("1363047|1390008|1609010|22070(03|08|20|27|32|42|53|82)"),
        _POSTIZ,
    ),
    _line(
        Cause.CONTENT,
        "content refused by number",
        _number("1349125|1366046|1366051|1609008|2061006|2069019"),
        _POSTIZ,
    ),
    _line(
        Cause.AUTHORIZATION,
        "page publishing authorization",
        _number("1404078") + r"|page publishing authori[sz]ation",
        _POSTIZ,
    ),
)


_PERMISSIONS = (
    _line(Cause.PERMISSION, "permission code", r"\(#(10|2\d\d)\)", _META),
    _line(
        Cause.PERMISSION,
        "permission code as JSON",
        r"^(?=.*(oauthexception|fbtrace)).*\bcode\W{1,4}(10|2\d\d)\b",
        _META,
    ),
    _line(Cause.PERMISSION, "permission code in words", _code(r"10|2\d\d"), _META, _OF_META),
    _line(Cause.PERMISSION, "no permission to publish", r"\bno permission to\b", _META),
    _line(
        Cause.PERMISSION,
        "not a professional account",
        r"\bnot an instagram business\b",
        _POSTIZ,
        explanation="because the Instagram account is no longer a professional one",
    ),
    _line(
        Cause.PERMISSION,
        "replies not granted",
        r"\breconnect\b.{0,40}\band allow\b",
        _VENDOR,
    ),
    _line(
        Cause.PERMISSION,
        "missing permission",
        r"\b(missing|insufficient|lacks?|requires?)\b.{0,120}\b(permission|scope)"
        r"|\bmissing: \[",
        _META,
    ),
    _line(
        Cause.PERMISSION,
        "no permission",
        r"\b(not|no|n't) (have |enough |sufficient )+(\w+ )?(permission|rights)|\bno rights to\b",
        _LINKEDIN,
    ),
    _line(
        Cause.PERMISSION,
        "organization permissions",
        r"\borgani[sz]ation permissions must be used\b|\bACCESS_DENIED\b",
        _LINKEDIN,
    ),
    _line(
        Cause.PERMISSION,
        "permission denied",
        r"(permission|scope)s?\b.{0,30}\b(denied|errors?|missing|not (granted|authori[sz]ed)|required)\b"
        r"|permission_denied|access_token_scope_insufficient|insufficient ?permissions?\b",
        _GOOGLE,
    ),
    _line(Cause.PERMISSION, "administrator's policy", r"\badmin_policy_enforced\b", _GOOGLE),
    _line(
        Cause.PERMISSION,
        "app permissions",
        r"appropriate oauth\d? ?app permissions|read-?only application cannot|oauth1-permissions"
        r"|credentials do not allow access",
        _X,
    ),
    _line(
        Cause.PERMISSION, "insufficient scope", r"insufficient_scope|outside the authori[sz]ed scopes", _OAUTH
    ),
    _line(Cause.PERMISSION, "scope not granted", r"scope_(not_authori[sz]ed|permission_missed)", _TIKTOK),
    _line(
        Cause.PERMISSION,
        "not granted by the user",
        r"\b(has not|hasn.t|did not|didn.t) authori[sz]ed? (the application|the scope|this)",
        _META,
    ),
    _line(
        Cause.PERMISSION,
        "bot not allowed",
        r"\bbot (was (kicked|blocked)|is not a member|can.t initiate)|need administrator rights"
        r"|\bforbidden: (bot|user|the group chat was)\b|chat not found|group chat was (deleted|deactivated)",
        _BOT_API,
        remedy=_MAKE_ADMINISTRATOR,
    ),
    _line(
        Cause.PERMISSION,
        "writing forbidden",
        r"\bCHAT_(WRITE|GUEST_SEND|SEND_\w+)_FORBIDDEN\b|\bCHAT_ADMIN_REQUIRED\b|\bCHANNEL_PRIVATE\b"
        r"|\bUSER_(BANNED_IN_CHANNEL|NOT_PARTICIPANT)\b",
        _MTPROTO,
    ),
    _line(
        Cause.PERMISSION,
        "bot without posting rights",
        r"\bbot needs channel administrator posting rights\b|\bchannel is unavailable\b",
        _VENDOR_TESTS,
        _OF_TELEGRAM,
        remedy=_MAKE_ADMINISTRATOR,
    ),
    _line(
        Cause.PERMISSION,
        "bot removed",
        r"\b(http|status|error|code|etelegram)\W{0,3}(code )?403\b",
        _VENDOR_TESTS,
        _OF_TELEGRAM,
        remedy=_MAKE_ADMINISTRATOR,
    ),
    _line(Cause.PERMISSION, "action not allowed", r"\bthis action is not allowed\b", _MASTODON),
    _line(
        Cause.PERMISSION,
        "application not approved",
        r"\bconsumer type is not supported\b",
        _PINTEREST,
    ),
    _line(
        Cause.PERMISSION,
        "resource not permitted",
        r"\bnot permitted to access that resource\b",
        _PINTEREST,
        _OF_PINTEREST,
    ),
)


_AUTHORIZATIONS = (
    _line(
        Cause.AUTHORIZATION,
        "token code",
        r"\(#?190\)|#190\b|\b(code|error)\W{0,4}190\b|oauthexception\b.{0,60}\b190\b",
        _META,
    ),
    _line(Cause.AUTHORIZATION, "token subcode", _subcode("45[89]|46[0-7]|49[02]"), _META),
    _line(Cause.AUTHORIZATION, "session code", r"\(#102\)", _META),
    _line(Cause.AUTHORIZATION, "session code in words", _code("102"), _META, _OF_META),
    _line(
        Cause.AUTHORIZATION,
        "session invalid",
        r"validating access token|session (has )?(expired|been invalidated)",
        _META,
    ),
    _line(Cause.AUTHORIZATION, "application removed", r"user has not authori[sz]ed application", _META),
    _line(Cause.AUTHORIZATION, "checkpoint", r"\bcheckpoint\b|log in to www\.facebook\.com", _META),
    _line(Cause.AUTHORIZATION, "invalid grant", r"\binvalid_grant\b|\bunauthori[sz]ed_client\b", _OAUTH),
    _line(Cause.AUTHORIZATION, "invalid token", r"\b(invalid|expired)_token\b", _OAUTH),
    _line(
        Cause.AUTHORIZATION,
        "expired or revoked token",
        r"\b(revoked|expired|invalid|empty)_(oauth2_)?access_token\b",
        _LINKEDIN,
    ),
    _line(Cause.AUTHORIZATION, "empty token", r"\bempty oauth2_access_token\b", _LINKEDIN),
    _line(
        Cause.AUTHORIZATION,
        "token not verified",
        r"\b(unable|failed) to verify (the )?access token\b|\btoken could not be verified\b",
        _LINKEDIN,
    ),
    _line(
        Cause.AUTHORIZATION,
        "invalid or expired token",
        r"invalid or expired token|\bcode\W{0,4}89\b|\bunsupported authentication\b",
        _X,
    ),
    _line(
        Cause.AUTHORIZATION, "could not authenticate", r"could not authenticate|bad authentication data", _X
    ),
    _line(
        Cause.AUTHORIZATION,
        "token invalid",
        r"access_token_invalid|token_not_authori[sz]ed\w*|\baccess token is incorrect\b",
        _TIKTOK,
    ),
    _line(
        Cause.AUTHORIZATION,
        "authorization withdrawn",
        r"\bauth_removed\b|\brevoked (the |their |your )?authori[sz]ation\b"
        r"|\bauthori[sz]ation (has been |was )?(revoked|removed|withdrawn)\b",
        _TIKTOK,
    ),
    _line(
        Cause.AUTHORIZATION,
        "unauthenticated",
        r"\bunauthenticated\b|invalid authentication credentials|\blogin required\b|\bautherror\b",
        _GOOGLE,
    ),
    _line(
        Cause.AUTHORIZATION,
        "account deleted",
        r"\baccount has been deleted\b|\binvalid_rapt\b",
        _GOOGLE,
    ),
    _line(
        Cause.AUTHORIZATION,
        "bot unauthorised",
        r"\b401\W{0,5}unauthori|\bbot token\b|\binvalid bot connection\b",
        _BOT_API,
    ),
    _line(Cause.AUTHORIZATION, "bot token unknown", r"\b404\W{0,3}not found\b", _BOT_API, _OF_TELEGRAM),
    _line(
        Cause.AUTHORIZATION,
        "session ended",
        r"\bAUTH_KEY_(UNREGISTERED|INVALID|DUPLICATED|PERM_EMPTY)\b"
        r"|\bSESSION_(REVOKED|EXPIRED|PASSWORD_NEEDED)\b|\bUSER_DEACTIVATED\b",
        _MTPROTO,
    ),
    _line(
        Cause.AUTHORIZATION,
        "expired session",
        r"\b(invalid|expired)token\b|\bauth(entication)?(required|missing)\b|\bauth_?factor_?token_?required\b",
        _BLUESKY,
    ),
    _line(
        Cause.AUTHORIZATION,
        "wrong password",
        r"invalid (identifier|user ?name|handle|e-?mail) or (app )?password",
        _BLUESKY,
    ),
    _line(
        Cause.AUTHORIZATION,
        "nobody logged in",
        r"authenticated user|access token (is|was) (invalid|revoked)",
        _MASTODON,
    ),
    _line(
        Cause.AUTHORIZATION,
        "HTTP 401",
        r"\b(http|status|error|code)\W{0,3}(code )?401\b|^\W*unauthori[sz]ed\W*$",
        _PROGRAMS,
    ),
    _line(
        Cause.AUTHORIZATION,
        "a token that is no good",
        r"token\b.{0,60}\b(expired|invalid|revoked|not valid|no longer valid|malformed|mismatch|missing)"
        r"|\b(expired|invalid|revoked|bad|empty|malformed)\b.{0,30}(token|credential)s?\b"
        r"|_token_(expired|invalid|revoked)\b",
        _OBSERVED,
    ),
    _line(
        Cause.AUTHORIZATION,
        "a login that is asked for",
        r"\b(unauthori[sz]ed|not authori[sz]ed|deauthori[sz]ed|authori[sz]ation failed)\b"
        r"|\b(reconnect|re-?(authori[sz]|authenticat)e)\b"
        r"|access (was |has been )?revoked|password (was |has been )?changed|changed (their|your|the) password",
        _OBSERVED,
    ),
)


_POLICIES = (
    _line(Cause.POLICY, "abusive", r"\(#368\)|deemed abusive|misusing this feature", _META),
    _line(Cause.POLICY, "blocked by code", _code("368"), _META, _OF_META),
    _line(Cause.POLICY, "automated", r"might be automated|looks automated", _X),
    _line(Cause.POLICY, "spam", r"\bspam\b|\bspam_risk\w*|\bPEER_FLOOD\b", _TIKTOK),
    _line(Cause.POLICY, "unaudited client", r"unaudited_client\w*|app_version_check_failed", _TIKTOK),
    _line(
        Cause.POLICY,
        "blocked",
        r"\b(blocked|banned|restricted|violat\w+|community (guidelines|standards)|terms of service)\b",
        _OBSERVED,
    ),
)


_TRANSIENTS = (
    _line(Cause.TRANSIENT, "rate limit code", r"\(#(4|17|32|341|613)\)", _META),
    _line(
        Cause.TRANSIENT,
        "rate limit code in words",
        _code(r"4|17|32|341|613|800\d\d"),
        _MIXPOST,
        _OF_META,
    ),
    _line(Cause.TRANSIENT, "trouble by code", _code("1|2"), _META, _OF_META),
    _line(
        Cause.TRANSIENT,
        "rate limit",
        r"too many requests|rate.?limit|request limit|throttl|\b429\b|over (capacity|daily)|flood.?wait"
        r"|slowmode.?wait|a wait of \d+ seconds|usage.?cap",
        _X,
    ),
    _line(
        Cause.TRANSIENT,
        "quota",
        r"quota|uploadlimitexceeded|limit ?exceeded|reached_active_user_cap|resource_exhausted",
        _GOOGLE,
    ),
    _line(
        Cause.TRANSIENT,
        "no connection",
        r"socket hang up|\be(connreset|connrefused|notfound|timedout|ai_again|pipe)\b|getaddrinfo"
        r"|network error|time[d ]?.?out\b|timeout|\bssl certificate\b",
        _PROGRAMS,
    ),
    _line(
        Cause.TRANSIENT,
        "trouble on their side",
        r"\b(http|status|error|code)\W{0,3}(code )?5\d\d\b|internal.?(server.?)?error|bad gateway"
        r"|(service|temporarily) unavailable|an (unknown|unexpected) error|\(#[12]\)"
        r"|try again (later|soon|in a moment)|\bbackend_?error\b|\bupstreamfailure\b",
        _PROGRAMS,
    ),
    _line(
        Cause.TRANSIENT,
        "trouble of TikTok",
        r"^\W*internal\W*$|\bpublish_cancelled\b",
        _POSTIZ,
        _OF_TIKTOK,
    ),
    _line(
        Cause.TRANSIENT,
        "not ready yet",
        r"not finished processing|not ready for publishing|unable to obtain activity|resource is forbidden"
        r"|unable to reach the url",
        _POSTIZ,
    ),
)


# Texts that mention a login without saying what is wrong with it.
_LOGIN_MENTIONED = (
    _line(
        Cause.AUTHORIZATION,
        "a login that is spoken of",
        r"\b(authentication|log ?in|logged.in)\b",
        _OBSERVED,
    ),
)


_CONTENTS = (
    _line(
        Cause.CONTENT,
        "media refused",
        r"\b2207\d{3}\b|aspect ratio|media type|media (upload|could not|processing)|\bMEDIA_\w+_FAILED\b",
        _META,
    ),
    _line(
        Cause.CONTENT,
        "parameter refused",
        r"\(#(100|324|352|506)\)|\bparam\w* \S+ (must be|is not allowed)\b",
        _META,
    ),
    _line(
        Cause.CONTENT,
        "parameter refused by code",
        _code("100|324|352|506|3600[0-9]") + r"|\berror 1363\d{3}\b",
        _VENDOR,
        _OF_META,
    ),
    _line(Cause.CONTENT, "duplicate", r"\bduplicate\b", _X),
    _line(
        Cause.CONTENT,
        "size",
        r"\b(too|bit) (long|large|big|short\w*|small|many|little)\b|too_?(long|large|tall|wide)\b"
        r"|exceeds? the (limit|max)",
        _X,
    ),
    _line(
        Cause.CONTENT,
        "refused by X",
        r"\bmaximum of (one|\d+) (cashtag|item)s?\b|\bnot allowed to post a video longer\b",
        _POSTIZ,
        _OF_X,
    ),
    _line(
        Cause.CONTENT,
        "limit",
        r"must (be at most|not be longer)|character limit|maximum (size|length)",
        _MASTODON,
    ),
    _line(
        Cause.CONTENT,
        "upload gone",
        r"\bcould not be found\b|\bnot found or already attached\b",
        _POSTIZ,
        _OF_MASTODON,
    ),
    _line(
        Cause.CONTENT,
        "field refused",
        r"unpermitted fields|\binvalid ?(title|description|tags|request)\b",
        _LINKEDIN,
    ),
    _line(
        Cause.CONTENT,
        "video metadata refused",
        r"\binvalid(categoryid|publishat|recordingdetails|videogamerating|filename|videometadata)\b"
        r"|\bdefaultlanguagenotset\b|\bmediabodyrequired\b|\bimageformatunsupported\b|\bfailedprecondition\b",
        _POSTIZ,
    ),
    _line(
        Cause.CONTENT,
        "media state",
        r"\bnot in a state that allows\b|\bnot in a valid state\b",
        _LINKEDIN,
    ),
    _line(
        Cause.CONTENT,
        "check failed",
        r"\b(picture|video|photo|frame|duration|file)_\w*check_failed\b|file_format|\b(video|photo)_pull_failed\b"
        r"|url_ownership_unverified|invalid_(file_upload|params)|privacy_level_option_mismatch",
        _TIKTOK,
    ),
    _line(
        Cause.CONTENT,
        "bad record",
        r"\binvalid\S* .{0,20}record\b|\bblob\w*|\bJOB_STATE_FAILED\b|could not upload video",
        _BLUESKY,
    ),
    _line(Cause.CONTENT, "bad request", r"^\W*bad request\b|wrong (file|type)", _BOT_API),
    _line(
        Cause.CONTENT,
        "refused by Pinterest",
        r"\bconstraint: maxitems\b|\bdoes not match '|\bcover_image_url or cover_image_content_type\b",
        _POSTIZ,
    ),
    _line(
        Cause.CONTENT,
        "not as it should be",
        r"\b(invalid|unsupported|unknown|wrong|corrupt\w*)\b.{0,30}"
        r"\b(image|video|media|file|format|url|link|title|caption|text|type|codec|dimensions?)\b"
        r"|\bnot supported\b|\bvalidation failed\b|\b(board|page|media|video|image|file) not found\b",
        _OBSERVED,
    ),
)


# A number that platforms use for lost permissions, blocked accounts and refused content.
_AMBIGUOUS = (
    _line(
        Cause.UNKNOWN,
        "HTTP 403",
        r"\b(http|status|error|code)\W{0,3}(code )?403\b|^\W*forbidden\W*$",
        _PROGRAMS,
        explanation="because the platform answered 403 without a reason "
        "(a missing permission, or a blocked account or post)",
        remedy="check the account on the platform, and reconnect it if nothing there explains the error",
    ),
)


ERROR_PATTERNS: tuple[ErrorPattern, ...] = (
    *_VENDOR_CODES,
    *_MISLEADING,
    *_PERMISSIONS,
    *_AUTHORIZATIONS,
    *_POLICIES,
    *_TRANSIENTS,
    *_LOGIN_MENTIONED,
    *_CONTENTS,
    *_AMBIGUOUS,
)

# The parts of a text that vary between failures of the same kind, and their replacements.
_VARYING = (
    (re.compile(r"https?://\S+"), "url"),
    (re.compile(r"\b((?:fb)?trace|request|correlation)([ _-]?id)\W+\S+", re.IGNORECASE), r"\1\2 #"),
    (
        re.compile(
            r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:mon|tue|wed|thu|fri|sat|sun),",
            re.IGNORECASE,
        ),
        "#",
    ),
    (re.compile(r"\b(?=\w*\d)[\w-]{6,}\b|\d+(?:[.,:]\d+)*"), "#"),
)


@lru_cache(maxsize=4096)
def match_pattern(message: str, platform: str = "") -> ErrorPattern | None:
    """
    Return the first entry that matches an error text; None if none does.

    Args:
        platform: the platform of the text; without it, entries for single platforms aren't tried.
    """
    words = " ".join(message.split())
    return next(
        (
            each
            for each in ERROR_PATTERNS
            if (not each.platforms or platform in each.platforms) and each.pattern.search(words)
        ),
        None,
    )


def classify(message: str, platform: str = "") -> Cause:
    """Return the cause of an error text of a platform."""
    found = match_pattern(message, platform)
    return found.cause if found else Cause.UNKNOWN


def normalize(message: str, limit: int = 120) -> str:
    """
    Return the parts of an error text that stay the same between failures of the same kind.

    Request ids, counters, weekdays, times and addresses differ from one failure to the next.
    """
    text = message
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.lower().split())[:limit]
