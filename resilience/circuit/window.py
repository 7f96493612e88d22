"""How many calls ended in the last so many seconds, and how many of them failed.

Ten buckets, of which the eldest is forgotten as a whole: a result counts for 90 to 100 % of the window, and never
longer. A success costs one store; nothing is allocated before a bucket ends.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Window"]

_BUCKETS = 10


class Window:
    """Counts over the last `seconds`: `calls`, and `sick` among them.

    Whoever counts first asks for the time to be caught up with, then adds to the two numbers.
    """

    __slots__ = ("_old", "_width", "begins", "calls", "ends", "sick")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._old: deque[tuple[int, int]] = deque(maxlen=_BUCKETS - 1)
        self.calls = self.sick = 0
        self.begins = self.ends = 0.0  # of the current bucket, on the loop's clock

    @property
    def rate(self) -> float:
        """The share of failures, from 0 to 1."""
        return self.sick / self.calls if self.calls else 0.0

    def clear(self) -> None:
        self.calls = self.sick = 0
        self._old.clear()

    def catch_up(self, at: float) -> None:
        """Forget what is too old at `at`, the time on the loop's clock."""
        if not self.begins <= at < self.ends:
            self.turn(at)

    def turn(self, at: float) -> None:
        """Begin the bucket in which `at` lies. After a pause, or on the clock of another loop, one begins at `at`."""
        passed = max(1, int((at - self.begins) / self._width))
        if at < self.begins or passed >= _BUCKETS or not self.calls:
            self.clear()
            self.begins = at
        else:
            old = self._old
            old.append((self.calls - sum(calls for calls, _ in old), self.sick - sum(sick for _, sick in old)))
            old.extend([(0, 0)] * (passed - 1))
            self.calls = sum(calls for calls, _ in old)
            self.sick = sum(sick for _, sick in old)
            self.begins = min(at, self.begins + passed * self._width)  # the sum may round past `at`
        self.ends = self.begins + self._width
