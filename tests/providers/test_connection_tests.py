"""Answers to active tests: what is read of them, and what is not."""

import json
from typing import Any

import pytest

from monitor.providers.base import ConnectionTest
from monitor.providers.fields import UnreadableError
from monitor.providers.wire import read_connection_test


def trial(**given: Any) -> ConnectionTest:
    return read_connection_test(json.dumps({"status": "ok", "message": "Connected as ann", **given}).encode())


def test_a_whole_answer_is_read() -> None:
    assert trial(permissions=["read", "write"]) == ConnectionTest(
        passed=True, message="Connected as ann", permissions=("read", "write")
    )


@pytest.mark.parametrize("status", ["error", "ok"])
def test_the_status_alone_is_enough(status: str) -> None:
    assert read_connection_test(json.dumps({"status": status}).encode()) == ConnectionTest(
        passed=status == "ok", message=""
    )


@pytest.mark.parametrize(
    ("permissions", "kept"),
    [
        (None, ()),
        ("read", ()),
        ({"read": True}, ()),
        (["read", 7, None, "", ["write"]], ("read",)),
        (["a\x00b"], ("ab",)),
        ([str(n) for n in range(1000)], tuple(str(n) for n in range(100))),
    ],
)
def test_permissions_of_another_shape_cost_nothing(permissions: object, kept: tuple[str, ...]) -> None:
    assert trial(permissions=permissions).permissions == kept


def test_a_permission_that_goes_on_and_on_is_cut() -> None:
    [permission] = trial(permissions=["x" * 10_000]).permissions
    assert len(permission) < 1000


@pytest.mark.parametrize("body", [b"", b"[]", b'{"status": "maybe"}', b'{"message": "ok"}', b"<html>"])
def test_an_answer_that_does_not_say_how_it_ended_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_connection_test(body)
