"""Bulkhead against a model of it: every step of any history, call by call."""

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

from resilience import Bulkhead, BulkheadFull, Pipeline


class Model:
    """What a bulkhead is: who runs, and who waits, in order of arrival."""

    def __init__(self, limit: int, queue: int, max_wait: float | None) -> None:
        self.limit, self.queue, self.max_wait = limit, queue, max_wait
        self.running: set[int] = set()
        self.waiting: list[tuple[int, float]] = []  # who, since when
        self.ended: dict[int, str] = {}

    def arrive(self, who: int, now: float) -> None:
        if len(self.running) < self.limit:
            self.running.add(who)
        elif len(self.waiting) < self.queue:
            self.waiting.append((who, now))
        else:
            self.ended[who] = "refused"

    def leave(self, who: int, how: str) -> None:
        self.ended[who] = how
        self.waiting = [(waiter, since) for waiter, since in self.waiting if waiter != who]
        if who in self.running:
            self.running.remove(who)
            if self.waiting:
                self.running.add(self.waiting.pop(0)[0])

    def alive(self) -> set[int]:
        return self.running | {who for who, _ in self.waiting}

    def pass_time(self, now: float) -> None:
        while self.max_wait is not None and self.waiting and self.waiting[0][1] + self.max_wait <= now:
            self.ended[self.waiting.pop(0)[0]] = "refused"


def choose(among: set[int], pick: int) -> int:
    return sorted(among)[pick % len(among)]


class BulkheadMachine(Histories):
    """Calls arrive, end, fail and are cancelled, in any order, and time passes."""

    @initialize(limit=st.integers(1, 3), queue=st.integers(0, 3), max_wait=st.sampled_from([None, 0.5, 2.0]))
    def begin(self, limit: int, queue: int, max_wait: float | None) -> None:
        self.open_loop()
        self.model = Model(limit, queue, max_wait)
        self.pipeline = Pipeline(Bulkhead(limit, queue=queue, max_wait=max_wait))
        self.ends: dict[int, asyncio.Future[str]] = {}
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.began: set[int] = set()

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
    @rule(pick=st.integers(0, 9), error=st.booleans())
    def end(self, pick: int, error: bool) -> None:
        """One of those that run ends, well or with an error."""
        who = choose(self.model.running, pick)
        if error:
            self.ends[who].set_exception(OSError())
        else:
            self.ends[who].set_result("done")
        self.model.leave(who, "error" if error else "done")
        self.step()

    @precondition(lambda self: self.model.alive())
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        """One that runs or waits is cancelled."""
        who = choose(self.model.alive(), pick)
        self.tasks[who].cancel()
        self.model.leave(who, "cancelled")
        self.step()

    @precondition(lambda self: self.model.running and self.model.waiting)
    @rule(pick=st.integers(0, 9), later=st.integers(0, 1))
    def end_and_cancel(self, pick: int, later: int) -> None:
        """One ends, and the first who waits is cancelled in the same tick, before or after it is handed the place."""
        ending, first = choose(self.model.running, pick), self.model.waiting[0][0]
        self.ends[ending].set_result("done")

        async def cancel() -> None:
            self.tasks[first].cancel()

        if later:
            self.loop.run_until_complete(cancel())  # the end, and then this, in one turn of the loop
        else:
            self.tasks[first].cancel()
        self.model.leave(first, "cancelled")
        self.model.leave(ending, "done")
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
        error = task.exception()
        return task.result() if error is None else {BulkheadFull: "refused", OSError: "error"}[type(error)]

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        assert not self.complaints
        status = self.pipeline.status().get("bulkhead", {"busy": 0, "waiting": 0})
        assert (status["busy"], status["waiting"]) == (len(self.model.running), len(self.model.waiting))
        for who, task in self.tasks.items():
            assert self.outcome(task) == self.model.ended.get(who)
            if who in self.model.running:
                assert who in self.began

    def teardown(self) -> None:
        if self.started:
            self.close_loop(*self.tasks.values())


TestBulkhead: Any = BulkheadMachine.TestCase
TestBulkhead.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the bulkhead agree over all of them."""
    run_state_machine_as_test(BulkheadMachine, settings=MANY)
