"""The arithmetic of a rate limit: what may be sent now, and the earliest time for what may not.

``n/W`` is a promise: never more than n in *any* window W, as the server sees it. It rests on one thing, a log of what
was sent. A plain GCRA with a burst of n does not keep it: a full burst and the pace that follows let 2n - 1 through in
one window.

The surprising part is that tokens come back after a little more than W. Requests may arrive late, some more and some
less, and what left within 1.03 W can arrive within W; the rest of the 4 % is for the grain of the log and of timers.
Where n is large a pace below n/W spreads the calls as well, so that they do not leave in clumps of n. It is only a
kindness to the server and to the queues beneath; the promise does not need it.

Who is in a hurry takes from the *allotment*: what may go until the present grain of the log ends is counted as sent
when the grain begins, so that a send is one comparison and one subtraction (`left`, `until`). Whatever else happens
gives the rest back first; what is forgotten errs on the safe side.

No clock, no tasks: every method is told the time, in seconds of any clock that does not go back.
"""

from __future__ import annotations

import itertools
import math
from bisect import insort

from .past import Past

__all__ = ["Entry", "Limiter"]

_LATE = 0.03  # of W: how much later than others a request may arrive
_GRAIN = 0.002  # of W: sends this close together share one entry of the log, so it stays short for any n
_TOLERANCE = 0.004  # of W: how late a granted send may be and still count as sent on time
_OWN = 0.005  # of W: a little more than that
_UNPACED = 20.0  # up to so many tokens may leave at once
_BURST = 0.1  # ... or up to this share of n, if that is more
_PACE = 0.93  # of n/W; with the burst it stays below n in 1.04 W, so in the long run the log has no need to interfere
_LONGEST_REPORT = 60.0  # seconds that one report of the server may bind, if W is not longer: the next reply renews it

Entry = list[float]
"""[when its tokens are back, how many they are]; changed in place."""


