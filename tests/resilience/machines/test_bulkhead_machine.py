"""Bulkhead against a model of it, in all its sorts: every step of any history, call by call."""

from __future__ import annotations

import asyncio
from collections import defaultdict
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
    """What one gate is: who runs with which weight, and who waits, in order of arrival."""

    def __init__(self, limit: int, queue: int, max_wait: float | None, order: str) -> None:
        self.limit, self.queue, self.max_wait, self.order = limit, queue, max_wait, order
        self.running: dict[int, int] = {}
        self.waiting: list[tuple[int, int, float]] = []  # who, weight, since when
        self.ended: dict[int, str] = {}

    def arrive(self, who: int, weight: int, now: float) -> None:
        self.waiting.append((who, weight, now))
        self.let_in()
        if len(self.waiting) > self.queue and self.waiting[-1][0] == who:
            self.waiting.pop()
            self.ended[who] = "refused"

    def let_in(self) -> None:
        while self.waiting:
            who, weight, _ = first = self.waiting[0 if self.order == "fifo" else -1]
            if sum(self.running.values()) + weight > self.limit:
                return
            self.waiting.remove(first)
            self.running[who] = weight

    def leave(self, who: int, how: str) -> None:
        self.ended[who] = how
        self.running.pop(who, None)
        self.waiting = [waiter for waiter in self.waiting if waiter[0] != who]
        self.let_in()

    def pass_time(self, now: float) -> None:
        while self.max_wait is not None and self.waiting and (since := self.waiting[0][2]) + self.max_wait <= now:
            for who, _, _ in [waiter for waiter in self.waiting if waiter[2] == since]:
                self.ended[who] = "refused"
            self.waiting = [waiter for waiter in self.waiting if waiter[2] != since]
            self.let_in()


def choose(among: list[int], pick: int) -> int:
    return sorted(among)[pick % len(among)]


class BulkheadMachine(Histories):
    """Calls arrive, end, fail and are cancelled, in any order, and time passes."""

    @initialize(
        limit=st.integers(1, 3),
        queue=st.integers(0, 3),
        max_wait=st.sampled_from([None, 0.5, 2.0]),
        order=st.sampled_from(["fifo", "lifo"]),
        keyed=st.booleans(),
        weighted=st.booleans(),
    )
    def begin(self, limit: int, queue: int, max_wait: float | None, order: str, keyed: bool, weighted: bool) -> None:
        self.open_loop()
        self.keyed, self.weighted, self.limit = keyed, weighted, limit
        self.models = defaultdict(lambda: Model(limit, queue, max_wait, order))
        key = (lambda call: call.args[1]) if keyed else None
        weight = (lambda call: call.args[2]) if weighted else "one"
        self.pipeline = Pipeline(
            Bulkhead(limit, queue=queue, max_wait=max_wait, order=order, key=key, weight=weight)  # type: ignore[arg-type]
        )
        self.ends: dict[int, asyncio.Future[str]] = {}
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.home: dict[int, Model] = {}
        self.began: set[int] = set()

    async def target(self, who: int, key: str, weight: int) -> str:
        self.began.add(who)
        return await self.ends[who]

    def running(self) -> list[int]:
        return [who for model in self.models.values() for who in model.running]

    def alive(self) -> list[int]:
        return self.running() + [who for model in self.models.values() for who, _, _ in model.waiting]

    @rule(key=st.sampled_from("ab"), weight=st.integers(1, 3))
    def arrive(self, key: str, weight: int) -> None:
        who = len(self.tasks)
        key, weight = key if self.keyed else "", min(weight, self.limit) if self.weighted else 1
        self.ends[who] = self.loop.create_future()
        self.tasks[who] = self.loop.create_task(self.pipeline.run(self.target, who, key, weight))
        self.step()
        self.home[who] = self.models[key]
        self.home[who].arrive(who, weight, self.loop.time())

    @precondition(lambda self: self.running())
    @rule(pick=st.integers(0, 9), error=st.booleans())
    def end(self, pick: int, error: bool) -> None:
        """One of those that run ends, well or with an error."""
        who = choose(self.running(), pick)
        if error:
            self.ends[who].set_exception(OSError())
        else:
            self.ends[who].set_result("done")
        self.home[who].leave(who, "error" if error else "done")
        self.step()

    @precondition(lambda self: self.alive())
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        """One that runs or waits is cancelled."""
        who = choose(self.alive(), pick)
        self.tasks[who].cancel()
        self.home[who].leave(who, "cancelled")
        self.step()

    @precondition(lambda self: any(model.running and model.waiting for model in self.models.values()))
    @rule(pick=st.integers(0, 9), whom=st.integers(0, 2), later=st.integers(0, 1))
    def end_and_cancel(self, pick: int, whom: int, later: int) -> None:
        """One ends, and one who waits is cancelled in the same tick, before or after places are handed over."""
        model = next(model for model in self.models.values() if model.running and model.waiting)
        ending, waiter = choose(list(model.running), pick), model.waiting[whom % len(model.waiting)][0]
        self.ends[ending].set_result("done")

        async def cancel() -> None:
            self.tasks[waiter].cancel()

        if later:
            self.loop.run_until_complete(cancel())  # the end, and then this, in one turn of the loop
        else:
            self.tasks[waiter].cancel()
        model.leave(waiter, "cancelled")
        model.leave(ending, "done")
        self.step()

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)
        self.step()
        for model in self.models.values():
            model.pass_time(self.loop.time())

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
        status: dict[str, Any] = self.pipeline.status().get("bulkhead", {})
        for key, model in self.models.items():
            gate = status[key] if self.keyed else status
            assert (gate["busy"], gate["waiting"]) == (sum(model.running.values()), len(model.waiting))
        for who, task in self.tasks.items():
            assert self.outcome(task) == self.home[who].ended.get(who)
            assert who not in self.home[who].running or who in self.began

    def teardown(self) -> None:
        if self.started:
            self.close_loop(*self.tasks.values())


TestBulkhead: Any = BulkheadMachine.TestCase
TestBulkhead.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the bulkhead agree over all of them."""
    run_state_machine_as_test(BulkheadMachine, settings=MANY)
