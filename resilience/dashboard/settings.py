"""The ``dashboard:`` section of a configuration file, as a frozen dataclass. Needs no web server to be checked."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError
from ..units import OutOfBounds

__all__ = ["LEAST_TOKEN", "DashboardSettings", "check_place", "only_here"]

LEAST_TOKEN = 16
"""Characters. Five guesses a minute from each address leave nothing to hope for."""
_MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Where the dashboard is served, and what may be done there.

    `port` 0 picks a free one. `host`: another than loopback needs a `token`, of 16 characters or more, which belongs
    into the environment (``${env:RESILIENCE_DASHBOARD_TOKEN}``). `controls`: may circuits be isolated and chaos be
    switched from the page? `store`: an SQLite file that keeps traces over a restart. `allowed_hosts`: further names
    under which browsers reach it, behind a proxy say. Raises `ConfigError`.
    """

    port: int = 8787
    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    controls: bool = False
    store: str | None = None
    most_traces: int = 10_000
    most_spans: int = 200_000
    allowed_hosts: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_place(self.host, self.port, self.token)
        if not isinstance(self.controls, bool):
            raise ConfigError(f"dashboard: controls is {self.controls!r}, must be true or false")
        for name in ("most_traces", "most_spans"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                told = f"dashboard: {name} is {value!r}, must be a whole number of at least 1"
                raise OutOfBounds(told, name, (None, 1, None))
        if isinstance(self.allowed_hosts, str) or not all(isinstance(name, str) for name in self.allowed_hosts):
            raise ConfigError(f"dashboard: allowed_hosts is {self.allowed_hosts!r}, must be a list of names")


def check_place(host: object, port: object, token: object) -> None:
    """Raises `ConfigError` for what is no place, and for one that others reach if there is no token."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        told = f"dashboard: port is {port!r}, must be from 0 (any free one) to 65535"
        raise OutOfBounds(told, "port", (None, 0, 65535))
    if not isinstance(host, str) or not host.strip():
        raise ConfigError(f"dashboard: host is {host!r}, must be an address such as 127.0.0.1")
    if token is not None and (not isinstance(token, str) or not token.strip() or token != token.strip()):
        raise ConfigError("dashboard: the token is empty or has spaces around it; leave it out where none is wanted")
    if isinstance(token, str) and len(token) < LEAST_TOKEN:
        raise ConfigError(f"dashboard: the token has fewer than {LEAST_TOKEN} characters and could be guessed; {_MAKE}")
    if token is None and not only_here(host):
        raise ConfigError(
            f"dashboard: host {host} is not loopback and there is no token: anybody could look in; set one ({_MAKE})"
        )


def only_here(host: str) -> bool:
    """Is this an address or a name that only this machine reaches?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
