"""How each fault looks on the wire.

A reset is SO_LINGER with a linger of zero and then an abort: the kernel answers with RST instead of FIN, and what it
had not sent yet is lost.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable, Mapping
from http import HTTPStatus

from .faults import FaultRule
from .replies import Reply, envelope

__all__ = ["REPLACED", "broken_off", "compressed", "limit_headers", "reset", "too_frequent"]

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_MOST_BROKEN_OFF = 64 << 10  # fits into the socket's buffer, so that it has left before the connection breaks


def reset(transport: asyncio.Transport) -> None:
    """Break the connection with RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def broken_off(reply: Reply) -> bytes:
    """The head of `reply` with its true Content-Length, and half of its body."""
    lines = [f"HTTP/1.1 {reply.status} "]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines += [f"Content-Length: {len(reply.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + reply.body[: min(len(reply.body) // 2, _MOST_BROKEN_OFF)]


def compressed(reply: Reply, *, cut: bool = False) -> Reply:
    """`reply` with a gzip body; `cut`: only the first half of it, under a Content-Length that says no more."""
    body = gzip.compress(reply.body, 1, mtime=0)
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return Reply(reply.status, body[: len(body) // 2] if cut else body, headers)


def limit_headers(quota: int, left: int, reset_ms: int) -> dict[str, str]:
    """Bybit's three headers; `reset_ms` is simply now unless the quota is used up."""
    return {
        "X-Bapi-Limit": str(quota),
        "X-Bapi-Limit-Status": str(left),
        "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
    }


def too_frequent() -> Reply:
    """The answer to whom is banned. Its body was never recorded; only the phrase is documented."""
    return _page(403, "access too frequent")


def _page(status: int, text: str = "", headers: Mapping[str, str] | None = None) -> Reply:
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{text or title}</h1></body>\r\n</html>\r\n"
    return Reply(status, page.encode(), {**_HTML, **(headers or {})})


def _overloaded(rule: FaultRule, now_ms: int) -> Reply:
    return _page(429, headers={} if rule.retry_after is None else {"Retry-After": rule.retry_after})


def _too_many_visits(rule: FaultRule, now_ms: int) -> Reply:
    reply = _code(10006, "Too many visits", now_ms)
    headers = limit_headers(10, 0, now_ms + round(rule.seconds * 1000))
    return Reply(200, reply.body, {**reply.headers, **headers})


def _code(code: int, text: str, now_ms: int) -> Reply:
    return Reply(200, envelope({}, now_ms, code, text))


REPLACED: Mapping[str, Callable[[FaultRule, int], Reply]] = {
    "html_500": lambda rule, now: _page(500),
    "html_502": lambda rule, now: _page(502),
    "html_503": lambda rule, now: _page(503),
    "http_429": _overloaded,
    "http_403": lambda rule, now: too_frequent(),
    "ret_10006": _too_many_visits,
    "ret_10016": lambda rule, now: _code(10016, "Server error", now),
    "ret_10000": lambda rule, now: _code(10000, "Server Timeout", now),
    "invalid_json": lambda rule, now: Reply(200, b'{"retCode":0,"retMsg":"OK","result":{"list":[{"symbol":}]'),
    "html_200": lambda rule, now: _page(200, "Checking your browser before you proceed"),
    "empty_200": lambda rule, now: Reply(200, b""),
}
"""The faults that put another reply in the place of the true one: (rule, now in ms) -> reply."""
