"""What the last minute added to counts that only ever grow.

Once a second, with the first record of that second, it is noted how far they had come; the last minute is then the
difference of two such marks, and whoever counts pays for a comparison.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from operator import sub
from typing import NamedTuple, Protocol

from .histograms import quantiles

__all__ = ["SECONDS", "Counts", "Mark", "Minute", "Recent"]

SECONDS = 60
QUANTILES = (0.5, 0.9, 0.99, 0.999)
_COPY_EVERY = 10  # seconds: copies of a histogram are large
_FRESH = 1.0  # seconds for which percentiles are good enough
_NONE: tuple[float | None, ...] = (None,) * len(QUANTILES)


class Mark(NamedTuple):
    """How far something had come. Floats where it counts samples.

    `errors` are calls that ended neither well nor by the caller's own wish; `good` and `bad` are attempts that went out
    and were answered well, or not; `attempts` are all of them. `seconds` in calls, `backoff` of those.
    """

    calls: float = 0
    ok: float = 0
    errors: float = 0
    cancelled: float = 0
    good: float = 0
    bad: float = 0
    attempts: float = 0
    seconds: float = 0.0
    backoff: float = 0.0

    def __sub__(self, other: Mark) -> Mark:
        return Mark._make(map(sub, self, other))

    @property
    def effective(self) -> float | None:
        """The share of calls that succeeded; those that their callers gave up say nothing."""
        ended = self.calls - self.cancelled
        return self.ok / ended if ended > 0 else None

    @property
    def actual(self) -> float | None:
        """The share of attempts that succeeded, of those that went out and came back."""
        answered = self.good + self.bad
        return self.good / answered if answered > 0 else None


class Counts(Protocol):
    """Whatever is counted: how far it has come, and the cells of its fine histogram of durations."""

    def mark(self) -> Mark: ...

    def cells(self) -> Sequence[float]: ...


class Minute(NamedTuple):
    """What the last minute added; calls and errors of each of its seconds, the newest last."""

    added: Mark
    rate: list[float]
    errors: list[float]


class Recent:
    """The last minute of one thing. Times are on a clock of its owner's, in seconds.

    `due` is when `turn` wants to be called next, before anything is added. `percentiles` are in milliseconds, for
    `QUANTILES`; they and `cells`, the minute's histogram, are worked out once a second, when `minute` is asked.
    """

    __slots__ = ("_copied", "_copy_at", "_counts", "_errors", "_fresh_until", "_last", "_marks", "_rate", "cells",
                 "due", "percentiles")  # fmt: skip

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._marks: deque[tuple[Mark, list[float]]] = deque(maxlen=SECONDS)
        self._rate: deque[float] = deque(repeat(0, SECONDS - 1), SECONDS - 1)  # of the seconds that are over
        self._errors: deque[float] = deque(repeat(0, SECONDS - 1), SECONDS - 1)
        self._last = Mark()
        self._copied: list[float] = []
        self.due = self._copy_at = self._fresh_until = -math.inf
        self.cells: Sequence[float] = ()
        self.percentiles = _NONE

    def turn(self, now: float) -> Mark:
        """A new second: note how far it has come, for each second since the last time. Returns that."""
        mark, second = self._counts.mark(), math.floor(now)
        if self.due == -math.inf:
            missed = SECONDS
        else:
            missed = min(SECONDS, int(second - self.due) + 1)
            before = self._last
            for line, added in ((self._rate, mark.calls - before.calls), (self._errors, mark.errors - before.errors)):
                line.append(added)
                line.extend(repeat(0, missed - 1))
        if second >= self._copy_at:
            self._copy_at, self._copied = second + _COPY_EVERY, list(self._counts.cells())
        self._marks.extend(repeat((mark, self._copied), missed))
        self._last = mark
        self.due = second + 1
        return mark

    def minute(self, now: float) -> Minute:
        """The last minute as it stands now."""
        mark = self.turn(now) if now >= self.due else self._counts.mark()
        before, first = self._last, self._marks[0]
        added = mark - first[0]
        if not added.calls:
            self.cells, self.percentiles = (), _NONE
        elif now >= self._fresh_until:
            self._fresh_until = now + _FRESH
            self.cells = list(map(sub, self._counts.cells(), first[1]))
            self.percentiles = tuple(quantiles(self.cells, *QUANTILES))
        rate = [*self._rate, mark.calls - before.calls]
        return Minute(added, rate, [*self._errors, mark.errors - before.errors])
