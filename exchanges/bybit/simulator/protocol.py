"""One connection to the simulator: aiohttp's HTTP parser with an eye on the raw bytes.

A request is noticed when its first bytes arrive, before the parser has them: that is the one place where a connection
can be reset *before* the request is read, and still tell whose request it was.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

from aiohttp import web

from .faults import FaultRule
from .records import RequestRecord

__all__ = ["Arrival", "Connection", "ConnectionServer", "Head", "Host", "split_target"]

_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\r\n")
_REQUEST_ID = re.compile(rb"\r\ncdn-request-id:[ \t]*([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's first bytes say about it."""

    method: str
    target: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that has arrived, and the rule that is to strike it."""

    record: RequestRecord
    rule: FaultRule | None


class Host(Protocol):
    """Who runs the connections."""

    def connected(self, connection: Connection, transport: asyncio.Transport, /) -> None:
        """A connection was accepted."""

    def disconnected(self, connection: Connection, /) -> None:
        """A connection is gone."""

    def arrived(self, connection: Connection, transport: asyncio.Transport, head: Head, /) -> Arrival | None:
        """Note a request. None: the connection was broken off, the request is not to be read."""


class Connection(web.RequestHandler):
    """`number` counts connections from 1, `requests` what arrived on this one; `made_at` is the loop's time."""

    __slots__ = ("_host", "arrival", "made_at", "number", "requests")

    def __init__(self, manager: web.Server, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        # No access log; compressed request bodies stay as they are (a small one can unfold to gigabytes).
        super().__init__(manager, loop=loop, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
        self._host = host
        self.arrival: Arrival | None = None
        self.made_at = loop.time()
        self.number = 0
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._host.connected(self, cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._host.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self.arrival is None and self.transport is not None:
            head = _peek(data)
            if head is not None:
                self.arrival = self._host.arrived(self, self.transport, head)
                if self.arrival is None:
                    return
        super().data_received(data)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """As aiohttp does, but a client's malformed request leaves no traceback on stderr."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        response = web.Response(status=status, text="400 Bad Request")
        response.force_close()
        return response


class ConnectionServer(web.Server):
    """Makes a `Connection` for every accepted socket; a handler is cancelled when its client goes."""

    def __init__(self, handler: Any, host: Host) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._host = host

    def __call__(self) -> Connection:
        return Connection(self, self._host, self._loop)


def split_target(target: str) -> tuple[str, Mapping[str, str]]:
    """Path and query of a request target; of a parameter that comes twice the first is taken."""
    # aiohttp passes bytes that are no UTF-8 on as lone surrogates, which no reply could repeat.
    path, _, text = target.encode("utf-8", "replace").decode("utf-8").partition("?")
    query: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(name, value)
    return path, query


def _peek(data: bytes) -> Head | None:
    """The head of a request, if all of it is in `data`; a slower one is noticed when the parser has read it."""
    line = _REQUEST_LINE.match(data)
    end = data.find(b"\r\n\r\n")
    if line is None or end < 0:
        return None
    found = _REQUEST_ID.search(data, 0, end)
    request_id = found[1].strip().decode("latin-1") if found else None
    return Head(line[1].decode(), line[2].decode(), request_id)
