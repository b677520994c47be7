"""
What a platform's error text means: who must do what about it.

The table is data: a line for each kind of wording, in the order in which they are tried, the first that fits
counts. To teach the monitor another one, add a line, and an example of it to the tests.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Cause(StrEnum):
    """What lies behind a failure: it says who can mend it."""

    AUTHORISATION = "authorisation"  # the platform takes the token no more: a person must reconnect
    PERMISSION = "permission"  # the token may not do this: a person must reconnect and grant more
    POLICY = "policy"  # the platform blocks or limits the account
    CONTENT = "content"  # the platform refused what was posted
    TRANSIENT = "transient"  # it may well work the next time
    UNKNOWN = "unknown"  # not recognised, and never dropped for that

    @property
    def needs_reconnect(self) -> bool:
        """Whether only a person who reconnects the account can mend it."""
        return self in {Cause.AUTHORISATION, Cause.PERMISSION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """
    One kind of error text.

    Args:
        name: what it is called, each once.
        pattern: what must be somewhere in the text.
        source: whose documented words these are.
    """

    name: str
    cause: Cause
    pattern: re.Pattern[str]
    source: str


# When the table below was last compared with what the platforms document.
EDITION = "2026-10"

_META = "Meta, Graph API error codes"
_GOOGLE = "Google, OAuth 2.0 and API error reasons"
_X = "X, API error codes"
_LINKEDIN = "LinkedIn, API error codes"
_TIKTOK = "TikTok, Content Posting API error codes"
_TELEGRAM = "Telegram, Bot API"
_MASTODON = "Mastodon, API errors"
_BLUESKY = "Bluesky, AT Protocol lexicons"
_OAUTH = "RFC 6749 and RFC 6750"
_PROGRAMS = "HTTP clients and servers"
_SEEN = "the same in other words"

# Before the rest: what sounds like a lost login and is none.
_INNOCENT = (
    ("not JSON", r"unexpected (token|end of json)|not valid json", _PROGRAMS, Cause.TRANSIENT),
    (
        "an upload that took too long",
        r"\b(upload|media|container)( \w+)? (session |container )?(has )?(expired|timed out)|upload session",
        _META,
        Cause.TRANSIENT,
    ),
    ("account locked", r"account is temporarily locked|code\W{0,3}326\b", _X, Cause.POLICY),
    ("account suspended", r"(account|user)\b.{0,30}\bsuspended|suspended account", _X, Cause.POLICY),
    (
        "account taken down",
        r"account_?(takedown|suspended|closed|deactivated)|account (has been|is) (taken down|deactivated)",
        _BLUESKY,
        Cause.POLICY,
    ),
    ("login disabled", r"login is (currently )?disabled", _MASTODON, Cause.POLICY),
)
_PERMISSION = (
    ("permission code", r"\(#(10|2\d\d)\)", _META),
    ("permission code as JSON", r"^(?=.*(oauthexception|fbtrace)).*\bcode\W{1,4}(10|2\d\d)\b", _META),
    ("missing permission", r"\b(missing|insufficient|lacks?|requires?)\b.{0,120}\b(permission|scope)", _META),
    (
        "no permission",
        r"\b(not|no|n't) (have |enough |sufficient )+(\w+ )?(permission|rights)",
        _LINKEDIN,
    ),
    (
        "permission denied",
        r"(permission|scope)s?\b.{0,30}\b(denied|errors?|missing|not (granted|authori[sz]ed)|required)\b"
        r"|permission_denied|access_token_scope_insufficient|insufficient ?permissions?\b",
        _GOOGLE,
    ),
    ("insufficient scope", r"insufficient_scope|outside the authori[sz]ed scopes", _OAUTH),
    ("scope not granted", r"scope_(not_authori[sz]ed|permission_missed)", _TIKTOK),
    (
        "not granted by the user",
        r"\b(has not|hasn.t|did not|didn.t) authori[sz]ed? (the application|the scope|this)",
        _META,
    ),
    (
        "bot not allowed",
        r"\bbot (was (kicked|blocked)|is not a member|can.t initiate)|need administrator rights"
        r"|\bforbidden: (bot|user)\b|chat not found",
        _TELEGRAM,
    ),
    ("action not allowed", r"\bthis action is not allowed\b", _MASTODON),
)
_AUTHORISATION = (
    ("token code", r"\(#?190\)|#190\b|\b(code|error)\W{0,4}190\b|oauthexception\b.{0,60}\b190\b", _META),
    ("token subcode", r"subcode\W{0,4}(45[89]|46[0-7])\b", _META),
    ("session invalid", r"validating access token|session (has )?(expired|been invalidated)", _META),
    ("application removed", r"user has not authori[sz]ed application", _META),
    ("checkpoint", r"\bcheckpoint\b|log in to www\.facebook\.com", _META),
    ("invalid grant", r"\binvalid_grant\b|\bunauthori[sz]ed_client\b", _OAUTH),
    ("invalid token", r"\b(invalid|expired)_token\b", _OAUTH),
    ("expired or revoked token", r"\b(revoked|expired|invalid|empty)_(oauth2_)?access_token\b", _LINKEDIN),
    ("empty token", r"\bempty oauth2_access_token\b", _LINKEDIN),
    ("invalid or expired token", r"invalid or expired token|\bcode\W{0,4}89\b", _X),
    ("could not authenticate", r"could not authenticate|bad authentication data", _X),
    ("token invalid", r"access_token_invalid|token_not_authori[sz]ed\w*", _TIKTOK),
    (
        "unauthenticated",
        r"\bunauthenticated\b|invalid authentication credentials|\blogin required\b",
        _GOOGLE,
    ),
    ("bot unauthorised", r"\b401\W{0,5}unauthori|\bbot token\b", _TELEGRAM),
    ("expired session", r"\b(invalid|expired)token\b|\bauth(entication)?(required|missing)\b", _BLUESKY),
    ("wrong password", r"invalid (identifier|user ?name|handle|e-?mail) or (app )?password", _BLUESKY),
    ("nobody logged in", r"authenticated user|access token (is|was) (invalid|revoked)", _MASTODON),
    ("HTTP 401", r"\b(http|status|error|code)\W{0,3}(code )?401\b|^\W*unauthori[sz]ed\W*$", _PROGRAMS),
    (
        "a token that is no good",
        r"token\b.{0,60}\b(expired|invalid|revoked|not valid|no longer valid|malformed|mismatch|missing)"
        r"|\b(expired|invalid|revoked|bad|empty|malformed)\b.{0,30}(token|credential)s?\b",
        _SEEN,
    ),
    (
        "a login that is asked for",
        r"\b(unauthori[sz]ed|not authori[sz]ed|deauthori[sz]ed|authori[sz]ation failed)\b"
        r"|\b(authentication|log ?in|logged.in|reconnect|re-?(authori[sz]|authenticat)e)\b"
        r"|access (was |has been )?revoked|password (was |has been )?changed|changed (their|your|the) password",
        _SEEN,
    ),
)
_POLICY = (
    ("abusive", r"\(#368\)|deemed abusive|misusing this feature", _META),
    ("automated", r"might be automated|looks automated", _X),
    ("spam", r"\bspam\b|\bspam_risk\w*", _TIKTOK),
    (
        "unaudited client",
        r"unaudited_client\w*|reached_active_user_cap|privacy_level_option_mismatch",
        _TIKTOK,
    ),
    (
        "blocked",
        r"\b(blocked|banned|restricted|violat\w+|community (guidelines|standards)|terms of service)\b",
        _SEEN,
    ),
)
_TRANSIENT = (
    ("rate limit code", r"\(#(4|17|32|341|613)\)", _META),
    (
        "rate limit",
        r"too many requests|rate.?limit|request limit|throttl|\b429\b|over (capacity|daily)|flood.?wait",
        _X,
    ),
    ("quota", r"quota|uploadlimitexceeded|limit ?exceeded", _GOOGLE),
    (
        "no connection",
        r"socket hang up|\be(connreset|connrefused|notfound|timedout|ai_again|pipe)\b|getaddrinfo"
        r"|network error|time[d ]?.?out\b|timeout",
        _PROGRAMS,
    ),
    (
        "trouble on their side",
        r"\b(http|status|error|code)\W{0,3}(code )?5\d\d\b|internal (server )?error|bad gateway"
        r"|(service|temporarily) unavailable|an (unknown|unexpected) error|\(#[12]\)|try again (later|soon)",
        _PROGRAMS,
    ),
)


_CONTENT = (
    ("media refused", r"\b2207\d{3}\b|aspect ratio|media type|media (upload|could not|processing)", _META),
    ("parameter refused", r"\(#(100|324|352|506)\)|\bparam\w* \S+ must be\b", _META),
    ("duplicate", r"\bduplicate\b", _X),
    (
        "size",
        r"\b(too|bit) (long|large|big|short\w*|small|many)\b|\btoo(long|large)\b|exceeds? the (limit|max)",
        _X,
    ),
    ("limit", r"must (be at most|not be longer)|character limit|maximum (size|length)", _MASTODON),
    ("field refused", r"unpermitted fields|\binvalid ?(title|description|tags|request)\b", _LINKEDIN),
    ("check failed", r"\b(picture|video|photo|frame|duration|file)_\w*check_failed\b|file_format", _TIKTOK),
    ("bad record", r"\binvalid\S* .{0,20}record\b|\bblob\w*", _BLUESKY),
    ("bad request", r"^\W*bad request\b|wrong (file|type)", _TELEGRAM),
    (
        "not as it should be",
        r"\b(invalid|unsupported|unknown|wrong|corrupt\w*)\b.{0,30}"
        r"\b(image|video|media|file|format|url|link|title|caption|text|type|codec|dimensions?)\b"
        r"|\bnot supported\b|\bvalidation failed\b|\b(board|page|media|video|image|file) not found\b",
        _SEEN,
    ),
)
# A number that is said of quotas and duplicates too, so it is tried when nothing else fits.
_AT_LAST = (
    (
        "HTTP 403",
        r"\b(http|status|error|code)\W{0,3}(code )?403\b|^\W*forbidden\W*$|not permitted to",
        _PROGRAMS,
    ),
)


def _table() -> Iterator[Wording]:
    for name, pattern, source, cause in _INNOCENT:
        yield Wording(name=name, cause=cause, pattern=re.compile(pattern, re.IGNORECASE), source=source)
    for cause, rows in (
        (Cause.PERMISSION, _PERMISSION),
        (Cause.AUTHORISATION, _AUTHORISATION),
        (Cause.POLICY, _POLICY),
        (Cause.TRANSIENT, _TRANSIENT),
        (Cause.CONTENT, _CONTENT),
        (Cause.PERMISSION, _AT_LAST),
    ):
        for name, pattern, source in rows:
            yield Wording(name=name, cause=cause, pattern=re.compile(pattern, re.IGNORECASE), source=source)


WORDINGS: tuple[Wording, ...] = tuple(_table())

# What differs from one failure to the next of the same kind, and what takes its place.
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
def recognised(message: str) -> Wording | None:
    """Find the first line of the table that an error text fits; None where none does."""
    words = " ".join(message.split())
    return next((each for each in WORDINGS if each.pattern.search(words)), None)


def classify(message: str) -> Cause:
    """Read a platform's error text."""
    found = recognised(message)
    return found.cause if found else Cause.UNKNOWN


def essence(message: str, limit: int = 120) -> str:
    """
    Reduce an error text to what stays the same when the same thing fails again.

    Request ids, counters, weekdays, times and addresses differ from one failure to the next.
    """
    text = message
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.lower().split())[:limit]
