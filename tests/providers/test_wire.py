"""Bodies into values: every shape that was seen or may be."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Connection, PublishError, TokenStatus
from monitor.providers.base import ConnectionList
from monitor.providers.fields import UnreadableError
from monitor.providers.wire import read_connections, response_digest

from .conftest import payload

HALF_PAST_TWO = datetime(2026, 2, 20, 14, 30, tzinfo=UTC)


def read(*items: Any, **envelope: Any) -> ConnectionList:
    return read_connections(json.dumps({"connections": items, **envelope}).encode())


def read_one(**fields: Any) -> Connection:
    """Read one connection that is without reproach."""
    answer = read({"platformId": "linkedin-1", **fields})
    assert answer.warnings == ()
    (connection,) = answer.connections
    return connection


def complaint_of(**fields: Any) -> tuple[Connection | None, str]:
    """Read one connection that is complained of once; None if it was left out."""
    answer = read({"platformId": "linkedin-1", **fields})
    (complaint,) = answer.warnings
    assert complaint.startswith("connections[0] (linkedin-1): ")
    assert answer.unreadable_ids == (frozenset() if answer.connections else {"linkedin-1"})
    return (answer.connections or (None,))[0], complaint.partition("): ")[2]


def test_every_platform_is_read() -> None:
    answer = read_connections(payload("2026-03-01_all_platforms.json"))
    assert [connection.platform for connection in answer.connections] == [
        *("twitter", "linkedin", "instagram", "threads", "tiktok", "youtube"),
        *("facebook", "bluesky", "mastodon", "telegram", "pinterest"),
    ]
    assert answer.warnings == ()
    assert {"bluesky-did:plc:abc123", "telegram--1001234567890"} < {
        connection.platform_id for connection in answer.connections
    }


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-20T14:30:00.000Z",
        "2026-02-20T14:30:00Z",
        "2026-02-20t14:30:00z",
        "2026-02-20T14:30Z",
        "2026-02-20 14:30:00Z",
        "2026-02-20T14:30:00.000000Z",
        "2026-02-20T14:30:00.000999Z",
        "2026-02-20T14:30:00.000000001Z",
        "2026-02-20T16:30:00+02:00",
        "2026-02-20T16:30:00.000+0200",
        "2026-02-20T09:00:00-05:30",
        "2026-02-21T00:15:00+09:45",
        "20260220T143000Z",
        "2026-02-20T14:30:00",
    ],
)
def test_every_form_of_a_time_is_the_same_moment(text: str) -> None:
    connection = read_one(
        accessTokenExpiresAt=text,
        lastSuccessfulPost=text,
        lastError={"message": "no", "occurredAt": text},
    )
    assert connection.expires_at == HALF_PAST_TWO
    assert connection.last_successful_post_at == HALF_PAST_TWO
    assert connection.last_error == PublishError(message="no", occurred_at=HALF_PAST_TWO)
    assert connection.expires_at.tzinfo is UTC


def test_a_date_is_midnight_and_fractions_are_cut_to_milliseconds() -> None:
    assert read_one(accessTokenExpiresAt="2026-02-20").expires_at == datetime(2026, 2, 20, tzinfo=UTC)
    expires_at = read_one(accessTokenExpiresAt="2026-02-20T14:30:00.123999Z").expires_at
    assert expires_at == HALF_PAST_TWO.replace(microsecond=123_000)


NOT_TIMES = [
    (42, "42"),
    (1771598400000, "1771598400000"),
    (10**30, "a huge number"),
    (1.5, "1.5"),
    (True, "true"),
    ("", '""'),
    ("soon", '"soon"'),
    ("82d 4h", '"82d 4h"'),
    ("2026-02-30T00:00:00Z", '"2026-02-30T00:00:00Z"'),
    ("0001-01-01T00:00:00+05:00", '"0001-01-01T00:00:00+05:00"'),
    ("9999-12-31T23:59:59-05:00", '"9999-12-31T23:59:59-05:00"'),
    ([], "a list"),
    ({}, "an object"),
    ("\x1b[2J\n\u202etime", '"[2J time"'),
]


@pytest.mark.parametrize(("value", "shown"), NOT_TIMES)
def test_a_connection_whose_expiry_cannot_be_read_is_left_out(value: Any, shown: str) -> None:
    connection, complaint = complaint_of(accessTokenExpiresAt=value)
    assert connection is None
    assert complaint == f"accessTokenExpiresAt: expected a time, got {shown}"


@pytest.mark.parametrize(("value", "shown"), NOT_TIMES)
def test_a_last_post_that_cannot_be_read_costs_only_itself(value: Any, shown: str) -> None:
    connection, complaint = complaint_of(lastSuccessfulPost=value, username="kept")
    assert connection == Connection(platform_id="linkedin-1", username="kept")
    assert complaint == f"lastSuccessfulPost: expected a time, got {shown}"


def test_an_error_whose_time_cannot_be_read_is_kept_without_it() -> None:
    connection, complaint = complaint_of(lastError={"message": "no", "occurredAt": 42})
    assert connection
    assert connection.last_error == PublishError(message="no")
    assert complaint == "lastError.occurredAt: expected a time, got 42"


@pytest.mark.parametrize(
    ("given_error", "message"),
    [
        (None, None),
        ("Upload failed", "Upload failed"),
        ("", None),
        ("  \n", None),
        ({}, None),
        ({"message": "Upload failed"}, "Upload failed"),
        ({"message": "Upload failed", "occurredAt": None, "code": 190, "trace": {}}, "Upload failed"),
        ({"message": None}, None),
        ({"message": ""}, None),
        ({"message": "", "code": "E_AUTH"}, "E_AUTH"),
        ({"message": None, "code": 190}, "190"),
        ({"code": True}, None),
        ({"occurredAt": "2026-02-20T14:30:00Z"}, None),
        ("nul\x00 and half a smile \ud83d", "nul and half a smile ?"),
        ("long " * 300, ("long " * 300)[:999] + "…"),
    ],
)
def test_every_shape_of_the_last_error_is_read(given_error: Any, message: str | None) -> None:
    error = read_one(lastError=given_error).last_error
    assert (error and error.message) == message


@pytest.mark.parametrize(
    ("given_error", "complaint"),
    [
        (42, "lastError: expected an object, got 42"),
        ([], "lastError: expected an object, got a list"),
        ({"message": 42}, "lastError.message: expected text, got 42"),
    ],
)
def test_a_last_error_of_no_known_shape_costs_only_itself(given_error: Any, complaint: str) -> None:
    connection, said = complaint_of(lastError=given_error)
    assert connection == Connection(platform_id="linkedin-1", username="")
    assert said == complaint


@pytest.mark.parametrize(
    ("given_status", "stored", "understood"),
    [
        ("valid", "valid", TokenStatus.VALID),
        ("expiring_soon", "expiring_soon", TokenStatus.EXPIRING_SOON),
        ("expired", "expired", TokenStatus.EXPIRED),
        ("unknown", "unknown", TokenStatus.UNKNOWN),
        ("VALID", "valid", TokenStatus.VALID),
        ("Expired", "expired", TokenStatus.EXPIRED),
        ("EXPIRING_SOON", "expiring_soon", TokenStatus.EXPIRING_SOON),
        (None, "null", None),
        ("", "", None),
        ("Revoked", "Revoked", None),
        ("x" * 99, "x" * 63 + "…", None),
        ("re\0voked\ud800", "revoked?", None),
        (7, "7", None),
        (-0.5, "-0.5", None),
        (True, "true", None),
        (["expired"], '["expired"]', None),
        ({"is": "gültig"}, '{"is": "gültig"}', None),
        (["x" * 99], '["' + "x" * 61 + "…", None),
    ],
)
def test_a_status_is_one_of_four_words_in_any_case_or_kept_as_it_came(
    given_status: Any, stored: str, understood: TokenStatus | None
) -> None:
    connection = read_one(tokenStatus=given_status)
    assert (connection.token_status, connection.status) == (stored, understood)


def test_a_status_that_is_missing_is_kept_as_null_is() -> None:
    assert (read_one().token_status, read_one().status) == ("null", None)


@pytest.mark.parametrize("given_status", [b"9" * 4000, b"[" * 900 + b"]" * 900])
def test_a_status_that_no_text_can_hold_costs_no_other_connection(given_status: bytes) -> None:
    body = b'{"connections":[{"platformId":"linkedin-1"},{"platformId":"linkedin-2","tokenStatus":%b}]}'
    answer = read_connections(body % given_status)
    assert [each.status for each in answer.connections] == [None, None]


def test_an_id_with_bytes_that_are_not_utf_8_is_unreadable_and_named() -> None:
    body = (
        b'{"connections":[{"platformId":"linkedin-1"},{"platformId":"linkedin-\xff2","tokenStatus":"valid"}]}'
    )
    answer = read_connections(body)
    assert [each.platform_id for each in answer.connections] == ["linkedin-1"]
    assert answer.unreadable_ids == {"linkedin-\ufffd2"}
    assert [*answer.warnings] == [
        'connections[1] (linkedin-\ufffd2): platformId: expected an id, got "linkedin-\ufffd2"'
    ]


def test_names_may_be_missing_and_are_complained_of_when_they_are_no_text() -> None:
    assert read_one() == Connection(platform_id="linkedin-1", username="")
    assert read_one(username=None, displayName=None).username == ""
    assert read_one(username="@a").username == "@a"
    assert len(read_one(username="a" * 300).username) == 255
    connection, complaint = complaint_of(displayName=5)
    assert connection
    assert (connection.display_name, complaint) == (None, "displayName: expected text, got 5")
    connection, complaint = complaint_of(username=["a"])
    assert connection
    assert (connection.username, complaint) == ("", "username: expected text, got a list")


@pytest.mark.parametrize(
    "bad", [None, 5, "", "a" * 256, "x-\n1", "x-\x00", "x-\x1b[2J", "x-\u2028", "x-\ud83d", []]
)
def test_a_connection_without_a_usable_id_is_left_out(bad: Any) -> None:
    answer = read({"platformId": bad, "username": "a"}, {"platformId": "x-1"}, {"username": "b"})
    assert [connection.platform_id for connection in answer.connections] == ["x-1"]
    assert len(answer.warnings) == 2
    assert answer.warnings[0].startswith("connections[0]: platformId: expected an id, got ")
    assert answer.warnings[0].isprintable()
    assert answer.unreadable_ids == frozenset()


def test_an_id_without_a_dash_is_all_platform() -> None:
    (connection,) = read({"platformId": "pinterest"}, {}).connections
    assert connection.platform == "pinterest"


def test_of_two_with_one_id_the_first_counts() -> None:
    answer = read(
        {"platformId": "x-1", "username": "first"},
        {"platformId": "x-1", "username": "second"},
        {"platformId": "x-2", "accessTokenExpiresAt": 5},
        {"platformId": "x-2", "username": "readable"},
    )
    assert [connection.username for connection in answer.connections] == ["first", "readable"]
    assert answer.warnings[0] == "connections[1] (x-1): platformId: listed twice; the first one counts"
    assert answer.unreadable_ids == frozenset()


def test_unknown_fields_are_told_and_cost_nothing() -> None:
    known = json.loads(payload("2026-02-22_three_connections.json"))["connections"]
    assert read(*known, success=True).unknown_fields == frozenset()
    answer = read(
        {"platformId": "x-1"},
        {"platformId": "x-2", "subscriptionType": "pro", "warn\nings": []},
        code=7,
    )
    assert answer.unknown_fields == {"subscriptionType", "warn ings", "code"}
    assert len(answer.connections) == 2
    assert len(read({"platformId": "x-1"}, **{f"f{n}": n for n in range(999)}).unknown_fields) == 20


def test_half_an_emoji_costs_nobody_anything() -> None:
    body = rb'{"connections": [{"platformId": "x-1", "displayName": "Caf\ud83d"}, {"platformId": "x-2"}]}'
    answer = read_connections(body)
    assert [connection.display_name for connection in answer.connections] == ["Caf?", None]
    assert answer.warnings == ()


def test_bytes_that_are_not_utf_8_and_a_mark_at_the_start_cost_nobody_anything() -> None:
    body = b'\xef\xbb\xbf{"connections": [{"platformId": "x-1", "username": "caf\xe9"}]}'
    assert [connection.username for connection in read_connections(body).connections] == ["caf\ufffd"]


def test_a_body_full_of_nonsense_makes_no_book_of_complaints() -> None:
    answer = read(*([None] * 1000), {"platformId": "x-1"})
    assert len(answer.connections) == 1
    assert (len(answer.warnings), answer.warnings[-1]) == (51, "and 950 more")


def test_a_body_that_is_not_json_is_quoted_without_what_varies() -> None:
    with pytest.raises(UnreadableError) as first:
        read_connections(b"<html>request 4711\x1b failed at 10:00:01</html>")
    with pytest.raises(UnreadableError) as second:
        read_connections(b"<html>request 4712\x1b failed at 10:00:02</html>")
    assert str(first.value) == str(second.value)
    assert "<html>request # failed at #" in str(first.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        *("platformId", "username", "displayName", "accessTokenExpiresAt", "tokenStatus"),
        *("lastSuccessfulPost", "lastError", "new"),
    ]
)


@given(st.lists(st.dictionaries(fields, anything) | anything, max_size=4))
def test_whatever_is_listed_the_good_connection_is_kept(items: list[Any]) -> None:
    good = {"platformId": "good-1", "username": "good"}
    answer = read(good, *items)
    assert answer.connections[0] == Connection(platform_id="good-1", username="good")
    assert all(complaint.isprintable() for complaint in answer.warnings)
    known = [connection.platform_id for connection in answer.connections]
    assert len(known) == len(set(known))
    assert not answer.unreadable_ids & set(known)


@given(st.binary() | st.text().map(str.encode) | anything.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_body_it_is_read_or_unreadable(body: bytes) -> None:
    try:
        read_connections(body)
    except UnreadableError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 140


def test_the_digest_ignores_countdowns_and_nothing_else() -> None:
    listed = {"platformId": "linkedin-1", "tokenStatus": "valid", "tokenExpiresIn": "7d 3h"}
    first, counted_down, changed = (
        response_digest(json.dumps({"connections": [listed | fields]}).encode())
        for fields in ({}, {"tokenExpiresIn": "5h"}, {"tokenStatus": "expired"})
    )
    assert first == counted_down != changed
