"""AdaptiveLimit's gate against a model of it: the limit moves at any moment, calls are dropped, cancelled, answered."""

from __future__ import annotations

import asyncio
import math
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

from resilience import AdaptiveLimit, BulkheadFull, Pipeline

INITIAL, LEAST = 3, 1


class Model:
    """Who runs, since when; who waits; a limit that a drop lowers by a tenth, if the call began after the last one."""

    def __init__(self, queue: int, max_wait: float | None, order: str) -> None:
        self.queue, self.max_wait, self.order = queue, max_wait, order
        self.limit, self.exact, self.reduced = INITIAL, float(INITIAL), -math.inf
        self.running: dict[int, float] = {}
        self.waiting: list[tuple[int, float]] = []
        self.ended: dict[int, str] = {}

    def arrive(self, who: int, now: float) -> None:
        if len(self.running) < self.limit:
            self.running[who] = now
        elif len(self.waiting) < self.queue:
            self.waiting.append((who, now))
        else:
            self.ended[who] = "refused"

    def move(self, limit: int, now: float) -> None:
        self.limit = limit
        while self.waiting and len(self.running) < limit:
            self.running[self.waiting.pop(0 if self.order == "fifo" else -1)[0]] = now

    def drop(self, who: int, now: float) -> None:
        if self.running[who] > self.reduced:
            before, self.exact, self.reduced = int(self.exact), max(float(LEAST), self.exact * 0.9), now
            self.limit = self.limit if int(self.exact) == before else int(self.exact)

    def leave(self, who: int, how: str, now: float) -> None:
        self.ended[who] = how
        self.running.pop(who, None)
        self.waiting = [waiter for waiter in self.waiting if waiter[0] != who]
        self.move(self.limit, now)

    def pass_time(self, now: float) -> None:
        while self.max_wait is not None and self.waiting and self.waiting[0][1] + self.max_wait <= now:
            self.ended[self.waiting.pop(0)[0]] = "refused"


def choose(among: list[int], pick: int) -> int:
    return sorted(among)[pick % len(among)]


class AdaptiveLimitMachine(Histories):
    """Calls arrive, are answered, dropped and cancelled, in any order; the limit moves, and time passes."""

    @initialize(
        queue=st.integers(0, 4), max_wait=st.sampled_from([None, 0.5, 2.0]), order=st.sampled_from(["fifo", "lifo"])
    )
    def begin(self, queue: int, max_wait: float | None, order: Any) -> None:
        self.open_loop()
        self.model = Model(queue, max_wait, order)
        self.pipeline = Pipeline(
            AdaptiveLimit("aimd", initial=INITIAL, least=LEAST, queue=queue, max_wait=max_wait, order=order)
        )
        self.ends: dict[int, asyncio.Future[str]] = {}
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.began: set[int] = set()
        self.answers = 0

    async def target(self, who: int) -> str:
        self.began.add(who)
        return await self.ends[who]

    @rule()
    def arrive(self) -> None:
        who = len(self.tasks)
        self.ends[who] = self.loop.create_future()
        self.tasks[who] = self.loop.create_task(self.pipeline.run(self.target, who))
        self.step()
        self.model.arrive(who, self.loop.time())

    @precondition(lambda self: self.model.running)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(["answered", "dropped", "dropped", "ignored"]))
    def end(self, pick: int, how: str) -> None:
        """One of those that run ends. Fewer are answered than close a window, which is another test's subject."""
        who = choose(list(self.model.running), pick)
        self.answers += how == "answered"
        if how == "answered" and self.answers < 20:
            self.ends[who].set_result("answered")
        elif how == "dropped":
            self.model.drop(who, self.loop.time())
            self.ends[who].set_exception(ConnectionResetError())
        else:
            how = "ignored"
            self.ends[who].set_exception(ConnectionRefusedError())
        self.model.leave(who, how, self.loop.time())
        self.step()

    @precondition(lambda self: self.tasks)
    @rule(limit=st.integers(1, 6), pick=st.integers(0, 9), cancelled=st.sampled_from(["", "before", "after"]))
    def move(self, limit: int, pick: int, cancelled: str) -> None:
        """The limit moves, and one who waits may be cancelled in the same tick, before or after."""
        now, gate = self.loop.time(), self.pipeline.states["adaptive_limit"].gate
        who = choose([who for who, _ in self.model.waiting], pick) if cancelled and self.model.waiting else None
        if who is not None and cancelled == "before":
            self.tasks[who].cancel()
        gate.resize(limit)
        if who is not None:
            self.tasks[who].cancel()
            self.model.leave(who, "cancelled", now)
        self.model.move(limit, now)
        self.step()

    @precondition(lambda self: self.model.running or self.model.waiting)
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        """One that runs or waits is cancelled, which says nothing about the target."""
        who = choose([*self.model.running, *(who for who, _ in self.model.waiting)], pick)
        self.tasks[who].cancel()
        self.model.leave(who, "cancelled", self.loop.time())
        self.step()

    @precondition(lambda self: self.model.running and self.model.waiting)
    @rule(pick=st.integers(0, 9), later=st.integers(0, 1))
    def end_and_cancel(self, pick: int, later: int) -> None:
        """One is dropped, and who is next is cancelled in the same tick, before or after it is handed the place."""
        now = self.loop.time()
        ending = choose(list(self.model.running), pick)
        next_one = self.model.waiting[0 if self.model.order == "fifo" else -1][0]
        self.ends[ending].set_exception(ConnectionResetError())

        async def cancel() -> None:
            self.tasks[next_one].cancel()

        if later:
            self.loop.run_until_complete(cancel())
        else:
            self.tasks[next_one].cancel()
        self.model.drop(ending, now)
        self.model.leave(next_one, "cancelled", now)
        self.model.leave(ending, "dropped", now)
        self.step()

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)
        self.step()
        self.model.pass_time(self.loop.time())

    def outcome(self, task: asyncio.Task[str]) -> str | None:
        if not task.done():
            return None
        if task.cancelled():
            return "cancelled"
        outcomes = {BulkheadFull: "refused", ConnectionResetError: "dropped", ConnectionRefusedError: "ignored"}
        error = task.exception()
        return task.result() if error is None else outcomes[type(error)]

    @invariant()
    def agrees(self) -> None:
        if not self.started or not self.tasks:
            return
        assert not self.complaints
        status, model = self.pipeline.status()["adaptive_limit"], self.model
        stands = (status["limit"], status["busy"], status["waiting"])
        assert stands == (model.limit, len(model.running), len(model.waiting))
        for who, task in self.tasks.items():
            assert self.outcome(task) == model.ended.get(who)
            assert who not in model.running or who in self.began

    def teardown(self) -> None:
        if self.started:
            self.close_loop(*self.tasks.values())


TestAdaptiveLimit: Any = AdaptiveLimitMachine.TestCase
TestAdaptiveLimit.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the policy agree over all of them."""
    run_state_machine_as_test(AdaptiveLimitMachine, settings=MANY)
