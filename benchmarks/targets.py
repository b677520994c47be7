"""What the figures should be: ratios of two contenders of one round, and a few that are no times."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.cost import Run

Rounds: TypeAlias = Mapping[str, Sequence[Run]]
"""The runs of each contender, one a round, in the order of the rounds."""


def cpu(run: Run) -> float:
    """Give the milliseconds of CPU that one poll costs."""
    return run["cpu_seconds"] * 1000 / run["polls"]


def rate(run: Run) -> float:
    """Give the polls per second."""
    return run["polls"] / run["seconds"]


def written(run: Run) -> float:
    """Give the bytes that one poll writes."""
    return run["bytes_written"] / run["polls"]


def seconds(run: Run) -> float:
    """Give how long it took."""
    return run["seconds"]


def resident(run: Run) -> float:
    """Give the memory at its highest, in MiB."""
    return run["resident_mib"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    One figure and where it should end.

    Args:
        of: the contender, compared with ``against`` round by round; the figure itself where that is None.
        is_time: whether it depends on the machine: then it is shown and fails nothing.
    """

    what: str
    of: str
    figure: Callable[[Run], float]
    against: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    is_time: bool = False

    def measured(self, rounds: Rounds) -> float | None:
        """Give the median over the rounds; None where a contender did not run."""
        runs = rounds.get(self.of)
        others = rounds.get(self.against) if self.against else None
        if not runs or (self.against and not others):
            return None
        values = [self.figure(run) for run in runs]
        if others:
            values = [value / self.figure(other) for value, other in zip(values, others, strict=True)]
        return statistics.median(values)

    def is_met(self, value: float) -> bool:
        """Tell whether a figure is where it should be."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )

    @property
    def wanted(self) -> str:
        """The limit, in words."""
        unit = " x" if self.against else ""
        return (
            f"at most {self.at_most:g}{unit}"
            if self.at_most is not None
            else f"at least {self.at_least:g}{unit}"
        )


TARGETS: Sequence[Target] = (
    Target(what="CPU per poll, http", of="pipeline", against="bare", figure=cpu, at_most=0.85),
    Target(what="polls per second, http", of="pipeline", against="bare", figure=rate, at_least=1.4),
    Target(
        what="CPU per poll at 150 ms", of="pipeline 150 ms", against="bare 150 ms", figure=cpu, at_most=0.8
    ),
    Target(
        what="polls per second at 150 ms",
        of="pipeline 150 ms",
        against="bare 150 ms",
        figure=rate,
        at_least=1.4,
    ),
    Target(
        what="CPU per poll, https against http",
        of="pipeline https",
        against="pipeline",
        figure=cpu,
        at_most=1.2,
    ),
    Target(
        what="CPU per poll on PostgreSQL", of="pipeline PostgreSQL", against="bare", figure=cpu, at_most=1.0
    ),
    Target(what="bytes written by an unchanged poll", of="pipeline", figure=written, at_most=50),
    Target(what="10,000 targets, seconds a cycle", of="10,000", figure=seconds, at_most=20, is_time=True),
    Target(
        what="10,000 targets at 150 ms, seconds a cycle",
        of="10,000 150 ms",
        figure=seconds,
        at_most=30,
        is_time=True,
    ),
    Target(what="10,000 targets, resident MiB", of="10,000", figure=resident, at_most=160),
    Target(what="10,000 targets at 150 ms, resident MiB", of="10,000 150 ms", figure=resident, at_most=160),
    Target(what="the daemon of 1,000 targets, resident MiB", of="daemon", figure=resident, at_most=100),
    Target(
        what="start to first poll, seconds",
        of="daemon",
        figure=lambda run: run["start_seconds"],
        at_most=3,
        is_time=True,
    ),
    Target(
        what="--help, seconds",
        of="daemon",
        figure=lambda run: run["help_seconds"],
        at_most=0.25,
        is_time=True,
    ),
)
