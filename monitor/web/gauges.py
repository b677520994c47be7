"""The current state for Prometheus, read for every scrape, so removed connections leave no series."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.core.messages.phrases import PLATFORMS
from monitor.core.model import DeliveryState, RuleName, Severity, TokenStatus
from monitor.metrics import PREFIX
from monitor.rate_limits import PollRate
from monitor.storage import stats
from monitor.storage.stats import Expiry, Stats
from monitor.storage.store import Store
from monitor.web.readiness import count_overdue

OTHER_PLATFORM = "other"
_STATUSES = {status.value for status in TokenStatus}
_UNSENT = tuple(state for state in DeliveryState if state is not DeliveryState.DELIVERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsData:
    """
    The state in the history database at one moment.

    Args:
        overdue: overdue targets, by account.
        expiries: the tokens that expire first, up to the limit.
        dropped_expiries: how many more tokens have an expiry date.
    """

    stats: Stats
    overdue: Mapping[str, int]
    expiries: Sequence[Expiry]
    dropped_expiries: int


def load_metrics_data(
    store: Store, now: datetime, *, every: Mapping[str, timedelta], expiries_at_most: int
) -> MetricsData:
    """
    Load the state for the gauges.

    Args:
        every: how often the targets of each account are polled.
        expiries_at_most: maximum of tokens with a series of their own; 0 for none.
    """
    found = stats.collect(store, now)
    shown = stats.expiries(store, limit=expiries_at_most) if expiries_at_most else []
    return MetricsData(
        stats=found,
        overdue=count_overdue(found.due_at, every, now),
        expiries=shown,
        dropped_expiries=stats.expiring_ever(store) - len(shown),
    )


class Gauges(Collector):
    """
    The gauges of one scrape.

    Args:
        data: None if the database doesn't answer. Its gauges are then missing.
        rates: of all accounts.
        skews: how far the local clock is ahead of each API's, by base URL.
        idle: seconds since each part of the daemon last made progress.
        now: the time of the scrape.
    """

    def __init__(
        self,
        data: MetricsData | None,
        *,
        rates: Sequence[PollRate],
        skews: Mapping[str, timedelta],
        idle: Mapping[str, float],
        now: datetime,
    ) -> None:
        self._data = data
        self._rates = rates
        self._skews = skews
        self._idle = idle
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """Return every family, also those without samples."""
        yield _family("database_up", "Whether the history database answers.", [((), self._data is not None)])
        now = self._now.timestamp()
        yield _family(
            "component_last_progress_timestamp_seconds",
            "When each part of the daemon last made progress.",
            [((part,), now - age) for part, age in self._idle.items()],
            "component",
        )
        yield _by_account(
            "request_budget_per_minute",
            "Requests a minute that the account's key may make.",
            {rate.account: rate.per_minute for rate in self._rates},
        )
        yield _by_account(
            "poll_interval_configured_seconds",
            "How often each target of the account is to be polled.",
            {rate.account: rate.every.total_seconds() for rate in self._rates},
        )
        yield _by_account(
            "poll_interval_effective_seconds",
            "How often the rate limit of the key allows polling each target of the account.",
            {rate.account: rate.effective_interval.total_seconds() for rate in self._rates},
        )
        yield _family(
            "clock_skew_seconds",
            "How far the local clock is ahead of the API's; negative if it is behind.",
            [((url,), skew.total_seconds()) for url, skew in sorted(self._skews.items())],
            "base_url",
        )
        if (data := self._data) is None:
            return
        found = data.stats
        accounts = sorted(found.targets)
        yield _by_account("targets", "Targets that the monitor polls.", found.targets)
        due = {account: len(found.due_at.get(account, ())) for account in accounts}
        yield _by_account("targets_due", "Targets whose next poll is due.", due)
        late = {account: data.overdue.get(account, 0) for account in accounts}
        yield _by_account("targets_overdue", "Targets whose poll is late by three intervals or more.", late)
        yield _by_account(
            "last_poll_timestamp_seconds",
            "When a target of the account was last polled, successfully or not.",
            {account: at.timestamp() for account, at in found.last_polled_at.items()},
        )
        yield _by_account(
            "last_successful_poll_timestamp_seconds",
            "When polling a target of the account last succeeded.",
            {account: at.timestamp() for account, at in found.last_ok_at.items()},
        )
        yield _family("database_size_bytes", "Size of the history database.", [((), found.size_bytes)])
        counted: Counter[tuple[str, str, str]] = Counter()
        for (account, platform, status), count in found.connections.items():
            # Both values come from outside, and a label has only values of a closed set.
            known = status if status in _STATUSES else TokenStatus.UNKNOWN.value
            counted[account, _platform(platform), known] += count
        yield _family(
            "connections",
            "Listed connections.",
            counted.items(),
            "account",
            "platform",
            "status",
        )
        yield _family(
            "token_expiry_timestamp_seconds",
            "When the token of a connection expires.",
            (
                (
                    (each.account, each.managed_user_id or "", _platform(each.platform), each.platform_id),
                    each.expires_at.timestamp(),
                )
                for each in data.expiries
            ),
            "account",
            "managed_user_id",
            "platform",
            "platform_id",
        )
        yield _family(
            "token_expiry_series_dropped",
            "Tokens with an expiry date that have no series of their own.",
            [((), data.dropped_expiries)],
        )
        kinds = [(rule.value, severity.value) for rule in RuleName for severity in Severity]
        yield _family(
            "open_incidents",
            "Open incidents.",
            [(kind, found.incidents.get(kind, 0)) for kind in kinds],
            "rule",
            "severity",
        )
        yield _family(
            "notifications",
            "Undelivered notifications; failed are the dead letters.",
            [((state.value,), found.notifications.get(state, 0)) for state in _UNSENT],
            "state",
        )
        oldest = found.oldest_pending_at
        yield _family(
            "oldest_pending_notification_timestamp_seconds",
            "Since when the oldest pending notification has been due; absent if none is.",
            [((), oldest.timestamp())] if oldest else [],
        )


def _by_account(name: str, text: str, values: Mapping[str, float]) -> Metric:
    return _family(name, text, [((account,), value) for account, value in sorted(values.items())], "account")


def _family(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _platform(word: str) -> str:
    return word if word in PLATFORMS else OTHER_PLATFORM
