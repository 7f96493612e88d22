"""Closed circuits that count more than failures within a time: over the last n calls, and how many calls are slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..call import Call
from .permits import Flights, Permit, Ticket
from .states import Closed, State

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["Counting", "Timing"]


class Counting(Closed):
    """Counts over the last n calls, beside a window of time or in place of it."""

    def ok(self, slow: bool = False) -> None:
        State.ok(self, slow)  # not the short way, which knows one window of time

    def _healthy(self, slow: bool) -> None:
        store, at = self._store, self._circuit.now()
        for window in store.windows:
            window.add(at, False, slow)
        store.reset_counter()

    def calm(self) -> bool:
        return False


class Timing(Counting):
    """Counts slow calls too, those that are still under way among them.

    Asked whenever a slow call ends, and whenever a call wants to enter while others are slow: so a target that answers
    nobody trips it, though nothing ever ends.
    """

    def __init__(self, breaker: Circuit, prev_state: State | None = None, notify: bool = False) -> None:
        super().__init__(breaker, prev_state, notify)
        self._flights = Flights(breaker.rules.slow_after or 0.0)

    def enter(self, call: Call) -> Ticket:
        circuit = self._circuit
        at = circuit.now()
        if self._flights.slow(at) and self._trips(at, 0.0):
            return circuit._state.enter(call)
        super().enter(call)
        return self._flights.begin(self, at)

    def take_back(self, permit: Permit) -> bool | None:
        return self._flights.end(permit, self._circuit.now())

    def _healthy(self, slow: bool) -> None:
        super()._healthy(slow)
        if slow:
            self._trips(self._circuit.now(), 0.0)

    def _sick(self, error: Exception, retry_after: float, slow: bool) -> None:
        super()._sick(error, retry_after, slow)
        if slow and self._circuit._state is self:
            self._trips(self._circuit.now(), retry_after)

    def _trips(self, at: float, retry_after: float) -> bool:
        """Whether too many calls are slow, and the circuit is open therefore."""
        circuit, windows = self._circuit, self._store.windows
        for window in windows:
            window.catch_up(at)
        cause = circuit.rules.slowing(windows, self._flights.slow(at))
        if cause is None:
            return False
        circuit.open(cause, floor=retry_after)
        return True

    def slow(self, at: float) -> int:
        return self._flights.slow(at)

    def new_clock(self) -> None:
        super().new_clock()
        self._flights.clear()
