"""How many threads fetch at once: learned from how long answers take."""

import threading

from monitor.workers.concurrency import RESPONSE_CPU_SECONDS, ConcurrencyLimiter


def opened(limiter: ConcurrencyLimiter, *seconds: float) -> int:
    """Say how many lanes are open after answers that took so long."""
    for each in seconds:
        limiter.record_duration(each)
    limiter.adapt()
    return limiter._open


def test_one_lane_is_enough_for_a_server_that_answers_at_once() -> None:
    limiter = ConcurrencyLimiter(16)
    assert [1, 1] == [opened(limiter, RESPONSE_CPU_SECONDS * 0.8) for _ in range(2)]


def test_a_server_far_away_has_all_lanes_opened() -> None:
    assert 16 == opened(ConcurrencyLimiter(16), 0.15)
    assert 11 == opened(ConcurrencyLimiter(16), RESPONSE_CPU_SECONDS * 10.5)


def test_quick_refusals_do_not_close_the_lanes_of_those_that_wait() -> None:
    limiter = ConcurrencyLimiter(16)
    assert [16, 16] == [opened(limiter, *[0.0002] * 100, *[0.15] * 100) for _ in range(2)]


def test_lanes_that_only_queue_for_each_other_are_halved_until_one_is_left() -> None:
    limiter = ConcurrencyLimiter(16)
    limiter.open()
    assert [8, 4, 2, 1, 1] == [opened(limiter, RESPONSE_CPU_SECONDS * 0.8 * limiter._open) for _ in range(5)]


def test_without_an_answer_nothing_is_learned() -> None:
    limiter = ConcurrencyLimiter(16)
    limiter.open(5)
    assert 5 == opened(limiter)


def test_whoever_waits_for_a_lane_goes_on_when_it_opens_and_ends_when_all_close() -> None:
    limiter = ConcurrencyLimiter(3)
    gone_on: list[tuple[int, bool]] = []
    threads = [threading.Thread(target=lambda n=n: gone_on.append((n, limiter.wait(n)))) for n in (0, 1, 2)]
    for thread in threads:
        thread.start()
    threads[0].join()
    assert [(0, True)] == gone_on
    limiter.open(2)
    threads[1].join()
    assert [(0, True), (1, True)] == gone_on
    limiter.close()
    threads[2].join()
    assert [(0, True), (1, True), (2, False)] == gone_on
    assert not limiter.wait(0)
