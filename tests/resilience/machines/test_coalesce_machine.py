"""Coalesce against a model of it: who shares which flight, who leaves it and how, and which flights go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from histories import FEW, MANY, Histories
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from resilience import Coalesce, Op, Pipeline, TimedOut, within

READ = Op("read", idempotent=True)
INF = float("inf")


class Model:
    """A flight is the list of those who wait for it, in order of arrival."""

    def __init__(self) -> None:
        self.flights: dict[str, list[int]] = {}
        self.late_at: dict[int, float] = {}
        self.ended: dict[int, str] = {}
        self.began = self.joined = self.given_up = 0

    def arrive(self, who: int, key: str, late_at: float) -> None:
        if key in self.flights:
            self.joined += 1
        else:
            self.flights[key] = []
            self.began += 1
        self.flights[key].append(who)
        self.late_at[who] = late_at

    def land(self, key: str, how: str) -> None:
        for who in self.flights.pop(key):
            self.ended[who] = how

    def leave(self, who: int, how: str) -> None:
        self.ended[who] = how
        for key, waiting in list(self.flights.items()):
            if who in waiting:
                waiting.remove(who)
                if not waiting:
                    del self.flights[key]
                    self.given_up += 1

    def pass_time(self, now: float) -> None:
        for who in [who for waiting in self.flights.values() for who in waiting if self.late_at[who] <= now]:
            self.leave(who, "late")


class CoalesceMachine(Histories):
    """Callers arrive with little time or all of it, flights land well or badly, callers are cancelled, time passes.

    No deadline can pass in the very tick of a landing: whichever came first would be as right.
    """

    @initialize()
    def begin(self) -> None:
        self.open_loop()
        self.model = Model()
        self.pipeline = Pipeline(Coalesce())
        self.landings: dict[str, asyncio.Future[str]] = {}
        self.tasks: list[asyncio.Task[str]] = []
        self.waiting: list[int] = []  # those of whom no outcome was seen yet
        self.running = self.began = self.cancelled = 0

    async def target(self, key: str) -> str:
        self.landings[key] = self.loop.create_future()
        self.running += 1
        self.began += 1
        try:
            return await self.landings[key]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def caller(self, key: str, seconds: float) -> str:
        if seconds == INF:
            return await self.pipeline.run(self.target, key, op=READ)
        with within(seconds):
            return await self.pipeline.run(self.target, key, op=READ)

    @rule(key=st.sampled_from("abc"), number=st.integers(1, 3), seconds=st.sampled_from([0.3, 0.8, 2.3, INF, INF]))
    def arrive(self, key: str, number: int, seconds: float) -> None:
        """Some come in one tick."""
        for _ in range(number):
            self.model.arrive(len(self.tasks), key, self.loop.time() + seconds)
            self.waiting.append(len(self.tasks))
            self.tasks.append(self.loop.create_task(self.caller(key, seconds)))
        self.step()

    def cancel_some(self, which: int) -> None:
        """Those of the waiting whose bit is set."""
        for place, who in enumerate(sorted(who for flight in self.model.flights.values() for who in flight)):
            if which >> place & 1:
                self.tasks[who].cancel()
                self.model.leave(who, "cancelled")

    @precondition(lambda self: self.model.flights)
    @rule(which=st.integers(0, 63))
    def cancel(self, which: int) -> None:
        """Some who wait are cancelled in one tick."""
        self.cancel_some(which)
        self.step()

    @precondition(lambda self: self.model.flights)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(["done", "error"]), leavers=st.integers(0, 7))
    def land(self, pick: int, how: str, leavers: int) -> None:
        """A flight lands, and in the same tick some who wait are cancelled."""
        self.cancel_some(leavers)
        flights = sorted(self.model.flights)
        if flights:
            key = flights[pick % len(flights)]
            first, *others = self.model.flights[key]
            error = OSError("reset")
            if how == "done":
                self.landings[key].set_result("done")
            else:
                self.landings[key].set_exception(error)
            self.model.land(key, how)
        self.step()
        if flights and how == "error":
            assert self.tasks[first].exception() is error
            assert len({id(self.tasks[who].exception()) for who in (first, *others)}) == 1 + len(others)

    @rule(seconds=st.sampled_from([0.125, 0.25, 0.5, 1.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)
        self.model.pass_time(self.loop.time())

    def outcome(self, task: asyncio.Task[str]) -> str | None:
        if not task.done():
            return None
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        return task.result() if error is None else {TimedOut: "late", OSError: "error"}[type(error)]

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        model = self.model
        assert not self.complaints
        for who in list(self.waiting):
            outcome = self.outcome(self.tasks[who])
            assert outcome == model.ended.get(who)
            if outcome is not None:
                self.waiting.remove(who)
        assert (self.running, self.began, self.cancelled) == (len(model.flights), model.began, model.given_up)
        if self.tasks:
            assert self.pipeline.status()["coalesce"] == {
                "active": len(model.flights),
                "waiting": sum(map(len, model.flights.values())),
                "flights": model.began,
                "coalesced": model.joined,
                "passed": 0,
            }

    def teardown(self) -> None:
        """When all have gone, nothing runs."""
        if self.started:
            self.close_loop(*self.tasks)
            assert self.running == 0


TestCoalesce: Any = CoalesceMachine.TestCase
TestCoalesce.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the flights agree over all of them."""
    run_state_machine_as_test(CoalesceMachine, settings=MANY)
