"""aiohttp's session, set so that it does nothing behind our back: no second send, no redirects, no cookies, no proxy
from the environment, no unpacking, no time limit of its own but the one for connecting.
"""

from __future__ import annotations

import ssl

import aiohttp

from resilience.errors import ConfigError

from .body import ACCEPTED
from .dns import Resolver
from .journey import trace_config
from .settings import RestSettings
from .wire import Connector, Ledger, Request

__all__ = ["check_aiohttp", "make_session"]


def make_session(
    settings: RestSettings, context: ssl.SSLContext, resolver: Resolver, ledger: Ledger
) -> aiohttp.ClientSession:
    """A session whose connections are entered in `ledger`."""
    connector = Connector(
        ledger,
        ssl=context,
        resolver=resolver,
        limit=settings.limit,
        limit_per_host=settings.limit_per_host,
        ttl_dns_cache=settings.dns_ttl,
        keepalive_timeout=settings.keepalive,
        force_close=False,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=Request,
        trace_configs=[trace_config()],
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout),
        headers={"Accept-Encoding": ACCEPTED, "User-Agent": "exchange-resilience"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=8190,
        max_field_size=8190,
        max_headers=128,
    )
    # Private, and the only way: aiohttp sends GET, HEAD, OPTIONS, TRACE, PUT and DELETE again when the connection
    # dies before the answer, and no trace signal tells (https://github.com/aio-libs/aiohttp/issues/10790).
    session._retry_connection = False
    return session


def check_aiohttp() -> None:
    """Refuse an aiohttp that has lost one of the private names on which promises rest. Raises `ConfigError`."""
    names = {
        "ClientSession._retry_connection": "_retry_connection" in aiohttp.ClientSession.ATTRS,
        "TCPConnector._get": hasattr(aiohttp.TCPConnector, "_get"),
        "TCPConnector._factory": "_factory" in aiohttp.BaseConnector.__init__.__code__.co_names,
    }
    lost = [name for name, there in names.items() if not there]
    if lost:
        raise ConfigError(f"aiohttp {aiohttp.__version__} has no {', '.join(lost)}; install aiohttp 3.14")
