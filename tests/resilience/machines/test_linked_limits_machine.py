"""Several limits at once against a model of what they promise together: each window, all or nothing, everybody's turn.

Calls of two operations and two accounts need the limit of the address, that of their account and that of their
operation; another pipeline needs the address alone, and shares it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from histories import FEW, MANY, Histories
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from resilience import Kind, Limit, Op, Pipeline, RateLimit, Verdict
from resilience.call import Call

SLOWEST = 5.0  # seconds, the longest window


class Throttled(Exception):
    """The server says: this scope not now, come back in so many seconds."""


def classify(exc: Exception, op: Op) -> Verdict:
    if isinstance(exc, Throttled):
        return Verdict(Kind.THROTTLED, "throttled", retry_after=exc.args[1], scope=exc.args[0])
    return Verdict(Kind.REJECTED)


class Model:
    """What was sent, by limit; who waits, in order of arrival; until when the server wants to be left alone."""

    def __init__(self, rates: dict[str, tuple[float, float]]) -> None:
        self.rates = rates
        self.sent: list[tuple[float, float, frozenset[str]]] = []
        self.waiting: dict[int, tuple[float, frozenset[str]]] = {}
        self.paused: dict[str, float] = {}
        self.told_at = -1.0  # what was let go in the very tick of a pause is on its way
        self.left_at = -1.0  # when somebody left last: what that changes for others is looked at in the next tick
        self.first: tuple[int, float] = (-1, 0.0)  # who is the first of all who wait, and since when

    def used(self, name: str, now: float, span: float) -> float:
        """Requests may arrive up to 3 % of the window late, so that is what counts; tokens are back after 4 %."""
        return sum(cost for at, cost, names in self.sent if name in names and at > now - self.rates[name][1] * span)

    def free(self, cost: float, names: frozenset[str], now: float) -> bool:
        """Could it go now, by what was sent? And may it, by what the server wants?"""
        calm = all(self.paused.get(name, 0.0) <= now for name in names)
        return calm and all(self.used(name, now, 1.04) + cost <= self.rates[name][0] for name in names)

    def send(self, who: int, cost: float, names: frozenset[str], now: float) -> None:
        over = now + 1e-9  # the loop's clock is no finer, and rings that much early
        assert now == self.told_at or all(self.paused.get(name, 0.0) <= over for name in names), "sent in a pause"
        self.waiting.pop(who, None)
        for other, (_, needs) in self.waiting.items():
            assert other > who or needs != names, "it overtook one that needs the same"
        first = min(self.waiting, default=who)
        late = now < self.left_at + 1e-6
        assert first >= who or late or not self.free(*self.waiting[first], now), "the first of all could have gone"
        self.sent = [(at, *what) for at, *what in self.sent if at > now - 2 * SLOWEST] + [(now, cost, names)]
        for name in names:
            assert self.used(name, now, 1.03) <= self.rates[name][0] + 1e-6, f"too many for {name}"

    def must_pass(self, cost: float, names: frozenset[str], now: float) -> bool:
        """There is room for it, and in what it shares with those who wait there is room for all of them as well."""
        rivals = [weight for weight, needs in self.waiting.values() if needs & names]
        shared = frozenset(name for _, needs in self.waiting.values() for name in needs & names)
        return self.free(cost, names, now) and self.free(cost + sum(rivals), shared, now)

    def look(self, now: float) -> None:
        """Whoever is the first of all gets its turn within a window: nobody may make it later."""
        who = min(self.waiting, default=-1)
        if who != self.first[0]:
            self.first = (who, now)
        since = max([self.first[1], self.told_at, *self.paused.values()])
        assert who < 0 or now <= since + SLOWEST * 1.05, "the first of all starves"


class LinkedLimitsMachine(Histories):
    """Calls of several kinds and weights arrive and are cancelled, the server throttles, and time passes."""

    @initialize(ip=st.sampled_from([4, 6, 12]), x=st.sampled_from([1, 2, 5]), window=st.sampled_from([1.0, 5.0]))
    def begin(self, ip: int, x: int, window: float) -> None:
        self.open_loop()
        self.model = Model(
            {"ip": (ip, 1.0), "a": (3, 1.0), "b": (3, 1.0), "x": (x, window), "y": (3, 2.0)},
        )
        shared: dict[str, Any] = {}
        also = [Limit("3/s", key="account"), Limit("3/2s", key="op", per_op={"x": f"{x}/{window:g}s"})]
        self.linked = Pipeline(RateLimit(f"{ip}/s", "ip", also=also), classify=classify, shared=shared)
        self.plain = Pipeline(RateLimit(f"{ip}/s", "ip"), classify=classify, shared=shared)
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.gone: set[int] = set()

    async def target(self, who: int, cost: float, names: frozenset[str], order: tuple[str, float] | None) -> None:
        now = self.loop.time()
        self.model.send(who, cost, names, now)
        self.gone.add(who)
        if order is not None:
            scope, seconds = order
            name = {"op": names & {"x", "y"}, "account": names & {"a", "b"}, "ip": {"ip"}}[scope]
            for one in name:
                self.model.paused[one] = max(self.model.paused.get(one, 0.0), now + seconds)
            self.model.told_at = now
            raise Throttled(*order)

    @rule(
        number=st.integers(1, 3),
        op=st.sampled_from(["x", "x", "y", ""]),
        account=st.sampled_from(["a", "b"]),
        cost=st.sampled_from([0.5, 1, 1, 1, 2, 3]),
        order=st.sampled_from([None] * 9 + [("op", 2.0), ("account", 1.5), ("ip", 1.0)]),
    )
    def arrive(self, number: int, op: str, account: str, cost: float, order: tuple[str, float] | None) -> None:
        """Some calls come at once; the last of them may be throttled. With no `op` they need the address alone."""
        names = frozenset({"ip", account, op} if op else {"ip"})
        cost = min(cost, *(self.model.rates[name][0] for name in names))
        for i in range(number):
            who = len(self.tasks)
            said = order if i == number - 1 and (op or order is None or order[0] == "ip") else None
            passes = self.model.must_pass(cost, names, self.loop.time())
            self.model.waiting[who] = (cost, names)
            call = Call(Op(op, cost=cost), self.target, (who, cost, names, said), keys={"account": account})
            self.tasks[who] = self.loop.create_task((self.linked if op else self.plain).send(call))
            self.step()
            assert who in self.gone or not passes, "it waits, though nothing holds it up"

    @precondition(lambda self: self.model.waiting)
    @rule(pick=st.integers(0, 30))
    def cancel(self, pick: int) -> None:
        """One who waits is cancelled."""
        self.leave(list(self.model.waiting)[pick % len(self.model.waiting)])
        self.step()

    @precondition(lambda self: self.model.waiting)
    @rule(pick=st.integers(0, 3), after=st.booleans())
    def cancel_in_the_tick_of_a_turn(self, pick: int, after: bool) -> None:
        """One is cancelled in the turn of the loop in which somebody's time comes, just before or after it is told."""
        at = self.plain_queue_due()
        who = list(self.model.waiting)[pick % len(self.model.waiting)]
        self.loop.call_at(at + (1e-10 if after else -1e-10), self.leave, who)  # less than the clock's resolution
        self.loop.advance(max(0.0, at - self.loop.time()))
        self.step()
        assert self.tasks[who].cancelled() or who in self.gone

    def plain_queue_due(self) -> float:
        states = {**self.linked.states, **self.plain.states}
        return float(states[next(key for key in states if "/ip/" in key)].line("ip").queue.top.due)

    def leave(self, who: int) -> None:
        """Cancel one, unless it has been sent."""
        if who not in self.gone:
            self.model.waiting.pop(who, None)
            self.model.left_at = self.loop.time()
            self.tasks[who].cancel()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 1.0, 1.04, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds / 2)
        self.model.look(self.loop.time())
        self.step(seconds / 2)

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        assert not self.complaints
        now = self.loop.time()
        self.model.look(now)
        for state in {**self.linked.states, **self.plain.states}.values():
            for name, line in state.lines.items():  # nobody holds tokens while it waits, and none are lost
                low, high = self.model.used(name, now, 1.03), self.model.used(name, now, 1.04)
                assert low - 1e-6 <= line.limiter.used(now) <= high + 1e-6
        for who, task in self.tasks.items():
            if task.done() and not task.cancelled():
                error = task.exception()
                assert error is None or isinstance(error, Throttled), repr(error)
                assert who in self.gone

    def teardown(self) -> None:
        """Whoever waits is served, and soon, once no more calls come."""
        if not self.started:
            return
        try:
            self.step((len(self.model.waiting) + 1) * SLOWEST * 1.05)
            assert not self.model.waiting
            self.agrees()
        finally:
            self.close_loop(*self.tasks.values())


