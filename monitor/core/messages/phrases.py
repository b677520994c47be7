"""The words that messages are made of: names, durations, and each problem in a few words of our own."""

from datetime import timedelta

from monitor.core.model import RuleName
from monitor.core.text import sanitize

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
    RuleName.RENEWAL_OVERDUE: "the token was not renewed as usual",
    RuleName.PUBLISH_ERROR: "publishing failed",
    RuleName.CONNECTION_REMOVED: "the connection is no longer listed",
    RuleName.CONNECTION_TEST_FAILED: "a test of the connection failed",
    RuleName.API_KEY_REJECTED: "the API key is rejected",
    RuleName.ACCESS_DENIED: "the API refuses access",
    RuleName.USER_NOT_MANAGED: "a managed user is not managed by the key",
    RuleName.API_UNREACHABLE: "the API can't be reached",
    RuleName.BAD_ANSWER: "the API's answers can't be used in full",
    RuleName.CHANNEL_FAILING: "a channel takes no messages",
    RuleName.CLOCK_SKEW: "this machine's clock and the API's are far apart",
}

RESOLVED_TEXTS = {
    RuleName.TOKEN_EXPIRY: "the token is good again",
    RuleName.RENEWAL_OVERDUE: "the token was renewed",
    RuleName.PUBLISH_ERROR: "the publishing error is gone",
    RuleName.CONNECTION_REMOVED: "the connection is listed again",
    RuleName.CONNECTION_TEST_FAILED: "the connection works again",
    RuleName.API_KEY_REJECTED: "the API key is accepted again",
    RuleName.ACCESS_DENIED: "the API gives access again",
    RuleName.USER_NOT_MANAGED: "the managed user is managed again",
    RuleName.API_UNREACHABLE: "the API answers again",
    RuleName.BAD_ANSWER: "the API's answers can be used in full again",
    RuleName.CHANNEL_FAILING: "the channel takes messages again",
    RuleName.CLOCK_SKEW: "this machine's clock and the API's agree again",
}


def problem_text(rule: RuleName) -> str:
    """Name a problem in a few words, none of them from outside."""
    return PROBLEM_TEXTS.get(rule, rule.replace("_", " "))


def resolved_text(rule: RuleName) -> str:
    """Say that a problem is over, in a few words, none of them from outside."""
    return RESOLVED_TEXTS.get(rule, "the problem is over")


def platform_name(platform: str) -> str:
    """Give a platform the name that people know it by."""
    return PLATFORMS.get(platform) or sanitize(platform, 40) or "unknown platform"


def format_duration(duration: timedelta) -> str:
    """Write a duration for people: days and hours, hours and minutes, or minutes; never negative."""
    minutes = max(round(duration.total_seconds() / 60), 0)
    if minutes >= 24 * 60:
        hours = round(minutes / 60)
        return _joined((hours // 24, "day"), (hours % 24, "hour"))
    return _joined((minutes // 60, "hour"), (minutes % 60, "minute")) or "less than a minute"


def as_sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop, unless it ends in a mark of its own."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def _joined(*parts: tuple[int, str]) -> str:
    return " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n)
