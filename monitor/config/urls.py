"""The addresses of the API and of the history database."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic_core import PydanticCustomError

from monitor.config.errors import config_error, expected
from monitor.config.values import HIDDEN

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_POSTGRESQL = "postgresql+psycopg"
_DATABASE_PASSWORD = re.compile(r"(?<=://)([^:/@]*:)([^@]*)(?=@)")
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)([^&]*)")


def checked_base_url(value: object) -> str:
    """Refuse addresses that must not get a key: plain HTTP beyond this machine, or not a base URL."""
    if not isinstance(value, str):
        raise _expected_base_url()
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise _expected_base_url() from None
    if url.scheme not in {"https", "http"} or not is_host(url.hostname) or port == 0:
        raise _expected_base_url()
    if set(value) & set("@?#\\") or not value.isascii() or not value.isprintable() or " " in value:
        raise _expected_base_url()
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise expected(
            "https://…; plain http is for loopback only, because it sends the API key in the clear"
        )
    return value.rstrip("/")


def checked_database(url: str, at: str, folder: Path = Path()) -> str:
    """
    Return a database's URL in SQLAlchemy's form.

    Args:
        at: the key of the configuration that it came from.
        folder: the folder for a relative name of a SQLite file.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not url.isprintable() or " " in url:
        raise _expected_database(at)
    if scheme == "sqlite":
        file = rest.partition("?")[0].removeprefix("/")
        if not rest.startswith("/") or file in {"", ":memory:"}:
            raise config_error("want sqlite:////path/of/the/file.db: a history needs a file", at)
        name, separator, query = rest.removeprefix("/").partition("?")
        return f"sqlite:///{folder / name}{separator}{query}"
    if scheme not in {"postgres", "postgresql", _POSTGRESQL}:
        raise _expected_database(at)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise _expected_database(at) from None
    return f"{_POSTGRESQL}://{rest}"


def without_password(url: str) -> str:
    """Return a database's URL without its password."""
    return _QUERY_PASSWORD.sub(rf"\1{HIDDEN}", _DATABASE_PASSWORD.sub(rf"\1{HIDDEN}", url))


def database_passwords(url: str) -> set[str]:
    """Return the password of a database's URL, encoded and decoded."""
    written = [match[2] for match in (*_DATABASE_PASSWORD.finditer(url), *_QUERY_PASSWORD.finditer(url))]
    return {form for password in written for form in (password, unquote(password)) if form}


def sqlite_url(path: str) -> str:
    """Return the URL of a SQLite file. SQLAlchemy takes everything except ``?`` as it is."""
    return "sqlite:///" + path.replace("?", quote("?"))


def _expected_base_url() -> PydanticCustomError:
    return expected("https://host without user, query and fragment")


def _expected_database(at: str) -> PydanticCustomError:
    return config_error("want sqlite:////path/of/the/file.db or postgresql://user@host/name", at)


def is_host(host: str | None) -> bool:
    """Return whether a text can be the name or the address of a host."""
    return bool(host) and (_HOST.fullmatch(host or "") is not None or _address(host) is not None)


def is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str | None) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host or "")
    except ValueError:
        return None
