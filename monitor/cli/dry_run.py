"""poll --dry-run: a whole pass on a copy of the history, with channels that only record messages."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.channels.client_channel import ClientChannel
from monitor.channels.incident_channel import IncidentChannel
from monitor.cli.pass_result import PassResult, print_failures
from monitor.cli.tables import print_line
from monitor.core.messages import events
from monitor.core.messages.events import Event
from monitor.core.messages.message import Message
from monitor.core.model import Incident, Target
from monitor.core.text import one_line
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.channels.channel import Channel


class _CapturingChannel:
    """A channel that records its messages, with the limits of the channel it replaces."""

    def __init__(self, real: "Channel", messages: list[Message]) -> None:
        self.name, self.service = real.name, real.service
        self.body_limit, self.title_limit = real.body_limit, real.title_limit
        self.allow_reconnect_links = real.allow_reconnect_links
        self.time_zone = real.time_zone
        self.takes_attachments = real.takes_attachments
        self._messages = messages

    def send(self, message: Message) -> None:
        self._messages.append(message)


class _CapturingClientChannel(ClientChannel):
    """The same for a client channel."""

    def __init__(self, real: ClientChannel, messages: list[Message]) -> None:
        vars(self).update(vars(real))
        self._messages = messages

    def for_target(self, target: Target) -> "Channel | None":
        one = super().for_target(target)
        return _CapturingChannel(one, self._messages) if one else None


class _CapturingIncidentChannel(IncidentChannel):
    """The same for an incident service."""

    def __init__(self, real: IncidentChannel, messages: list[Message]) -> None:
        super().__init__(
            name=real.name, service=real.service, allow_reconnect_links=real.allow_reconnect_links
        )
        self.takes_acknowledgements = real.takes_acknowledgements
        self.time_zone = real.time_zone
        self._messages = messages

    def send_event(self, event: Event) -> None:
        severity = event.incident.severity
        title = f"{event.reason} {event.key}, {severity}: {events.title(event)}"
        self._messages.append(Message(title=title, body="", severity=severity, key=event.message_key))


def _capture(real: "Channel", messages: list[Message]) -> "Channel":
    if isinstance(real, IncidentChannel):
        return _CapturingIncidentChannel(real, messages)
    if isinstance(real, ClientChannel):
        return _CapturingClientChannel(real, messages)
    return _CapturingChannel(real, messages)


def dry_run(app: "App", play: "Callable[[App], PassResult]") -> int:
    """
    Simulate a pass, and print what it would have recorded and sent.

    Returns:
        The exit status: 1 when a target couldn't be polled.
    """
    from monitor.storage.dry_run import DryRunDatabase
    from monitor.storage.migrate import HEAD

    messages: dict[str, list[Message]] = {name: [] for name in app.context.channels}
    channels = {name: _capture(each, messages[name]) for name, each in app.context.channels.items()}
    found = app.database.current_revision()
    if found not in {None, HEAD}:
        raise StorageError(
            f"{app.database.display_name} has schema {found}; run `postpost-monitor db upgrade` first"
        )
    copy = DryRunDatabase(app.database if found else None)
    try:
        before = copy.incidents()
        # Creating a link would change data at the API.
        context = replace(app.context, database=copy, channels=channels, reconnect_link=lambda target: "")
        done = play(replace(app, context=context))
        after = copy.incidents()
    finally:
        copy.close()
    for poll_record in done.recorded:
        for change in poll_record.evaluation.changes if poll_record.evaluation else ():
            if change.is_transition:
                seen = change.after.connection
                was = f"{change.before.connection.token_status} → " if change.before else "first seen, "
                text = (
                    f"{poll_record.target.account} {seen.platform_id} ({seen.name}): {was}{seen.token_status}"
                )
                print_line(f"would record: {one_line(text)}")
    _print_incidents(before, after)
    for name, captured in messages.items():
        for message in captured:
            print_line(f"would notify {name}: {one_line(message.title)}")
            for line in message.body.splitlines():
                print_line(f"    {one_line(line, 1000)}".rstrip())
    print_failures(done)
    print_line("Dry run: nothing was written, nothing was sent.")
    return 1 if done.failures else 0


def _print_incidents(before: Mapping[int, Incident], after: Mapping[int, Incident]) -> None:
    for id_, incident in after.items():
        was = before.get(id_)
        if was == incident:
            continue
        if not incident.is_open:
            what = f"end as {incident.resolution}"
        elif was is None:
            what = "open"
        else:
            what = "change"
        about = incident.subject.platform_id or incident.subject.account or ""
        text = f"{incident.severity} {incident.rule}, {about}: {incident.summary}"
        print_line(f"would {what}: incident {id_}, {one_line(text)}")
