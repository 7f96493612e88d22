"""One armed loop timer for all calls that were granted the same time.

Calls of one length expire in the order in which they begin, so a table in insertion order and a single
`loop.call_at` serve them all: entering costs a dict insert where `asyncio.timeout` costs a timer. An `Expiry` is made
only for a call whose time has come, and for one whose deadline cuts its time shorter, which gets a timer of its own.

Before a call is declared late, the loop is given the chance to deliver what has already arrived: one turn in the
ordinary case, a few after a stall of the loop, so that our own delay is not taken for the other side's. A result that
is ready in the same tick is therefore kept, which `asyncio.timeout` does not promise.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Handle, Task, TimerHandle, current_task, get_running_loop
from collections.abc import Callable
from typing import Any

from ..call import Call, Handler
from ..errors import TimedOut

__all__ = ["Expiry", "Lane", "until"]

_STALL = 0.05  # seconds that a timer may ring late before we call it a stall of the loop
_TURNS = 1
_TURNS_AFTER_STALL = 4
_MOST_TURNS = 32
_RESOLUTION = 1e-6


class Expiry:
    """The time of one task that is up, or about to be: it cancels the task, and tells later whose cancellation it was.

    `cancelling` is how many cancellations of the task had been asked for when its time began.
    """

    __slots__ = ("_at", "_cancelling", "_expired", "_handle", "_loop", "_task", "_turns")

    def __init__(self, loop: AbstractEventLoop, at: float, task: Task[Any], cancelling: int) -> None:
        self._loop = loop
        self._at = at
        self._task = task
        self._cancelling = cancelling
        self._expired = False
        self._handle: Handle | None = None

    def arm(self) -> None:
        """Ring by itself, with a timer of its own."""
        self._handle = self._loop.call_at(self._at, self.ring)

    def ring(self) -> None:
        """The time is up: look once more for a result, then cancel the task."""
        late = self._loop.time() - self._at > _STALL
        self._turns = _TURNS_AFTER_STALL if late else _TURNS
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        waiter = getattr(self._task, "_fut_waiter", None)
        ready = waiter is not None and waiter.done()  # what it waits for is there: it only has to run
        if self._turns > 0 or (ready and self._turns > -_MOST_TURNS):
            self._handle = self._loop.call_soon(self._turn)
            return
        self._handle = None
        self._expired = True
        self._task.cancel()

    def end(self, error: BaseException | None = None) -> bool:
        """Stop counting, once, and take back a cancellation that was requested.

        True if `error` is this timer's own cancellation, and nobody else asked for one meanwhile.
        """
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if not self._expired:
            return False
        self._expired = False
        return self._task.uncancel() <= self._cancelling and isinstance(error, CancelledError)


class Lane:
    """All calls of one event loop that were granted `seconds`.

    A call that begins is put into `live`, and one that ends well is taken out again by whoever put it there; if it is
    no longer there, it rang, and `end` is due. A call that ends with an error is always told to `end`.
    """

    __slots__ = ("_rung", "_timer", "live", "loop", "seconds")

    def __init__(self, seconds: float, loop: AbstractEventLoop) -> None:
        self.seconds = seconds
        self.loop = loop
        self.live: dict[Call, tuple[float, Task[Any], int]] = {}  # in the order in which they expire
        self._rung: dict[Call, Expiry] = {}
        self._timer: TimerHandle | None = None

    def begin(self, call: Call, at: float) -> None:
        """Cancel the running task at `at`, `seconds` from now, unless the call has left `live` by then."""
        task = current_task(self.loop)
        if task is None:
            raise RuntimeError("a timeout needs a running task: await the guarded function inside one")
        self.live[call] = at, task, task.cancelling()
        if self._timer is None:
            self._timer = self.loop.call_at(at, self._ring)

    def end(self, call: Call, error: BaseException | None = None) -> bool:
        """True if `error` is the cancellation for which this lane asked: the call is late."""
        if self.live.pop(call, None) is not None:
            return False
        expiry = self._rung.pop(call, None)
        return expiry is not None and expiry.end(error)

    def _ring(self) -> None:
        self._timer = None
        due = self.loop.time() + _RESOLUTION
        while self.live:
            call = next(iter(self.live))
            at, task, cancelling = self.live[call]
            if at > due:
                self._timer = self.loop.call_at(at, self._ring)
                return
            del self.live[call]
            self._rung[call] = expiry = Expiry(self.loop, at, task, cancelling)
            expiry.ring()


async def until(deadline: float, next: Handler, call: Call, sent: Callable[[Call], bool]) -> Any:
    """``next(call)``, cut off at a deadline that fits no lane. Raises `TimedOut`; at once if it has passed.

    `sent` tells whether the call may have sent anything when it was cut off.
    """
    loop = get_running_loop()
    granted = deadline - loop.time()
    if granted <= 0:
        raise TimedOut(None, limit="deadline", queued=True)
    task = current_task(loop)
    if task is None:
        raise RuntimeError("a timeout needs a running task: await the guarded function inside one")
    expiry = Expiry(loop, deadline, task, task.cancelling())
    expiry.arm()
    try:
        result = await next(call)
    except BaseException as error:
        if expiry.end(error):
            raise TimedOut(granted, limit="deadline", sent=sent(call)) from None
        raise
    finally:
        expiry.end()
        del task, expiry  # else error, traceback, frame and task would be a cycle
    return result
