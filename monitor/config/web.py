"""The configuration of the web server: its address and its token."""

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, PrivateAttr, SecretStr, ValidationInfo, model_validator

from monitor.config.errors import config_error, expected
from monitor.config.secret import resolve_secret, source_of
from monitor.config.urls import is_host, is_loopback
from monitor.config.values import LoadContext, Section, whole

MIN_TOKEN_LENGTH = 16


def checked_listen(value: object) -> str:
    """Accept a host or address with a port."""
    want = expected("host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free")
    if not isinstance(value, str):
        raise want
    host, separator, port = value.rpartition(":")
    if not separator or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise want
    if host.startswith("[") != (":" in host) or not is_host(host.strip("[]")):
        raise want
    return value


class Web(Section):
    """The web server with the status page, the metrics and the read-only API."""

    misspellings: ClassVar[dict[str, str]] = {"token": "use token_env or token_file"}

    listen: Annotated[str, BeforeValidator(checked_listen)]
    token_env: str | None = None
    token_file: str | None = None
    connection_metrics: bool = True
    connection_metrics_at_most: Annotated[int, whole(1, 1_000_000)] = 2000

    _token: SecretStr | None = PrivateAttr(default=None)

    @property
    def host(self) -> str:
        """The name or address to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 for any that is free."""
        return int(self.listen.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def token(self) -> SecretStr | None:
        """The token that requests must send; None if none is needed."""
        return self._token

    @model_validator(mode="after")
    def _fetch_token(self, info: ValidationInfo) -> Self:
        given = {
            key: value for key in ("token_env", "token_file") if (value := getattr(self, key)) is not None
        }
        if given:
            token = resolve_secret(given, "token", info.context or LoadContext(), direct=False)
            self._token = SecretStr(checked_token(token, source_of(given, "token")))
        elif not self.is_local:
            raise config_error(
                f"{self.listen} is reachable from other machines; want token_file (or token_env) beside it, "
                "or a loopback address such as 127.0.0.1",
                "listen",
            )
        if info.context and not self.is_local:
            info.context.warnings.append(
                "web.listen is reachable from other machines and speaks plain http: put a proxy with TLS in front"
            )
        return self


def checked_token(token: str, at: str) -> str:
    """
    Refuse a token that is short or can't be sent in a header, without showing it.

    Args:
        at: the key of the configuration that it came from.
    """
    if len(token) < MIN_TOKEN_LENGTH or not all("!" <= character <= "~" for character in token):
        raise config_error(
            f"want {MIN_TOKEN_LENGTH} or more ASCII characters without a space, on one line", at
        )
    return token
