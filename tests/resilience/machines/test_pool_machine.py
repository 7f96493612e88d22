"""Pool against a model of it: who holds which generation, who waits, what is renewed and closed, and when."""

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

from resilience import Pipeline, Pool, PoolExhausted

OPENING = 1.0  # seconds


class Broken(Exception):
    """Condemns the resource."""


class CannotOpen(Exception):
    """The opening failed."""


class Model:
    """Generations count from 1; 0 is none. A waiter is (who, since when)."""

    def __init__(self, max_wait: float | None) -> None:
        self.max_wait = max_wait
        self.current = self.opened = self.renewed = self.requests = 0
        self.ready_at: float | None = None  # when the opening in progress ends
        self.fails = False  # the next opening to begin
        self.will_fail = False  # the one in progress
        self.holders: dict[int, int] = {}
        self.waiting: list[tuple[int, float]] = []
        self.ended: dict[int, str] = {}

    def begin_opening(self, now: float) -> None:
        if self.ready_at is None:
            self.ready_at, self.will_fail = now + OPENING, self.fails

    def arrive(self, who: int, now: float) -> None:
        if self.current:
            self.hold(who)
        else:
            self.begin_opening(now)
            self.waiting.append((who, now))

    def hold(self, who: int) -> None:
        self.holders[who] = self.current
        self.requests += 1

    def end(self, who: int, how: str) -> None:
        self.ended[who] = how
        if self.holders.pop(who) == self.current and how == "broken":
            self.current, self.renewed = 0, self.renewed + 1

    def pass_time(self, now: float) -> None:
        late = [] if self.max_wait is None else [who for who, since in self.waiting if since + self.max_wait <= now]
        if self.ready_at is not None and self.ready_at <= now:
            for who, since in self.waiting:
                if self.max_wait is not None and since + self.max_wait < self.ready_at:
                    self.ended[who] = "refused"
                elif self.will_fail:
                    self.ended[who] = "cannot open"
            if not self.will_fail:
                self.opened += 1
                self.current = self.opened
                for who, _ in self.waiting:
                    if who not in self.ended:
                        self.hold(who)
            self.ready_at = None
            self.waiting = []
        for who in late:
            if who not in self.holders:
                self.ended.setdefault(who, "refused")
        self.waiting = [waiter for waiter in self.waiting if waiter[0] not in self.ended]


class Resource:
    """Says which generation it is, and was closed how often."""

    def __init__(self, number: int) -> None:
        self.number, self.closed = number, 0

    async def aclose(self) -> None:
        await asyncio.sleep(0.01)
        self.closed += 1


class PoolMachine(Histories):
    """Attempts borrow, end, break the resource and are cancelled; openings take a second and may fail.

    No wait can end in the very tick of an opening: whichever came first would be as right.
    """

    @initialize(max_wait=st.sampled_from([None, 0.55, 0.8, 2.05]))
    def begin(self, max_wait: float | None) -> None:
        self.open_loop()
        self.model = Model(max_wait)
        self.resources: list[Resource] = []
        self.pipeline = Pipeline(Pool(self.open, name="rest", broken=Broken, max_wait=max_wait))
        self.ends: dict[int, asyncio.Future[str]] = {}
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.lent: dict[int, int] = {}

    async def open(self) -> Resource:
        fails = self.model.will_fail
        await asyncio.sleep(OPENING)
        if fails:
            raise CannotOpen
        self.resources.append(Resource(len(self.resources) + 1))
        return self.resources[-1]

    async def target(self, resource: Resource, who: int) -> str:
        self.lent[who] = resource.number
        return await self.ends[who]

    @rule(number=st.integers(1, 4), fails=st.sampled_from([False] * 7 + [True]))
    def arrive(self, number: int, fails: bool) -> None:
        """Some come at once; if that begins an opening, it may be one that fails."""
        self.model.fails = fails
        for _ in range(number):
            who = len(self.tasks)
            self.ends[who] = self.loop.create_future()
            self.model.arrive(who, self.loop.time())
            self.tasks[who] = self.loop.create_task(self.pipeline.run(self.target, who))
        self.step()

    @precondition(lambda self: self.model.holders)
    @rule(picks=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["done", "error", "broken"])), max_size=3))
    def end(self, picks: list[tuple[int, str]]) -> None:
        """Some that hold a resource end, in one tick."""
        for pick, how in picks:
            if not self.model.holders:
                break
            who = sorted(self.model.holders)[pick % len(self.model.holders)]
            if how == "done":
                self.ends[who].set_result("done")
            else:
                self.ends[who].set_exception(Broken() if how == "broken" else OSError())
            self.model.end(who, how)
        self.step()

    @precondition(lambda self: self.model.holders or self.model.waiting)
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        """One that holds or waits is cancelled; the opening goes on for the others."""
        alive = sorted([*self.model.holders, *(who for who, _ in self.model.waiting)])
        who = alive[pick % len(alive)]
        self.tasks[who].cancel()
        self.model.waiting = [waiter for waiter in self.model.waiting if waiter[0] != who]
        if who in self.model.holders:
            self.model.end(who, "cancelled")
        self.model.ended[who] = "cancelled"
        self.step()

    @rule(seconds=st.sampled_from([0.125, 0.25, 0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)
        self.model.pass_time(self.loop.time())

    def outcome(self, task: asyncio.Task[str]) -> str | None:
        if not task.done():
            return None
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        names = {PoolExhausted: "refused", Broken: "broken", CannotOpen: "cannot open", OSError: "error"}
        return task.result() if error is None else names[type(error)]

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        model = self.model
        assert not self.complaints
        status = self.pipeline.status().get("pool:rest")
        if status is not None:
            assert status == {
                "active": len(model.holders),
                "waiting": len(model.waiting),
                "opened": model.opened,
                "renewed": model.renewed,
                "requests": model.requests,
            }
        for who, task in self.tasks.items():
            assert self.outcome(task) == model.ended.get(who)
            if who in model.holders:
                assert self.lent[who] == model.holders[who]
        for resource in self.resources:
            held = resource.number in model.holders.values() or resource.number == model.current
            assert resource.closed <= (0 if held else 1)

    def teardown(self) -> None:
        """When all have gone and the pool is closed, every resource that was ever made has been closed once."""
        if not self.started:
            return
        for task in self.tasks.values():
            task.cancel()
        self.step()
        self.loop.run_until_complete(self.pipeline.aclose())
        self.step()
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not left
        assert all(resource.closed == 1 for resource in self.resources)
        for task in self.tasks.values():
            assert task.cancelled() or task.exception() or task.result()


TestPool: Any = PoolMachine.TestCase
TestPool.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the pool agree over all of them."""
    run_state_machine_as_test(PoolMachine, settings=MANY)
