"""
What the daemon counts as it runs, for Prometheus.

The current state is not here. ``web.gauges`` reads it from the history database at each scrape.
"""

from collections.abc import Iterable, Mapping, Sequence
from platform import python_version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from monitor.core.evaluation.cycle import CycleStatus
from monitor.core.model import Outcome, Snapshot

PREFIX = "postpost_monitor"

# The start time of each series would be a second series for each. It is not needed.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no type

_POLL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
_LATE_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
_BATCH_POLLS = (1, 2, 5, 10, 20, 50, 100, 200)


class Metrics:
    """
    The counters of one daemon. Counters with known labels start at zero.

    Args:
        accounts: whose polls are counted.
        channels: that messages go to.
        schema: the revision of the history database that this program reads.
    """

    def __init__(
        self,
        *,
        version: str,
        schema: str,
        accounts: Iterable[str],
        channels: Iterable[str],
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = self._gauge("build_info", "What is running; always 1.", "version", "python", "schema")
        build.labels(version, python_version(), schema).set(1)
        self._cycles = self._counter("cycles", "Cycles that ended, by what is to be said of them.", "verdict")
        self._polls = self._counter("polls", "Polls that ended, by how they ended.", "outcome")
        self._limited = self._counter("rate_limited", "Polls that an API put off (429).", "account")
        self._poll_seconds = self._histogram(
            "poll_duration_seconds", "How long one poll took, tries and all.", _POLL_SECONDS
        )
        self._late = self._histogram(
            "poll_lag_seconds", "How much later than due a poll began.", _LATE_SECONDS
        )
        self._batches = self._histogram("commit_polls", "How many polls one commit recorded.", _BATCH_POLLS)
        self._changes = self._counter("changes", "Connections that a poll found changed, new or gone.")
        self._messages = self._counter(
            "deliveries", "Messages delivered, and attempts that failed.", "channel", "outcome"
        )
        self._runs = self._counter("job_runs", "Runs of a job that ended well.", "name")
        self._errors = self._counter("job_errors", "Runs of a job that failed.", "name")
        for verdict in CycleStatus:
            self._cycles.labels(verdict.value)
        for outcome in Outcome:
            self._polls.labels(outcome.value)
        for account in accounts:
            self._limited.labels(account)
        for channel in channels:
            self._messages.labels(channel, "delivered")
            self._messages.labels(channel, "failed")

    def on_cycle_ended(self, verdict: CycleStatus) -> None:
        """Count a cycle."""
        self._cycles.labels(verdict.value).inc()

    def on_fetched(self, snapshot: Snapshot, seconds: float, late: float | None) -> None:
        """Count a request for a list; ``late`` is None if it was made before it was due."""
        if snapshot.outcome is Outcome.RATE_LIMITED:
            self._limited.labels(snapshot.target.account).inc()
        self._poll_seconds.observe(seconds)
        if late is not None:
            self._late.observe(max(late, 0))

    def on_recorded(self, outcomes: Mapping[Outcome, int], changes: int) -> None:
        """Count a commit and the polls it recorded, by how they ended."""
        self._batches.observe(sum(outcomes.values()))
        for outcome, polls in outcomes.items():
            self._polls.labels(outcome.value).inc(polls)
        self._changes.inc(changes)

    def on_delivered(self, channel: str, delivered: int, failed: int) -> None:
        """Count the messages of one pass over a channel."""
        self._messages.labels(channel, "delivered").inc(delivered)
        self._messages.labels(channel, "failed").inc(failed)

    def register_job(self, job: str) -> None:
        """Create the counters of a job, at zero."""
        self._runs.labels(job)
        self._errors.labels(job)

    def on_job_ended(self, job: str, *, is_ok: bool) -> None:
        """Count a run of a job."""
        (self._runs if is_ok else self._errors).labels(job).inc()

    def render(self, *others: Collector) -> bytes:
        """Return all counters and the series of other collectors in Prometheus text format."""
        registry = CollectorRegistry()
        registry.register(self.registry)
        for other in others:
            registry.register(other)
        return generate_latest(registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=self.registry)
