"""What the `Date` header of an answer shows of the API's clock, over a real connection."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.api_clocks import ApiClock, read_date
from monitor.errors import FetchError
from monitor.http.client import HttpClient
from monitor.providers import PROVIDERS
from monitor.providers.postpost import PostPost
from tests.factories import DAY, HOUR, MINUTE
from tests.fakes import FrozenClock
from tests.providers.http_server import Authority, Handler, StandIn

from .conftest import KEY, MakeHttp

SECOND = timedelta(seconds=1)
BODY = b'{"connections": [], "users": []}'


class Machine(FrozenClock):
    """A local clock that may be set, and a clock beside it that nobody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.true = self.now

    def passes(self, time: timedelta) -> None:
        self.now, self.true = self.now + time, self.true + time

    def monotonic(self) -> float:
        return self.true.timestamp()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> ApiClock:
    return ApiClock("http://localhost", clock=machine, monotonic=machine.monotonic)


def asked(server: StandIn, http: HttpClient, clock: ApiClock, machine: Machine) -> PostPost:
    brand = PROVIDERS["postpost"]
    return PostPost(brand, base_url=server.url, api_key=KEY, http=http, clock=machine, api_clock=clock)


def answer(server: StandIn, *lines: str, status: int = 200) -> None:
    """Answer with these header lines and no others."""
    head = "\r\n".join(
        [f"HTTP/1.1 {status} X", f"Content-Length: {len(BODY)}", "Connection: close", *lines, "", ""]
    ).encode()
    server.answer = lambda handler: handler.raw(head + BODY)


def date(moment: datetime) -> str:
    return f"Date: {format_datetime(moment.astimezone(UTC), usegmt=True)}"


@pytest.mark.parametrize("status", [200, 203, 302, 401, 403, 404, 429, 500, 503])
def test_an_answer_of_any_status_shows_the_clock(
    server: StandIn, http: HttpClient, clock: ApiClock, machine: Machine, status: int
) -> None:
    answer(server, date(machine.now + HOUR), status=status)
    provider = asked(server, http, clock, machine)
    calls: tuple[Callable[[], object], ...] = (
        provider.connections,
        provider.workspace_users,
        lambda: provider.connection_url("65f0c0ffee65f0c0ffee65f0"),
        lambda: provider.run_connection_test("x-1"),
    )
    for count, call in enumerate(calls, 1):
        with suppress(FetchError):
            call()
        assert (count, clock.offset()) == (len(server.requests), HOUR)


def test_a_slow_answer_is_no_skew(
    make_http: MakeHttp, server: StandIn, clock: ApiClock, machine: Machine
) -> None:
    def slowly(handler: Handler) -> None:
        asked_at = machine.now
        machine.passes(5 * MINUTE)
        written_at = machine.now
        machine.passes(5 * MINUTE)
        head = f"HTTP/1.1 200 X\r\nContent-Length: {len(BODY)}\r\n{date(written_at)}\r\n\r\n"
        assert written_at - asked_at == 5 * MINUTE
        handler.raw(head.encode() + BODY)

    server.answer = slowly
    asked(server, make_http(), clock, machine).connections()
    assert (clock.offset(), clock.unconfirmed_for()) == (timedelta(), None)


def test_a_clock_that_is_set_while_an_answer_is_waited_for_does_not_spoil_it(
    server: StandIn, http: HttpClient, clock: ApiClock, machine: Machine
) -> None:
    true = machine.now

    def late(handler: Handler) -> None:
        machine.now += 61 * DAY
        handler.raw(f"HTTP/1.1 200 X\r\nContent-Length: {len(BODY)}\r\n{date(true)}\r\n\r\n".encode() + BODY)

    server.answer = late
    asked(server, http, clock, machine).connections()
    assert clock.offset() == -61 * DAY


def test_the_age_of_an_answer_out_of_a_cache_counts(
    server: StandIn, http: HttpClient, clock: ApiClock, machine: Machine
) -> None:
    answer(server, date(machine.now - HOUR), "Age: 3600")
    asked(server, http, clock, machine).connections()
    assert clock.offset() == timedelta()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "missing"),
        (("Date:",), "unreadable"),
        (("Date: yesterday",), "unreadable"),
        (("Date: Sun, 99 Feb 2026 20:00:00 GMT",), "unreadable"),
        ((f"Date: {'9' * 5000}",), "unreadable"),
        (("Date: Thu, 01 Jan 1970 00:00:00 GMT",), "implausible: 1970-01-01"),
        (("Date: Fri, 31 Dec 9999 23:59:59 GMT",), "implausible: 9999-12-31"),
    ],
    ids=["missing", "empty", "words", "no day", "long", "1970", "9999"],
)
def test_a_header_that_does_not_count_costs_nothing_and_confirms_the_clock(
    *, server: StandIn, http: HttpClient, clock: ApiClock, machine: Machine, lines: tuple[str, ...], why: str
) -> None:
    answer(server, *lines)
    assert asked(server, http, clock, machine).connections().clock_offset == timedelta()
    assert (why, None, None) == (clock.ignored, clock.offset(), clock.unconfirmed_for())


