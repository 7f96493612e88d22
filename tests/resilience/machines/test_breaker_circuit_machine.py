"""One circuit against a model of it: slow calls before they end, a ratio of probes with leases, the ramp, hand control.

The circuit is driven directly, on a clock that is set by hand: no loop, so that the histories cost little.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from histories import FEW, MANY
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resilience import CircuitOpen, Op
from resilience.call import Call
from resilience.circuit import Circuit, Rules
from resilience.testing import Script

CALL = Call(Op("read"), Script("ok"))
STATES = ["closed", "open", "half-open"]


class Model:
    """What a circuit is, in whole ticks; `until` is told to it, because open times are jittered."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.slow_after = rules, rules.slow_after or float("inf")
        self.generation, self.until = 0, 0.0
        self.under_way: dict[int, tuple[int, int]] = {}  # who, of which generation, since when
        self.change("closed")

    def change(self, state: str, ramp_from: int | None = None) -> None:
        self.state, self.ramp_from = state, ramp_from
        self.generation += 1
        self.in_row = self.passed = self.failed = self.admitted = 0
        self.shares = 0.0
        self.ended: list[tuple[int, bool]] = []  # when, and whether slow

    def mine(self) -> dict[int, int]:
        return {who: began for who, (generation, began) in self.under_way.items() if generation == self.generation}

    def slow_now(self, at: int) -> int:
        return sum(at - began >= self.slow_after for began in self.mine().values())

    def counted(self, at: int) -> list[bool]:
        last = self.rules.count_window
        return [slow for when, slow in self.ended if when > at - 10] if last is None else [
            slow for _, slow in self.ended[-last:]
        ]  # fmt: skip

    def too_slow(self, at: int) -> bool:
        calls = self.counted(at) + [True] * self.slow_now(at)
        least = min(self.rules.min_calls, self.rules.count_window or self.rules.min_calls)
        return len(calls) >= least and sum(calls) / len(calls) >= self.rules.slow_rate

    def probe(self, well: bool, at: int) -> None:
        self.passed += well
        self.failed += not well
        if self.passed / self.rules.probes >= self.rules.probe_success:
            self.change("closed", at)
        elif (self.rules.probes - self.failed) / self.rules.probes < self.rules.probe_success:
            self.change("open")

    def fate(self, who: int, at: int) -> str:
        """What has become of a probe by its age."""
        age, lease = at - self.under_way[who][1], self.rules.probe_lease
        return "slow" if age >= self.slow_after <= lease else "lost" if age >= lease else "waited for"

    def enter(self, at: int) -> str:
        """What is to become of a call: ``"admitted"``, ``"refused"``, or, where it is ramping, either."""
        if self.state == "open" and at >= self.until:
            self.change("half-open")
        if self.state == "half-open":
            for who in list(self.mine()):
                if self.state == "half-open" and self.fate(who, at) != "waited for":
                    slow = self.fate(who, at) == "slow"
                    del self.under_way[who]
                    if slow:
                        self.probe(False, at)
        elif self.state == "closed" and self.slow_now(at) and self.too_slow(at):
            self.change("open")
        if self.state == "open" or (self.state == "half-open" and len(self.mine()) >= self.rules.probes):
            return "refused"
        if self.ramp_from is None or at >= self.ramp_from + self.rules.ramp:
            return "admitted"
        self.shares += 0.1 + 0.9 * (at - self.ramp_from) / self.rules.ramp
        return "either"

    def settle(self, who: int, how: str, at: int) -> None:
        if who not in self.mine() or how == "nothing":
            self.under_way.pop(who, None)
            return
        fate, (_, began) = self.fate(who, at), self.under_way.pop(who)
        if self.state == "half-open":
            if fate != "lost":
                self.probe(how == "ok" and fate != "slow", at)
            return
        slow, sick = at - began >= self.slow_after, how == "sick"
        self.ended.append((at, slow))
        self.in_row = self.in_row + 1 if sick else 0
        if self.in_row >= 3 or (slow and self.too_slow(at)):
            self.change("open")


