"""Coalesce: calls that ask for the same thing at the same time share one flight, and all get its outcome.

Only idempotent operations share: two orders that look alike are two orders. The flight runs in a task of its own, for
it belongs to no caller: it goes on while anybody waits for it, and is cancelled when the last has gone. (The idea: the
single flight of groupcache, 2013.)

The surprising part is that a flight has no deadline from above. Each caller waits until its own, and one with little
time must not end what another has the time to wait for; what bounds a flight is a `Deadline` or `Timeout` beneath.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, CancelledError, Future, Task, TimerHandle
from collections.abc import Callable, Coroutine, Hashable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, ClassVar

from ..ambient import deadline as ambient
from ..caching.copies import copy_error
from ..call import Call, Handler
from ..errors import ResilienceError, TimedOut
from ..keys import hashable, key_function
from ..kit import Kit
from ..policy import Policy

__all__ = ["Coalesce"]

_TURNS = 4  # of the loop, in which an outcome that is there comes through, be it after a stall
_GRACE = 1.0  # seconds that an abandoned flight gets to end while the last caller waits for that


class Flights:
    """The flights under way, by key, and how many callers wait for them."""

    by_key: dict[Hashable, _Flight]
    tasks: set[Task[None]]  # also those that nobody waits for any more

    def __init__(self) -> None:
        self._loop: AbstractEventLoop | None = None
        self.waiting = self.flights = self.coalesced = self.passed = 0

    def link(self, loop: AbstractEventLoop) -> None:
        """Begin with none in another event loop: nobody can wait for what runs in this one."""
        if loop is not self._loop:
            self._loop = loop
            self.by_key, self.tasks = {}, set()

    async def aclose(self) -> None:
        """Wait for the flights that were given up; the others are their callers' business."""
        wanted = {flight.task for flight in self.by_key.values()}
        ending = [task for task in self.tasks - wanted if task.get_loop() is asyncio.get_running_loop()]
        if ending:
            await asyncio.wait(ending)

    def status(self) -> dict[str, Any]:
        """Flights that run, callers that wait for one; in all: flights, calls that joined one, calls passed by."""
        return {
            "active": len(self.tasks),
            "waiting": self.waiting,
            "flights": self.flights,
            "coalesced": self.coalesced,
            "passed": self.passed,
        }


