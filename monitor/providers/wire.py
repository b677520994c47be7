"""
Read the bodies of answers into values, item by item. One bad connection doesn't affect the others.

Source: PostPost API reference, "Platform Connections"; the shapes of its sister brand's guide are taken too.
"""

import json
import re
from hashlib import blake2b
from typing import Any

from monitor import __version__
from monitor.core.model import Connection, PublishError, TokenStatus
from monitor.core.text import one_line, storable
from monitor.http.errors import normalize_text
from monitor.providers.base import ConnectionList, ConnectionTest, ManagedUser, ReconnectLink, Workspace
from monitor.providers.fields import (
    NAME_LENGTH,
    ParseWarnings,
    UnreadableError,
    is_id,
    is_link,
    json_document,
    json_object,
    one_spelling,
    read_optional_time,
    read_text,
    read_time,
    shown,
)

_STATUS_LENGTH = 64
_STATUS_WORDS = frozenset(status.value for status in TokenStatus)
_COUNTDOWN = re.compile(rb'"tokenExpiresIn"\s*:\s*"[^"]*"')
_ERROR_LENGTH = 1000
_MAX_UNKNOWN_FIELDS = 20
_MAX_PERMISSIONS = 100

_ENVELOPE_FIELDS = frozenset({"success", "connections"})
_CONNECTION_FIELDS = frozenset(
    (
        *("platformId", "username", "displayName", "profileImageUrl", "profileUrl"),
        *("accessTokenExpiresAt", "tokenStatus", "tokenExpiresIn", "lastSuccessfulPost", "lastError"),
    )
)


def read_connections(body: bytes) -> ConnectionList:
    """
    Read the body of ``GET /platform-connections``.

    Args:
        body: JSON, ``{"success": bool, "connections": [{"platformId": …}, …]}``.

    Raises:
        UnreadableError: there is no list of connections in it.
    """
    envelope = json_object(body)
    if envelope.get("success") is False:  # the list may be incomplete
        raise UnreadableError(f"the answer says success: false{_error_words(envelope)}")
    if "connections" not in envelope:
        raise UnreadableError(f"`connections` is missing from the answer{_error_words(envelope)}")
    items = envelope["connections"]
    if not isinstance(items, list):
        raise UnreadableError(f"`connections` should be a list, but is {shown(items)}")
    connections: dict[str, Connection] = {}
    notes = ParseWarnings("connections")
    unknown = envelope.keys() - _ENVELOPE_FIELDS
    for index, item in enumerate(items):
        notes.start_item(index, item, "platformId")
        try:
            connection = _connection(item, notes)
            if connection.platform_id in connections:
                raise UnreadableError("platformId: listed twice; the first one counts")
        except UnreadableError as error:
            notes.skip_item(str(error))
            continue
        connections[connection.platform_id] = connection
        if not item.keys() <= _CONNECTION_FIELDS:
            unknown |= item.keys() - _CONNECTION_FIELDS
    return ConnectionList(
        connections=tuple(connections.values()),
        warnings=notes.warnings,
        unreadable_ids=frozenset(notes.skipped_ids - connections.keys()),
        unknown_fields=frozenset(one_line(name, 64) for name in sorted(unknown)[:_MAX_UNKNOWN_FIELDS]),
    )


def response_digest(body: bytes) -> bytes:
    """
    Return a digest of an answer without its countdowns, which change by themselves.

    It includes the version of the monitor, since another version may read more out of the same body.
    """
    return blake2b(_COUNTDOWN.sub(b"", body), digest_size=16, person=__version__.encode()[:16]).digest()


def read_workspace(body: bytes) -> Workspace:
    """
    Read the body of ``GET /workspace/users``.

    Args:
        body: JSON, ``{"users": [{"_id": …, "username": …}, …]}``, or a bare list with ``id`` and ``email``.

    Raises:
        UnreadableError: there is no list of users in it.
    """
    document = json_document(body)
    if isinstance(document, dict) and document.get("success") is False:
        raise UnreadableError(f"the answer says success: false{_error_words(document)}")
    items = document.get("users") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise UnreadableError(f"`users` should be a list, but is {shown(items)}")
    users: dict[str, ManagedUser] = {}
    notes = ParseWarnings("users")
    for index, item in enumerate(items):
        notes.start_item(index, item, "_id", "id")
        try:
            user = _user(item, notes)
            if user.id in users:
                raise UnreadableError("_id: listed twice; the first one counts")
        except UnreadableError as error:
            notes.skip_item(str(error))
            continue
        users[user.id] = user
    return Workspace(
        users=tuple(users.values()),
        warnings=notes.warnings,
        unreadable_ids=frozenset({one_spelling(each) for each in notes.skipped_ids} - users.keys()),
    )


