"""Who goes when: first come, first served, and of all its limits a call takes at one moment or of none.

One timer serves all who wait for limits that have to do with one another, and nobody is woken for nothing.

The surprising part is who may pass whom. Nobody who came later takes of the limit that holds a call up the longest, but
calls that do not need it go by: a used-up endpoint delays only its own. That alone could starve a call whose limits
have room by turns. So the first of all has its time as well, the earliest at which all its limits have room together,
and nobody passes it who would make it later (the "backfilling" of batch schedulers: Lifka, 1995). Whoever waits is the
first when all who came before are gone, so nobody waits for ever.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, Handle
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace

from ..call import Call
from ..errors import RateLimited
from .line import Line, Route, Waiter

__all__ = ["Queue", "queue_of"]

_MOST_ENDS = 64  # in memory before those of waits that are over are dropped


def queue_of(line: Line) -> Queue:
    """Where those who need the line wait, together with whoever needs what they need."""
    if line.queue is None:
        line.queue = Queue()
    line.queue = line.queue.top
    return line.queue


class Queue:
    """Who waits for limits that have to do with one another, by route, and the timer that serves them all."""

    __slots__ = ("_ends", "_loop", "_review", "_routes", "_soon", "_sweep_at", "_timer", "due", "into")

    def __init__(self) -> None:
        self.into: Queue | None = None  # the queue that has taken this one's place
        self._routes: dict[tuple[Line, ...], Route] = {}  # those on which somebody waits
        self._ends: list[tuple[float, int, Waiter]] = []  # a heap: when whose wait is over; some have left since
        self._sweep_at = _MOST_ENDS
        self._review = False  # does somebody wait perhaps who can no longer be served in time?
        self._soon = False  # is the timer only there to look again, after all that happens in this tick?
        self.due = -math.inf  # when the timer rings
        self._timer: Handle | None = None
        self._loop: AbstractEventLoop | None = None

    @property
    def top(self) -> Queue:
        """This queue, or the one that has taken its place."""
        queue = self
        while queue.into is not None:
            queue = queue.into
        return queue

    def adopt(self, loop: AbstractEventLoop | None, name: str) -> None:
        """Serve the loop that runs now. Those who waited in an earlier one are nobody's business any more."""
        if loop is self._loop:
            return
        if self._routes and self._loop is not None and self._loop.is_running():
            raise RuntimeError(f"{name}: callers in another event loop still wait; one limit serves one loop")
        self._arm(None)
        self._loop = loop
        for route in list(self._routes.values()):
            for waiter in list(route.waiters):
                self.remove(waiter)
        self._ends.clear()

    def absorb(self, other: Queue, name: str) -> None:
        """Be one queue from now on: there is a call that needs a limit of this one and a limit of the other."""
        if other is self:
            return
        other.adopt(self._loop, name)
        other._arm(None)
        self._routes |= other._routes
        self._ends += other._ends
        heapify(self._ends)
        self._review |= other._review
        other.into = self
        self.changed()

    def join(self, lines: tuple[Line, ...], call: Call, most: float, now: float) -> Waiter:
        """A place behind those who came before. Its turn may have come, or be known to come too late, on return."""
        loop = self._loop
        assert loop is not None  # noqa: S101 (for the type checker: it was adopted)
        waiter = Waiter(call, most, loop.create_future())
        route = self._put(waiter, lines)
        if route.first is waiter:  # else those who need the same go first
            self._tend(now)
        if waiter.turn.done():
            return waiter
        waiter.at, line = route.soonest(waiter.cost, route.tokens - waiter.cost, now)
        if waiter.late(waiter.at):
            self._refuse(waiter, waiter.at, line, now)
            return waiter
        end = min(waiter.most, waiter.deadline)
        if end < math.inf:
            heappush(self._ends, (end, waiter.number, waiter))
            if end < self.due:
                self._arm(end)
            if len(self._ends) > self._sweep_at:
                self._sweep()
        return waiter

    def remove(self, waiter: Waiter) -> bool:
        """Whoever waited waits no more; false if it was so already."""
        route = waiter.route
        if waiter not in route.waiters:
            return False
        del route.waiters[waiter]
        route.tokens -= waiter.cost
        if not route.waiters:
            del self._routes[route.lines]
        for line in route.lines:
            line.needed -= 1
        return True

    def divert(self, line: Line, among: set[Line], concerns: Callable[[Call], bool]) -> None:
        """Those who wait for one of `among`, and whom it concerns, need this line as well."""
        routes = [r for r in self._routes.values() if line not in r.lines and not among.isdisjoint(r.lines)]
        moving = [waiter for route in routes for waiter in route.waiters if concerns(waiter.call)]
        if not moving:
            return
        self.absorb(queue_of(line), line.name)
        for waiter in moving:  # those of one route stay in order: nobody waits where they go, the line is new to all
            lines = (line, *waiter.route.lines)
            self.remove(waiter)
            self._put(waiter, lines)
        self.changed(review=True)

    def changed(self, review: bool = False) -> None:
        """Something came in between: look again, once for all that happens in this tick."""
        if self._loop is None or self._loop.is_closed():
            return
        self._review |= review
        if not self._routes:
            self._arm(None)
        elif not self._soon:
            self._arm(None)
            self._timer, self._soon = self._loop.call_soon(self._ring), True

    def held(self, line: Line, now: float) -> int:
        """How many a limit holds up, themselves or the first of those who need the same."""
        routes = [route for route in self._routes.values() if line in route.lines]
        return sum(
            len(route.waiters) for route in routes if line in (route.short(route.first.cost, now) or route.lines)
        )

    def _put(self, waiter: Waiter, lines: tuple[Line, ...]) -> Route:
        route = self._routes.get(lines)
        if route is None:
            route = self._routes[lines] = Route(lines)
        route.waiters[waiter] = None
        route.tokens += waiter.cost
        waiter.route = route
        for line in lines:
            line.needed += 1
            line.limiter.close()
        return route

    def _ring(self) -> None:
        """Let those go whose time has come, and wait for the next one's."""
        assert self._loop is not None  # noqa: S101 (for the type checker: the loop itself calls this)
        self._tend(max(self._loop.time(), self.due))  # a timer may ring early, within the clock's resolution

    def _tend(self, now: float) -> None:
        if self._review:
            self._review = False
            for route in list(self._routes.values()):
                self._look_through(route, now)
        wake = self._serve(now)
        self._expire(now)  # of these nobody held up others: whoever does is known to be late before the time is up
        self._arm(min(wake, self._ends[0][0] if self._ends else math.inf))

    def _serve(self, now: float) -> float:
        """Let go whoever may, in order of arrival; when to look again."""
        heads = [(route.first.number, route) for route in self._routes.values()]
        heapify(heads)
        barred: set[Line] = set()  # what those who came before wait for
        first: Waiter | None = None  # of all who stay
        turn = wake = math.inf
        while heads:
            route = heads[0][1]
            waiter = route.first
            short = route.short(waiter.cost, now)
            if first is not None and not short:
                short = _delayed(first, turn, waiter, now)
            line = max(short, key=short.__getitem__, default=route.lines[0])
            at = short.get(line, now)
            if waiter.turn.done():  # cancelled in this very tick
                self.remove(waiter)
            elif waiter.late(at) if short else now >= waiter.deadline:
                self._refuse(waiter, at, line, now)
            elif not short and barred.isdisjoint(route.lines):
                self._grant(waiter, now)
            else:
                if first is None:
                    first, turn = waiter, route.together(waiter.cost, now)
                barred.update(other for other in short if short[other] == at)
                wake = min(wake, at if short else math.inf)
                heappop(heads)
                continue
            if route.waiters:
                heapreplace(heads, (route.first.number, route))
            else:
                heappop(heads)
        return wake

    def _grant(self, waiter: Waiter, now: float) -> None:
        waiter.at = now
        waiter.entries = [line.limiter.commit(waiter.cost, now) for line in waiter.route.lines]
        self.remove(waiter)
        waiter.turn.set_result(None)

    def _refuse(self, waiter: Waiter, at: float, line: Line, now: float) -> None:
        self.remove(waiter)
        why = "paused by the server" if line.limiter.paused_until > now else "used up"
        limit = "deadline" if at >= waiter.deadline else "longest wait allowed"
        error = RateLimited(f"{line.name} is {why} beyond the {limit}", retry_after=at - now if at > now else None)
        waiter.turn.set_exception(error)

    def _look_through(self, route: Route, now: float) -> None:
        """Refuse there and then those who can no longer be served in time."""
        ahead = 0.0
        for waiter in list(route.waiters):
            at, line = route.soonest(waiter.cost, ahead, now)
            if waiter.late(at) and not waiter.turn.done():
                self._refuse(waiter, at, line, now)
            else:
                ahead += waiter.cost

    def _expire(self, now: float) -> None:
        """Refuse those whose time is up."""
        while self._ends and (self._ends[0][0] <= now or self._ends[0][2] not in self._ends[0][2].route.waiters):
            waiter = heappop(self._ends)[2]
            route = waiter.route
            if waiter in route.waiters and not waiter.turn.done():
                self._refuse(waiter, *route.soonest(waiter.cost, route.ahead(waiter), now), now)

    def _sweep(self) -> None:
        """Forget when the waits end that are over already."""
        self._ends = [entry for entry in self._ends if entry[2] in entry[2].route.waiters]
        heapify(self._ends)
        self._sweep_at = max(_MOST_ENDS, 2 * len(self._ends))

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._soon, self.due = None, False, -math.inf
        if at is not None and at < math.inf and self._loop is not None:
            self._timer, self.due = self._loop.call_at(at, self._ring), at


def _delayed(first: Waiter, turn: float, waiter: Waiter, now: float) -> dict[Line, float]:
    """The lines on which the first would miss its turn, were this one let go now; and when it is over."""
    shared = [line for line in waiter.route.lines if line in first.route.lines]
    return {line: turn for line in shared if not line.limiter.spares(waiter.cost, now, first.cost, turn)}