TestLinkedLimits: Any = LinkedLimitsMachine.TestCase
TestLinkedLimits.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The promises hold over all of them."""
    run_state_machine_as_test(LinkedLimitsMachine, settings=MANY)


def test_the_model_notices_a_broken_promise() -> None:
    """One send too many, one that overtakes, one in a pause, and a first of all that starves."""
    model = Model({"ip": (2, 1.0), "x": (1, 5.0)})
    both, ip = frozenset({"ip", "x"}), frozenset({"ip"})
    model.send(0, 1, both, 0.0)
    with pytest.raises(AssertionError, match="too many for x"):
        model.send(1, 1, both, 2.0)
    model = Model({"ip": (2, 1.0), "x": (1, 5.0)})
    model.waiting = {1: (1, both), 2: (1, both), 3: (1, ip)}
    with pytest.raises(AssertionError, match="needs the same"):
        model.send(2, 1, both, 0.0)
    with pytest.raises(AssertionError, match="could have gone"):
        model.send(3, 1, ip, 0.0)
    model.paused["x"] = 3.0
    with pytest.raises(AssertionError, match="in a pause"):
        model.send(1, 1, both, 1.0)
    model.waiting = {2: (1, both)}
    model.look(3.0)
    with pytest.raises(AssertionError, match="starves"):
        model.look(9.0)
