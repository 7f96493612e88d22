"""How many calls ended in the last so many seconds, and how many of them failed or were slow.

Ten buckets, of which the eldest is forgotten as a whole: a result counts for 90 to 100 % of the window, and never
longer. A success costs one store; nothing is allocated before a bucket ends.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

__all__ = ["Window"]

_BUCKETS = 10


class Window:
    """Counts over the last `seconds`: `calls`, and `sick` and `slow` ones among them.

    Whoever counts a plain success first asks for the time to be caught up with, then adds to `calls`; `add` does both.
    """

    __slots__ = ("_old", "_used", "_width", "begins", "calls", "ends", "sick", "slow")

    most = math.inf
    """How many calls it can hold."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._old: deque[tuple[int, int, int]] = deque(maxlen=_BUCKETS - 1)
        self.calls = self.sick = self.slow = 0
        self._used = 0.0
        self.begins = self.ends = 0.0  # of the current bucket, on the loop's clock

    @property
    def rate(self) -> float:
        """The share of failures, from 0 to 1."""
        return self.sick / self.calls if self.calls else 0.0

    def __str__(self) -> str:
        return f"{self.calls} calls"

    def add(self, at: float, sick: bool, slow: bool) -> None:
        """Count one call that ended at `at`."""
        self.catch_up(at)
        self.calls += 1
        self.sick += sick
        self.slow += slow

    def clear(self) -> None:
        self.calls = self.sick = self.slow = 0
        self._old.clear()

    def new_clock(self) -> None:
        """Have the next who counts turn to a new bucket, by whatever clock."""
        self.ends = -math.inf

    def catch_up(self, at: float) -> None:
        """Forget what is too old at `at`, the time on the loop's clock."""
        if not self.begins <= at < self.ends:
            self.turn(at)

    @property
    def used(self) -> float:
        """When something was last counted, to within a bucket: that bucket's end. Looking does not count."""
        return self.ends if self.calls > sum(calls for calls, _, _ in self._old) else self._used

    def turn(self, at: float) -> None:
        """Begin the bucket in which `at` lies. After a pause, or on the clock of another loop, one begins at `at`."""
        passed = max(1, int((at - self.begins) / self._width))
        self._used = self.used
        if at < self.begins or passed >= _BUCKETS or not self.calls:
            self.clear()
            self.begins = at
        else:
            old = self._old
            calls, sick, slow = _sums(old)
            old.append((self.calls - calls, self.sick - sick, self.slow - slow))
            old.extend([(0, 0, 0)] * (passed - 1))
            self.calls, self.sick, self.slow = _sums(old)
            self.begins = min(at, self.begins + passed * self._width)  # the sum may round past `at`
        self.ends = self.begins + self._width


def _sums(buckets: Iterable[tuple[int, int, int]]) -> list[int]:
    """All calls, sick ones and slow ones."""
    return [sum(bucket[i] for bucket in buckets) for i in range(3)]
