"""Bulkhead: how many calls may be under way at once, and how many may queue for a place.

The count is an `int`; a future is made only for a caller who must truly wait. A place is handed to the longest waiting
caller directly, so a newcomer never overtakes.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle, get_running_loop
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..call import Call, Handler
from ..errors import BulkheadFull, TimedOut
from ..events import Waiting
from ..kit import Kit
from ..policy import Policy
from ..streams import StreamHandler, held
from ..units import Seconds, check

__all__ = ["Bulkhead"]


class Gate:
    """The places that are taken, and who waits for one, in order of arrival."""

    __slots__ = ("busy", "limit", "refused", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.busy = 0
        self.refused = 0
        self.waiting: deque[Future[None]] = deque()

    def leave(self) -> None:
        """Give a place back: to the first who still waits, or to the count."""
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)  # the place changes hands; `busy` stays
                return
        self.busy -= 1

    async def queue(self, call: Call, max_wait: float | None) -> None:
        """Wait for a place, no longer than `max_wait` and the call's deadline. Raises `BulkheadFull`, `TimedOut`."""
        loop = get_running_loop()
        begun = loop.time()
        waiter: Future[None] = loop.create_future()
        timer = self._alarm(waiter, begun, call.deadline, max_wait)
        self.waiting.append(waiter)
        try:
            await waiter
        except BaseException:  # a cancellation, or the coroutine is closed
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # the place was handed over in the very tick of the cancellation
            raise
        finally:
            waited = loop.time() - begun
            call.attempt.waited += waited
            notes = call.attempt.notes
            notes["wait.queue"] = notes.get("wait.queue", 0.0) + waited
            if timer is not None:
                timer.cancel()
            if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
                self._forget(waiter)
            del waiter, timer  # both hold the error, whose traceback refers to this frame

    def _alarm(
        self, waiter: Future[None], begun: float, deadline: float | None, max_wait: float | None
    ) -> TimerHandle | None:
        at = None if max_wait is None else begun + max_wait
        error: Exception = BulkheadFull(f"{self.limit} calls are running and none ended within {max_wait} s")
        if deadline is not None and (at is None or deadline < at):
            at, error = deadline, TimedOut(max(0.0, deadline - begun), limit="deadline", queued=True)
        if at is None:
            return None
        return get_running_loop().call_at(at, self._give_up, waiter, error)

    def _give_up(self, waiter: Future[None], error: Exception) -> None:
        if not waiter.done():
            self.refused += 1
            waiter.set_exception(error)

    def _forget(self, waiter: Future[None]) -> None:
        with suppress(ValueError):
            self.waiting.remove(waiter)

    def status(self) -> dict[str, Any]:
        return {"limit": self.limit, "busy": self.busy, "waiting": len(self.waiting), "refused": self.refused}


@dataclass(frozen=True, slots=True)
class Bulkhead(Policy):
    """At most `limit` calls beneath at once; up to `queue` more wait their turn, each at most `max_wait` seconds.

    Raises `BulkheadFull` at once when the queue is full, or after `max_wait`.
    """

    limit: int
    queue: int = 0
    max_wait: Seconds | None = None

    def __post_init__(self) -> None:
        check("Bulkhead", "limit", self.limit, least=1, whole=True)
        check("Bulkhead", "queue", self.queue, least=0, whole=True)
        if self.max_wait is not None:
            check("Bulkhead", "max_wait", self.max_wait, least=0)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        limit, queue, max_wait, emit = self.limit, self.queue, self.max_wait, kit.emit
        gate = kit.keep("bulkhead", self, lambda: Gate(limit))

        async def wait(call: Call) -> None:
            if len(gate.waiting) >= queue:
                gate.refused += 1
                waiters = f" and {queue} wait" if queue else ""
                raise BulkheadFull(f"{limit} calls are running{waiters}")
            if emit is not None:
                emit(Waiting(call, "queue", max_wait, kit.now()))
            await gate.queue(call, max_wait)

        async def run(call: Call) -> Any:
            if gate.busy < limit:
                gate.busy += 1
            else:
                await wait(call)
            try:
                return await next(call)
            finally:
                gate.leave()

        return run

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return held(next, lambda hold: self.bind(hold, kit))