class Limiter:
    """One ``n/W``: `count` tokens in any `window` seconds.

    `take` is the question of a call that will not wait. For others `earliest` tells when, and `commit` notes a send.
    """

    __slots__ = (
        "_at", "_back", "_entry", "_full", "_grain", "_log", "_past", "_room", "_seal", "_slack", "_spacing",
        "_span", "count", "last", "left", "paused_until", "tolerance", "until", "window",
    )  # fmt: skip

    def __init__(self, count: float, window: float) -> None:
        self._set(count, window)
        self.forget()

    def _set(self, count: float, window: float) -> None:
        self.count = count
        self.window = window
        self.tolerance = window * _TOLERANCE
        self._full = count * (1 + 1e-9)  # sums of fractions such as 0.1 are not exact
        self._span = window * (1 + _LATE + _OWN)
        self._grain = window * _GRAIN
        self._spacing = window / (count * _PACE) if count > _UNPACED else 0.0
        self._slack = (max(_UNPACED, count * _BURST) - 1) * self._spacing

    def forget(self) -> None:
        """Begin anew, as if nothing had been sent."""
        self._log: list[Entry] = []  # ordered by when tokens are back
        self._back = math.inf  # when the first of them are
        self._room = self._full
        self._past = Past()  # what is no longer in the log
        self._entry: Entry = [-math.inf, 0.0]  # the one that takes sends until `_seal`
        self._seal = -math.inf
        self.last = -math.inf  # when something was sent last, or shortly before: when that entry began
        self._at = -math.inf  # no send before this, by pace and pauses
        self.paused_until = -math.inf
        self.left = 0.0  # of the allotment, which whoever sends before `until` may simply take from
        self.until = -math.inf

    def take(self, cost: float, now: float) -> bool:
        """Send `cost` tokens now, if there is room; otherwise nothing happens."""
        if not self.fits(cost, now):
            return False
        self.send(cost, now)
        return True

    def send(self, cost: float, now: float) -> None:
        """Note `cost` tokens as sent now, which `fits`, and allot what else may be sent in this grain of the log."""
        self.commit(cost, now)
        more = self._room
        if self._spacing:
            more = min(more, (now - self._at) / self._spacing)
        if 0.0 < more < math.inf:
            self.left, self.until = more, self._seal
            self._entry[1] += more
            self._room -= more
            self._at += more * self._spacing

    def close(self) -> None:
        """End the allotment: the next who comes has to ask."""
        self.until = -math.inf
        left = self.left
        if left:
            self.left = 0.0
            self._entry[1] -= left
            self._room += left
            self._at -= left * self._spacing

    def fits(self, cost: float, now: float) -> bool:
        """Whether `cost` tokens may be sent now."""
        self.close()
        if now >= self._back:
            self._return(now)
        return now >= self._at and 0.0 <= cost <= self._room

    def commit(self, cost: float, now: float) -> Entry:
        """Note `cost` tokens as sent now, which `fits`. Returns what `undo` wants."""
        self.close()
        if now >= self._back:
            self._return(now)
        self._at = max(self._at, now - self._slack) + cost * self._spacing
        self._room -= cost
        if now < self._seal:
            self._entry[1] += cost
        else:
            self._open(now, cost)
        return self._entry

    def undo(self, entry: Entry, cost: float) -> None:
        """Give back what was committed and then not sent."""
        self.close()
        self._at = max(self._at - cost * self._spacing, self.paused_until)
        if self._back <= entry[0]:  # else it is back already
            entry[1] -= cost
            self._room += cost

    def earliest(self, cost: float, now: float) -> float:
        """When `cost` tokens (at most `count`) may be sent if nobody else sends: now, or later."""
        self.close()
        at = max(now, self._at)
        room = self._room
        for back, tokens in self._log:
            if back > at and cost <= room:
                break
            at = max(at, back)
            room += tokens
        return at

    def soonest(self, cost: float, ahead: float, now: float) -> float:
        """No sooner than this can `cost` tokens leave, if `ahead` others have to leave before them."""
        at = self.earliest(cost, now)
        if ahead > 0.0:
            begin = max(now, self._at)
            windows = max(0, math.ceil((ahead + cost) / self._full) - 1)  # that pass when the first of them have gone
            taken = windows * self.count if windows else 0.0  # the count of a mere pause is infinite
            first = min(self.earliest(ahead + cost - taken, now), begin + self._span)
            paced = max(self._at, now - self._slack) + ahead * self._spacing
            at = max(at, first + windows * self._span, paced)
        return at

    def spares(self, cost: float, now: float, other: float, at: float) -> bool:
        """Whether `other` tokens still find room at the time `at` if `cost` tokens, which fit, are sent now."""
        self.close()
        if max(self._at, now - self._slack) + cost * self._spacing > at:
            return False
        room = self._room + sum(tokens for _, tokens in itertools.takewhile(lambda entry: entry[0] <= at, self._log))
        if at < now + self._span + 2 * self._grain:
            room -= cost
        return other <= room

    def pause(self, until: float) -> None:
        """Send nothing before `until`, and then begin at the pace, with no burst saved up."""
        self.close()
        self._at = max(self._at, until)
        self.paused_until = max(self.paused_until, until)

    def report(self, remaining: float, reset_in: float | None, now: float) -> bool:
        """Take away what the server knows to be spent and we do not; true if there was any.

        Gone until the server's reset (after one window where it named none), and never the other way round: what the
        server says remains beyond our own count is not believed. Where it says that nothing is left, nothing is sent
        until then, even if tokens of ours come back before. What is no number says nothing.
        """
        self.close()
        self._return(now)
        held = self._span if reset_in is None else min(reset_in, max(self.window, _LONGEST_REPORT))
        if not held > 0.0:
            return False
        if remaining <= 0:
            self.pause(now + held)
            return True
        excess = self._room - remaining
        if not excess >= 1e-6:
            return False
        insort(self._log, [now + held, excess])
        self._back = self._log[0][0]
        self._room -= excess
        return True

    def become(self, count: float, window: float, now: float) -> None:
        """Keep another promise from now on, and for what was sent before as well.

        What lies too far back to be remembered, where the window has become so long, counts as all that may be sent.
        """
        self.close()
        span = self._span
        self._set(count, window)
        for entry in self._log if any(entry is self._entry for entry in self._log) else (*self._log, self._entry):
            entry[0] += self._span - span
        self._seal = -math.inf
        since = now - self._span
        for sent, tokens in self._past.take(since):
            insort(self._log, [sent + self._span, tokens])
        if self._past.known > since:
            insort(self._log, [self._past.known + self._span, count])
        self._room = self._full - sum(tokens for _, tokens in self._log)
        self._return(now)
        at = self.paused_until
        for back, tokens in self._log:  # as if all of it had been sent at the new pace
            at = max(at, min(back - self._span, now) - self._slack) + min(tokens, count) * self._spacing
        self._at = at

    def sends(self) -> list[tuple[float, float]]:
        """What is remembered: when (at the latest) how much was sent."""
        self.close()
        return [*self._past.since(-math.inf), *((back - self._span, tokens) for back, tokens in self._log)]

    def remember(self, sent: float, tokens: float) -> None:
        """Count so much as sent then."""
        self.close()
        insort(self._log, [sent + self._span, tokens])
        self._back = self._log[0][0]
        self._room -= tokens

    def used(self, now: float) -> float:
        """Tokens that are spent as of `now`."""
        self.close()
        return sum(tokens for back, tokens in self._log if back > now)

    def idle(self, now: float) -> bool:
        """Whether nothing that happened so far matters any more."""
        return now >= self._at and all(back <= now for back, _ in self._log)

    def _open(self, at: float, cost: float) -> None:
        """Begin an entry, which takes what is sent until it is sealed and counts all of it as sent that late."""
        self.last = at
        seal = (at // self._grain + 1) * self._grain
        self._seal = seal if seal > at else seal + self._grain  # the product can be rounded down to `at` itself
        self._entry = entry = [self._seal + self._span, cost]
        log = self._log
        if not log:
            self._back = entry[0]
            log.append(entry)
        elif log[-1][0] <= entry[0]:
            log.append(entry)
        else:  # a report of the server holds tokens for longer
            insort(log, entry)
            self._back = log[0][0]

    def _return(self, now: float) -> None:
        """Take the tokens back that are due."""
        log = self._log
        due = 0
        for entry in log:
            if entry[0] > now:
                break
            self._room += entry[1]
            self._past.add(entry[0] - self._span, entry[1])
            due += 1
        del log[:due]
        if log:
            self._back = log[0][0]
        else:
            self._back, self._room = math.inf, self._full  # no drift of sums
