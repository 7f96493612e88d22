"""The simulated Bybit as a server on loopback: start, stop, and what it saw.

Real sockets and real HTTP, so a client cannot tell it from an exchange by anything but the address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import SimulatorError
from .faults import FaultDice, FaultPlan
from .handler import Handler
from .limits import IpLimit
from .operations import MarketExchange
from .protocol import ConnectionServer
from .records import RequestLog, RequestRecord
from .replay import ReplayExchange
from .replies import Exchange

__all__ = ["Simulator"]

_HOST = "127.0.0.1"
_BACKLOG = 1024


class Simulator:
    """A simulated exchange, open within ``async with``::

        async with Simulator(faults={"version": 1, "rules": [{"fault": "html_502", "nth": [1]}]}) as sim:
            ...  # requests to sim.url

    `port` 0 takes a free one. `seed` decides prices and, unless the plan has its own, faults. `faults` is a plan, a
    mapping or a file; `replay` a folder of recorded replies to serve instead of the market. `accept_delay`: seconds
    from the acceptance of a connection until its first request is answered, as a handshake far away would take.
    `ip_limit`: Bybit's limit per address, as ``600/5s``; over it HTTP 403 for `ip_ban` seconds. `gzip`: compress larger
    bodies for clients that accept it. `keep` bounds the records in `requests`.

    Raises `FaultPlanError`, `ReplayError`, `SimulatorError` (port) and `resilience.ConfigError` (ip_limit).
    """

    def __init__(
        self,
        port: int = 0,
        seed: int = 0,
        faults: FaultPlan | Mapping[str, Any] | str | Path | None = None,
        replay: str | Path | None = None,
        accept_delay: float = 0.0,
        *,
        ip_limit: str | None = None,
        ip_ban: float = 600.0,
        gzip: bool = False,
        keep: int = 100_000,
    ) -> None:
        if not 0 <= port <= 65535:
            raise SimulatorError(f"port is {port}, must be from 0 (any free port) to 65535")
        self._port = port
        self._seed = seed
        self._plan = _plan(faults)
        self._replay = None if replay is None else ReplayExchange(replay)
        self._accept_delay = accept_delay
        self._limit = None if ip_limit is None else IpLimit(ip_limit, ip_ban)
        self._gzip = gzip
        self._log = RequestLog(keep)
        self._running: tuple[Handler, ConnectionServer, asyncio.Server] | None = None
        self._accepted = 0

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        if self._running is None:
            raise SimulatorError("the simulator is not running: use it in an 'async with'")
        return f"http://{_HOST}:{self._running[2].sockets[0].getsockname()[1]}"

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests seen, in order of arrival: the first `keep` of them."""
        return list(self._log.records)

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._accepted + (self._running[0].accepted if self._running else 0)

    def stats(self) -> dict[str, Any]:
        """Exact counts: connections, open_connections, requests, and by operation, fault and HTTP status."""
        live = len(self._running[0].live) if self._running else 0
        return {"connections": self.connections, "open_connections": live, **self._log.counts()}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        epoch = time.time() - loop.time()
        exchange: Exchange = self._replay or MarketExchange(self._seed, time.time())
        handler = Handler(
            exchange,
            FaultDice(self._plan, self._seed),
            self._log,
            limit=self._limit,
            accept_delay=self._accept_delay,
            gzip=self._gzip,
            limit_headers=self._replay is None,
            epoch=epoch,
        )
        server = ConnectionServer(handler.handle, handler)
        try:
            listener = await loop.create_server(server, _HOST, self._port, backlog=_BACKLOG)
        except OSError as exc:
            reason = exc.strerror or "no reason given"
            where = f"{_HOST}:{self._port}"
            raise SimulatorError(f"cannot listen on {where} ({reason}): choose another port, or 0") from exc
        self._running = handler, server, listener
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is None:
            return
        (handler, server, listener), self._running = self._running, None
        self._accepted += handler.accepted
        listener.close()
        handler.closing.set()  # wakes all that stalls and drips
        server.pre_shutdown()  # ends the wait of idle connections
        await asyncio.sleep(0)
        await server.shutdown(1.0)
        for transport in list(handler.live.values()):
            transport.abort()
        await handler.drained()
        await listener.wait_closed()


def _plan(faults: FaultPlan | Mapping[str, Any] | str | Path | None) -> FaultPlan:
    if faults is None:
        return FaultPlan()
    if isinstance(faults, FaultPlan):
        return faults
    return FaultPlan.load(faults) if isinstance(faults, (str, Path)) else FaultPlan.parse(faults)
