"""Connections: how many, and for how long one may do nothing. aiohttp itself waits for ever for a request to be whole.

Each connection has a timer that runs whenever no request of it is being handled: while its head trickles in, while
the reply is read slowly, and between two requests. Connections that come all at once are heard one after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .pacing import Pace

__all__ = ["Door", "Doors"]

MOST = 64
IDLE = 20.0  # seconds
_BURST, _GAP = 8, 0.005  # connections at once, a browser has six; then one every so many seconds


class Doors:
    """All connections of one server; made the factory of its protocols."""

    def __init__(self, make: Callable[[], Any], most: int = MOST, idle: float = IDLE) -> None:
        self._make = make
        self.most = most
        self.idle = idle
        self.pace = Pace(_BURST, _GAP)
        self.open: dict[asyncio.BaseTransport, Door] = {}
        self.refused = 0

    def __call__(self) -> Door:
        return Door(self, self._make)

    def busy(self, transport: asyncio.BaseTransport | None) -> None:
        """A request came in whole (but for its body)."""
        if transport in self.open:
            self.open[transport].busy()

    def waiting(self, transport: asyncio.BaseTransport | None) -> None:
        """It has been handled."""
        if transport in self.open:
            self.open[transport].waiting()

    def abort(self) -> None:
        """Cut all connections."""
        for transport in list(self.open):
            if isinstance(transport, asyncio.Transport):
                transport.abort()


class Door(asyncio.Protocol):
    """One connection: aiohttp's protocol behind a count and a timer."""

    def __init__(self, doors: Doors, make: Callable[[], Any]) -> None:
        self._doors = doors
        self._make = make
        self._inner: Any = None
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        doors = self._doors
        self._transport = transport
        if len(doors.open) >= doors.most:
            doors.refused += 1
            self._transport.abort()
            return
        doors.open[transport] = self
        doors.pace.soon(self._hear)
        if self._inner is None:
            self._transport.pause_reading()  # until then

    def _hear(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._inner = self._make()
        self._inner.connection_made(self._transport)
        self.waiting()

    def busy(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def waiting(self) -> None:
        self.busy()
        self._timer = asyncio.get_running_loop().call_later(self._doors.idle, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.busy()
        self._doors.open.pop(self._transport, None)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()
