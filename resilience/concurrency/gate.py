"""A gate: how many places are taken, who waits for one, and how a place changes hands.

The limit is a plain number that whoever owns the gate may change at any time; nothing here knows why. Places are
counted in an `int`, and only a caller who must truly wait makes a future. Whoever leaves hands over in the same tick,
so a newcomer never overtakes, and each place that comes free wakes at most one.

The surprising part is the queue's type: an `OrderedDict` gives up a cancelled waiter in constant time wherever it
stands, and its first or its last in constant time too. Ten thousand cancelled at once stay ten thousand steps.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle
from collections import OrderedDict
from typing import Any, Literal

from ..call import Call
from ..errors import BulkheadFull, TimedOut
from ..events import Waiting
from ..kit import Kit

__all__ = ["Gate", "Order"]

Order = Literal["fifo", "lifo"]
_IN, _LATE, _OVERDUE = "in", "late", "overdue"  # what a waiter's turn may bring


class Gate:
    """At most `limit` places taken at once, at most `queue` callers waiting, each at most `max_wait` seconds.

    `busy` counts the places taken; an owner may count up itself while ``busy < limit`` and nobody waits, and count down
    while nobody waits. ``"lifo"`` serves the newest first. A refusal says that `policy` refuses, for `name` if there is
    one, and speaks of places where calls are `weighted`.
    """

    __slots__ = (
        "_max_wait", "_name", "_newest", "_policy", "_queue", "_weighted", "busy", "limit", "refused", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        queue: int,
        max_wait: float | None,
        order: Order,
        policy: str = "bulkhead",
        name: str = "",
        weighted: bool = False,
    ) -> None:
        self.limit = limit
        self.busy = 0
        self.refused = 0
        self.waiting: OrderedDict[Future[str], int] = OrderedDict()  # in order of arrival, with what each takes
        self._queue = queue
        self._max_wait = max_wait
        self._newest = order == "lifo"
        self._policy = policy
        self._name = name
        self._weighted = weighted

    def enter(self, weight: int) -> bool:
        """Take places if they are free and nobody is before this caller."""
        if self.waiting and not self._newest:
            self.admit()  # those before may all have been cancelled in this very tick
            if self.waiting:
                return False
        if self.busy and self.busy + weight > self.limit:  # alone it may go, though a limit has fallen below its weight
            return False
        self.busy += weight
        return True

    def leave(self, weight: int = 1) -> None:
        """Give places back, and let in whoever is next."""
        self.busy -= weight
        if self.waiting:
            self.admit()

    def resize(self, limit: int) -> None:
        """From now on `limit`. Nobody is put out; whoever now fits is let in."""
        self.limit = limit
        self.admit()

    def become(self, limit: int, queue: int, max_wait: float | None, order: Order, weighted: bool) -> None:
        """Go on under other terms. Nobody is put out, and who waits already does so under the old `max_wait`."""
        self._queue, self._max_wait, self._newest, self._weighted = queue, max_wait, order == "lifo", weighted
        self.resize(limit)

    def admit(self) -> None:
        """Let in those who wait, in their order, while the next of them fits: a heavy one is not passed by."""
        waiting = self.waiting
        while waiting:
            turn = next(reversed(waiting)) if self._newest else next(iter(waiting))
            if turn.done():  # cancelled in this very tick: its task has not heard of it yet
                del waiting[turn]
            elif self.busy + waiting[turn] <= self.limit or not self.busy:  # a limit may have fallen below its weight
                self.busy += waiting.pop(turn)
                turn.set_result(_IN)
            else:
                return

    async def wait(self, call: Call, kit: Kit, weight: int = 1) -> None:
        """Wait for `weight` places; they are the caller's when this returns, and then `leave` gives them back.

        Raises `BulkheadFull` at once where the queue is full, and after `max_wait`; `TimedOut` at the call's deadline.
        """
        if len(self.waiting) >= self._queue:
            self.refused += 1
            raise self._refusal(f" and {self._queue} wait" if self._queue else "")
        begun = kit.now()
        if call.deadline is not None and call.deadline <= begun:
            raise TimedOut(0.0, limit="deadline", queued=True)
        turn: Future[str] = kit.loop.create_future()
        timer = self._alarm(turn, begun, call.deadline, kit)
        self.waiting[turn] = weight
        try:
            if kit.emit is not None:
                kit.emit(Waiting(call, "queue", self._max_wait, begun))
            brought = await turn
        except BaseException:  # a cancellation, or the coroutine is closed
            self._withdraw(turn, weight)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            waited = kit.now() - begun
            attempt = call.attempt
            attempt.waited += waited
            attempt.notes["wait.queue"] = attempt.notes.get("wait.queue", 0.0) + waited
        if brought == _OVERDUE:
            raise TimedOut(waited, limit="deadline", queued=True)
        if brought == _LATE:
            self.refused += 1
            raise self._refusal(f" and none ended within {self._max_wait} s")

    def status(self) -> dict[str, Any]:
        return {"limit": self.limit, "busy": self.busy, "waiting": len(self.waiting), "refused": self.refused}

    def _alarm(self, turn: Future[str], begun: float, deadline: float | None, kit: Kit) -> TimerHandle | None:
        """A timer for the first of the two ends of the wait, if it has any."""
        late = None if self._max_wait is None else begun + self._max_wait
        if deadline is not None and (late is None or deadline < late):
            return kit.loop.call_at(deadline, self._end, turn, _OVERDUE)
        return None if late is None else kit.loop.call_at(late, self._end, turn, _LATE)

    def _end(self, turn: Future[str], why: str) -> None:
        """The time of one who waits is up."""
        if not turn.done():
            turn.set_result(why)
            del self.waiting[turn]
            if self.waiting:  # who stood behind it may take less
                turn.get_loop().call_soon(self.admit)  # not now: the time of others is up in this very tick

    def _withdraw(self, turn: Future[str], weight: int) -> None:
        """One who waited does not come."""
        if turn.done() and not turn.cancelled() and turn.result() == _IN:
            self.busy -= weight  # it was let in, in the very tick of its cancellation
        self.waiting.pop(turn, None)
        self.admit()

    def _refusal(self, more: str) -> BulkheadFull:
        of = f" of {self._name!r}" if self._name else ""
        if self._weighted:
            what = f"{self.busy} of {self.limit} places{of} are taken{more}"
        else:
            what = f"{self.busy} calls{of} are running{more}"
        error = BulkheadFull(what)
        error.policy = self._policy
        return error
