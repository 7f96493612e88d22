"""What a request may look like before it leaves, what of its address may be shown, and how long a connection is good.

Checked here although aiohttp checks some of it: its errors repeat what they refuse, and what they refuse can be signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

from .failures import refuse
from .settings import is_loopback

__all__ = ["check", "parse", "promised", "redacted"]

_METHOD = re.compile(r"[A-Z]+", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_KEEP_ALIVE = re.compile(r"timeout\s*=\s*(\d{1,9})", re.ASCII | re.IGNORECASE)


def parse(url: str) -> URL | None:
    """The address as it stands, nothing re-quoted; None if it is none, or one that could split a request."""
    if _CONTROL.search(url) or " " in url:
        return None
    try:
        target = URL(url, encoded=True)
        if target.host and target.port and target.user is None and target.password is None:
            return target
    except ValueError:
        pass
    return None


def check(method: str, target: URL, headers: Mapping[str, str] | None) -> None:
    """Refuse what must not be sent: other schemes, plain HTTP beyond this machine, and what could split a request."""
    if not _METHOD.fullmatch(method):
        raise refuse("the HTTP method must be capital letters")
    host = str(target.host)
    if target.scheme != "https" and not (target.scheme == "http" and is_loopback(host)):
        raise refuse(f"{host}: only https is spoken, and http on loopback; check base_url")
    for name, value in (headers or {}).items():
        if not _HEADER_NAME.fullmatch(name):
            raise refuse(f"{host}: a header's name holds a character that HTTP does not allow")
        if _CONTROL.search(value):
            raise refuse(f"{host}: the value of header {name} holds a line break or another control character")


def redacted(target: URL, safe: frozenset[str]) -> str:
    """The address without fragment, and with the allowed values of its query only: what is not listed stays hidden."""
    plain = f"{target.scheme}://{target.raw_authority}{target.raw_path}"
    query = target.raw_query_string
    if not query:
        return plain
    pairs = (pair.partition("=") for pair in query.split("&"))
    return plain + "?" + "&".join(f"{key}={value if key in safe else 'REDACTED'}" for key, _, value in pairs)


def promised(keep_alive: str) -> float | None:
    """Seconds for which the server's ``Keep-Alive: timeout=N`` lets a connection idle, less a margin for the way."""
    match = _KEEP_ALIVE.search(keep_alive)
    if match is None:
        return None
    seconds = float(match[1])
    return max(0.0, seconds - 1.0, seconds * 0.5)
