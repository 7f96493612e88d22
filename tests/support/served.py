"""A dashboard on a real socket, and questions to it as a browser or any other program would ask them."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import aiohttp

from resilience.dashboard.server import Dashboard

__all__ = ["Reply", "ask", "on_sockets", "raw", "served"]


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def on_sockets(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on an ordinary event loop, for at most a minute."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


@asynccontextmanager
async def served(*pipelines: Any, **options: Any) -> Any:
    """A dashboard on any port."""
    async with Dashboard(*pipelines, port=0, **options) as dashboard:
        yield dashboard


async def ask(where: Dashboard, path: str, method: str = "GET", **options: Any) -> Reply:
    """One request on a connection of its own; redirects are not followed."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        request = session.request(method, where.address + path, allow_redirects=False, **options)
        async with request as reply:
            return Reply(reply.status, reply.headers, await reply.read())


async def raw(where: Dashboard, data: bytes) -> bytes:
    """Bytes as they are, and all that comes back until the server closes."""
    host, port = where.address.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
