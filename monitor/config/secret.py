"""Secrets: where they come from, what is valid, and which parts must be hidden."""

import re
import stat
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import PlainSerializer, SecretStr

from monitor.config.errors import config_error
from monitor.config.files import read_file
from monitor.config.values import HIDDEN, LoadContext

Secret: TypeAlias = Annotated[SecretStr, PlainSerializer(lambda _: HIDDEN)]

MAX_SECRET_BYTES = 64 * 1024
MIN_PART_LENGTH = 6

# Words of ordinary webhook paths. Hiding them would make the monitor's own log unreadable.
_PLAIN_WORDS = frozenset({
    "localhost", "message", "messages", "monitor", "notification", "notify", "postpost", "postpost-monitor",
    "publora", "services", "webhook", "webhooks",
})  # fmt: skip


def resolve_secret(given: dict[str, Any], key: str, context: LoadContext, *, direct: bool = True) -> str:
    """
    Return the secret from one of ``key``, ``key_env`` and ``key_file``, without spaces around it.

    Args:
        direct: whether the configuration itself may contain the secret.
    """
    names = (key, f"{key}_env", f"{key}_file") if direct else (f"{key}_env", f"{key}_file")
    present = [name for name in names if name in given]
    if len(present) != 1:
        found = "found both of" if len(present) == 2 else "found all of" if present else "want one of"
        listed = ", ".join(present or names)
        raise config_error(f"{found} {listed}" + ("; want only one of them" if present else ""))
    name = present[0]
    value = given[name]
    if not isinstance(value, str) or not value.strip():
        raise config_error("want text that isn't empty", name)
    if name.endswith("_env"):
        value = _from_environment(value, name, context)
    elif name.endswith("_file"):
        value = _from_file(value, name, context)
    value = value.strip()
    if not value:
        raise config_error("what it names is empty; want a secret in it", name)
    return value


def source_of(given: dict[str, Any], key: str) -> str:
    """Return the key that ``resolve_secret`` took the secret from."""
    return next(name for name in (f"{key}_env", f"{key}_file", key) if name in given)


def checked_key(key: str, at: str) -> str:
    """
    Refuse an API key that can't be the value of a header, without showing it.

    Args:
        at: the key of the configuration that it came from.
    """
    if not key.isascii():
        raise config_error(
            "the API key contains a character beyond ASCII; copy it again from the dashboard", at
        )
    if not all("!" <= character <= "~" for character in key):
        raise config_error("the API key contains a space or line break; want the bare key, on one line", at)
    return key


def checked_channel(url: str, at: str) -> str:
    """Refuse what can't be an Apprise URL. ``channels`` checks whether Apprise knows the service."""
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise config_error("want an Apprise URL such as mailto://… or slack://…", at)
    if not url.isprintable():
        raise config_error("the URL contains a line break or control character; want one URL", at)
    return url


def checked_ping(url: str, at: str) -> str:
    """Refuse what can't be the address of a heartbeat, without showing it."""
    try:
        parsed = urlsplit(url)
        is_usable = parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not re.fullmatch("[!-~]+", url) or "#" in url or "@" in url:
        raise config_error("want the address to ping: https://host/…", at)
    return url


def parts(url: str) -> Iterator[str]:
    """
    Return the secret parts of a channel's URL: users, passwords, path segments, values of the query.

    Some services have a token in place of the host. A host with a dot counts as a host.
    """
    head, _, query = url.partition("://")[2].partition("?")
    authority, _, way = head.partition("/")
    user, _, host = authority.rpartition("@")
    host, _, port = host.partition(":")
    found = [*user.split(":", 1), port, *way.split("/")]
    if "." not in host:
        found.append(host)
    found += [pair.partition("=")[2] for pair in query.split("&")]
    for part in found:
        if "{managed_user." in part:
            continue  # a placeholder
        for written in {part, unquote(part)}:
            if len(written) >= MIN_PART_LENGTH and written[0] != "#" and written.lower() not in _PLAIN_WORDS:
                yield written


def _from_environment(variable: str, at: str, context: LoadContext) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise config_error("want the name of an environment variable, not the secret itself", at)
    if variable not in context.environ:
        # Shown only if it looks like the name of a variable, because it may be the secret itself.
        shown = variable if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", variable) else "that it names"
        raise config_error(f"the environment variable {shown} is not set", at)
    return context.environ[variable]


def _from_file(name: str, at: str, context: LoadContext) -> str:
    path = context.folder / name
    try:
        body, mode = read_file(path, max_bytes=MAX_SECRET_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file's name"
        raise config_error(f"the file can't be read: {reason}", at) from None
    # systemd's copies show the bits of an access list, although no other user can enter their directory.
    if not path.is_relative_to(context.environ.get("CREDENTIALS_DIRECTORY") or path / "none"):
        if mode & stat.S_IROTH:
            context.warnings.append(f"{at}: everyone on this machine can read the file; run chmod 600 on it")
        elif mode & stat.S_IRGRP:
            context.notes.append(f"{at}: the file's group can read it; chmod 600 is safer")
    if len(body) > MAX_SECRET_BYTES:
        raise config_error("the file is larger than 64 KiB; want only the secret in it", at)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise config_error("the file isn't UTF-8; want only the secret in it", at) from None
