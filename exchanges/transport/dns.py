"""Name look-ups that end, and that survive an outage of the name server.

A look-up runs in a thread that nothing can cancel. Without a bound it hangs as long as the system likes, and every
retry would occupy one more thread of the few there are: so there is one look-up at a time for a name, everybody waits
for that one, and nobody longer than the connect timeout. If it fails, the last good answer is used: whether the address
still belongs to the host is for TLS to verify, not for the name server.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections import OrderedDict

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

__all__ = ["Resolver"]

_Key = tuple[str, int, int]
_MOST_NAMES = 64


class Resolver(AbstractResolver):
    """`timeout` in seconds; `lookup` is the resolver that does the work. Raises `OSError` when there is no address."""

    def __init__(self, timeout: float, lookup: AbstractResolver | None = None) -> None:
        self._timeout = timeout
        self._lookup = lookup or ThreadedResolver()
        self._running: dict[_Key, asyncio.Task[list[ResolveResult]]] = {}
        self._known: OrderedDict[_Key, list[ResolveResult]] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        key = (host, port, int(family))
        task = self._running.get(key)
        if task is None:
            # Its own, empty context: a look-up may outlive the request that asked, and must not write on its journey.
            look = self._lookup.resolve(host, port, family)
            task = asyncio.get_running_loop().create_task(look, context=contextvars.Context())
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        await asyncio.wait((task,), timeout=self._timeout)
        if task.done() and not task.cancelled() and task.exception() is None and task.result():
            return task.result()
        if key in self._known:
            return self._known[key]
        if not task.done():
            raise OSError(None, f"the name server did not answer within {self._timeout:g} s")
        error = None if task.cancelled() else task.exception()
        raise OSError(None, getattr(error, "strerror", None) or "there is no such name")

    def _ended(self, key: _Key, task: asyncio.Task[list[ResolveResult]]) -> None:
        self._running.pop(key, None)
        if task.cancelled() or task.exception() is not None or not task.result():
            return
        self._known[key] = task.result()
        self._known.move_to_end(key)
        if len(self._known) > _MOST_NAMES:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Wait for nobody: a thread that is looking up ends by itself."""
        running = set(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._lookup.close()
