"""RateLimit against the promise itself, checked the slow way: every window, every waiter, any history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from histories import FEW, MANY, Histories
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resilience import Kind, Op, Pipeline, RateLimit, RateLimited, Verdict


class Throttled(Exception):
    """The server says: not now, come back in so many seconds."""


def classify(exc: Exception, op: Op) -> Verdict:
    if isinstance(exc, Throttled):
        return Verdict(Kind.THROTTLED, "throttled", retry_after=exc.args[0], scope="ip")
    return Verdict(Kind.REJECTED)


class Model:
    """The promise: a log of what was sent, who waits, and until when the server wants to be left alone."""

    def __init__(self, count: float, window: float) -> None:
        self.count, self.window = count, window
        self.sent: list[tuple[float, float]] = []  # when, how much
        self.waiting: list[int] = []
        self.paused_until = 0.0
        self.told_at = -1.0  # when the server last ordered a pause; what was let go in that very tick is on its way

    def send(self, who: int, cost: float, now: float) -> None:
        over = now + 1e-9  # the loop's clock is no finer, and rings that much early
        assert over >= self.paused_until or now == self.told_at, "sent while the server wants a pause"
        assert who not in self.waiting[1:], "it overtook those who came before"
        if who in self.waiting:
            self.waiting.remove(who)
        self.sent.append((now, cost))
        # Requests may arrive up to 3 % of the window late, so the window that counts is that much longer.
        recent = sum(cost for at, cost in self.sent if at > now - self.window * 1.03)
        assert recent <= self.count + 1e-6, f"{recent} tokens in one window of {self.window} s"

    def has_room(self, cost: float, now: float) -> bool:
        """Must a call pass at once? (Larger rates are also paced.) Tokens come back after at most 1.04 windows."""
        recent = sum(cost for at, cost in self.sent if at > now - self.window * 1.04)
        return self.count <= 20 and not self.waiting and now >= self.paused_until and recent + cost <= self.count

    def most_wait(self, now: float, orders: float) -> float:
        """Enough to serve all who wait: 90 % of the rate, two windows, and the pauses, now and to come.

        The heaviest call takes 4: of 5 tokens in a window only one such call can be had, and the fifth is of no use.
        """
        windows = len(self.waiting) / (self.count // 4) + 2
        return max(0.0, self.paused_until - now) + orders + windows * self.window / 0.9


class RateLimitMachine(Histories):
    """Calls of several weights arrive and are cancelled, the server throttles, and time passes."""

    @initialize(count=st.sampled_from([4, 5, 24, 60]), window=st.sampled_from([1, 5]))
    def begin(self, count: int, window: int) -> None:
        self.open_loop()
        self.model = Model(count, window)
        self.pipeline = Pipeline(RateLimit(f"{count}/{window}s"), classify=classify)
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.gone: set[int] = set()
        self.orders: dict[int, float] = {}

    async def target(self, who: int, cost: float, order: float | None) -> None:
        now = self.loop.time()
        self.model.send(who, cost, now)
        self.gone.add(who)
        if order is not None:
            self.model.told_at = now
            self.model.paused_until = max(self.model.paused_until, now + order)
            raise Throttled(order)

    @rule(number=st.integers(1, 12), cost=st.sampled_from([0.5, 1, 1, 2, 4]), order=st.sampled_from([None] * 6 + [2.0]))
    def arrive(self, number: int, cost: float, order: float | None) -> None:
        """Some calls come at once; the last of them may be throttled by the server."""
        for i in range(number):
            who = len(self.tasks)
            said = order if i == number - 1 else None
            at_once = self.model.has_room(cost, self.loop.time())
            self.orders[who] = said or 0.0
            call = self.pipeline.run(self.target, who, cost, said, op=Op("op", cost=cost))
            self.tasks[who] = self.loop.create_task(call)
            self.step()
            if who not in self.gone:
                self.model.waiting.append(who)
                assert not at_once, "it waits, though there is room"

    @precondition(lambda self: self.model.waiting)
    @rule(pick=st.integers(0, 30))
    def cancel(self, pick: int) -> None:
        """One who waits is cancelled."""
        who = self.model.waiting[pick % len(self.model.waiting)]
        self.leave(who)
        self.step()
        assert self.tasks[who].cancelled()

    @precondition(lambda self: self.model.waiting)
    @rule(after=st.booleans())
    def cancel_in_the_tick_of_its_turn(self, after: bool) -> None:
        """The first is cancelled in the turn of the loop in which its time comes, just before or after it is told."""
        first, at = self.model.waiting[0], self.next_turn()
        self.loop.call_at(at + (1e-10 if after else -1e-10), self.leave, first)  # less than the clock's resolution
        self.loop.advance(max(0.0, at - self.loop.time()))
        self.step()
        assert self.tasks[first].cancelled() or first in self.gone

    def leave(self, who: int) -> None:
        """Cancel one, unless it has been sent."""
        if who not in self.gone:
            self.model.waiting.remove(who)
            self.tasks[who].cancel()

    def next_turn(self) -> float:
        return self.pipeline.states["rate_limit"].line("default").queue.due

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 1.0, 1.03, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        assert not self.complaints
        limits = self.pipeline.status().get("rate_limit", {})
        assert sum(line["waiting"] for line in limits.values()) == len(self.model.waiting)
        for who, task in self.tasks.items():
            if task.done() and not task.cancelled():
                error = task.exception()
                assert error is None or isinstance(error, Throttled), repr(error)
                assert who in self.gone

    def teardown(self) -> None:
        """Whoever waits is served, and soon: with no more calls, the line empties at 90 % of the rate or better."""
        if not self.started:
            return
        try:
            if self.model.waiting:
                orders = sum(self.orders[who] for who in self.model.waiting)
                self.step(self.model.most_wait(self.loop.time(), orders))
            assert not self.model.waiting
            self.agrees()
        finally:
            self.close_loop(*self.tasks.values())


TestRateLimit: Any = RateLimitMachine.TestCase
TestRateLimit.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The promise holds over all of them."""
    run_state_machine_as_test(RateLimitMachine, settings=MANY)


def test_the_model_notices_a_broken_promise() -> None:
    """It refuses one send too many in a window, one that overtakes, and one in a pause."""
    model = Model(2, 1.0)
    model.send(0, 1, 0.0)
    model.send(1, 1, 0.5)
    with pytest.raises(AssertionError, match="3 tokens in one window"):
        model.send(2, 1, 1.02)
    model.waiting = [3, 4]
    with pytest.raises(AssertionError, match="overtook"):
        model.send(4, 1, 9.0)
    model.paused_until = 20.0
    with pytest.raises(AssertionError, match="pause"):
        model.send(3, 1, 9.0)
    assert issubclass(RateLimited, Exception)
