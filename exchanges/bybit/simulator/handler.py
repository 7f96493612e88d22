"""From a request that has arrived to its answer, or to the fault that strikes it.

The order is: note the request and draw its fault; wait out the connection's delay; count it against the IP limit;
then answer. A fault takes the place of the answer only where that is its point: `reset_after_read`, for one, executes
the request first, as an exchange does whose reply is lost.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from . import wire
from .faults import FaultDice, FaultRule
from .limits import IpLimit
from .protocol import Arrival, Connection, Head, split_target
from .records import RequestLog, RequestRecord
from .replies import Exchange, Reply, Request
from .routes import OPERATIONS

__all__ = ["Handler"]

_NOMINAL_QUOTA = 600
_GZIP_FROM = 1024  # bytes; smaller bodies are not worth compressing


class Handler:
    """Serves all connections of one simulator. `epoch` turns the loop's clock into seconds since 1970."""

    def __init__(
        self,
        exchange: Exchange,
        dice: FaultDice,
        log: RequestLog,
        *,
        limit: IpLimit | None,
        accept_delay: float,
        gzip: bool,
        limit_headers: bool,
        epoch: float,
    ) -> None:
        self._exchange = exchange
        self._dice = dice
        self._log = log
        self._limit = limit
        self._accept_delay = accept_delay
        self._gzip = gzip
        self._limit_headers = limit_headers
        self._epoch = epoch
        self._loop = asyncio.get_running_loop()
        self._none_live = asyncio.Event()
        self.closing = asyncio.Event()
        self.live: dict[Connection, asyncio.Transport] = {}
        self.accepted = 0

    def connected(self, connection: Connection, transport: asyncio.Transport) -> None:
        self.accepted += 1
        connection.number = self.accepted
        self.live[connection] = transport

    def disconnected(self, connection: Connection) -> None:
        self.live.pop(connection, None)
        if not self.live:
            self._none_live.set()

    async def drained(self) -> None:
        """Wait until no connection is left."""
        while self.live:
            self._none_live.clear()
            await self._none_live.wait()

    def arrived(self, connection: Connection, transport: asyncio.Transport, head: Head) -> Arrival | None:
        connection.requests += 1
        path, query = split_target(head.target)
        record = RequestRecord(
            index=self._log.requests + 1,
            request_id=head.request_id,
            method=head.method,
            path=path,
            op=OPERATIONS.get((head.method, path)),
            query=query,
            connection=connection.number,
            nth=connection.requests,
        )
        self._log.add(record)
        rule = self._dice.draw(record.index, record.op, reused=record.nth > 1)
        if rule is None or rule.fault not in ("reset_before_read", "reset_on_reuse", "close_on_reuse"):
            return Arrival(record, rule)
        self._log.struck(record, rule.fault)
        if rule.fault == "close_on_reuse":
            transport.close()
        else:
            wire.reset(transport)
        return None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler. What it returns after it has broken the connection is written nowhere."""
        connection = cast(Connection, request.protocol)
        transport = self.live.get(connection)
        if transport is None:
            return web.Response()
        # A head that came in pieces has not been noticed yet.
        head = Head(request.method, request.raw_path, request.headers.get("cdn-request-id"))
        arrival = connection.arrival or self.arrived(connection, transport, head)
        if arrival is None:
            return web.Response()
        try:
            return await self._serve(request, connection, transport, arrival)
        finally:
            connection.arrival = None

    async def _serve(
        self, request: web.BaseRequest, connection: Connection, transport: asyncio.Transport, arrival: Arrival
    ) -> web.StreamResponse:
        record, rule = arrival.record, arrival.rule
        asked = Request(
            record.method,
            record.path,
            record.query,
            request.raw_path,
            request.headers,
            await request.read() if request.body_exists else b"",
        )
        if record.nth == 1:
            await self._pause(connection.made_at + self._accept_delay - self._loop.time())
        if self._limit is not None and not self._limit.admit(self._loop.time()):
            return self._respond(record, wire.too_frequent())
        if rule is None:
            return self._respond(record, self._answer(asked))
        self._log.struck(record, rule.fault)
        if rule.fault in wire.REPLACED:
            return self._respond(record, wire.REPLACED[rule.fault](rule, self._now_ms()))
        if rule.fault == "stall":
            await self._pause(rule.seconds)
            transport.close()
            return web.Response()
        return await self._strike(request, transport, record, rule, self._answer(asked))

    async def _strike(
        self,
        request: web.BaseRequest,
        transport: asyncio.Transport,
        record: RequestRecord,
        rule: FaultRule,
        reply: Reply,
    ) -> web.StreamResponse:
        """The faults that spoil the true reply."""
        if rule.fault == "reset_after_read":
            wire.reset(transport)
            return web.Response()
        if rule.fault == "slow_drip":
            return await self._drip(request, record, rule.seconds, reply)
        if rule.fault == "cut_gzip" and _takes_gzip(request.headers.get("Accept-Encoding", "")):
            return self._respond(record, wire.compressed(reply, cut=True))
        if not transport.is_closing():
            self._log.answered(record, reply.status)
            transport.write(wire.broken_off(reply))
            if rule.fault == "reset_mid_body":
                wire.reset(transport)
            else:
                transport.close()
        return web.Response()

    async def _drip(
        self, request: web.BaseRequest, record: RequestRecord, seconds: float, reply: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        self._log.answered(record, reply.status)
        await response.prepare(request)
        for byte in reply.body:
            await self._pause(seconds)
            if self.closing.is_set():
                break
            await response.write(bytes((byte,)))
        return response

    def _answer(self, asked: Request) -> Reply:
        now_ms = self._now_ms()
        reply = self._exchange.answer(asked, now_ms)
        if self._limit_headers:
            reply = Reply(reply.status, reply.body, {**reply.headers, **self._limits(now_ms)})
        if self._gzip and len(reply.body) >= _GZIP_FROM and _takes_gzip(asked.headers.get("Accept-Encoding", "")):
            reply = wire.compressed(reply)
        return reply

    def _limits(self, now_ms: int) -> dict[str, str]:
        if self._limit is None:  # nothing is limited, so nothing is ever used up
            return wire.limit_headers(_NOMINAL_QUOTA, _NOMINAL_QUOTA, now_ms)
        now = self._loop.time()
        left = self._limit.left(now)
        wait = 0.0 if left else self._limit.reset_in(now)
        return wire.limit_headers(self._limit.quota, left, now_ms + round(wait * 1000))

    def _respond(self, record: RequestRecord, reply: Reply) -> web.Response:
        self._log.answered(record, reply.status)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    def _now_ms(self) -> int:
        return int((self._epoch + self._loop.time()) * 1000)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not longer than the simulator runs."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            pass


def _takes_gzip(accepted: str) -> bool:
    return any(part.partition(";")[0].strip().lower() == "gzip" for part in accepted.split(","))
