"""Run the pipeline and the bare loop in turns against one server, and print the ratios."""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

Run: TypeAlias = dict[str, float]


@contextmanager
def serving(latency_ms: float, users: int) -> Iterator[str]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.server", str(latency_ms / 1000), str(users)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin and server.stdout
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()


def measure(module: str, *arguments: str) -> Run:
    """Run one contender in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments], check=True, capture_output=True, text=True
    )
    run: Run = json.loads(done.stdout)
    return run


def main() -> None:
    """Measure, print a table for people or JSON, and fail when the pipeline costs more than it may."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--polls", type=int, default=2000, help="targets of the fleet, and polls of the loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0, help="of the server, in milliseconds")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--at-most", type=float, default=1.3, help="CPU per poll against the bare loop")
    parser.add_argument(
        "--fleet", type=int, metavar="N", default=0, help="also watch one account with N managed users"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bare: list[Run] = []
    fleet: list[Run] = []
    workspace: list[Run] = []
    with serving(given.latency, given.fleet) as url:
        for _ in range(given.rounds):
            bare.append(measure("bare", url, str(given.polls)))
            fleet.append(measure("fleet", url, str(given.polls), str(given.concurrency)))
            if given.fleet:
                workspace.append(measure("workspace", url, str(given.fleet), str(given.concurrency)))
    cpu = [f["cpu_seconds"] / b["cpu_seconds"] for f, b in zip(fleet, bare, strict=True)]
    rate = [b["seconds"] / f["seconds"] for f, b in zip(fleet, bare, strict=True)]
    summary: dict[str, object] = {
        "bare": _summary(bare),
        "pipeline": _summary(fleet),
        "cpu_ratio": statistics.median(cpu),
        "rate_ratio": statistics.median(rate),
    }
    if workspace:
        summary["workspace"] = _summary(workspace)
        summary["discovery_seconds"] = statistics.median(run["discovery_seconds"] for run in workspace)
    if given.json:
        print(json.dumps(summary, indent=2))
    else:
        _print(summary, given)
    if summary["cpu_ratio"] > given.at_most:
        sys.exit(f"the pipeline costs {summary['cpu_ratio']:.2f} x the bare loop; at most {given.at_most}")


def _summary(runs: list[Run]) -> Run:
    return {
        "polls_per_second": statistics.median(run["polls"] / run["seconds"] for run in runs),
        "cpu_ms_per_poll": statistics.median(run["cpu_seconds"] * 1000 / run["polls"] for run in runs),
        "bytes_written_per_poll": statistics.median(
            run.get("bytes_written", 0) / run["polls"] for run in runs
        ),
        "resident_mib": statistics.median(run.get("resident_mib", 0) for run in runs),
    }


def _print(summary: dict[str, object], given: argparse.Namespace) -> None:
    print(
        f"{given.polls} polls of 8 unchanged connections, {given.latency:g} ms of latency, {given.rounds} rounds"
    )
    print(f"{'':10}{'polls/s':>10}{'CPU ms/poll':>14}{'written B/poll':>17}{'resident MiB':>15}")
    for name in ("bare", "pipeline", "workspace"):
        run = summary.get(name)
        if not isinstance(run, dict):
            continue
        print(
            f"{name:10}{run['polls_per_second']:>10.0f}{run['cpu_ms_per_poll']:>14.3f}"
            f"{run['bytes_written_per_poll']:>17.0f}{run['resident_mib']:>15.0f}"
        )
    if given.fleet:
        print(f"{given.fleet} managed users found and registered in {summary['discovery_seconds']:.2f} s")
    print(f"{'ratio':10}{summary['rate_ratio']:>10.2f}{summary['cpu_ratio']:>14.2f}")


if __name__ == "__main__":
    main()
