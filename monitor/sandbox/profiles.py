"""One linked social profile, and how the API shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

from monitor.core.model import PublishError

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_SOON = timedelta(days=7)

_MONTH = timedelta(days=30)
# Characters that a URL may contain; also the percent sign, since the text may be encoded already.
_IN_URL = "%:/?#[]@!$&'()*+,;=~"


class Contract(StrEnum):
    """
    How the API reports tokens. Both contracts are in use, and no answer says which one applies.

    Source: PostPost API reference of 2026-02 and Publora API reference of 2026-11, "Token Status Values".
    """

    SEED = "seed"  # by the date only
    NEWER = "2026"  # by what the vendor knows about the credential, since 2026-08-24


# The newer contract gives no date for these, because the expiry of their credentials isn't known.
UNDATED = frozenset({"youtube", "facebook", "twitter", "mastodon", "bluesky", "telegram"})

# The lifetime of a new token. Tokens of other platforms don't expire.
TOKEN_LIFETIMES: Mapping[str, timedelta] = {
    "linkedin": timedelta(days=60),
    "instagram": timedelta(days=60),
    "threads": timedelta(days=60),
    "facebook": timedelta(days=59),
    "tiktok": timedelta(days=365),
    "youtube": timedelta(days=182),
    "pinterest": timedelta(days=30),
}

_PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "twitter": ("tweet.read", "tweet.write", "users.read", "offline.access"),
    "linkedin": ("w_member_social", "r_basicprofile"),
    "instagram": ("instagram_business_basic", "instagram_business_content_publish"),
    "threads": ("threads_basic", "threads_content_publish"),
    "tiktok": ("user.info.basic", "video.publish"),
    "youtube": ("youtube.upload", "youtube.readonly"),
    "facebook": ("pages_manage_posts", "pages_read_engagement"),
    "mastodon": ("read", "write"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocialProfile:
    """
    A linked social profile as the service stores it.

    Args:
        expires_at: aware UTC; None for a token that doesn't expire.
        last_error: without a time it is shown as bare text, as in the vendor's OpenAPI file.
        is_revoked: access was withdrawn at the platform. Only a test shows it, not the list of connections.
        is_rejected: the platform rejected the credential in use. The newer contract shows it.
        lost: permissions that were withdrawn at the platform. A test shows it.
        is_bot: for Telegram; false for a user account, which the test can't check.
        overrides: fields that replace those of the answer, of any name and type.
        left_out: fields that the answer lacks.
    """

    platform_id: str
    username: str
    display_name: str | None = None
    profile_image_url: str | None = None
    profile_url: str | None = None
    expires_at: datetime | None = None
    last_successful_post_at: datetime | None = None
    last_error: PublishError | None = None
    is_revoked: bool = False
    is_rejected: bool = False
    is_bot: bool = True
    lost: frozenset[str] = frozenset()
    overrides: Mapping[str, object] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @property
    def platform(self) -> str:
        """The part before the first dash."""
        return self.platform_id.partition("-")[0]


def token_status(expires_at: datetime | None, now: datetime) -> str:
    """The status of the token. Exactly seven days left are still ``valid``."""
    if expires_at is None:
        return "unknown"
    left = expires_at - now
    if left <= timedelta(0):
        return "expired"
    return "expiring_soon" if left < _SOON else "valid"


def reported(
    profile: SocialProfile, now: datetime, contract: Contract = Contract.SEED
) -> tuple[str, datetime | None]:
    """
    Return what the API reports of a token.

    Returns:
        ``tokenStatus``, and ``accessTokenExpiresAt`` as aware UTC.
    """
    if contract is Contract.SEED:
        return token_status(profile.expires_at, now), profile.expires_at
    expires_at = None if profile.platform in UNDATED else profile.expires_at
    if profile.is_rejected:
        return "expired", expires_at
    if profile.platform == "bluesky" and not profile.username:
        return "unknown", expires_at
    if expires_at is None:
        return "valid", None
    soon = _MONTH if profile.platform == "tiktok" else _SOON
    if expires_at <= now:
        return "expired", expires_at
    return "expiring_soon" if expires_at - now < soon else "valid", expires_at


def token_expires_in(expires_at: datetime | None, now: datetime) -> str | None:
    """Return the time left in words, rounded down as the vendor does."""
    if expires_at is None:
        return None
    left = expires_at - now
    if left <= timedelta(0):
        return "expired"
    if left < _HOUR:
        return "< 1h"
    if left < _DAY:
        return f"{left // _HOUR}h"
    return f"{left.days}d {left % _DAY // _HOUR}h"


def listed(profile: SocialProfile, now: datetime, contract: Contract = Contract.SEED) -> dict[str, object]:
    """Return the profile as an item of ``GET /platform-connections``, keys in the documented order."""
    status, expires_at = reported(profile, now, contract)
    item: dict[str, object] = {
        "platformId": profile.platform_id,
        "username": profile.username,
        "displayName": profile.display_name,
        "profileImageUrl": profile.profile_image_url,
        "profileUrl": profile.profile_url and quote(profile.profile_url, safe=_IN_URL),
        "accessTokenExpiresAt": wire_time(expires_at),
        "tokenStatus": status,
        "tokenExpiresIn": token_expires_in(expires_at, now),
        "lastSuccessfulPost": wire_time(profile.last_successful_post_at),
        "lastError": _last_error(profile.last_error),
    }
    item.update(profile.overrides)
    for name in profile.left_out:
        item.pop(name, None)
    return item


def diagnosed(profile: SocialProfile, now: datetime, contract: Contract = Contract.SEED) -> dict[str, object]:
    """Return the answer of ``POST /test-connection``, including its blind spots."""
    complaint = _complaint(profile, now, contract)
    granted = _PERMISSIONS.get(profile.platform, ())
    if profile.platform == "pinterest":  # the vendor's answer has nothing about the connection itself
        profile = SocialProfile(platform_id=profile.platform_id, username="unknown")
    name = profile.display_name or profile.username
    is_bot_tested = profile.platform == "telegram" and contract is Contract.NEWER
    return {
        "platform": profile.platform,
        "platformId": profile.platform_id,
        "username": profile.username,
        "status": "error" if complaint else "ok",
        "message": complaint or (f"Bot can post to {name}" if is_bot_tested else f"Connected as {name}"),
        "permissions": [] if complaint else [each for each in granted if each not in profile.lost],
        "tokenExpiresIn": token_expires_in(reported(profile, now, contract)[1], now),
        "lastSuccessfulPost": wire_time(profile.last_successful_post_at),
        "lastError": _last_error(profile.last_error),
    }


def _complaint(profile: SocialProfile, now: datetime, contract: Contract) -> str | None:
    """Return the error of a test, right or wrong; None if it passes."""
    if profile.platform == "pinterest":
        return "Unknown platform: pinterest"
    if profile.platform == "bluesky":
        # The validator expects an access token, and Bluesky has an app password. The text is made up.
        return "Missing credentials"
    if profile.platform == "telegram":  # every connection is treated as a bot's
        if contract is Contract.SEED:
            return None if profile.is_bot and not profile.is_revoked else "Invalid bot token"
        if not profile.is_bot:
            return "Invalid bot connection"
        if profile.is_revoked:
            return "Request failed with status code 401"
        return "Bot needs channel administrator posting rights" if profile.lost else None
    if profile.is_revoked:
        return "Error validating access token: The user has not authorized application"
    if reported(profile, now, contract)[0] == "expired":
        return "Error validating access token: Session has expired"
    return None


def _last_error(error: PublishError | None) -> object:
    if error is None or error.occurred_at is None:
        return error and error.message
    return {"message": error.message, "occurredAt": wire_time(error.occurred_at)}


def wire_time(moment: datetime | None) -> str | None:
    """Return a time as the vendor does: ISO 8601, milliseconds, ``Z``."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
