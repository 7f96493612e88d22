"""Cache against a model of it: what serves whom, at which age, what is renewed, forgotten, or makes room."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from histories import FEW, MANY, Histories
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from resilience import Cache, Kind, Op, Pipeline, Verdict

READ = Op("read", idempotent=True)
MOST = 2


class No(Exception):
    """REJECTED."""


class Down(Exception):
    """FAILED."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind.REJECTED if isinstance(exc, No) else Kind.FAILED)


@dataclass
class Asked:
    """A call that is under way beneath; `who` is None for a renewal, which is cut off at `until`."""

    key: str
    number: int
    who: int | None
    until: float


class Model:
    """What is kept is (value, when it arrived, number of the call that asked), the one used last at the end."""

    def __init__(self, ttl: float, renew_for: float, error_for: float) -> None:
        self.ttl, self.renew_for, self.error_for = ttl, renew_for, error_for
        self.kept: dict[str, tuple[str, float, int]] = {}
        self.asked: list[Asked] = []
        self.ended: dict[int, str] = {}
        self.number = self.floor = 0

    def ask(self, who: int, key: str, now: float) -> None:
        _, at, _ = self.kept.get(key, ("", -1e9, 0))
        if now - at < self.ttl + self.renew_for:
            self.serve(who, key)
            if now - at > self.ttl and not any(call.key == key and call.who is None for call in self.asked):
                self.go_down(key, None, now + self.renew_for)
        else:
            self.go_down(key, who, 1e9)

    def go_down(self, key: str, who: int | None, until: float) -> None:
        self.number += 1
        self.asked.append(Asked(key, self.number, who, until))

    def serve(self, who: int, key: str) -> None:
        self.kept[key] = self.kept.pop(key)
        self.ended[who] = self.kept[key][0]

    def land(self, call: Asked, how: str, now: float) -> None:
        self.asked.remove(call)
        _, at, number = self.kept.get(call.key, ("", -1e9, 0))
        if how == "value":
            if call.number > max(number, self.floor):
                self.kept.pop(call.key, None)
                self.kept[call.key] = (f"{call.key}{call.number}", now, call.number)
                while len(self.kept) > MOST:
                    del self.kept[next(iter(self.kept))]
            how = f"{call.key}{call.number}"
        elif how == "no" and 0 < number < call.number:
            del self.kept[call.key]
        elif how == "down" and self.error_for and now - at < self.ttl + self.error_for and call.who is not None:
            self.serve(call.who, call.key)
            return
        if call.who is not None:
            self.ended[call.who] = how

    def pass_time(self, now: float) -> None:
        self.asked = [call for call in self.asked if call.until > now]

    def clear(self) -> None:
        self.kept.clear()
        self.floor = self.number


class CacheMachine(Histories):
    """Calls are asked, land well or badly in any order, or are cancelled; time passes; all is forgotten.

    No age can be met exactly: which side of the bound that is has a test of its own.
    """

    @initialize(renew_for=st.sampled_from([0, 2.05]), error_for=st.sampled_from([0, 5.05]))
    def begin(self, renew_for: float, error_for: float) -> None:
        self.open_loop()
        self.model = Model(1.05, renew_for, error_for)
        self.pipeline = Pipeline(
            Cache(1.05, MOST, stale_while_revalidate=renew_for, stale_if_error=error_for), classify=classify
        )
        self.landings: dict[int, asyncio.Future[str]] = {}
        self.tasks: list[asyncio.Task[str]] = []
        self.waiting: list[int] = []  # those of whom no outcome was seen yet

    async def target(self, key: str) -> str:
        number = len(self.landings) + 1
        self.landings[number] = self.loop.create_future()
        return await self.landings[number]

    @rule(key=st.sampled_from("aabc"), number=st.integers(1, 3))
    def ask(self, key: str, number: int) -> None:
        """Some ask for the same in one tick."""
        for _ in range(number):
            self.model.ask(len(self.tasks), key, self.loop.time())
            self.waiting.append(len(self.tasks))
            self.tasks.append(self.loop.create_task(self.pipeline.run(self.target, key, op=READ)))
        self.step()

    @precondition(lambda self: self.model.asked)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(["value", "value", "value", "down", "no"]))
    def land(self, pick: int, how: str) -> None:
        """Any of those under way ends."""
        call = self.model.asked[pick % len(self.model.asked)]
        landing = self.landings[call.number]
        if how == "value":
            landing.set_result(f"{call.key}{call.number}")
        else:
            landing.set_exception(No() if how == "no" else Down())
        self.model.land(call, how, self.loop.time())
        self.step()

    @precondition(lambda self: any(call.who is not None for call in self.model.asked))
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        """A caller goes away."""
        calls = [call for call in self.model.asked if call.who is not None]
        call = calls[pick % len(calls)]
        self.tasks[call.who].cancel()
        self.model.land(call, "cancelled", self.loop.time())
        self.step()

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)
        self.model.pass_time(self.loop.time())

    @precondition(lambda self: self.tasks)
    @rule()
    def clear(self) -> None:
        self.pipeline.states["cache"].clear()
        self.model.clear()

    def outcome(self, task: asyncio.Task[str]) -> str | None:
        if not task.done():
            return None
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        return task.result() if error is None else {No: "no", Down: "down"}[type(error)]

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
        assert len(self.landings) == model.number
        if self.tasks:
            shelf = self.pipeline.states["cache"]
            assert [(key, kept.value) for key, kept in _by_argument(shelf)] == [
                (key, value) for key, (value, _, _) in model.kept.items()
            ]
            assert len(shelf.refreshing) == sum(call.who is None for call in model.asked)

    def teardown(self) -> None:
        """Closing the pipeline ends every renewal."""
        if self.started:
            self.loop.run_until_complete(self.pipeline.aclose())
            self.close_loop(*self.tasks)


def _by_argument(shelf: Any) -> list[tuple[str, Any]]:
    return [(key[2][0], kept) for key, kept in shelf.answers.items()]


TestCache: Any = CacheMachine.TestCase
TestCache.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the cache agree over all of them."""
    run_state_machine_as_test(CacheMachine, settings=MANY)
