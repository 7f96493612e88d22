"""Breaker against a model of it: who is admitted, what trips, what closes, whatever comes back late."""

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

from resilience import Breaker, CircuitOpen, Kind, Op, Pipeline, Verdict

TICK = 1.0  # one bucket of the window, which is ten of them


class Ended(Exception):
    """How the target ended, where it did not end well."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind(str(exc)))


class Model:
    """What a circuit is, with times in whole ticks; `open_until` is not known exactly, because it is jittered."""

    def __init__(self, rate: float | None, consecutive: int | None, min_calls: int, probes: int) -> None:
        self.rate, self.consecutive, self.min_calls, self.probes = rate, consecutive, min_calls, probes
        self.results: list[tuple[int, bool]] = []  # tick, sick
        self.in_row = self.generation = self.passed = 0
        self.state, self.opened_at = "closed", 0.0
        self.permits: dict[int, int] = {}  # who holds one, of which generation

    def change(self, state: str, now: float) -> None:
        self.state, self.opened_at, self.passed = state, now, 0
        self.generation += 1
        if state == "closed":
            self.results, self.in_row = [], 0

    def admits(self) -> bool:
        out = sum(generation == self.generation for generation in self.permits.values())
        return self.state == "closed" or (self.state == "half-open" and out < self.probes)

    def settle(self, who: int, how: str, now: float) -> None:
        if self.permits.pop(who) != self.generation or how in ("throttled", "cancelled"):
            return
        sick = how in ("failed", "unknown")
        if self.state == "half-open":
            self.passed += not sick
            if sick or self.passed >= self.probes:
                self.change("open" if sick else "closed", now)
            return
        self.results.append((round(now), sick))
        self.in_row = self.in_row + 1 if sick else 0
        if sick and (self.in_row_trips() or self.rate_trips(round(now))):
            self.change("open", now)

    def in_row_trips(self) -> bool:
        return self.consecutive is not None and self.in_row >= self.consecutive

    def rate_trips(self, tick: int) -> bool:
        recent = [sick for at, sick in self.results if at > tick - 10]
        return self.rate is not None and len(recent) >= self.min_calls and sum(recent) / len(recent) >= self.rate


class BreakerMachine(Histories):
    """Calls begin, end in every way (late ones too), and time passes; the first call begins at the first tick."""

    @initialize(
        rules=st.sampled_from([(0.5, None), (None, 2), (0.4, 4), (1.0, None)]),
        min_calls=st.integers(1, 6),
        probes=st.integers(1, 3),
    )
    def begin(self, rules: tuple[float | None, int | None], min_calls: int, probes: int) -> None:
        self.open_loop()
        rate, consecutive = rules
        self.model = Model(rate, consecutive, min_calls, probes)
        breaker = Breaker(rate, consecutive, window=10 * TICK, min_calls=min_calls, probes=probes, open_for=5.0)
        self.pipeline = Pipeline(breaker, classify=classify)
        self.running: dict[int, tuple[asyncio.Task[str], asyncio.Future[str]]] = {}
        self.count = 0

    def start(self) -> asyncio.Task[str]:
        """Begin a call; it runs now, or was refused."""
        who, end = self.count, self.loop.create_future()
        self.count += 1

        async def target() -> str:
            return await end

        task = self.loop.create_task(self.pipeline.run(target))
        self.running[who] = task, end
        self.step()
        if task.done():
            del self.running[who]
        return task

    @rule(number=st.integers(1, 4))
    def calls(self, number: int) -> None:
        """Some begin, and stay."""
        for _ in range(number):
            self.call()

    def call(self) -> None:
        """A call is admitted exactly when the model admits it; an open circuit's time is 5 to 6 seconds."""
        model, since = self.model, self.loop.time() - self.model.opened_at
        if model.state == "open" and since >= 6.0:
            model.change("half-open", self.loop.time())
        who, task = self.count, self.start()
        if model.state == "open" and since >= 5.0 and not task.done():
            model.change("half-open", self.loop.time())  # its own dice were short
        assert task.done() != model.admits()
        if task.done():
            error = task.exception()
            assert isinstance(error, CircuitOpen)
            assert (error.retry_after is None) == (model.state == "half-open")
            if error.retry_after is not None:
                assert 5.0 <= since + error.retry_after <= 6.0
        else:
            model.permits[who] = model.generation

    @precondition(lambda self: self.running)
    @rule(
        pick=st.integers(0, 9),
        how=st.sampled_from(["ok", "ok", "failed", "failed", "unknown", "rejected", "throttled", "cancelled"]),
    )
    def end(self, pick: int, how: str) -> None:
        """One of those that run ends; it may have begun in an earlier state."""
        who = sorted(self.running)[pick % len(self.running)]
        task, end = self.running.pop(who)
        if how == "cancelled":
            task.cancel()
        elif how == "ok":
            end.set_result("value")
        else:
            end.set_exception(Ended(how))
        self.step()
        assert task.cancelled() if how == "cancelled" else (task.exception() is None) == (how == "ok")
        self.model.settle(who, how, self.loop.time())

    @rule(how=st.lists(st.sampled_from(["ok", "failed"]), min_size=1, max_size=6))
    def several(self, how: list[str]) -> None:
        """A run of calls, one after the other."""
        for each in how:
            before = self.count
            self.call()
            if before in self.running:
                self.end(sorted(self.running).index(before), each)

    @precondition(lambda self: self.model.state != "closed")
    @rule(how=st.lists(st.sampled_from(["ok", "ok", "ok", "failed", "throttled", "cancelled"]), min_size=1, max_size=4))
    def recover(self, how: list[str]) -> None:
        """The open time passes, and probes are made."""
        self.step(6 * TICK)
        self.several(how)

    @rule(ticks=st.sampled_from([1, 1, 2, 3, 6, 10]))
    def wait(self, ticks: int) -> None:
        """A tick is a bucket, and both are whole numbers, so that no rounding decides."""
        self.step(ticks * TICK)

    @invariant()
    def agrees(self) -> None:
        if not self.started:
            return
        assert not self.complaints
        circuits = self.pipeline.states.get("breaker")
        if circuits is not None:
            now = self.pipeline.status()["breaker"]["default"]
            assert now["state"] == self.model.state
            if self.model.state == "closed":
                recent = [sick for at, sick in self.model.results if at > round(self.loop.time()) - 10]
                assert now["calls"] == len(recent)
                assert now["failure_rate"] == pytest.approx(sum(recent) / len(recent) if recent else 0.0)

    def teardown(self) -> None:
        if self.started:
            self.close_loop(*(task for task, _ in self.running.values()))


TestBreaker: Any = BreakerMachine.TestCase
TestBreaker.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the breaker agree over all of them."""
    run_state_machine_as_test(BreakerMachine, settings=MANY)