class _Flight:
    """One call of what lies beneath, and a future for each who waits for its outcome, in order of arrival."""

    __slots__ = ("_board", "_by_key", "_first", "_key", "_tasks", "_waiters", "call", "task")
    task: Task[None]

    def __init__(self, board: Flights, key: Hashable, call: Call) -> None:
        self._board, self._by_key, self._tasks, self._key = board, board.by_key, board.tasks, key
        self._waiters: dict[Future[Any], None] = {}
        self._first, self.call = call, call.copy()  # its attempts are those of the first caller
        self.call.deadline = None
        self._by_key[key] = self
        board.flights += 1

    def start(self, next: Handler, loop: AbstractEventLoop) -> None:
        """Take off, in a copy of the first caller's context, in which no ambient deadline stands."""
        context = copy_context()
        context.run(ambient.set, None)
        self.task = task = loop.create_task(self._fly(next), context=context)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def _fly(self, next: Handler) -> None:
        try:
            value = await next(self.call)
        except Exception as error:
            self._end()
            self._fail(error)
        else:
            self._end()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(value)
        finally:
            self._tasks.discard(asyncio.current_task())  # before anybody hears of its end

    def _done(self, task: Task[None]) -> None:
        """See to those who still wait where the task ended as no flight should, or never began."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if not all(waiter.done() for waiter in self._waiters):
            self._end()
            what = f"the flight of {self.call.op.name!r} was cancelled by nobody who waits for it"
            self._fail(error or ResilienceError(what))

    def _end(self) -> None:
        """From here on nobody may join."""
        self._first.attempt = self.call.attempt  # what the policies above the first caller look at
        if self._by_key.get(self._key) is self:
            del self._by_key[self._key]

    def _fail(self, error: BaseException) -> None:
        """Hand out the error before anybody sees it: the first gets it, the others a copy without his notes."""
        waiting = [waiter for waiter in self._waiters if not waiter.done()]
        for waiter in waiting[1:]:
            waiter.set_exception(copy_error(error))
        for waiter in waiting[:1]:
            waiter.set_exception(error)

    def join(self, loop: AbstractEventLoop) -> Future[Any]:
        """A place among those who wait."""
        waiter: Future[Any] = loop.create_future()
        self._waiters[waiter] = None
        self._board.waiting += 1
        return waiter

    async def outcome(self, waiter: Future[Any], timer: TimerHandle | None) -> Any:
        """Wait for it. Whoever leaves last gives the flight up, and waits a moment until that has ended."""
        try:
            return await waiter
        except (CancelledError, TimedOut):
            if self._leave(waiter):
                await asyncio.wait((self.task,), timeout=_GRACE)
            raise
        finally:
            self._leave(waiter)
            if timer is not None:
                timer.cancel()
            del waiter, timer  # they hold the error, whose traceback refers to this frame

    def late(self, waiter: Future[Any], granted: float, turns: int = _TURNS) -> None:
        """The time of one who waits is up: look whether the outcome comes in these turns of the loop, else tell him."""
        if waiter.done():
            return
        if turns > 0:
            waiter.get_loop().call_soon(self.late, waiter, granted, turns - 1)
            return
        sent = any(attempt.sent for attempt in self.call.attempts)
        waiter.set_exception(TimedOut(granted, limit="deadline", sent=sent))

    def _leave(self, waiter: Future[Any]) -> bool:
        """Wait no longer, once; whether that gave the flight up."""
        if waiter not in self._waiters:
            return False
        del self._waiters[waiter]
        self._board.waiting -= 1
        if self._waiters or self.task.done():
            return False
        self._end()
        self.task.cancel()
        return True


@dataclass(frozen=True, slots=True)
class Coalesce(Policy):
    """Calls of one `key` that overlap share one flight: what lies beneath is called once, and all get its outcome.

    An error reaches the first of them as it is, and each other as a copy. A cancelled caller takes nobody else's answer
    away; the flight is cancelled when the last has gone. A caller whose deadline passes raises `TimedOut` by itself.

    `key` is a function of the `Call`; by default the same operation, function and arguments. Calls that may not happen
    twice pass through, and so do those whose key is None or cannot be hashed. Answers are shared: do not change them.
    """

    repeats: ClassVar[bool] = True  # the attempts are the flight's, and not those of each who waits for it

    keeps: ClassVar[str] = "the flights under way"
    anew: ClassVar[Mapping[str, str]] = {"key": "its flights are told apart by another key"}

    key: Callable[[Call], Hashable] | None = None

    def __post_init__(self) -> None:
        key_function("Coalesce", self.key)

    def unsafe(self) -> str | None:
        return (
            "Coalesce() makes one call of several: guard the function with an Op(..., idempotent=True) to say that "
            "one answer serves them all"
        )

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        board = kit.keep("coalesce", self, Flights)
        board.link(kit.loop)
        loop, now, key_of, by_key = kit.loop, kit.now, key_function("Coalesce", self.key), board.by_key

        def join(call: Call, key: Hashable, granted: float | None) -> Coroutine[Any, Any, Any]:
            """Get on board, at once; what is returned waits for the outcome, `granted` seconds."""
            flight = by_key.get(key)
            first = flight is None
            if flight is None:
                flight = _Flight(board, key, call)
            else:
                board.coalesced += 1
                call.attempt.notes["coalesced"] = True
                call.attempt.link = ("coalesced", flight.call.attempts[0].mark())
            waiter = flight.join(loop)
            timer = None if granted is None else loop.call_later(granted, flight.late, waiter, granted)
            if first:
                flight.start(next, loop)  # now that somebody waits: an eager task may have landed when this returns
            return flight.outcome(waiter, timer)

        async def run(call: Call) -> Any:
            if not call.op.idempotent:
                return await next(call)
            key = hashable(key_of(call))
            if key is None:
                board.passed += 1
                return await next(call)
            if call.deadline is None:
                return await join(call, key, None)
            granted = call.deadline - now()
            if granted <= 0:
                raise TimedOut(None, limit="deadline", queued=True)
            return await join(call, key, granted)

        return run
