"""The connections: aiohttp's own classes, taught the three things that they do not tell or do.

- A `Wire` counts what arrives, so that "reset before any byte of an answer" is known and not guessed; bytes that nobody
  asked for close the connection, because the next request would take them for its answer (response desync).
- A `Request` looks at a reused connection before it writes into it: one that the server has closed, or will close any
  moment, is thrown away while nothing was sent, and the next one is taken.
- A `Connector` gives a new connection to a request that must not ride on a used one, within the same limits.

Two private names of aiohttp are used here (`TCPConnector._factory` and `._get`) and one in `rest`
(`ClientSession._retry_connection`); `rest` refuses to start where one of them is missing, and a test guards each.
"""

from __future__ import annotations

import asyncio
import functools
import select
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace

from .journey import Journey, current

__all__ = ["Connector", "Ledger", "Request", "Unusable", "Wire"]

_TAIL = 64
_MOST_SERVERS = 200  # whose requests are counted; those without any make room
Server = tuple[str, int]
"""A host and a port."""


class Unusable(Exception):
    """The connection must not carry this request. Nothing was sent; take another one."""


class Ledger:
    """The open connections of one session, how many there ever were, and the requests under way."""

    __slots__ = ("discarded", "empty", "live", "opened", "requests")

    def __init__(self) -> None:
        self.requests: dict[Server, int] = {}  # under way, to each server that was asked so far
        self.live: set[Wire] = set()
        self.opened = 0
        self.discarded = 0
        self.empty = asyncio.Event()
        self.empty.set()

    def idle(self) -> int:
        return sum(wire.journey is None and wire.is_connected() for wire in self.live)

    def began(self, server: Server) -> None:
        """One more request to this server."""
        requests = self.requests
        if server not in requests and len(requests) >= _MOST_SERVERS:
            for idle in [one for one, count in requests.items() if not count]:
                del requests[idle]
        requests[server] = requests.get(server, 0) + 1

    def ended(self, server: Server) -> None:
        self.requests[server] -= 1

    def servers(self) -> dict[str, dict[str, int]]:
        """By ``host:port``: requests under way, and connections ``active`` or ``idle``, of each server asked so far."""
        rows = {server: {"requests": count, "active": 0, "idle": 0} for server, count in self.requests.items()}
        for wire in self.live:
            if wire.is_connected():
                row = rows.setdefault(wire.server, {"requests": 0, "active": 0, "idle": 0})
                row["idle" if wire.journey is None else "active"] += 1
        return {f"[{host}]:{port}" if ":" in host else f"{host}:{port}": row for (host, port), row in rows.items()}


class Wire(ResponseHandler):
    """One connection.

    `journey` is the request that holds it, None while it is idle. `first_byte`: when its answer began, on the loop's
    clock. `garbled`: what arrived was not HTTP. `content` is the body that is being read. `server`: whom it was
    opened to.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ledger: Ledger, server: Server) -> None:
        super().__init__(loop)
        self.server = server
        self.journey: Journey | None = None
        self.first_byte: float | None = None
        self.garbled = False
        self.content: aiohttp.StreamReader | None = None
        self._ledger = ledger
        self._uses = 0
        self._end = b""
        self._good_until = float("inf")
        self._link: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._link = transport
        ledger = self._ledger
        ledger.opened += 1
        ledger.live.add(self)
        ledger.empty.clear()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        ledger = self._ledger
        ledger.live.discard(self)
        if not ledger.live:
            ledger.empty.set()

    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp calls this with b"" to go on with what it has
            if self.journey is None:
                self.close()
                return
            if self.first_byte is None:
                self.first_byte = self._loop.time()
            self._end = data[-_TAIL:]
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        if isinstance(exc, HttpProcessingError):
            self.garbled = True
            # aiohttp tells nobody who is already reading the body: after a bad chunk the reader would wait for ever.
            if self.content is not None and self.content.exception() is None:
                self.content.set_exception(HttpProcessingError())
        super().set_exception(exc, *cause)

    def reads(self, content: aiohttp.StreamReader) -> None:
        """The head of the answer is there, this is its body. Raises `HttpProcessingError` if it is known to be bad."""
        self.content = content
        if self.garbled:
            raise HttpProcessingError

    def board(self, journey: Journey) -> bool:
        """A request takes this connection; returns whether one did before."""
        self.journey = journey
        self.first_byte = None
        self.garbled = False
        self.content = None
        self._uses += 1
        return self._uses > 1

    def settle(self, journey: Journey, body_end: bytes, good_for: float | None) -> None:
        """The answer of this request is complete and ended with `body_end`; the connection is idle from now on.

        Bytes glued on behind it close the connection: aiohttp notices a whole second answer, not the beginning of one.
        `good_for`: seconds for which the server promised to keep it open, None if it did not say.
        """
        if self.journey is not journey:
            return
        self.journey = self.content = None
        shared = min(len(self._end), len(body_end))
        if self._end[len(self._end) - shared :] != body_end[len(body_end) - shared :]:
            self.close()
        self._good_until = float("inf") if good_for is None else self._loop.time() + good_for

    def drop(self, journey: Journey) -> None:
        """The answer to this request was bad. If it was whole all the same, aiohttp would use the connection again."""
        if self.journey is journey:
            self.close()

    @property
    def used(self) -> bool:
        return self._uses > 0

    def usable(self) -> bool:
        """Whether a used connection may carry another request, as far as can be known without writing into it."""
        return (
            self.is_connected()
            and not self.should_close
            and not self.writing_paused
            and self._loop.time() < self._good_until
            and not self._readable()
        )

    def _readable(self) -> bool:
        """Something waits in the socket that the loop has not seen yet: the server's farewell, or unasked bytes."""
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False
        if hasattr(select, "poll"):  # unlike select(), it takes file descriptors above 1023
            poller = select.poll()
            poller.register(sock.fileno(), select.POLLIN)
            return bool(poller.poll(0))
        return bool(select.select([sock.fileno()], (), (), 0)[0])

    def cut(self) -> None:
        """Close at once, also where a TLS farewell is still being waited for."""
        if isinstance(self._link, asyncio.WriteTransport):
            self._link.abort()


class Request(aiohttp.ClientRequest):
    """A request that looks at its connection before it writes, and tells its journey that it does."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        journey = current.get()
        wire = conn.protocol
        assert isinstance(wire, Wire)  # noqa: S101 (our connector makes no other)
        if wire.used and (journey.fresh or not wire.usable()):
            wire._ledger.discarded += 1
            raise Unusable
        journey.board(wire)
        return await super().send(conn)


class Connector(aiohttp.TCPConnector):
    """The pool. Limits, DNS cache and the dropping of idle connections are aiohttp's."""

    def __init__(self, ledger: Ledger, **options: Any) -> None:
        super().__init__(**options)

        def wire() -> ResponseHandler:
            return Wire(self._loop, ledger, current.get().server)

        self._factory = functools.partial(wire)

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        """An idle connection, or None to make one: always None for a request that must have a new one."""
        if current.get().fresh:
            return None
        return await super()._get(key, traces)