def read_link(body: bytes) -> ReconnectLink:
    """
    Read the body of ``POST /workspace/users/:id/connection-url``.

    Raises:
        UnreadableError: there is no https link in it, or its expiry is no time.
    """
    document = json_object(body)
    url = document.get("url") or document.get("connectionUrl")
    if not isinstance(url, str) or not is_link(url):
        raise UnreadableError(
            "`url` should be a link, but isn't"
        )  # not shown, because anyone who has it can use it
    expires_at = document.get("tokenExpiresAt") or document.get("expiresAt")
    return ReconnectLink(url=url, expires_at=read_time(expires_at, "tokenExpiresAt"))


def read_connection_test(body: bytes) -> ConnectionTest:
    """
    Read the body of ``POST /test-connection/:platformId``.

    Raises:
        UnreadableError: it doesn't say how the test ended.
    """
    document = json_object(body)
    status, message, permissions = (document.get(name) for name in ("status", "message", "permissions"))
    if status not in ("ok", "error"):
        raise UnreadableError(f"`status` should be ok or error, but is {shown(status)}")
    named = permissions if isinstance(permissions, list) else []
    return ConnectionTest(
        passed=status == "ok",
        message=storable(message, _ERROR_LENGTH) if isinstance(message, str) else "",
        permissions=tuple(
            storable(each, NAME_LENGTH) for each in named[:_MAX_PERMISSIONS] if isinstance(each, str) and each
        ),
    )


def _connection(item: Any, notes: ParseWarnings) -> Connection:
    if not isinstance(item, dict):
        raise UnreadableError(f"expected an object, got {shown(item)}")
    get = item.get
    platform_id = get("platformId")
    if not is_id(platform_id):
        raise UnreadableError(f"platformId: expected an id, got {shown(platform_id)}")
    username, display_name, last_error = get("username"), get("displayName"), get("lastError")
    return Connection(
        platform_id=platform_id,
        username=read_text(username, "username", notes) or "" if username is not None else "",
        display_name=read_text(display_name, "displayName", notes) if display_name is not None else None,
        token_status=_token_status(get("tokenStatus")),
        expires_at=read_time(get("accessTokenExpiresAt"), "accessTokenExpiresAt"),
        last_successful_post_at=read_optional_time(get("lastSuccessfulPost"), "lastSuccessfulPost", notes),
        last_error=_publish_error(last_error, notes) if last_error is not None else None,
    )


def _token_status(given: Any) -> str:
    """Return one of the four statuses in lower case, or any other value as it came: JSON if it isn't text."""
    if isinstance(given, str):
        word = given.lower()
        return word if word in _STATUS_WORDS else storable(given, _STATUS_LENGTH)
    try:
        return storable(json.dumps(given, ensure_ascii=False), _STATUS_LENGTH)
    except (ValueError, RecursionError):  # a number with thousands of digits, or deeply nested lists
        return shown(given)


def _publish_error(given: Any, notes: ParseWarnings) -> PublishError | None:
    """Read ``lastError``: an object with a message and a time, or the bare message."""
    if isinstance(given, str):
        given = {"message": given}
    if not isinstance(given, dict):
        notes.warn(f"lastError: expected an object, got {shown(given)}")
        return None
    message = given.get("message")
    if message is not None and not isinstance(message, str):
        notes.warn(f"lastError.message: expected text, got {shown(message)}")
        message = None
    code = given.get("code")
    if not (message and message.strip()):
        message = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    message = storable(message, _ERROR_LENGTH)
    if not message.strip():
        return None
    occurred_at = read_optional_time(given.get("occurredAt"), "lastError.occurredAt", notes)
    return PublishError(message=message, occurred_at=occurred_at)


def _user(item: Any, notes: ParseWarnings) -> ManagedUser:
    if not isinstance(item, dict):
        raise UnreadableError(f"expected an object, got {shown(item)}")
    user_id = item.get("_id", item.get("id"))
    if not is_id(user_id):
        raise UnreadableError(f"_id: expected an id, got {shown(user_id)}")
    user_id = one_spelling(user_id)
    username = _first_text(item, "username", "email")
    url = item.get("connectionsPageUrl")
    if url is not None and not (isinstance(url, str) and is_link(url)):
        notes.warn("connectionsPageUrl: expected a link")
        url = None
    expires_at = item.get("connectionsPageTokenExpiresAt")
    return ManagedUser(
        id=user_id,
        name=storable(_first_text(item, "displayName") or username or user_id, NAME_LENGTH),
        username=storable(username, NAME_LENGTH) if username else None,
        reconnect_url=url,
        reconnect_url_expires_at=read_optional_time(expires_at, "connectionsPageTokenExpiresAt", notes),
    )


def _first_text(item: dict[str, Any], *names: str) -> str | None:
    return next((text for text in map(item.get, names) if isinstance(text, str) and text.strip()), None)


def _error_words(envelope: dict[str, Any]) -> str:
    words = envelope.get("error") or envelope.get("message")
    return f', which says "{normalize_text(words, 60)}"' if isinstance(words, str) else ""
