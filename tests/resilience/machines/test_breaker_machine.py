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
    """What a circuit is, with times in whole ticks; `until` is told to it, because open times are jittered."""

    def __init__(self, rate: float | None, consecutive: int | None, last: int | None, least: int, probes: int) -> None:
        self.rate, self.consecutive, self.last, self.least, self.probes = rate, consecutive, last, least, probes
        self.results: list[tuple[int, bool]] = []  # tick, sick
        self.in_row = self.generation = self.passed = 0
        self.state, self.since, self.until = "closed", 0.0, 0.0
        self.base, self.was_open = 0.0, 0.0  # of the open time
        self.permits: dict[int, int] = {}  # who holds one, of which generation

    def change(self, state: str, now: float) -> None:
        if state == "open":
            well = self.state == "closed" and now - self.since >= self.was_open
            self.base = 5.0 if well or not self.base else min(self.base * (1 + (self.state == "half-open")), 20.0)
        self.state, self.since, self.passed = state, now, 0
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

    def recent(self, tick: int) -> list[bool]:
        return [sick for at, sick in self.results if at > tick - 10]

    def rate_trips(self, tick: int) -> bool:
        windows = [(self.recent(tick), self.least)]
        if self.last is not None:
            windows.append(([sick for _, sick in self.results[-self.last :]], min(self.least, self.last)))
        return self.rate is not None and any(
            len(calls) >= least and sum(calls) / len(calls) >= self.rate for calls, least in windows
        )


class BreakerMachine(Histories):
    """Calls begin, end in every way (late ones too), and time passes; the first call begins at the first tick."""

    @initialize(
        rules=st.sampled_from([(0.5, None), (None, 2), (0.4, 4), (1.0, None)]),
        last=st.sampled_from([None, 3, 8]),
        min_calls=st.integers(1, 6),
        probes=st.integers(1, 3),
        seed=st.integers(0, 99),
    )
    def begin(
        self, rules: tuple[float | None, int | None], last: int | None, min_calls: int, probes: int, seed: int
    ) -> None:
        self.open_loop()
        rate, consecutive = rules
        self.model = Model(rate, consecutive, last, min_calls, probes)
        breaker = Breaker(
            rate, consecutive, window=10 * TICK, min_calls=min_calls, probes=probes, open_for=5.0, max_open_for=20.0,
            count_window=last, probe_lease=1e9,
        )  # fmt: skip
        self.pipeline = Pipeline(breaker, classify=classify, seed=seed)  # of the jitter of open times
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
        """A call is admitted exactly when the model admits it; who is refused is told when to come back."""
        model, now = self.model, self.loop.time()
        if model.state == "open" and now >= model.until:
            model.change("half-open", now)
        who, task = self.count, self.start()
        assert task.done() != model.admits()
        if task.done():
            error = task.exception()
            assert isinstance(error, CircuitOpen)
            assert error.retry_after == (None if model.state == "half-open" else model.until - now)
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
        generation = self.model.generation
        self.model.settle(who, how, self.loop.time())
        if self.model.state == "open" and self.model.generation != generation:
            self.opened()

    def opened(self) -> None:
        """For a time from the base to a fifth more, which the model could not know."""
        model, until = self.model, self.pipeline.states["breaker"]["default"].store.until
        model.until, model.was_open = until, until - model.since
        assert model.base <= model.was_open <= 1.2 * model.base

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
        self.step(25 * TICK)
        self.several(how)

    @rule(ticks=st.sampled_from([1, 1, 2, 3, 6, 10, 25]))
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
                recent = self.model.recent(round(self.loop.time()))
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
