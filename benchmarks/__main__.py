"""Run the contenders in turns and compare them: a table for people, JSON for machines, a picture for the documents."""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.cost import Run
from benchmarks.publish import publish
from benchmarks.server import Served, serving
from benchmarks.targets import TARGETS, Rounds, cpu, rate, resident, written
from tests.postgres_for import serving_postgres

# Few threads for a server that is near, many to hide its latency.
NEAR, FAR = 4, 128
LATENCY_MS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """
    What runs in a round.

    Args:
        module: of this package; it prints its `Run`.
        server: which of the servers it asks; None where it brings its own.
        is_once: too long to run in every round.
        on_postgres: whether its database is PostgreSQL.
    """

    name: str
    module: str
    server: str | None
    arguments: Sequence[int] = ()
    is_once: bool = False
    on_postgres: bool = False


def contenders(polls: int, fleet: int) -> list[Contender]:
    """Give all that can run; those with latency, and those that connect anew each time, poll less."""
    far, slow = max(polls // 2, FAR * 4), max(polls // 40, 20)
    return [
        Contender(name="bare", module="bare", server="http", arguments=(polls,)),
        Contender(name="pipeline", module="fleet", server="http", arguments=(polls, NEAR)),
        Contender(
            name="pipeline PostgreSQL",
            module="fleet",
            server="http",
            arguments=(polls, NEAR),
            on_postgres=True,
        ),
        Contender(name="cron script", module="naive", server="http", arguments=(polls // 10,)),
        Contender(name="bare https", module="bare", server="https", arguments=(polls,)),
        Contender(name="pipeline https", module="fleet", server="https", arguments=(polls, NEAR)),
        Contender(name="cron script https", module="naive", server="https", arguments=(slow,)),
        Contender(name="bare 150 ms", module="bare", server="slow", arguments=(slow,)),
        Contender(name="pipeline 150 ms", module="fleet", server="slow", arguments=(far, FAR)),
        Contender(name="workspace", module="workspace", server="http", arguments=(2000, NEAR), is_once=True),
        Contender(name="10,000", module="workspace", server="http", arguments=(fleet, NEAR), is_once=True),
        Contender(
            name="10,000 150 ms", module="workspace", server="slow", arguments=(fleet, FAR), is_once=True
        ),
        Contender(name="daemon", module="daemon", server=None, arguments=(1000,), is_once=True),
    ]


@dataclass(slots=True, kw_only=True)
class Arena:
    """The servers that the contenders ask, each started when the first asks it."""

    users: int
    stack: ExitStack
    served: dict[str, Served] = field(default_factory=dict)
    _postgres: Callable[[], str] | None = None

    def server(self, name: str) -> Served:
        """Give a server by its name: http, https or slow."""
        if name not in self.served:
            given = {"http": {}, "https": {"tls": True}, "slow": {"latency_ms": LATENCY_MS}}[name]
            self.served[name] = self.stack.enter_context(serving(users=self.users, **given))  # type: ignore[arg-type]  # each its own
        return self.served[name]

    def database(self) -> str:
        """Give the URL of an empty PostgreSQL database."""
        if self._postgres is None:
            self._postgres = self.stack.enter_context(serving_postgres())
        return self._postgres()

    def run(self, contender: Contender) -> Run:
        """Let one contender run in a process of its own."""
        served = self.server(contender.server) if contender.server else None
        words = [*([served.url] if served else []), *map(str, contender.arguments)]
        words += [self.database()] if contender.on_postgres else []
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{contender.module}", *words],
            env=served.environ if served else None,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        run: Run = json.loads(done.stdout)
        return run


def main() -> None:
    """Measure, print, and fail where a figure that depends on no machine is not where it should be."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--polls", type=int, default=4000, help="of one contender in one round (4000)")
    parser.add_argument("--rounds", type=int, default=5, help="in which all run in turns (5)")
    parser.add_argument("--fleet", type=int, default=10_000, help="targets of the large fleet (10000)")
    parser.add_argument("--only", metavar="NAME,…", help="these contenders alone")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--publish", action="store_true", help="write the table and the chart into docs/")
    parser.add_argument(
        "--slack", type=float, default=1.0, help="how many times worse than wanted a ratio may be (1.0)"
    )
    given = parser.parse_args()
    chosen = contenders(given.polls, given.fleet)
    if given.only:
        names = given.only.split(",")
        if unknown := set(names) - {each.name for each in chosen}:
            parser.error(f"no such contender: {', '.join(sorted(unknown))}")
        chosen = [each for each in chosen if each.name in names]
    with ExitStack() as stack:
        arena = Arena(users=given.fleet, stack=stack)
        rounds = _rounds(chosen, arena, given.rounds)
        kinds = {name: served.kind for name, served in arena.served.items()}
    if given.json:
        print(json.dumps({"servers": kinds, "rounds": rounds, "targets": _judged(rounds)}, indent=2))
    else:
        print("\n".join([*_table(rounds), "", *_verdicts(rounds)]))
    if given.publish:
        publish(rounds, kinds, rounds_run=given.rounds)
    missed = [
        target.what
        for target in TARGETS
        if not target.is_time
        and (value := target.measured(rounds)) is not None
        and not target.is_met(value / given.slack if target.at_most else value * given.slack)
    ]
    if missed:
        sys.exit(f"not where it should be: {', '.join(missed)}")


def _rounds(chosen: Sequence[Contender], arena: Arena, count: int) -> Rounds:
    runs: dict[str, list[Run]] = {each.name: [] for each in chosen}
    for number in range(count):
        for contender in chosen:
            if contender.is_once and number:
                continue
            print(f"round {number + 1} of {count}: {contender.name} …", file=sys.stderr, flush=True)
            runs[contender.name].append(arena.run(contender))
    return runs


def _table(rounds: Rounds) -> Iterator[str]:
    yield f"{'':22}{'polls/s':>10}{'CPU ms/poll':>13}{'written B/poll':>16}{'resident MiB':>14}"
    for name, runs in rounds.items():
        figures = [
            statistics.median(map(figure, map(_whole, runs))) for figure in (rate, cpu, written, resident)
        ]
        yield f"{name:22}{figures[0]:>10.0f}{figures[1]:>13.3f}{figures[2]:>16.0f}{figures[3]:>14.0f}"


def _whole(run: Run) -> Run:
    return {"bytes_written": 0, **run}


def _judged(rounds: Rounds) -> list[Mapping[str, object]]:
    return [
        {"what": target.what, "wanted": target.wanted, "measured": value, "is_met": target.is_met(value)}
        for target in TARGETS
        if (value := target.measured(rounds)) is not None
    ]


def _verdicts(rounds: Rounds) -> Iterator[str]:
    for target in TARGETS:
        value = target.measured(rounds)
        if value is not None:
            verdict = "as wanted" if target.is_met(value) else "NOT as wanted"
            yield f"{target.what:45}{value:>8.2f}  {target.wanted:18}{verdict}"


if __name__ == "__main__":
    main()
