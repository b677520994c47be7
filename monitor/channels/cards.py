"""
Messages of services that show more than text: a color for the severity, and a title that leads somewhere.

Discord, Slack and Teams have a place in Apprise for a payload of one's own, its templates. It is filled here
rather than by a template: those know one text of a fixed length, and Slack's escapes nothing in a title.
"""

from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any

from monitor.channels.rendering import Written, being_sent
from monitor.channels.styles import plain

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType

# What Teams calls the colors of text.
_TEAMS_COLORS = {"failure": "Attention", "warning": "Warning", "info": "Accent", "success": "Good"}


def use_card(service: "NotifyBase") -> None:
    """Make a service send the monitor's payload, if it supports that and its URL has none of its own."""
    make = CARDS.get(type(service).__name__)
    # A workflow of Slack's takes one text and makes its own message of it.
    is_program = getattr(service, "mode", "") in {"workflow", "trigger"}
    if make is None or getattr(service, "template", None) or is_program:
        return
    from apprise.attachment.memory import AttachMemory

    def gen_payload(
        body: str, title: str = "", *, notify_type: "NotifyType", **_: object
    ) -> Mapping[str, Any]:
        return make(being_sent.get(), service, notify_type)

    # It asks for a payload if it has a template, and Slack only if it uses blocks.
    service.template.add(AttachMemory(content=b"{}", name="card.json"))  # type: ignore[attr-defined, no-untyped-call]  # Apprise types it in part
    vars(service).update(gen_payload=gen_payload, use_blocks=True)


def use_own_text(service: "NotifyBase") -> None:
    """Give Matrix the plain text of a message beside its HTML. Apprise would derive it from the HTML."""
    if type(service).__name__ == "NotifyMatrix":

        def plain_text(*_: object) -> str:
            written = being_sent.get()
            return f"{plain(written.title_text)}\n\n{plain(written.body_text)}"

        vars(service)["_matrix_plain_fallback"] = plain_text


def use_click(service: "NotifyBase") -> None:
    """Make a tap on an ntfy notification open the message's address, unless the URL has another one."""
    if type(service).__name__ == "NotifyNtfy" and not getattr(service, "click", None):
        send: Callable[..., bool] = service.send

        def send_with_click(**given: object) -> bool:
            vars(service)["click"] = being_sent.get().message.url or None
            return send(**given)

        vars(service)["send"] = send_with_click


def discord_payload(written: Written, service: "NotifyBase", kind: "NotifyType") -> dict[str, Any]:
    """Return the Discord payload: an embed that mentions only those that the channel's URL names in ``ping=``."""
    embed = {"title": written.title, "description": written.body, "color": service.color(kind, int)}
    if written.message.url:
        embed["url"] = written.message.url
    payload: dict[str, Any] = {"content": "", "allowed_mentions": {"parse": []}, "embeds": [embed]}
    if pinged := getattr(service, "ping", None):
        asked = service.ping_payload(" ".join(pinged))  # type: ignore[attr-defined]  # of Discord's class alone
        allowed = asked.get("allow_mentions", {})
        everyone = ["everyone"] if allowed.get("parse") else []
        payload["content"] = asked.get("content", "")
        payload["allowed_mentions"] = {
            "parse": everyone,
            "users": allowed.get("users", []),
            "roles": allowed.get("roles", []),
        }
    return payload


def slack_attachment(written: Written, service: "NotifyBase", kind: "NotifyType") -> dict[str, Any]:
    """Return the Slack payload: an older attachment, because blocks end after 3,000 characters."""
    attachment: dict[str, Any] = {
        "fallback": written.title,
        "title": written.title,
        "text": written.body,
        "color": service.color(kind),
        "mrkdwn_in": [],
    }
    if written.message.url:
        attachment["title_link"] = written.message.url
    if getattr(service, "include_footer", False):
        attachment["footer"] = service.app_id
        if getattr(service, "include_timestamp", False):
            attachment["ts"] = time()
    return attachment


def teams_card(written: Written, service: "NotifyBase", kind: "NotifyType") -> dict[str, Any]:
    """
    Return the Teams payload: a block for each paragraph, and blank lines between lines, because single breaks
    are lost.
    """
    blocks: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": written.title,
            "style": "heading",
            "weight": "Bolder",
            "size": "Large",
            "wrap": True,
            "color": _TEAMS_COLORS.get(kind.value, "Default"),
        }
    ]
    for paragraph in written.body.split("\n\n"):
        lines = "\n\n".join(line for line in paragraph.split("\n") if line.strip())
        if lines:
            blocks.append({"type": "TextBlock", "text": lines, "wrap": True, "spacing": "Medium"})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "full"},
        "body": blocks,
    }
    if written.message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": written.message.url}]
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }


CARDS: Mapping[str, Callable[[Written, "NotifyBase", "NotifyType"], dict[str, Any]]] = {
    "NotifyDiscord": discord_payload,
    "NotifySlack": slack_attachment,
    "NotifyWorkflows": teams_card,
}