class CircuitMachine(RuleBasedStateMachine):
    """Calls enter and end in every way and at any age, time passes, and somebody has a hand on it."""

    @initialize(
        count_window=st.sampled_from([None, 4]),
        slow_after=st.sampled_from([None, 2.0, 5.0]),
        slow_rate=st.sampled_from([0.5, 0.4, 1.0]),
        min_calls=st.integers(1, 5),
        probes=st.sampled_from([(1, 1.0), (3, 1.0), (5, 0.6), (4, 0.26)]),
        lease=st.sampled_from([3.0, 8.0]),
        ramp=st.sampled_from([0.0, 10.0]),
    )
    def begin(
        self,
        count_window: int | None,
        slow_after: float | None,
        slow_rate: float,
        min_calls: int,
        probes: tuple[int, float],
        lease: float,
        ramp: float,
    ) -> None:
        rules = Rules(
            None, 3, None if count_window else 10.0, min_calls, 5.0, probes[0], count_window, slow_after, slow_rate,
            probes[1], lease, 5.0, ramp,
        )  # fmt: skip
        self.at, self.count = 0, 0
        self.circuit = Circuit("api", rules, random.Random(1), lambda: float(self.at))
        self.model = Model(rules)
        self.permits: dict[int, Any] = {}

    def told(self) -> None:
        """Once it has opened: until when."""
        if self.model.state == "open" and self.circuit.status()["state"] == "open":
            self.model.until = self.circuit.store.until

    @rule(number=st.integers(1, 6))
    def enter(self, number: int) -> None:
        """Admitted exactly when the model says so; while it is ramping, as many as the shares add up to."""
        for _ in range(number):
            expected = self.model.enter(self.at)
            outcome = self.try_to_enter()
            if isinstance(outcome, CircuitOpen):
                assert expected != "admitted"
                assert outcome.state == ("ramping" if expected == "either" else self.model.state)
            else:
                assert expected != "refused"
                self.permits[self.count] = outcome
                self.model.under_way[self.count] = self.model.generation, self.at
                self.model.admitted += expected == "either"
            if expected == "either":
                assert -1e-6 <= self.model.admitted - self.model.shares <= 1 + 1e-6
            self.count += 1
            self.told()

    def try_to_enter(self) -> Any:
        try:
            return self.circuit.enter(CALL)
        except CircuitOpen as refusal:
            return refusal

    @precondition(lambda self: self.permits)
    @rule(
        picks=st.lists(st.integers(0, 9), min_size=1, max_size=4),
        how=st.sampled_from(["ok", "ok", "ok", "sick", "sick", "nothing"]),
    )
    def end(self, picks: list[int], how: str) -> None:
        """Some of those under way, of whatever generation."""
        for pick in picks[: len(self.permits)]:
            who = sorted(self.permits)[pick % len(self.permits)]
            permit = self.permits.pop(who)
            self.model.settle(who, how, self.at)
            if how == "sick":
                permit.bad(OSError())
            else:
                permit.ok() if how == "ok" else permit.give_back()
            self.told()

    @rule(ticks=st.sampled_from([1, 1, 2, 3, 6, 10]))
    def wait(self, ticks: int) -> None:
        """A tick is a bucket of the window of ten."""
        self.at += ticks

    @rule(how=st.sampled_from(["ok", "ok", "ok", "sick"]), number=st.integers(1, 5))
    def recover(self, how: str, number: int) -> None:
        """The open time passes, and calls come one after the other."""
        self.at += 6
        for _ in range(number):
            self.enter(1)
            if self.count - 1 in self.permits:
                self.end([len(self.permits) - 1], how)

    @rule(state=st.sampled_from(STATES))
    def by_hand(self, state: str) -> None:
        """Nobody asks what it thinks; and who closes it by hand wants no ramp."""
        getattr(self.circuit, {"closed": "close", "open": "open", "half-open": "half_open"}[state])()
        self.model.change(state)
        self.told()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "model"):
            status, model = self.circuit.status(), self.model
            assert (status["state"], self.circuit._state.generation) == (model.state, model.generation)
            assert self.circuit._state.busy == len(model.mine())
            if model.state == "closed":
                calls = model.counted(self.at)
                assert status["calls"] == len(calls)
                if model.rules.slow_after is not None:
                    slow = model.slow_now(self.at)
                    assert status["slow_under_way"] == slow
                    total = len(calls) + slow
                    assert status["slow_rate"] == pytest.approx((sum(calls) + slow) / total if total else 0.0)


TestCircuit: Any = CircuitMachine.TestCase
TestCircuit.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The model and the circuit agree over all of them."""
    run_state_machine_as_test(CircuitMachine, settings=MANY)
