"""Message templates of channels: Jinja2 in a sandbox, tried on samples when the configuration is read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

import structlog
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration, platform_name
from monitor.core.messages.render import Item
from monitor.core.messages.samples import sample_items
from monitor.core.messages.wording import Wording, remedy
from monitor.core.text import one_line, sanitize
from monitor.errors import ConfigError

log = structlog.get_logger()

MAX_CHARACTERS = 100_000
VARIABLES = ("title", "body", "severity", "key", "now", "time_zone", "accounts", "items")

# Messages are plain text: each channel escapes what its service would read as markup and makes the rest harmless,
# after the template. So nothing is escaped here.
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)
_ADDRESS = re.compile(r"(?<!\S)https?://\S+")


@pass_context
def format_local_time(context: Context, moment: datetime | None) -> str:
    """Write a time in the time zone of the channel: the filter ``time``."""
    wording = Wording(now=context["now"], time_zone=context["time_zone"])
    return wording.time(moment) if moment else ""


_ENVIRONMENT.filters["time"] = format_local_time
_ENVIRONMENT.filters["duration"] = format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTemplate:
    """
    The title and the body that a channel uses instead of the built-in ones.

    Args:
        title: None for the built-in one; so is ``body``.
        links: the whole addresses that stand in the templates themselves; readers may follow them.
    """

    channel: str
    title: Template | None = None
    body: Template | None = None
    links: tuple[str, ...] = ()

    def apply(
        self,
        message: Message,
        items: Sequence[Item],
        now: datetime,
        *,
        limit: int | None = None,
        time_zone: tzinfo = UTC,
    ) -> Message:
        """
        Write a message by the channel's templates.

        If a template fails, the built-in message is sent, and the log says so.

        Args:
            limit: the longest body that the channel takes, in characters.
            time_zone: of the times in the message.
        """
        try:
            given = template_variables(message, items, now, time_zone)
            return self._render(message, given, limit or MAX_CHARACTERS)
        except Exception as error:  # noqa: BLE001 - whatever a template does, the message goes out
            log.error("template.failed", channel=self.channel, error=one_line(_reason(error)))
            return message

    def _render(self, message: Message, given: Mapping[str, Any], limit: int) -> Message:
        title, body = message.title, message.body
        if self.title:
            title = one_line(self.title.render(given), 250) or message.title
        if self.body:
            body = self.body.render(given).strip()[:limit].strip() or message.body
        if message.key not in body:  # a receiver must be able to drop a duplicate
            foot = f"\n\nmessage {message.key}"
            body = body[: max(limit - len(foot), 0)].rstrip() + foot
        return replace(message, title=title, body=body, links=(*message.links, *self.links))


def template_variables(
    message: Message, items: Sequence[Item], now: datetime, time_zone: tzinfo = UTC
) -> dict[str, Any]:
    """
    Gather the variables of a template; text from outside is harmless.

    Returns:
        ``title`` and ``body`` as built in, ``severity`` (the worst that is open, or ``none``), ``key``, ``now``,
        ``time_zone``, ``accounts``, and ``items``, worst first. docs/alerting.md lists what each item has.
    """
    return {
        "title": message.title,
        "body": message.body,
        "severity": message.severity.value if message.severity else "none",
        "key": message.key,
        "now": now,
        "time_zone": time_zone,
        "accounts": sorted({item.incident.subject.account or "" for item in items} - {""}),
        "items": [item_variables(item, Wording(now=now, time_zone=time_zone)) for item in items],
    }


def item_variables(item: Item, wording: Wording) -> dict[str, Any]:
    """Gather what a template may name of one incident; text from outside is harmless."""
    incident, seen, target = item.incident, item.connection, item.target
    return {
        "reason": item.reason.value if item.reason else "",
        "severity": incident.severity.value,
        "account": one_line(incident.subject.account or ""),
        "managed_user_id": target.managed_user_id if target else None,
        "managed_user": sanitize(target.managed_user or "") if target else "",
        "platform": platform_name(seen.platform) if seen else "",
        "platform_id": sanitize(seen.platform_id) if seen else "",
        "name": sanitize(seen.name) if seen else "",
        "username": sanitize(seen.username) if seen else "",
        "rule": incident.rule.value,
        "summary": incident.summary,
        "description": wording.describe(item),
        "what_to_do": remedy(item) if incident.is_open else "",
        "deadline_at": incident.deadline_at,
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "open_for": (incident.resolved_at or wording.now) - incident.opened_at,
        "last_successful_post_at": seen.last_successful_post_at if seen else None,
        "last_error": sanitize(seen.last_error.message) if seen and seen.last_error else "",
        "dashboard_url": item.dashboard_url,
        "reconnect_url": item.reconnect_url,
        "incident_url": item.incident_url,
        "incident_id": incident.id,
    }


def compile_template(channel: str, *, title: str | None, body: str | None, now: datetime) -> MessageTemplate:
    """
    Compile a channel's templates, and try them on samples.

    Raises:
        ConfigError: a template can't be read, or names an unknown variable. The text doesn't name the channel.
    """
    words = MessageTemplate(
        channel=channel,
        title=_compile("title", title),
        body=_compile("body", body),
        links=tuple(link for source in (title, body) if source for link in _written_links(source)),
    )
    items = sample_items("agency", now, "https://app.postpost.dev")
    for chosen in (items, items[:1], items[-1:]):
        sample = Message(title="title", body="body", severity=chosen[0].incident.severity, key="0123456789")
        for name, template in (("title", words.title), ("body", words.body)):
            try:
                _ = template and template.render(template_variables(sample, chosen, now))
            except Exception as error:  # noqa: BLE001 - whatever a template does, it is refused
                raise ConfigError(
                    f"{name}: {one_line(_reason(error))}; docs/alerting.md lists the variables"
                ) from None
    return words


def _compile(name: str, source: str | None) -> Template | None:
    if source is None:
        return None
    try:
        unknown = meta.find_undeclared_variables(_ENVIRONMENT.parse(source))
        unknown -= {*VARIABLES, *_ENVIRONMENT.globals}
        if unknown:  # also where the samples don't get to
            raise TemplateError(f"unknown variable {min(unknown)!r}; want {', '.join(VARIABLES)}")
        return _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{name}: line {error.lineno}: {one_line(error.message or '')}") from None
    except TemplateError as error:
        raise ConfigError(f"{name}: {one_line(str(error))}") from None


def _written_links(source: str) -> Iterator[str]:
    """Find the addresses that a template holds whole; one that a value completes could lead anywhere."""
    for data in _ENVIRONMENT.parse(source).find_all(nodes.TemplateData):
        for found in _ADDRESS.finditer(data.data):
            if found.end() < len(data.data) or source.rstrip("\n").endswith(data.data):
                yield found[0].rstrip(".,;:!?)\"'")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
