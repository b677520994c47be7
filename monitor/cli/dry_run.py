"""poll --dry-run: a whole pass on a copy of what is known, with channels that only listen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from monitor.channels import ClientChannel, IncidentChannel
from monitor.cli.tables import say
from monitor.cli.watching import Pass, print_failures
from monitor.core import events
from monitor.core.events import Event
from monitor.core.model import Incident, Target
from monitor.core.outgoing import Message
from monitor.core.text import one_line
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.channels import Channel
    from monitor.storage import Database


@dataclass(slots=True)
class _Listener:
    """A channel that keeps what it is given, and has the limits of the one it stands for."""

    real: "Channel"
    heard: list[Message] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.real.name

    @property
    def private(self) -> bool:
        return self.real.private

    @property
    def service(self) -> str:
        return self.real.service

    @property
    def body_limit(self) -> int | None:
        return self.real.body_limit

    @property
    def title_limit(self) -> int:
        return self.real.title_limit

    @property
    def takes_attachments(self) -> bool:
        return self.real.takes_attachments

    def send(self, message: Message) -> None:
        self.heard.append(message)


class _Clients(ClientChannel):
    """A channel that tells each managed user apart, listening."""

    def __init__(self, real: ClientChannel) -> None:
        vars(self).update(vars(real))
        self.heard: list[Message] = []

    def of(self, target: Target) -> "Channel | None":
        one = super().of(target)
        return _Listener(one, self.heard) if one else None


class _Events(IncidentChannel):
    """A channel to a service with incidents of its own, listening."""

    def __init__(self, real: IncidentChannel) -> None:
        super().__init__(name=real.name, service=real.service, private=real.private)
        self.takes_acknowledgements = real.takes_acknowledgements
        self.heard: list[Message] = []

    def send_event(self, event: Event) -> None:
        severity = event.incident.severity
        title = f"{event.reason} {event.key}, {severity}: {events.title(event)}"
        self.heard.append(Message(title=title, body="", severity=severity, key=event.message_key))


def _listener(channel: "Channel") -> "_Listener | _Clients | _Events":
    if isinstance(channel, IncidentChannel):
        return _Events(channel)
    return _Clients(channel) if isinstance(channel, ClientChannel) else _Listener(channel)


def rehearse(app: "App", play: "Callable[[App], Pass]") -> int:
    """
    Play a pass without a trace, and print what it would have recorded and told.

    Returns:
        The exit status: 1 when a target couldn't be polled.
    """
    from monitor.storage.rehearsal import Rehearsal

    listeners: dict[str, _Listener | _Clients | _Events] = {
        name: _listener(channel) for name, channel in app.post.channels.items()
    }
    copy = Rehearsal(_original(app.database))
    try:
        before = copy.incidents()
        # To make a link would leave a trace at the API.
        post = replace(app.post, database=copy, channels=listeners, link_of=lambda target: "")
        done = play(replace(app, database=copy, post=post))
        after = copy.incidents()
    finally:
        copy.close()
    _print_transitions(done)
    _print_incidents(before, after)
    for name, listener in listeners.items():
        for message in listener.heard:
            _print_message(name, message)
    print_failures(done)
    say("Dry run: nothing was written, nothing was sent.")
    return 1 if done.failures else 0


def _original(database: "Database") -> "Database | None":
    from monitor.storage.migrate import HEAD

    found = database.current()
    if found not in {None, HEAD}:
        raise StorageError(f"{database.name} has schema {found}; run `postpost-monitor db upgrade` first")
    return database if found else None


def _print_transitions(done: Pass) -> None:
    for polled in done.recorded:
        for change in polled.decision.changes if polled.decision else ():
            if change.is_transition:
                seen = change.after.connection
                before = f"{change.before.connection.token_status} → " if change.before else "first seen, "
                text = (
                    f"{polled.target.account} {seen.platform_id} ({seen.name}): {before}{seen.token_status}"
                )
                say(f"would record: {one_line(text)}")


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
        say(f"would {what}: incident {id_}, {one_line(text)}")


def _print_message(channel: str, message: Message) -> None:
    say(f"would tell {channel}: {one_line(message.title)}")
    for line in message.body.splitlines():
        say(f"    {one_line(line, 1000)}".rstrip())
