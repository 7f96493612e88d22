"""The limit of one gate: windows of calls, told to an algorithm and to the guard.

A window lasts a round trip (0.1 s at least) and until 20 calls have ended in it. The limit moves once in a window, as
TCP's does once in a round trip: what is seen sooner was not caused by the last move. For the same reason a drop counts
only if its call began after the last one that counted.
"""

from __future__ import annotations

import math

from .algorithms import Algorithm
from .guard import Guard

__all__ = ["Controller"]

_LEAST_CALLS = 20
_LEAST_SECONDS = 0.1
_LEAST_RTT = 1e-9  # a clock may stand still over a whole window
_BACK = 0.96  # what the guard leaves of a limit, in each window, while more calls only wait


class Controller:
    """`limit`, always from `least` to `most`; it grows only while it is used: at least half of it, at some moment.

    `rtt` is the mean round trip of the last window in seconds, 0 before the first; `drops` counts those that counted.
    """

    __slots__ = (
        "_algorithm", "_count", "_exact", "_flight", "_guard", "_least", "_most", "_peak", "_reduced", "_total",
        "_until", "drops", "limit", "rtt",
    )  # fmt: skip

    _count: int  # calls that ended in this window; below, what they say in sum and at most
    _total: float
    _flight: int
    _peak: int
    _until: float

    def __init__(self, algorithm: Algorithm, initial: int, least: int, most: int) -> None:
        self._algorithm = algorithm
        self._guard = Guard()
        self._exact = float(initial)
        self._least, self._most = float(least), float(most)
        self.limit = initial
        self.rtt = 0.0
        self.drops = 0
        self.restart()

    @property
    def base(self) -> float:
        """The round trip without a queue in seconds, as the algorithm believes; 0 while it has no belief."""
        return self._algorithm.base

    def restart(self) -> None:
        """Begin a new window, on another clock."""
        self._reduced = -math.inf
        self._open(-math.inf)

    def become(self, algorithm: Algorithm | None, least: int, most: int) -> None:
        """Go on within other bounds, and with another algorithm if one is given."""
        if algorithm is not None:
            self._algorithm, self._guard = algorithm, Guard()
        self._least, self._most = float(least), float(most)
        self._move(self._exact)

    def ended(self, rtt: float, in_flight: int, at: float) -> bool:
        """A call was answered at `at`, after `rtt` seconds; `in_flight` were under way as it began, with itself.

        Says whether the limit has moved.
        """
        self._count += 1
        self._total += rtt
        self._flight += in_flight
        if in_flight > self._peak:
            self._peak = in_flight
        return at >= self._until and self._count >= _LEAST_CALLS and self._close(at)

    def dropped(self, rtt: float, at: float) -> bool:
        """A call came to nothing, for what may have been too many at once. Says whether the limit has moved."""
        if at - rtt <= self._reduced:
            return False
        self._reduced = at
        self.drops += 1
        return self._move(self._algorithm.drop(self._exact))

    def _open(self, until: float) -> None:
        self._count = self._flight = self._peak = 0
        self._total = 0.0
        self._until = until

    def _close(self, at: float) -> bool:
        rtt = self.rtt = max(_LEAST_RTT, self._total / self._count)
        in_flight, peak = self._flight / self._count, self._peak
        self._open(at + max(_LEAST_SECONDS, rtt))
        wanted = self._algorithm.window(self._exact, rtt)
        if 2 * peak < self.limit:
            return False  # whatever the latency is, it is not the limit's doing
        if peak >= self.limit:
            self._guard.add(in_flight, rtt)
            if self._guard.waits:
                wanted = min(wanted, self._exact * _BACK)
        return self._move(wanted)

    def _move(self, wanted: float) -> bool:
        self._exact = max(self._least, min(self._most, wanted))
        before, self.limit = self.limit, int(self._exact)
        return self.limit != before
