"""The budget against the promise itself, checked the slow way: every call, every extra request, every window."""

from __future__ import annotations

from typing import Any

import pytest
from budget_model import Model
from histories import FEW, MANY
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from resilience.retrying.extras import extras


class BudgetMachine(RuleBasedStateMachine):
    """Calls begin, extra requests are asked for, many at once, and time passes, in small steps and in large ones."""

    @initialize(
        ratio=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]),
        floor=st.sampled_from([0.0, 0.5, 1.0, 5.0, 10.0, 12.5, 30.0]),
        window=st.sampled_from([1.0, 10.0]),
    )
    def begin(self, ratio: float, floor: float, window: float) -> None:
        self.now = 1000.0
        self.model = Model(ratio, floor, window)
        self.budget = extras(ratio, floor, window)

    @rule(number=st.sampled_from([1, 1, 2, 5, 40, 200]))
    def calls(self, number: int) -> None:
        for _ in range(number):
            self.budget.begin(self.now)
            self.model.calls.append(self.now)

    @rule(number=st.sampled_from([1, 1, 3, 20, 60]))
    def extra(self, number: int) -> None:
        """Ask until it is refused, at the most so often."""
        for _ in range(number):
            if not self.ask():
                break

    def ask(self) -> bool:
        free = self.budget.balance(self.now)
        granted = bool(self.budget.take(self.now))
        assert granted == (free >= 1), "balance said otherwise"
        (self.model.send if granted else self.model.refuse)(self.now)
        return granted

    @rule(calls=st.sampled_from([0, 1, 3, 30]), steps=st.integers(1, 20), every=st.sampled_from([0.003, 0.02, 0.1]))
    def steady(self, calls: int, steps: int, every: float) -> None:
        """Calls begin, each time some, and one extra request is wanted."""
        for _ in range(steps):
            self.pass_time(every)
            self.calls(calls)
            self.ask()

    @rule(share=st.sampled_from([0.001, 0.02, 0.1, 0.31, 0.5, 0.99, 1.0, 1.01, 3.0]))
    def pass_time(self, share: float) -> None:
        self.now += share * self.model.window

    @invariant()
    def is_bounded(self) -> None:
        if hasattr(self, "budget"):
            free = max(10, int(self.model.floor))
            assert len(self.budget._recent) < free
            assert len(self.budget._older) <= free
            assert len(getattr(self.budget, "_marks", ())) <= 42
            assert self.budget.scheduled == len(self.model.sent)


TestBudget: Any = BudgetMachine.TestCase
TestBudget.settings = FEW


@pytest.mark.sweep
def test_all_histories() -> None:
    """The promise holds over all of them."""
    run_state_machine_as_test(BudgetMachine, settings=MANY)


def test_the_model_notices_a_broken_promise() -> None:
    """One extra request too many, in a window of any length; and a refusal without need."""
    model = Model(0.5, 0.0, 10.0)
    model.calls += [0.0] * 4
    model.send(1.0)
    model.send(2.0)
    with pytest.raises(AssertionError, match="break the promise"):
        model.send(3.0)
    model.calls += [3.0] * 40
    with pytest.raises(AssertionError, match="needlessly"):
        model.refuse(4.0)
    burst = Model(0.5, 10.0, 10.0)
    burst.calls += [0.0] * 100
    for _ in range(10):
        burst.send(5.0)
    with pytest.raises(AssertionError, match="break the promise"):
        burst.send(5.0)  # the calls of the window would justify it, but none of those begun since the first of them
