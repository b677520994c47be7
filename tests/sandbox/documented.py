"""The answers of the API as its documents describe them, field by field: a schema that takes nothing else."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Url = Annotated[str, Field(pattern=r"^https://[!-~]+$")]
PlatformId = Annotated[str, Field(pattern=r"^[a-z]+-[^\s/?#]+$")]
UserId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
TimeLeft = Annotated[str, Field(pattern=r"^(\d+d \d+h|\d+h|< 1h|expired)$")]


class Documented(BaseModel):
    """An object with the documented fields and no other."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class LastError(Documented):
    """What a platform said last; the OpenAPI file has bare text instead."""

    message: str
    occurred_at: Time


class ListedConnection(Documented):
    """One item of ``GET /platform-connections``."""

    platform_id: PlatformId
    username: str | None
    display_name: str | None
    profile_image_url: Url | None
    profile_url: Url | None
    access_token_expires_at: Time | None
    token_status: Literal["valid", "expiring_soon", "expired", "unknown"]
    token_expires_in: TimeLeft | None
    last_successful_post: Time | None
    last_error: LastError | str | None


class ConnectionList(Documented):
    """The answer of ``GET /platform-connections``."""

    success: Literal[True]
    connections: list[ListedConnection]


class TestAnswer(Documented):
    """The answer of ``POST /test-connection``."""

    __test__ = False

    platform: Annotated[str, Field(pattern=r"^[a-z]+$")]
    platform_id: PlatformId
    username: str | None
    status: Literal["ok", "error"]
    message: str
    permissions: list[str]
    token_expires_in: TimeLeft | None
    last_successful_post: Time | None
    last_error: LastError | str | None


class WorkspaceUser(Documented):
    """A managed user as ``GET /workspace/users`` lists it."""

    id: Annotated[UserId, Field(alias="_id")]
    username: str
    display_name: str | None
    role: Literal["managed"]
    daily_posts_left: int
    connections_page_url: Url | None
    connections_page_token_expires_at: Time | None


class WorkspaceUsers(Documented):
    """The answer of ``GET /workspace/users``."""

    users: list[WorkspaceUser]


class ConnectionUrl(Documented):
    """The answer of ``POST /workspace/users/:id/connection-url``."""

    url: Url
    token_expires_at: Time


class ErrorAnswer(Documented):
    """Any refusal; ``retry_after`` comes with a 429 alone."""

    error: Annotated[str, Field(min_length=1)]
    retry_after: int | None = None
