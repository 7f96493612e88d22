"""The half-open state: aiobreaker's, with few probes at a time, a verdict on them all, and a lease for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiobreaker.state import CircuitHalfOpenState

from ..call import Call
from .permits import Permit, Ticket
from .refusal import CircuitOpen
from .rules import Rules
from .states import State

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["HalfOpen"]


class HalfOpen(State, CircuitHalfOpenState):
    """Admits probes. Closes as soon as enough of them have succeeded, opens as soon as that has become impossible."""

    label = "half-open"

    def __init__(self, breaker: Circuit, prev_state: State | None = None, notify: bool = False) -> None:
        super().__init__(breaker, prev_state, notify)
        self._out: dict[Permit, None] = {}
        self._wanted = breaker.rules.successes()
        self._passed = self._failed = 0

    def become(self, rules: Rules) -> None:
        self._wanted = rules.successes()

    def enter(self, call: Call) -> Ticket:
        circuit = self._circuit
        self._store.asked = at = circuit.now()
        self._review(at)
        if circuit._state is not self:
            return circuit._state.enter(call)
        if self.busy >= circuit.rules.probes:
            raise CircuitOpen(circuit.key, None, self.label)
        if call.attempt.kind == "original":
            call.attempt.kind = "probe"
        self.busy += 1
        permit = Permit(self, at)
        self._out[permit] = None
        return permit

    def _review(self, at: float) -> None:
        """Look at the probes that are out: some have failed by being slow, some will never come back."""
        for permit in list(self._out):
            slow = self._age(permit, at)
            if slow is not False:
                del self._out[permit]
                self.busy -= 1
            if slow:
                self._lose("a probe is slow", 0.0)
                if self._circuit._state is not self:
                    return

    def take_back(self, permit: Permit) -> bool | None:
        if permit not in self._out:
            return None
        del self._out[permit]
        slow = self._age(permit, self._circuit.now())
        if slow is None:
            self.busy -= 1
        return slow

    def _age(self, permit: Permit, at: float) -> bool | None:
        """Whether the probe is slow; None if its lease is over, by which it might have been slow, but was not."""
        rules, age = self._circuit.rules, at - permit.began
        if rules.slow_after is not None and age >= rules.slow_after <= rules.probe_lease:
            return True
        return None if age >= rules.probe_lease else False

    def _healthy(self, slow: bool) -> None:
        if slow:
            self._lose("a probe was slow", 0.0)
            return
        self._passed += 1
        if self._passed >= self._wanted:
            self._circuit.close("its probes succeeded", ramped=True)

    def _sick(self, error: Exception, retry_after: float, slow: bool) -> None:
        self._lose(f"a probe failed with {type(error).__name__}", retry_after)

    def _lose(self, cause: str, retry_after: float) -> None:
        self._failed += 1
        if self._failed > self._circuit.rules.probes - self._wanted:
            self._circuit.open(cause, floor=retry_after, again=True)

    def new_clock(self) -> None:
        self._out.clear()
        self.busy = 0
