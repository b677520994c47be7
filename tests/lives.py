"""What the tests of whole lives share: a channel that takes, refuses and breaks, and what its receiver reads."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from monitor.core.messages.message import Message
from monitor.core.model import Severity
from monitor.errors import DeliveryError
from monitor.storage.database import Database
from monitor.storage.tables import metadata
from tests.fakes import FakeChannel

# A template that gives what a message says of each incident in a form that a test can read.
PLAIN = (
    "{% for each in items %}{{ each.incident_id }}¦{{ each.reason }}¦{{ each.severity }}¦{{ each.rule }}¦"
    "{{ each.managed_user_id }}¦{{ each.platform_id }}¦{{ each.summary }}¶{% endfor %}"
)
OPEN = {"opened", "escalated", "updated", "reminder"}
RANK = {str(severity): severity.rank for severity in Severity}

MODES = ("up", "refuses", "is gone", "loses it", "takes it and hangs", "dies before", "dies after")
# After these a message may be out that the monitor can't know to be.
UNSURE = {"takes it and hangs", "dies after"}
_IS_UNCERTAIN = {"loses it", "takes it and hangs", "dies before", "dies after"}


class Killed(BaseException):
    """The process ends here and now."""


@dataclass(frozen=True, slots=True)
class Said:
    """One incident in one message, as its receiver read it."""

    incident_id: int
    news: str
    severity: str
    rule: str
    managed_user_id: str
    platform_id: str
    summary: str
    received_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether it says that something is wrong."""
        return self.news in OPEN


@dataclass(slots=True)
class Receiver(FakeChannel):
    """
    A channel that takes messages, refuses them or breaks; its receiver drops what it has seen the key of.

    Args:
        now: the true time.
        mode: one of ``MODES``. One that dies takes the process along, once.
    """

    now: Callable[[], datetime] = field(kw_only=True)
    mode: str = "up"
    keys: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    said: list[Said] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.tried += 1
        if self.mode in {"refuses", "is gone", "loses it", "dies before"}:
            self._fail()
        self.keys[message.key] += 1
        if self.keys[message.key] == 1:
            story = message.body.partition("\n\nmessage ")[0]
            self.said.extend(self._read(line) for line in story.split("¶") if line)
        if self.mode in {"takes it and hangs", "dies after"}:
            self._fail()

    def _fail(self) -> None:
        mode = self.mode
        if mode.startswith("dies"):
            self.mode = "up"
            raise Killed
        raise DeliveryError(mode, uncertain=mode in _IS_UNCERTAIN, permanent=mode == "is gone")

    def _read(self, line: str) -> Said:
        incident_id, news, severity, rule, user, platform_id, summary = line.split("¦")
        return Said(int(incident_id), news, severity, rule, user, platform_id, summary, self.now())


def empty(database: Database) -> None:
    """Take everything out of a database, for the next life."""
    with database.begin() as store:
        for table in reversed(metadata.sorted_tables):
            store.connection.execute(table.delete())


def by_incident(said: Iterable[Said]) -> dict[int, list[Said]]:
    """Group what a receiver read by incident, in the order received."""
    found: dict[int, list[Said]] = {}
    for each in said:
        found.setdefault(each.incident_id, []).append(each)
    return found


def repetitions(story: Iterable[Said]) -> list[Said]:
    """Return what of one incident's story was said before, with nothing milder said since; reminders apart."""
    news = [each for each in story if each.news in OPEN - {"reminder"}]
    found = []
    for place, each in enumerate(news):
        before = [
            n for n in range(place) if (news[n].severity, news[n].summary) == (each.severity, each.summary)
        ]
        since = news[before[-1] + 1 : place] if before else None
        if since is not None and not any(RANK[other.severity] < RANK[each.severity] for other in since):
            found.append(each)
    return found
