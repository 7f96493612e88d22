"""The line of those who wait for a limit: first come, first served, whatever they weigh.

`resilience.limiter` gives each of them a time; one timer serves the whole line. The surprising part is that a time can
change: when the server orders a pause, reports that more is spent than we know of, or someone leaves, the line is
planned anew, and whoever can no longer be served in time is refused there and then instead of at the end of the wait.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, CancelledError, Future, Handle, get_running_loop
from collections import deque
from typing import Any

from .call import Call
from .errors import ConfigError, RateLimited
from .events import Emit, Waiting
from .limiter import Entry, Limiter

__all__ = ["Line"]


class _Waiter:
    """One call in a line, and the time at which it is to go."""

    __slots__ = ("at", "cost", "deadline", "entry", "most", "turn")

    def __init__(self, turn: Future[None], call: Call, most: float, at: float) -> None:
        self.turn = turn
        self.cost = call.op.cost
        self.most = most
        self.deadline = math.inf if call.deadline is None else call.deadline
        self.at = at
        self.entry: Entry | None = None  # set when its turn has come


class Line:
    """One limit, and those who wait for it. `name` is what a refusal calls it."""

    __slots__ = ("_loop", "_plan", "_timer", "limiter", "name", "waiters")

    def __init__(self, name: str, limiter: Limiter) -> None:
        self.name = name
        self.limiter = limiter
        self.waiters: deque[_Waiter] = deque()
        self._plan: Limiter | None = None  # the limiter as it will be when all who wait are gone; None: plan anew
        self._timer: Handle | None = None
        self._loop: AbstractEventLoop | None = None

    async def enter(self, call: Call, most: float, emit: Emit | None) -> None:
        """Take the call's tokens, or wait for them, until `most` (on the loop's clock) and the call's deadline.

        Raises `RateLimited` as soon as it is known that the turn would come too late, `ConfigError` for a call that
        costs more than the whole limit.
        """
        loop = get_running_loop()
        now = loop.time()
        waiter = self._join(call, most, loop, now)
        if waiter is None:
            return
        if emit is not None:
            emit(Waiting(call, "limiter", waiter.at - now, now))
        try:
            await waiter.turn
        except CancelledError:
            if waiter.entry is not None:  # its turn came in the very tick of the cancellation
                self.limiter.undo(waiter.entry, waiter.cost)
            self.changed()
            raise
        else:
            self._depart(waiter, loop.time())
        finally:
            waited = loop.time() - now
            notes = call.attempt.notes
            notes["wait.limiter"] = notes.get("wait.limiter", 0.0) + waited
            call.attempt.waited += waited

    def pause(self, until: float) -> None:
        """Let nobody pass before `until`."""
        self.limiter.pause(until)
        self.changed()

    def changed(self) -> None:
        """Something came in between: plan anew, once for all that happens in this tick."""
        self._plan = None
        if self.waiters and self._loop is not None and not self._loop.is_closed():
            self._arm(self._loop.call_soon(self._ring))

    def status(self, now: float) -> dict[str, Any]:
        limiter = self.limiter
        return {
            "used": limiter.used(now),
            "limit": limiter.count,
            "waiting": len(self.waiters),
            "paused_for": max(0.0, limiter.paused_until - now),
        }

    def _join(self, call: Call, most: float, loop: AbstractEventLoop, now: float) -> _Waiter | None:
        """A place in the line, or None if there is room at once. Raises if the turn would come too late."""
        cost = call.op.cost
        if not 0 <= cost <= self.limiter.count:
            raise ConfigError(
                f"RateLimit: {call.op.name!r} costs {cost:g} tokens, so {self.name} can never admit it; "
                f"the cost must be from 0 to {self.limiter.count:g}"
            )
        if loop is not self._loop:
            self._adopt(loop, now)
        if self.waiters:
            plan = self._plan or self._replan(now)  # which may find that all of them have left
        if not self.waiters:
            if self.limiter.take(cost, now):
                return None
            plan = self._plan = self.limiter.fork()  # an older one does not know what was taken since
        waiter = _Waiter(loop.create_future(), call, most, plan.earliest(cost, now))
        if waiter.at > most or waiter.at >= waiter.deadline:
            raise self._refusal(waiter, now)
        plan.commit(cost, waiter.at)
        self.waiters.append(waiter)
        if len(self.waiters) == 1:
            self._arm(loop.call_at(waiter.at, self._ring))
        return waiter

    def _depart(self, waiter: _Waiter, now: float) -> None:
        """Count it as sent now, if the loop stalled between its turn and this moment."""
        if now - waiter.at > self.limiter.tolerance and waiter.entry is not None:
            self.limiter.undo(waiter.entry, waiter.cost)
            self.limiter.commit(waiter.cost, now)
            self.changed()

    def _adopt(self, loop: AbstractEventLoop, now: float) -> None:
        """Serve the loop that runs now. What was sent in an earlier one counts, unless the clock began anew."""
        if self.waiters and self._loop is not None and self._loop.is_running():
            raise RuntimeError(f"{self.name}: callers in another event loop still wait; one limit serves one loop")
        self._arm(None)
        self._loop = loop
        self.waiters.clear()
        if now < self.limiter.last:
            self.limiter.forget()

    def _replan(self, now: float) -> Limiter:
        """Give every waiter a new time; refuse those for whom it is too late."""
        plan = self._plan = self.limiter.fork()
        waiters = [waiter for waiter in self.waiters if not waiter.turn.done()]
        self.waiters.clear()
        for waiter in waiters:
            waiter.at = plan.earliest(waiter.cost, now)
            if waiter.at > waiter.most or waiter.at >= waiter.deadline:
                waiter.turn.set_exception(self._refusal(waiter, now))
            else:
                plan.commit(waiter.cost, waiter.at)
                self.waiters.append(waiter)
        return plan

    def _refusal(self, waiter: _Waiter, now: float) -> RateLimited:
        why = "paused by the server" if self.limiter.paused_until > now else "used up"
        limit = "deadline" if waiter.at >= waiter.deadline else "longest wait allowed"
        return RateLimited(f"{self.name} is {why} beyond the {limit}", retry_after=waiter.at - now)

    def _ring(self) -> None:
        """Let those go whose time has come, and wait for the next one's."""
        assert self._loop is not None  # noqa: S101 (for the type checker: the loop itself calls this)
        now = self._loop.time()
        if self._plan is None:
            self._replan(now)
        if not self._go(now):
            self._replan(now)
        self._arm(self._loop.call_at(self.waiters[0].at, self._ring) if self.waiters else None)
        if not self.waiters:
            self._plan = None

    def _go(self, now: float) -> bool:
        """Wake whoever is due; false if the times of the others are no longer right."""
        limiter, waiters = self.limiter, self.waiters
        late = False
        while waiters and waiters[0].at <= now:
            waiter = waiters[0]
            late = late or now - waiter.at > limiter.tolerance  # our own loop stalled: it is sent now, not then
            at = waiter.at = now if late else waiter.at
            if not waiter.turn.done():  # else it was cancelled in this very tick
                if limiter.earliest(waiter.cost, at) > at:
                    return False  # the plan was wrong by a rounding: without a new one this would be asked for ever
                waiter.entry = limiter.commit(waiter.cost, at)
                waiter.turn.set_result(None)
            waiters.popleft()
        return not late

    def _arm(self, timer: Handle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
