"""The loop one would write: one session, one thread, the answer read and thrown away."""

import sys

import requests

from benchmarks.cost import measured, report


def main(url: str, polls: int) -> None:
    """Ask so many times and print what it cost."""
    session = requests.Session()
    for _ in range(5):  # warm: connected, imported
        session.get(f"{url}/api/v1/platform-connections", headers={"x-api-key": "sk_bench_0.0"}).json()
    with measured(polls) as run:
        for _ in range(polls):
            session.get(f"{url}/api/v1/platform-connections", headers={"x-api-key": "sk_bench_0.0"}).json()
    report(run)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
