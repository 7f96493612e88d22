"""The arithmetic of client-side throttling: how many calls were made lately, how many the target accepted.

B. Beyer and others, "Site Reliability Engineering" (2016), chapter 21, "Handling Overload": refuse a call with the
probability ``max(0, (requests - K * accepts) / (requests + 1))``, counted over a sliding window. What we refuse
ourselves is a request too, so the more we refuse the fewer get through, down to K for each that is accepted.

Taken alone that starves. After an outage no call of the window was accepted, one call in a window is let through, and
its success moves the share of accepted calls by next to nothing: hence `floor`, a share that always gets through.

Ten buckets, of which the eldest is forgotten as a whole. No clock, no dice: methods are told the time.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Throttle"]

_BUCKETS = 10


class Throttle:
    """Calls of the last `window` seconds: `requests`, ours and refused ones, and `accepts` among them.

    Whoever counts first catches up with the time, then adds to the two numbers. A result counts for 90 to 100 % of the
    window. Nothing is refused below `fewest` requests, and never more than a share of ``1 - floor``.
    """

    __slots__ = ("_fewest", "_most", "_old", "_width", "accepts", "begins", "ends", "requests")

    def __init__(self, window: float, floor: float, fewest: int) -> None:
        self._width = window / _BUCKETS
        self.become(floor, fewest)
        self._old: deque[tuple[int, int]] = deque(maxlen=_BUCKETS - 1)
        self.requests = self.accepts = 0
        self.begins = self.ends = math.inf  # of the current bucket

    def become(self, floor: float, fewest: int) -> None:
        """Refuse by other bounds from now on."""
        self._most = 1.0 - floor
        self._fewest = fewest

    def refusal(self, k: float) -> float:
        """The probability, from 0 to 1, with which a call is to be refused: none up to `k` requests an accept."""
        requests = self.requests
        if requests < self._fewest:
            return 0.0
        return min(max(0.0, (requests - k * self.accepts) / (requests + 1)), self._most)

    def catch_up(self, at: float) -> None:
        """Forget what is too old at `at`, in seconds; on a clock that begins anew everything is of that moment."""
        if not self.begins <= at < self.ends:
            self._turn(at)

    def _turn(self, at: float) -> None:
        old, width = self._old, self._width
        if at < self.begins:  # the first, or the clock of another loop
            old.clear()
            self.begins = at
        else:
            passed = max(1, int((at - self.begins) / width))
            old.append((self.requests - sum(n for n, _ in old), self.accepts - sum(n for _, n in old)))
            old.extend([(0, 0)] * (min(passed, _BUCKETS) - 1))
            self.requests = sum(n for n, _ in old)
            self.accepts = sum(n for _, n in old)
            self.begins = min(at, self.begins + passed * width)  # the sum may round past `at`
        self.ends = self.begins + width
