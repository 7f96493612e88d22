"""Small servers on loopback that misbehave on purpose, byte by byte, and certificates for them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme


@dataclass
class Got:
    """A request as the server read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Peer:
    """One accepted connection, seen from the server. `number` counts from 1."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.server, self.reader, self.writer, self.number = server, reader, writer, number

    async def request(self) -> Got | None:
        """The next request, None when the client has hung up."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        method, target, _ = head[0].split(" ")
        got = Got(method, target, headers, body, self.number)
        self.server.requests.append(got)
        return got

    async def reply(self, body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> None:
        """A proper answer with its length."""
        await self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class Server:
    """Runs a handler for each connection, and remembers what came."""

    def __init__(self, handler: Callable[[Peer], Awaitable[None]]) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Got] = []
        self.accepted = self.open = self.most = 0
        self.port = 0
        self.url = ""

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self._handler(Peer(self, reader, writer, self.accepted))
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's stream server would log it
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0)


def _hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A handshake that the client breaks off is what some tests want; the loop's debug mode logs it for the server."""
    if not context.get("message", "").startswith("Error on transport creation for incoming connection"):
        loop.default_exception_handler(context)


@contextlib.asynccontextmanager
async def _serve(
    handler: Callable[[Peer], Awaitable[None]], context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    server = Server(handler)
    asyncio.get_running_loop().set_exception_handler(_hear)
    listener = await asyncio.start_server(server.run, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if context else 'http'}://{host}:{server.port}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()


async def _answer(peer: Peer) -> None:
    """Answers every request with an empty JSON object, for as long as the client likes."""
    while await peer.request():
        await peer.reply()


@pytest.fixture
def serve() -> Any:
    """``async with serve(handler) as server``."""
    return _serve


@pytest.fixture
def answer() -> Any:
    return _answer


@pytest.fixture
def run() -> Callable[[Any], Any]:
    """Run one coroutine on a real loop, at most ten seconds."""

    def go(main: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(10):
                return await main

        return asyncio.run(bounded())

    return go


@dataclass
class Certificates:
    """A private authority, in `ca_file`, and servers' contexts signed by it."""

    authority: trustme.CA
    ca_file: str

    def context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
        until: dict[str, Any] = {"not_before": past, "not_after": past + datetime.timedelta(days=1)} if expired else {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names, **until).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    path = Path(tmp_path_factory.mktemp("tls")) / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return Certificates(authority, str(path))
