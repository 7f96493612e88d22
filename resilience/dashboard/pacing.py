"""Not too much at once, so that the dashboard costs a call less than a millisecond: on the event loop, and beside it.

A bound on how many requests run at once does not help calls: two hundred short ones that come together still take the
event loop for a tenth of a second, and a thread that works keeps the interpreter from it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

__all__ = ["Courtesy", "Pace", "Stride"]

_STINT = 0.000_3  # seconds
_MOST = 0.05  # seconds

Stride: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]
"""Goes through what is given, in its own time: `iter`, or a `Courtesy`."""


class Pace:
    """After a burst, things have their turn one after another, `gap` seconds apart, in the order in which they came.

    The gap begins when the last turn was had, not when it was due: what a busy loop is late with does not then come all
    at once. What is larger than others takes several turns, such as bytes, of which each is one.
    """

    def __init__(self, burst: int, gap: float) -> None:
        self.burst, self.gap = burst, gap
        self._stock = float(burst)  # turns that may be had at once, at the time `_at`
        self._at = 0.0
        self._queue: deque[tuple[Callable[[], object], int]] = deque()

    def soon(self, what: Callable[[], object], turns: int = 1) -> None:
        """Call this when its turn has come, which may be now."""
        if self._queue:
            self._queue.append((what, turns))
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._stock = min(self._stock + (now - self._at) / self.gap, self.burst)
        self._at = now
        if self._stock >= 1:
            self._stock -= turns
            what()
        else:
            self._queue.append((what, turns))
            loop.call_later((1 - self._stock) * self.gap, self._next)

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        what, turns = self._queue[0]
        try:
            what()
        finally:
            self._queue.popleft()  # only now: what comes meanwhile waits
            self._stock, self._at = 1.0 - turns, loop.time()
            if self._queue:
                loop.call_later(turns * self.gap, self._next)

    async def turn(self, turns: int = 1) -> None:
        """Wait for the next turn, and take so many."""
        come = asyncio.Event()
        self.soon(come.set, turns)
        await come.wait()


class Courtesy:
    """How a thread goes through many things beside an event loop: after each stint the loop has a turn.

    Without it the thread keeps the interpreter for 5 ms (`sys.getswitchinterval`) each time that the loop lets go of
    it, and the loop does that whenever it reads from, or writes to, a connection. A pause of fixed length is no help:
    a short one is over before the loop has woken up, and a long one is lost where the loop has nothing to do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        due = time.perf_counter() + _STINT
        for item in items:
            yield item
            if time.perf_counter() > due:
                self._give_way()
                due = time.perf_counter() + _STINT

    def _give_way(self) -> None:
        turn = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turn.set)
        except RuntimeError:  # the loop has ended meanwhile
            return
        turn.wait(_MOST)
