"""One armed loop timer for all calls that were granted the same time.

Calls of one length expire in the order in which they begin, so a table in insertion order and a single
`loop.call_at` serve them all: entering costs a dict insert where `asyncio.timeout` costs a timer. Only a call whose
deadline cuts its time shorter gets a timer of its own.

Before a call is declared late, the loop is given the chance to deliver what has already arrived: one turn in the
ordinary case, a few after a stall of the loop, so that our own delay is not taken for the other side's. A result that
is ready in the same tick is therefore kept, which `asyncio.timeout` does not promise.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Handle, TimerHandle, current_task
from collections.abc import Callable

from .errors import TimedOut

__all__ = ["CancelledError", "Expiry", "Lane", "alarm"]

_STALL = 0.05  # seconds that a timer may ring late before we call it a stall of the loop
_TURNS = 1
_TURNS_AFTER_STALL = 4
_MOST_TURNS = 32
_RESOLUTION = 1e-6


class Expiry:
    """One call under a timer. `end` must be called however the call ends; `ours` tells whose the cancellation was."""

    __slots__ = ("_cancelling", "_expired", "_handle", "_lane", "_task", "_turns", "at")

    def __init__(self, lane: Lane, at: float) -> None:
        task = current_task(lane.loop)
        if task is None:
            raise RuntimeError("a timeout needs a running task: await the guarded function inside one")
        self.at = at
        self._lane = lane
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        self._handle: Handle | None = None

    @property
    def granted(self) -> float:
        """Seconds from the beginning to the expiry."""
        return self._lane.seconds

    @property
    def limit(self) -> str:
        """Whose time this is: ``"timeout"`` for a lane's, ``"deadline"`` for one cut shorter."""
        return self._lane.limit

    def ring(self) -> None:
        """The time is up: look once more for a result, then cancel the task."""
        late = self._lane.loop.time() - self.at > _STALL
        self._turns = _TURNS_AFTER_STALL if late else _TURNS
        self._handle = self._lane.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        waiter = getattr(self._task, "_fut_waiter", None)
        ready = waiter is not None and waiter.done()  # what it waits for is there: it only has to run
        if self._turns > 0 or (ready and self._turns > -_MOST_TURNS):
            self._handle = self._lane.loop.call_soon(self._turn)
            return
        self._handle = None
        self._expired = True
        self._task.cancel()

    def ours(self) -> bool:
        """Whether the `CancelledError` just caught is this timer's own, and nobody else cancelled as well."""
        if not self._expired:
            return False
        self._expired = False
        return self._task.uncancel() <= self._cancelling

    def end(self) -> None:
        """Stop counting, once. Takes back a cancellation that was requested but came to nothing."""
        self._lane.live.pop(self, None)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._expired:
            self._expired = False
            self._task.uncancel()
        del self._task  # else task, error, traceback, frame and this would be a cycle


class Lane:
    """All calls of one event loop that were granted `seconds`."""

    __slots__ = ("_handle", "_now", "limit", "live", "loop", "seconds")

    def __init__(
        self, seconds: float, loop: AbstractEventLoop, now: Callable[[], float], limit: str = "timeout"
    ) -> None:
        self.seconds = seconds
        self.loop = loop
        self.limit = limit
        self.live: dict[Expiry, None] = {}
        self._now = now
        self._handle: TimerHandle | None = None

    def begin(self, deadline: float | None) -> Expiry:
        """Start the time of the current task: `seconds` from now, or until the deadline if that comes first."""
        at = self._now() + self.seconds
        if deadline is not None and deadline < at:
            return alarm(self.loop, deadline)
        expiry = Expiry(self, at)
        self.live[expiry] = None
        if self._handle is None:
            self._handle = self.loop.call_at(at, self._ring)
        return expiry

    def _ring(self) -> None:
        self._handle = None
        due = self.loop.time() + _RESOLUTION
        while self.live:
            first = next(iter(self.live))
            if first.at > due:
                self._handle = self.loop.call_at(first.at, self._ring)
                return
            del self.live[first]
            first.ring()


def alarm(loop: AbstractEventLoop, at: float) -> Expiry:
    """A timer of its own for the current task, for a deadline that fits no lane. Raises `TimedOut` if it has passed."""
    granted = at - loop.time()
    if granted <= 0:
        raise TimedOut(None, limit="deadline", queued=True)
    expiry = Expiry(Lane(granted, loop, loop.time, "deadline"), at)
    expiry._handle = loop.call_at(at, expiry.ring)
    return expiry
