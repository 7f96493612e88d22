"""Server-sent events: one hub builds what is new, once, for all who listen.

Nobody waits for anybody: each listener has its own task, and keeps of what it has not read the newest snapshot and a
few traces. One that does not read at all is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from .query import describe

if TYPE_CHECKING:
    from .live import Live
    from .store import Store, Tail
    from .summary import Trace

__all__ = ["Hub"]

MOST = 32  # listeners
EVERY = 0.25  # seconds between two looks
_AT_LEAST = 2.0  # seconds until a snapshot is sent even if nothing changed
_PING = 15.0
_PATIENCE = 10.0  # seconds that a listener may take to read what it was sent
_TRACES = 50  # a second
_MOST_UNREAD = 256  # traces of one listener
_MOST_SPANS = 64  # of a trace whose call brought no sentence

_log = logging.getLogger("resilience")


class _Listener:
    """What one client has not been sent yet."""

    __slots__ = ("gone", "missed", "news", "snapshot", "wake")

    def __init__(self) -> None:
        self.snapshot: bytes | None = None
        self.news: deque[bytes] = deque()
        self.missed = 0  # traces that it was too slow for
        self.gone = False
        self.wake = asyncio.Event()

    def take(self) -> bytes:
        """All of it, as one piece; empty if there is nothing."""
        parts = [*self.news]
        if self.missed:
            parts.append(_event("skipped", {"count": self.missed}))
        if self.snapshot is not None:
            parts.append(self.snapshot)
        self.snapshot, self.missed = None, 0
        self.news.clear()
        self.wake.clear()
        return b"".join(parts)


class Hub:
    """Looks for news four times a second, as long as somebody listens."""

    def __init__(self, live: Live, store: Store) -> None:
        self._live = live
        self._store = store
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.built = 0  # snapshots so far
        self._last, self._until = b"", 0.0
        self._version: tuple[float, ...] = ()

    @property
    def full(self) -> bool:
        """Are there as many listeners as may be?"""
        return len(self._listeners) >= MOST

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One listener, until it leaves, is dropped, or the server ends."""
        if self._closed or self.full:
            raise web.HTTPTooManyRequests(text=f"{MOST} pages listen already", headers={"Retry-After": "5"})
        mine = _Listener()
        self._listeners.add(mine)
        try:
            mine.snapshot = self._snapshot()
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
            headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            reply = web.StreamResponse(headers=headers)
            await reply.prepare(request)
            await self._pump(mine, reply, request)
        finally:
            self._listeners.discard(mine)
        return reply

    async def _pump(self, mine: _Listener, reply: web.StreamResponse, request: web.Request) -> None:
        try:
            await reply.write(b"retry: 1000\n\n")
            while not mine.gone:
                async with asyncio.timeout(_PATIENCE):
                    await reply.write(mine.take() or b": here\n\n")
                try:
                    async with asyncio.timeout(_PING):
                        await mine.wake.wait()
                except TimeoutError:
                    pass
        except (TimeoutError, ConnectionError):  # it left, or it does not read
            if request.transport is not None:
                request.transport.abort()

    async def _run(self) -> None:
        """The only task of the hub; it ends when nobody listens."""
        tail = self._store.listen(lambda: None)
        version, sent = self._live.version, time.monotonic()
        credit = float(_TRACES)
        try:
            while self._listeners:
                await asyncio.sleep(EVERY)
                now = time.monotonic()
                credit = min(float(_TRACES), credit + _TRACES * EVERY)
                credit -= self._tell_traces(tail, int(credit))
                if self._live.version != version or now - sent >= _AT_LEAST:
                    version, sent = self._live.version, now
                    self._tell_snapshot()
        except Exception:
            _log.exception("the dashboard's live updates failed; they begin anew with the next page")
            self._drop_all()
        finally:
            self._store.unlisten(tail)

    def _tell_traces(self, tail: Tail, most: int) -> int:
        """Send what is new, the newest where it is too much; returns how many were sent."""
        traces, skipped = tail.take()
        fresh = traces[len(traces) - most :] if len(traces) > most else traces
        skipped += len(traces) - len(fresh)
        events = [_event("trace", _described(trace)) for trace in fresh]
        if skipped:
            events.append(_event("skipped", {"count": skipped}))
        if events:
            for listener in self._listeners:
                listener.news.extend(events)
                while len(listener.news) > _MOST_UNREAD:
                    listener.news.popleft()
                    listener.missed += 1
                listener.wake.set()
        return len(fresh)

    def _tell_snapshot(self) -> None:
        snapshot = self._snapshot()
        for listener in self._listeners:
            listener.snapshot = snapshot
            listener.wake.set()

    def _snapshot(self) -> bytes:
        """The present one; the last one as long as it is that."""
        version, now = self._live.version, time.monotonic()
        if version != self._version or now >= self._until:
            self.built += 1
            self._last = _framed("snapshot", self._live.encoded())
            self._version, self._until = version, now + EVERY
        return self._last

    def _drop_all(self) -> None:
        for listener in self._listeners:
            listener.gone = True
            listener.wake.set()

    async def aclose(self) -> None:
        """Let all listeners go. Their tasks end by themselves, at once."""
        self._closed = True
        self._drop_all()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))


def _described(trace: Trace) -> dict[str, Any]:
    """As the list has it, with its sentence; one of very many spans without, for it is made on the loop."""
    return describe(trace) if len(trace.spans) <= _MOST_SPANS else trace.summary.to_json()


def _event(name: str, data: Any) -> bytes:
    return _framed(name, msgspec.json.encode(data))


def _framed(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
