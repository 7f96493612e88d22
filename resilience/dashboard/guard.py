"""Who may ask what: Host, Origin, token and cookie, and the headers of every reply.

A page on the internet can make a browser ask this server (cross-site requests), and can make the browser believe that
the page itself lies here (DNS rebinding). So the Host must be ours, the Origin of what changes or streams must be the
Host's, and everything beside the page's own code needs the token where one is set.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from .settings import only_here

__all__ = ["HEADERS", "Guard"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "resilience",
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FAILURES = 5  # wrong tokens from one address ...
_FORGIVEN = 60.0  # ... until so many seconds have passed without another guess being heard
_MOST_ADDRESSES = 1_000
_OPEN = ("/login", "/static/")


class Guard:
    """The rules for one server. `host` is what it is bound to; `token` None where it needs none."""

    def __init__(self, host: str, token: str | None = None, allowed_hosts: Collection[str] = ()) -> None:
        self._everywhere = not only_here(host)
        self._hosts = {name.lower() for name in (*_LOOPBACK, host.strip("[]"), *allowed_hosts)}
        self._token = None if token is None else token.encode()
        self._session = secrets.token_urlsafe(32)
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.csrf = secrets.token_urlsafe(32)
        self.cookie = "resilience"

    @property
    def closed(self) -> bool:
        """Is a token needed?"""
        return self._token is not None

    def check(self, request: web.Request) -> None:
        """Let it pass, or raise the reply that it gets instead."""
        self._check_host(request)
        if request.method not in ("GET", "HEAD", "POST"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD", "POST"))
        self._check_origin(request)
        if self._token is not None and not any(_lies_in(request.path, place) for place in _OPEN):
            self._check_token(request)

    def _check_host(self, request: web.Request) -> None:
        given = request.headers.getall("Host", [])
        name = _host_of(given[0]) if len(given) == 1 else ""
        if name in self._hosts or (self._everywhere and _is_address(name)):  # nobody can rebind a bare address
            return
        raise web.HTTPMisdirectedRequest(text="this Host is not served here; see allowed_hosts")

    def _check_origin(self, request: web.Request) -> None:
        """What comes from another site's page gets nothing, but for a link that leads here."""
        origin, fetch = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["Host"].lower():
            raise web.HTTPForbidden(text="this Origin is another site's")
        linked = request.method != "POST" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if fetch not in (None, "same-origin", "none") and not linked:
            raise web.HTTPForbidden(text="asked from another site's page")

    # -- the token --------------------------------------------------------------------------------------------

    def _check_token(self, request: web.Request) -> None:
        if _same(request.cookies.get(self.cookie, ""), self._session):
            return
        scheme, _, word = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.accept(request.remote or "", word.strip()):
            return
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(text="the token is needed", headers={"WWW-Authenticate": "Bearer"})

    def accept(self, address: str, word: str) -> bool:
        """Is this the token? Raises 429 for an address that has guessed too often of late, right or wrong."""
        now = time.monotonic()
        count, since = self._failures.get(address, (0, now))
        if now - since >= _FORGIVEN:
            count = 0
        if count >= _FAILURES:
            headers = {"Retry-After": str(int(_FORGIVEN - (now - since)) + 1)}
            raise web.HTTPTooManyRequests(text="too many wrong tokens; wait a minute", headers=headers)
        if self._token is not None and hmac.compare_digest(word.encode("utf-8", "surrogateescape"), self._token):
            self._failures.pop(address, None)
            return True
        self._failures[address] = count + 1, now
        self._failures.move_to_end(address)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def admit(self, reply: web.StreamResponse) -> None:
        """Give the browser its cookie: not the token, and worth nothing after a restart."""
        reply.set_cookie(self.cookie, self._session, httponly=True, samesite="Strict", path="/")

    def knows(self, csrf: str) -> bool:
        """Is this the word that only our own page could read?"""
        return _same(csrf, self.csrf)


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


def _lies_in(path: str, place: str) -> bool:
    return path.startswith(place) if place.endswith("/") else path == place


def _host_of(text: str) -> str:
    """The name in ``name:port`` or ``[::1]:port``, in lower case; "" for what is neither."""
    try:
        parts = urlsplit(f"//{text}")
        parts.port  # noqa: B018 (raises for what is no port)
        if "@" in text or parts.path or parts.query or parts.fragment:
            return ""
        return (parts.hostname or "").lower().removesuffix(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
