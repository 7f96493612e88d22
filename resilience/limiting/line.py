"""One limit and those who need it, and the times at which a call that needs several limits can go.

What may be sent is the arithmetic of `limiting.limiter`; who goes first is decided in `limiting.turns`. The
surprising part is that a time is of two kinds: when there would be room if nobody else sent, and before when there
certainly is none, because others have to go first.
"""

from __future__ import annotations

import itertools
import math
from asyncio import Future
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ..call import Call
from ..units import rate
from .limiter import Entry, Limiter

if TYPE_CHECKING:
    from .turns import Queue

__all__ = ["Line", "Route", "Waiter"]

_numbers = itertools.count()


class Line:
    """One limit. `name` is what a refusal calls it; `needed` is how many wait and need it, of it alone or of others."""

    __slots__ = ("limiter", "name", "needed", "queue")

    def __init__(self, name: str, limiter: Limiter) -> None:
        self.name = name
        self.limiter = limiter
        self.needed = 0
        self.queue: Queue | None = None  # made for the first who has to wait

    def take(self, cost: float, now: float) -> bool:
        """Take the tokens now, if nobody waits and there is room; otherwise nothing happens."""
        return not self.needed and self.limiter.take(cost, now)

    def pause(self, until: float) -> None:
        """Let nobody pass before `until`."""
        self.limiter.pause(until)
        self.changed()

    def become(self, text: str, now: float) -> None:
        """Be a limit of another rate, for those who wait as well."""
        self.name = text
        self.limiter.become(*rate(text), now)
        self.changed()

    def changed(self) -> None:
        """There is less than was thought: tell those who wait."""
        if self.queue is not None:
            self.queue.top.changed(review=True)

    def status(self, now: float) -> dict[str, Any]:
        limiter = self.limiter
        return {
            "used": limiter.used(now),
            "limit": limiter.count,
            "waiting": 0 if self.queue is None else self.queue.top.held(self, now),
            "paused_for": max(0.0, limiter.paused_until - now),
        }


class Waiter:
    """One call that waits. `at` is when it was let go or, before that, the time before which it certainly is not."""

    __slots__ = ("at", "call", "cost", "deadline", "entries", "most", "number", "route", "turn")

    def __init__(self, call: Call, most: float, turn: Future[None]) -> None:
        self.number = next(_numbers)  # in order of arrival
        self.call = call
        self.cost = call.op.cost
        self.most = most
        self.deadline = math.inf if call.deadline is None else call.deadline
        self.at: float
        self.turn = turn
        self.route: Route
        self.entries: list[Entry] = []  # one for each line of the route, once it has been let go

    def late(self, at: float) -> bool:
        """Whether a turn at this time would come too late."""
        return at > self.most or at >= self.deadline


class Route:
    """The calls that wait for the very same lines, in order of arrival."""

    __slots__ = ("lines", "tokens", "waiters")

    def __init__(self, lines: tuple[Line, ...]) -> None:
        self.lines = lines
        self.tokens = 0.0
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def first(self) -> Waiter:
        return next(iter(self.waiters))

    def ahead(self, waiter: Waiter) -> float:
        """Tokens of those who came before."""
        return sum(other.cost for other in itertools.takewhile(lambda other: other is not waiter, self.waiters))

    def short(self, cost: float, now: float) -> dict[Line, float]:
        """The lines that have no room now, and when each of them will if nobody else sends."""
        times = ((line, line.limiter.earliest(cost, now)) for line in self.lines)
        return {line: at for line, at in times if at > now}

    def together(self, cost: float, now: float) -> float:
        """The earliest time at which all lines have room, if nobody else sends."""
        while short := self.short(cost, now):
            now = max(short.values())
        return now

    def soonest(self, cost: float, ahead: float, now: float) -> tuple[float, Line]:
        """No sooner than this can a call go, behind so many tokens of others; and the line that says so."""
        times = [line.limiter.soonest(cost, ahead, now) for line in self.lines]
        at = max(times)
        return at, self.lines[times.index(at)]