@given(text=st.text(max_size=80), age=st.one_of(st.none(), st.text(max_size=12)))
def test_whatever_a_header_says_it_is_a_time_or_nothing(text: str, age: str | None) -> None:
    found = read_date(text, age)
    assert found is None or found.tzinfo is UTC


@given(seconds=st.integers(0, 220_000_000_000), age=st.integers(0, 10**9))
def test_a_date_is_read_back(seconds: int, age: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = format_datetime(moment, usegmt=True)
    assert read_date(text) == moment
    wanted = moment + timedelta(seconds=age if age < 10**9 else 0)
    assert read_date(text, str(age)) == wanted


def test_the_newest_five_count_and_a_set_clock_starts_anew(clock: ApiClock, machine: Machine) -> None:
    def sees(offset: timedelta) -> timedelta | None:
        clock.on_answer(clock.start(), {"Date": date(machine.true + offset).partition(": ")[2]})
        return clock.offset()

    assert [sees(timedelta()) for _ in range(5)] == [timedelta()] * 5
    assert [sees(HOUR) for _ in range(3)] == [timedelta(), timedelta(), HOUR]
    machine.now += 10 * DAY
    assert (clock.offset(), clock.expiry_offset(), clock.unconfirmed_for()) == (None, HOUR - 10 * DAY, None)
    machine.passes(DAY)
    assert clock.expiry_offset() == HOUR - 10 * DAY
    assert sees(timedelta()) == -10 * DAY
    machine.now -= 10 * DAY
    assert clock.expiry_offset() == timedelta()


def test_an_api_that_gives_no_dates_is_taken_at_the_local_time(clock: ApiClock, machine: Machine) -> None:
    clock.on_answer(clock.start(), {})
    machine.now += 10 * DAY
    assert clock.expiry_offset() == -10 * DAY  # until an answer says whether it still answers
    clock.on_answer(clock.start(), {})
    assert clock.expiry_offset() == timedelta()


@given(
    steps=st.lists(
        st.tuples(st.timedeltas(timedelta(), 3 * DAY), st.timedeltas(-90 * DAY, 90 * DAY)), max_size=8
    )
)
def test_however_the_local_clock_is_set_the_time_of_the_api_goes_on(
    steps: list[tuple[timedelta, timedelta]],
) -> None:
    machine = Machine()
    clock = ApiClock("http://localhost", clock=machine, monotonic=machine.monotonic)
    clock.on_answer(clock.start(), {"Date": date(machine.true).partition(": ")[2]})
    for passed, step in steps:
        machine.passes(passed)
        machine.now += step
        api_now = machine.now + clock.expiry_offset()
        # Within two minutes the local time is right enough, and each setting may hide as much.
        assert abs(api_now - machine.true) <= (len(steps) + 1) * 2 * MINUTE


def test_many_threads_may_ask_and_answer(clock: ApiClock, machine: Machine) -> None:
    wrong: list[timedelta | None] = []

    def work() -> None:
        for _ in range(300):
            clock.on_answer(clock.start(), {"Date": date(machine.true + HOUR).partition(": ")[2]})
            if clock.offset() != HOUR:
                wrong.append(clock.offset())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "days",
    [("20200101000000Z", "20200201000000Z"), ("20900101000000Z", "20910101000000Z")],
    ids=["over", "to come"],
)
def test_a_certificate_that_is_not_valid_now_makes_the_local_clock_suspect(
    make_http: MakeHttp, authority: Authority, clock: ApiClock, machine: Machine, days: tuple[str, str]
) -> None:
    server = StandIn(authority.server_context("localhost", valid=days))
    try:
        http = make_http(environ={"SSL_CERT_FILE": str(authority.bundle)})
        with pytest.raises(FetchError) as caught:
            asked(server, http, clock, machine).connections()
        failure = caught.value.failure
        assert failure.is_clock_suspect
        assert "by this machine's clock" in failure.error
        assert "NTP" in failure.remedy
        assert clock.is_suspect
    finally:
        server.stop()


def test_a_certificate_of_somebody_else_does_not(
    make_http: MakeHttp, tls_server: StandIn, clock: ApiClock, machine: Machine
) -> None:
    with pytest.raises(FetchError) as caught:
        asked(tls_server, make_http(), clock, machine).connections()
    assert not caught.value.failure.is_clock_suspect
    assert not clock.is_suspect
