"""The bodies of requests: read up to a bound, at a pace that all requests share."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from .pacing import Pace

__all__ = ["Bodies"]

_AT_ONCE, _SECOND = 2**18, 2**25  # bytes; to take in 32 MB costs the event loop some 15 ms
_LINGER = 1.0  # seconds


class Bodies:
    """Of all requests of one server."""

    def __init__(self) -> None:
        self._pace = Pace(_AT_ONCE, 1 / _SECOND)

    async def read(self, request: web.Request, most: int) -> bytes:
        """The body as it came, of at most so many bytes. Raises 413."""
        promised = request.content_length or 0
        if promised > most:
            raise _too_large(most, promised)
        parts, size = [], 0
        async for part in request.content.iter_any():
            size += len(part)
            await self._pace.turn(len(part))
            if size > most:
                raise _too_large(most, size)
            parts.append(part)
        return b"".join(parts)

    async def drain(self, request: web.Request) -> None:
        """Take what is left of a request that is refused, for a moment: one cut off while it sends reads no reply."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_LINGER):
                async for part in request.content.iter_any():
                    await self._pace.turn(len(part))


def _too_large(most: int, size: int) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(most, size, text=f"the body has more than {most} bytes")
