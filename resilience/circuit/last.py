"""How many of the last so many calls failed or were slow, however long ago they ended."""

from __future__ import annotations

from collections import deque

__all__ = ["Last"]


class Last:
    """Counts over the last `most` calls: `calls` (as many as there have been, at most), and `sick` and `slow` ones."""

    __slots__ = ("_results", "calls", "most", "sick", "slow", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self._results: deque[tuple[bool, bool]] = deque()
        self.calls = self.sick = self.slow = 0
        self.used = 0.0  # when the last of them ended

    @property
    def rate(self) -> float:
        """The share of failures, from 0 to 1."""
        return self.sick / self.calls if self.calls else 0.0

    def __str__(self) -> str:
        return f"the last {self.calls} calls"

    def add(self, at: float, sick: bool, slow: bool) -> None:
        """Count one call, which ended at `at`; the eldest is forgotten for it."""
        if self.calls < self.most:
            self.calls += 1
        else:
            was_sick, was_slow = self._results.popleft()
            self.sick -= was_sick
            self.slow -= was_slow
        self._results.append((sick, slow))
        self.sick += sick
        self.slow += slow
        self.used = at

    def clear(self) -> None:
        self.calls = self.sick = self.slow = 0
        self._results.clear()

    def catch_up(self, at: float) -> None:
        """Nothing grows old here."""

    def new_clock(self) -> None:
        """Nor does it matter by which clock."""
