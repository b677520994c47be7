"""The words that messages are made of: names, durations, counts, and each problem in a few words."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from monitor.core.model import Cause, RuleName
from monitor.core.text import counted, sanitize

PLATFORMS = {
    "twitter": "X",
    "linkedin": "LinkedIn",
    "instagram": "Instagram",
    "threads": "Threads",
    "tiktok": "TikTok",
    "youtube": "YouTube",
    "facebook": "Facebook",
    "bluesky": "Bluesky",
    "mastodon": "Mastodon",
    "telegram": "Telegram",
    "pinterest": "Pinterest",
}

PROBLEM_TEXTS = {
    RuleName.RENEWAL_OVERDUE: "token was not renewed",
    RuleName.PUBLISH_ERROR: "publishing failed",
    RuleName.CONNECTION_REMOVED: "connection is no longer listed",
    RuleName.CONNECTION_TEST_FAILED: "connection test failed",
    RuleName.API_KEY_REJECTED: "API key rejected",
    RuleName.ACCESS_DENIED: "API access denied",
    RuleName.USER_NOT_MANAGED: "user is no longer managed",
    RuleName.API_UNREACHABLE: "API can't be reached",
    RuleName.BAD_ANSWER: "API response is incomplete or suspicious",
    RuleName.RECONNECT_LINK_EXPIRING: "reconnect link expires soon",
    RuleName.CHANNEL_FAILING: "messages are not delivered",
    RuleName.CLOCK_SKEW: "clocks differ",
}

CAUSE_TEXTS = {
    Cause.AUTHORIZATION: "login rejected",
    Cause.PERMISSION: "permission missing",
    Cause.POLICY: "account restricted",
    Cause.CONTENT: "content refused",
    Cause.TRANSIENT: "temporary error",
}

RESOLVED_TEXTS = {
    RuleName.TOKEN_EXPIRY: "token is valid again",
    RuleName.RENEWAL_OVERDUE: "token was renewed",
    RuleName.PUBLISH_ERROR: "publishing error is gone",
    RuleName.CONNECTION_REMOVED: "connection is listed again",
    RuleName.CONNECTION_TEST_FAILED: "connection works again",
    RuleName.API_KEY_REJECTED: "API key is accepted again",
    RuleName.ACCESS_DENIED: "API access works again",
    RuleName.USER_NOT_MANAGED: "user is managed again",
    RuleName.API_UNREACHABLE: "API answers again",
    RuleName.BAD_ANSWER: "API response is complete again",
    RuleName.RECONNECT_LINK_EXPIRING: "reconnect link is good again",
    RuleName.CHANNEL_FAILING: "messages are delivered again",
    RuleName.CLOCK_SKEW: "clocks agree again",
}


def platform_name(platform: str) -> str:
    """Return the name that people know a platform by."""
    return PLATFORMS.get(platform) or sanitize(platform, 40) or "unknown platform"


def format_duration(duration: timedelta) -> str:
    """Write a duration for people: days and hours, hours and minutes, or minutes; never negative."""
    minutes = max(round(duration.total_seconds() / 60), 0)
    parts = ((minutes // 60, "hour"), (minutes % 60, "minute"))
    if minutes >= 24 * 60:
        hours = round(minutes / 60)
        parts = ((hours // 24, "day"), (hours % 24, "hour"))
    return " ".join(counted(*part) for part in parts if part[0]) or "less than a minute"


def format_roughly(duration: timedelta) -> str:
    """Write a duration in one unit if it is three hours or longer: hours, and whole days from two days on."""
    hours = round(duration.total_seconds() / 3600)
    if hours < 3:
        return format_duration(duration)
    return counted(hours, "hour") if hours < 48 else counted(hours // 24, "day")


def list_some(names: Sequence[str], shown: int) -> str:
    """Join names as people do: ``a and b``, or ``a, b and 3 more`` if there are more than ``shown``."""
    if len(names) > shown:
        return f"{', '.join(names[:shown])} and {len(names) - shown} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def as_sentence(text: str) -> str:
    """Begin with a capital letter, but for a host, and end with a full stop, but for a mark of its own."""
    is_host = "." in text.partition(":")[0] and " " not in text.partition(":")[0]
    start = text[:1] if is_host else text[:1].upper()
    return start + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def fit_lines(lines: Sequence[str], *, space: int, more: Callable[[int], str]) -> list[str]:
    """
    Return as many whole lines as there is room for, and then how many are left out.

    Args:
        space: in characters, line breaks included.
        more: writes the last line for a number of lines left out.

    Returns:
        Nothing if not even one line fits.
    """
    if sum(len(line) + 1 for line in lines) - 1 <= space:
        return list(lines)
    kept, used = 0, 0
    while kept < len(lines) - 1:
        used += len(lines[kept]) + 1
        if used + len(more(len(lines) - kept - 1)) > space:
            break
        kept += 1
    return [*lines[:kept], more(len(lines) - kept)] if kept else []
