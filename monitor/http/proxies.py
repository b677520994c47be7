"""Proxies and the CA bundle, read from the environment once."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from monitor.errors import ConfigError

_BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


class SharedContext(ssl.SSLContext):
    """
    A TLS context for all connections. Building one and loading the CA bundle costs 20 ms of CPU.

    The HTTP library sets the protocols for each connection, while another thread's handshake may be copying
    them. Here they are set once.
    """

    def set_alpn_protocols(self, alpn_protocols: object) -> None:
        """Do nothing: the protocols are set already."""


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """
    Build the TLS context with verification, against the operator's CA bundle if one is named.

    Raises:
        ConfigError: the bundle is missing or holds no certificate.
    """
    context = SharedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    ssl.SSLContext.set_alpn_protocols(context, ["http/1.1"])
    name = next((name for name in _BUNDLES if environ.get(name)), None)
    bundle = Path(environ[name] if name else certifi.where())
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except OSError as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "no certificate in it"
        raise ConfigError(
            f"{name or 'the CA bundle'}: {bundle}: {reason}; name a file of CA certificates in PEM format"
        ) from None
    return context


class Proxies:
    """
    The proxies for URLs.

    Raises:
        ConfigError: a proxy's URL can't be used. The message hides it, because it may contain a password.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._by_scheme = {
            scheme: _proxy_url(environ, f"{scheme}_proxy") or _proxy_url(environ, "all_proxy")
            for scheme in ("http", "https")
        }
        exempt = _either_case(environ, "no_proxy").replace(",", " ").lower().split()
        self._exempt = [entry.lstrip("*").lstrip(".") if entry != "*" else entry for entry in exempt]

    def __call__(self, url: str) -> str | None:
        """Return the proxy for ``url``; None to connect directly."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        if any(_is_exempt(host, parts.port, entry) for entry in self._exempt):
            return None
        return self._by_scheme.get(parts.scheme)


def _is_exempt(host: str, port: int | None, entry: str) -> bool:
    """Return whether an entry of ``NO_PROXY`` matches this host: ``*``, a domain, ``host:port``, a network."""
    if entry == "*" or entry in {host, f"{host}:{port}"} or host.endswith(f".{entry}"):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _proxy_url(environ: Mapping[str, str], name: str) -> str | None:
    given = _either_case(environ, name).strip()
    if not given:
        return None
    url = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch("[!-~]+", url):
        raise ConfigError(f"{name.upper()}: not the URL of an HTTP proxy; write http://host:port")
    return url


def _either_case(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""
