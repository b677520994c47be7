"""Values for tests: ordinary ones, with what matters to the test overridden."""

from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.core.model import (
    Connection,
    ConnectionState,
    Failure,
    FailureScope,
    Outcome,
    PublishError,
    RuleName,
    Snapshot,
    Target,
    TargetState,
)

NOW = datetime(2026, 2, 22, 20, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def _with(given: dict[str, Any], ordinary: dict[str, Any]) -> dict[str, Any]:
    return ordinary | given


def target(**given: Any) -> Target:
    return Target(**_with(given, {"id": 1, "account": "agency"}))


def connection(**given: Any) -> Connection:
    """A LinkedIn connection whose token is good for sixty days."""
    return Connection(
        **_with(
            given,
            {
                "platform_id": "linkedin-Tz9W5i6ZYG",
                "username": "johndoe",
                "display_name": "John Doe",
                "token_status": "valid",
                "expires_at": NOW + 60 * DAY,
            },
        )
    )


def known(seen: Connection | None = None, **given: Any) -> ConnectionState:
    return ConnectionState(
        **_with(given, {"id": 1, "connection": seen or connection(), "first_seen_at": NOW})
    )


def error(message: str = "Media upload failed: Invalid image format", **given: Any) -> PublishError:
    return PublishError(**_with(given, {"message": message, "occurred_at": NOW - HOUR}))


def snapshot(*connections: Connection, **given: Any) -> Snapshot:
    return Snapshot(**_with(given, {"target": target(), "taken_at": NOW, "connections": connections}))


def failure(outcome: Outcome = Outcome.SERVER_ERROR, **given: Any) -> Failure:
    rules = {
        Outcome.UNAUTHORIZED: RuleName.API_KEY_REJECTED,
        Outcome.FORBIDDEN: RuleName.ACCESS_DENIED,
        Outcome.BAD_REQUEST: RuleName.ACCESS_DENIED,
        Outcome.BAD_ANSWER: RuleName.BAD_ANSWER,
    }
    return Failure(
        **_with(
            given,
            {
                "outcome": outcome,
                "rule": rules.get(outcome, RuleName.API_UNREACHABLE),
                "error": f"the API is returning errors: {outcome}",
                "remedy": "wait",
                "scope": FailureScope.KEY if outcome is Outcome.UNAUTHORIZED else FailureScope.UNCLEAR,
            },
        )
    )


def state(*connections: ConnectionState, **given: Any) -> TargetState:
    return TargetState(
        **_with(
            given,
            {
                "target": target(),
                "taken_at": NOW - HOUR,
                "last_ok_at": NOW - HOUR,
                "connections": {each.connection.platform_id: each for each in connections},
            },
        )
    )
