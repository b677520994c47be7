"""The loop one would write: one session, one thread, the answer read and thrown away."""

import json
import resource
import sys
import time

import requests


def main(url: str, polls: int) -> None:
    """Ask so many times and print what it cost, as JSON."""
    session = requests.Session()
    for _ in range(20):  # warm: connected, imported
        session.get(f"{url}/api/v1/platform-connections", headers={"x-api-key": "sk_bench_0.0"}).json()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    for _ in range(polls):
        session.get(f"{url}/api/v1/platform-connections", headers={"x-api-key": "sk_bench_0.0"}).json()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"polls": polls, "seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
