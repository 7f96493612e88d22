"""The two threads that do what takes time: one answers questions about many traces, one takes spans in.

Each does one thing at a time, and few may wait: the event loop of the application is never theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from .filters import FilterError
from .pacing import Courtesy, Stride
from .wire import LIMITS, IngestError

__all__ = ["MOST_BODY", "Workers", "refusal"]

MOST_BODY = LIMITS.request  # bytes of a request with spans, as they come
_MOST_WAITING = 16  # for either thread, all in all


class Workers:
    """Of one server. `waiting`: how many things are being done, or wait for it."""

    def __init__(self) -> None:
        self.asking = ThreadPoolExecutor(1, "dashboard-ask")
        self.taking = ThreadPoolExecutor(1, "dashboard-take")
        self.waiting = 0

    def check(self) -> None:
        """Raises 429 where no more may wait."""
        if self.waiting >= _MOST_WAITING:
            raise web.HTTPTooManyRequests(text="too much at once", headers={"Retry-After": "1"})

    async def run(self, where: ThreadPoolExecutor, what: Callable[[Stride], Any]) -> Any:
        """What it returns, from that thread. Raises what the server answers instead: 400, 404, 413 ..., and 429."""
        self.check()
        self.waiting += 1
        loop = asyncio.get_running_loop()
        job = where.submit(_answered, what, Courtesy(loop))
        job.add_done_callback(lambda _: _soon(loop, self._done))
        found = await asyncio.wrap_future(job)
        try:
            if isinstance(found, web.HTTPException):
                raise found
            return found
        finally:
            del found  # which would hold this frame, which would hold it

    def _done(self) -> None:  # when the thread is free, not when whoever asked has left
        self.waiting -= 1

    def close(self) -> None:
        """Begin nothing more. What runs ends by itself."""
        self.asking.shutdown(wait=False, cancel_futures=True)
        self.taking.shutdown(wait=False, cancel_futures=True)


def _answered(what: Callable[[Stride], Any], stride: Stride) -> Any:
    """What it returns, or the refusal as a value: raised, it would hold on to this thread's frames, and they to a body
    of megabytes, in a circle that only the next full garbage collection finds."""
    try:
        return what(stride)
    except FilterError as error:
        return web.HTTPBadRequest(text=str(error))
    except IngestError as error:
        return refusal(error.status, str(error))
    except web.HTTPException as error:
        return error.with_traceback(None)


def _soon(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(what)


def refusal(status: int, text: str) -> web.HTTPException:
    """The exception that becomes a reply of this status."""
    known: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        404: web.HTTPNotFound,
        409: web.HTTPConflict,
        415: web.HTTPUnsupportedMediaType,
        429: web.HTTPTooManyRequests,
    }
    if status == 413:
        return web.HTTPRequestEntityTooLarge(MOST_BODY, MOST_BODY + 1, text=text)
    return known.get(status, web.HTTPBadRequest)(text=text)
