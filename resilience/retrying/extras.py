"""How many extra requests (retries, hedges) are within measure: pure arithmetic, told the time, in seconds.

`Extras` keeps a share of the calls in every window; `Quota` is the purse of tokens of the AWS SDKs. Both answer
`take` with what the extra request costs, 0 where it is not to be sent.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

__all__ = ["Extras", "Quota", "Sparse", "extras"]

_FEWEST = 10  # a burst of fewer would waste more than a tenth of the share: see `Extras`
_MARKS = 40  # in a window
_ROUNDING = 1e-6  # sums of a share such as 0.1 are not exact
_LONGER = 1 + 1e-9  # so that an extra which somebody else, rounding, finds in the window counts
_SHORTER = 1 - 2e-9  # and a call which he does not find in it does not


def extras(ratio: float, floor: float, window: float) -> Extras:
    """The arithmetic for "at most `ratio` of the calls, or `floor`, in any `window` seconds"."""
    return (Sparse if floor < _FEWEST else Extras)(ratio, floor, window)


class Extras:
    """In any window of `window` seconds, at most the larger of `ratio` of the calls begun in it and `floor` extras.

    In *any* window, wherever it lies, and so in the first second of an outage too; a log that is only asked what was
    sent in the last ten seconds, like a bucket that has filled meanwhile, lets the share of ten seconds go in one.

    The surprising part is that calls need no clock. The fullest windows begin with an extra request, so each of these
    remembers how many calls had begun. From then on `n` extras (itself included) are too many if n > floor and
    n > ratio * (calls since), which in numbers counted from the beginning is: `ratio * begun - scheduled` may not fall
    below what it was then. So the largest of those values among the extras of the last `window` seconds (but for the
    last `floor`, which are free) is all that the next one is compared with, and `floor` pairs are all that is kept.
    """

    __slots__ = ("_burst", "_last", "_older", "_ratio", "_recent", "_window", "begun", "refused", "scheduled")

    def __init__(self, ratio: float, floor: float, window: float) -> None:
        self._ratio = ratio
        self._window = window * _LONGER
        self._burst = max(math.floor(floor), _FEWEST)
        self.begun = 0  # calls; whoever begins one adds to it
        self.scheduled = self.refused = 0
        self._last = -math.inf
        # Of the extras of the window: until when each counts, and how much of the share it left.
        self._recent: deque[tuple[float, float]] = deque()  # the last of them, fewer than a burst
        self._older: deque[tuple[float, float]] = deque()  # those before that are not outdone by a later one

    def begin(self, now: float) -> None:
        """A call begins. (Where the floor is not small, ``begun += 1`` is all.)"""
        self.begun += 1

    def take(self, now: float, throttled: bool = False) -> int:
        """Schedule one extra request, if that is within measure."""
        self._forget(now)
        left = self._ratio * self.begun - self.scheduled - 1
        older = self._older
        if older and left < older[0][1] + 1 - _ROUNDING:
            self.refused += 1
            return 0
        self.scheduled += 1
        self._recent.append((now + self._window, left))
        if len(self._recent) >= self._burst:
            entry = self._recent.popleft()
            while older and older[-1][1] <= entry[1]:
                older.pop()
            older.append(entry)
        return 1

    def succeeded(self, cost: int) -> None:
        """A call succeeded whose last extra request cost so much. Nothing is given back: the window forgets."""

    def balance(self, now: float) -> float:
        """About how many extra requests would be granted now; 0 if and only if the next would be refused."""
        self._forget(now)
        if not self._older:
            return self._burst - len(self._recent)
        left = self._ratio * self.begun - self.scheduled - self._older[0][1]
        return max(0, math.floor(left - 1 + _ROUNDING))

    def limit(self, now: float) -> float:
        """The balance of a quiet time. Where many calls justify more extra requests, the balance is above it."""
        return self._burst

    def idle(self, now: float) -> bool:
        """Whether nothing that happened so far matters any more."""
        self._forget(now)
        return not self._recent

    def status(self, now: float) -> dict[str, Any]:
        """Calls, extra requests scheduled and refused so far, and how many would be granted now."""
        counts = {"calls": self.begun, "scheduled": self.scheduled, "refused": self.refused}
        return {**counts, "balance": self.balance(now)}

    def _forget(self, now: float) -> None:
        """Drop what has left the window. On the clock of another loop everything begins anew."""
        if now < self._last:
            self._recent.clear()
            self._older.clear()
        self._last = now
        for entries in (self._older, self._recent):
            while entries and entries[0][0] < now:
                entries.popleft()


class Sparse(Extras):
    """The same where the floor is small, even 0, so that the calls of the window itself have to be known.

    Bursts of ten are allowed as far as the calls justify them. The clock is read at each call, and now and then a mark
    is made: when, how many calls, how many extras until then. Between two marks calls count as early and extras as late
    as they may have been.
    """

    __slots__ = ("_floor", "_marks", "_next")

    def __init__(self, ratio: float, floor: float, window: float) -> None:
        super().__init__(ratio, floor, window)
        self._floor = floor
        self._marks: deque[tuple[float, int, int]] = deque()
        self._next = -math.inf

    def begin(self, now: float) -> None:
        self._mark(now)
        self.begun += 1

    def take(self, now: float, throttled: bool = False) -> int:
        self._mark(now)
        if self.balance(now) < 1:
            self.refused += 1
            return 0
        return super().take(now)

    def balance(self, now: float) -> float:
        calls, sent = self._within(now)
        return min(super().balance(now), max(0, self._allowed(calls) - sent))

    def limit(self, now: float) -> float:
        return min(self._burst, self._allowed(self._within(now)[0]))

    def _allowed(self, calls: int) -> int:
        """Extra requests in a window in which so many calls began."""
        return math.floor(max(self._ratio * calls + _ROUNDING, self._floor))

    def _mark(self, now: float) -> None:
        """Make a mark, unless the last one is young, or of a clock that was ahead."""
        if now >= self._next or now < self._last:
            self._forget(now)
            self._marks.append((now, self.begun, self.scheduled))
            self._next = now + self._window / _MARKS

    def _within(self, now: float) -> tuple[int, int]:
        """Calls (at the least) and extras (at the most) of the window that ends now."""
        marks, begins = self._marks, now - self._window * _SHORTER
        while len(marks) > 1 and marks[1][0] <= begins:
            marks.popleft()
        if not marks:
            return 0, 0
        at, begun, scheduled = marks[0]
        if at <= begins:  # the window begins after it, and before the next: is that known to be a quiet time?
            _, begun, later = marks[1] if len(marks) > 1 else (now, self.begun, self.scheduled)
            if now - self._window >= at + self._window / _MARKS:
                scheduled = later
        return self.begun - begun, self.scheduled - scheduled

    def _forget(self, now: float) -> None:
        if now < self._last:
            self._marks.clear()
        super()._forget(now)


class Quota:
    """The retry quota of the AWS SDKs ("standard" mode): each retry is paid for, and a success gives the price back.

    `cost` pays for a retry, `throttle` for one after a THROTTLED; a success returns what the call's last retry cost, or
    `success` where there was none. It knows no time: after an outage it is earned back by calls that succeed.
    """

    __slots__ = ("_cost", "_most", "_success", "_throttle", "begun", "left", "refused", "scheduled")

    def __init__(self, tokens: int, cost: int, throttle: int, success: int) -> None:
        self._most = self.left = tokens
        self._cost, self._throttle, self._success = cost, throttle, success
        self.begun = self.scheduled = self.refused = 0

    def begin(self, now: float) -> None:
        """A call begins, which the quota does not count."""

    def take(self, now: float, throttled: bool = False) -> int:
        """Pay for one extra request, if there is enough left."""
        cost = self._throttle if throttled else self._cost
        if cost > self.left:
            self.refused += 1
            return 0
        self.left -= cost
        self.scheduled += 1
        return cost

    def succeeded(self, cost: int) -> None:
        """A call succeeded whose last extra request cost so much, 0 if there was none."""
        self.left = min(self._most, self.left + (cost or self._success))

    def balance(self, now: float) -> float:
        """The tokens left."""
        return self.left

    def limit(self, now: float) -> float:
        """The tokens of a full purse."""
        return self._most

    def idle(self, now: float) -> bool:
        """Whether nothing that happened so far matters any more."""
        return self.left == self._most

    def status(self, now: float) -> dict[str, Any]:
        """Extra requests scheduled and refused so far, and the tokens left."""
        return {"scheduled": self.scheduled, "refused": self.refused, "balance": self.left}
