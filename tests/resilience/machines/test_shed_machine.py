"""Shed against a model of it: what is counted and forgotten, and whom the dice refuse."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from histories import FEW, MANY, Histories
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from resilience import BulkheadFull, Kind, LoadShed, Op, Pipeline, Shed, Verdict
from resilience.call import Call, takes_call

TICK = 1.0  # one bucket of the window, which is ten of them
PRIORITIES = ("critical", "default", "sheddable")
ENDINGS = (*(kind.value for kind in Kind), "refused", "cancelled", "lost", "lost and failed")


class Ended(Exception):
    """How the target ended, where it did not end well."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind(str(exc)))


class Model:
    """Every outcome that counts, with the tick in which it was known; times are whole ticks."""

    def __init__(self, ks: dict[str, float], floor: float, fewest: int, seed: int) -> None:
        self.ks, self.floor, self.fewest = ks, floor, fewest
        self.dice = random.Random(seed)
        self.known: list[tuple[int, bool]] = []  # tick, accepted
        self.refused = 0

    def counts(self, tick: int) -> tuple[int, int]:
        lately = [accepted for at, accepted in self.known if tick - at < 10]
        return len(lately), sum(lately)

    def refusal(self, tick: int, priority: str) -> float:
        requests, accepts = self.counts(tick)
        if requests < self.fewest:
            return 0.0
        return min(1 - self.floor, max(0.0, (requests - self.ks[priority] * accepts) / (requests + 1)))

    def admits(self, tick: int, priority: str) -> bool:
        refusal = self.refusal(tick, priority)
        if refusal > 0 and self.dice.random() < refusal:
            self.known.append((tick, False))
            self.refused += 1
            return False
        return True

    def ended(self, tick: int, how: str) -> None:
        if how in ("ok", "rejected", "throttled", "failed", "unknown"):
            self.known.append((tick, how in ("ok", "rejected")))


class ShedMachine(Histories):
    """Calls that begin, are refused or run, and end in any way, over ticks that pass."""

    @initialize(
        k=st.sampled_from([1.0, 1.5, 2.0]),
        floor=st.sampled_from([0.0, 0.1, 0.5]),
        fewest=st.sampled_from([1, 3, 8]),
        seed=st.integers(0, 9),
    )
    def begin(self, k: float, floor: float, fewest: int, seed: int) -> None:
        self.open_loop()
        self.ends: list[asyncio.Future[str]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        ks = {"critical": 2 * k, "default": k, "sheddable": 1.0}
        self.model = Model(ks, floor, fewest, seed)
        self.pipeline = Pipeline(
            Shed(k, k_sheddable=1.0, window=10 * TICK, floor=floor, min_calls=fewest), classify=classify, seed=seed
        )
        self.call("ok", "default")  # the window's buckets count from the first outcome

    @property
    def tick(self) -> int:
        assert self.loop is not None
        return round(self.loop.time() / TICK)

    @rule(how=st.sampled_from(ENDINGS), priority=st.sampled_from(PRIORITIES))
    def call(self, how: str, priority: str) -> None:
        """One that begins and ends in the same tick."""
        self.start(priority)
        if self.ends and not self.ends[-1].done():
            self.end(-1, how)

    @rule(priority=st.sampled_from(PRIORITIES))
    def start(self, priority: str) -> None:
        """One that is refused, or runs on."""
        assert self.loop is not None
        end = self.loop.create_future()

        @takes_call
        async def target(call: Call) -> str:
            how = await end
            call.attempt.lost = how.startswith("lost")
            if how == "refused":
                raise BulkheadFull
            if how not in ("ok", "lost"):
                raise Ended("failed" if how.startswith("lost") else how)
            return how

        task = self.loop.create_task(self.pipeline.run(target, op=Op("op", priority=priority)))  # type: ignore[arg-type]
        self.step()
        if self.model.admits(self.tick, priority):
            assert not task.done()
            self.tasks.append(task)
            self.ends.append(end)
        else:
            assert isinstance(task.exception(), LoadShed)

    @precondition(lambda self: self.started and self.ends)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(ENDINGS))
    def end(self, pick: int, how: str) -> None:
        """One that ran ends."""
        which = pick % len(self.ends)
        end, task = self.ends.pop(which), self.tasks.pop(which)
        if how == "cancelled":
            task.cancel()
        else:
            end.set_result(how)
        self.model.ended(self.tick, how)
        self.step()
        assert task.done()
        assert task.cancelled() == (how == "cancelled")
        if not task.cancelled():
            task.exception()

    @rule(ticks=st.sampled_from([1, 2, 5, 9, 10, 40]))
    def wait(self, ticks: int) -> None:
        self.step(ticks * TICK)

    @precondition(lambda self: self.started)
    @rule()
    def agrees(self) -> None:
        """A rule and no invariant, because a status catches up with the time, which a call must do for itself."""
        assert not self.complaints
        status, tick = self.pipeline.status()["shed"], self.tick
        assert (status["requests"], status["accepts"]) == self.model.counts(tick)
        assert status["refused"] == self.model.refused
        assert status["refusal"] == {priority: self.model.refusal(tick, priority) for priority in PRIORITIES}

    def teardown(self) -> None:
        if self.started:
            self.agrees()
            self.close_loop(*self.tasks)


TestShed: Any = ShedMachine.TestCase
TestShed.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the policy agree over all of them."""
    run_state_machine_as_test(ShedMachine, settings=MANY)
