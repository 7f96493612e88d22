"""What can be set about the HTTP transport, and which addresses it may talk to.

No aiohttp here, so that checking a configuration stays quick. TLS verification has no switch: `ca_file` can replace
whom we trust, nothing can turn the question off.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from resilience.errors import ConfigError
from resilience.units import Seconds, check

__all__ = ["BASE_URL", "RestSettings", "check_base_url", "is_loopback"]

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
BASE_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f\\?#/:][^\x00-\x20\x7f\\?#]*$"
"""What an address looks like, for editors; `check_base_url` knows more."""


@dataclass(frozen=True, slots=True)
class RestSettings:
    """One persistent HTTP session.

    `limit` connections in all and `limit_per_host` to one host at once; a request beyond that waits. `dns_ttl`: seconds
    that an address is believed. `keepalive`: seconds after which an idle connection is ours to drop; keep it below the
    server's own, so that we never write into a connection that is just being closed (a ``Keep-Alive: timeout=`` that
    the server announces is obeyed as well). `connect_timeout`: seconds for looking up the name, and again for TCP and
    TLS together. No other time limit lives here: a timeout policy owns the time of an attempt.

    `max_body`: bytes of a body, as received and as decoded. `max_ratio`: decoded bytes per received byte, above the
    first MiB. `ca_file`: a PEM file with the authorities to trust *instead of* the system's. Raises `ConfigError`.
    """

    limit: int = 100
    limit_per_host: int = 30
    dns_ttl: Seconds = 300.0
    keepalive: Seconds = 30.0
    connect_timeout: Seconds = 10.0
    max_body: int = 8 * 1024 * 1024
    max_ratio: float = 200.0
    ca_file: str | None = None

    def __post_init__(self) -> None:
        check("RestSettings", "limit", self.limit, least=1, whole=True)
        check("RestSettings", "limit_per_host", self.limit_per_host, least=1, whole=True)
        check("RestSettings", "dns_ttl", self.dns_ttl, least=0)
        check("RestSettings", "keepalive", self.keepalive, above=0)
        check("RestSettings", "connect_timeout", self.connect_timeout, above=0)
        check("RestSettings", "max_body", self.max_body, least=1024, whole=True)
        check("RestSettings", "max_ratio", self.max_ratio, least=1)
        if self.ca_file is not None and not os.path.isfile(self.ca_file):
            raise ConfigError(f"RestSettings: ca_file {self.ca_file!r} is no file; give a PEM file of certificates")


def check_base_url(url: str) -> str:
    """The address without a trailing slash. Raises `ConfigError` unless it is ``https``, or ``http`` on loopback.

    A user name, a query and a fragment are refused: they would end up in logs, and a path is all that may follow.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("base_url is no address; write https://HOST or http://127.0.0.1:PORT") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("base_url holds a user name or a password; leave them out and set credentials instead")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigError(f"base_url for {host}: a query or a fragment cannot follow; write https://HOST")
    if _CONTROL.search(url) or not host or port == 0:
        raise ConfigError(f"base_url {url!r} is no address; write https://HOST or http://127.0.0.1:PORT")
    if parts.scheme not in ("https", "http"):
        raise ConfigError(f"base_url {url!r}: {parts.scheme or 'no scheme'} is not spoken here; write https://HOST")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(f"base_url {url!r}: http is allowed on loopback only; write https://{host}")
    return url.rstrip("/")


@functools.lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether the host is this machine: 127.0.0.0/8, ::1, or the name localhost."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
