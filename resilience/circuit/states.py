"""What the three states have in common, and two of them: aiobreaker's, with permits.

Each of their objects is one generation: whoever comes back with the permit of a state that has been left moves nothing.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from aiobreaker.state import (
    CircuitBreakerBaseState,
    CircuitBreakerState,
    CircuitClosedState,
    CircuitOpenState,
)
from aiobreaker.storage.base import CircuitBreakerStorage

from ..call import Call
from .permits import Ticket
from .ramp import Ramp
from .refusal import CircuitOpen
from .rules import Counts, Rules

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["Closed", "Open", "State", "Store"]


class Store(CircuitBreakerStorage):
    """aiobreaker's storage: the state and its times (on the loop's clock), failures in a row, and the windows."""

    state: CircuitBreakerState = CircuitBreakerState.CLOSED  # plain fields where aiobreaker has properties
    counter: int = 0
    opened_at: datetime | None = None  # type: ignore[assignment]  # wall time, only shown
    until = 0.0  # when an open circuit admits a probe
    asked = 0.0  # when a call last wanted to be a probe

    def __init__(self, windows: tuple[Counts, ...], since: float) -> None:
        super().__init__("memory")
        self.since = since
        self.count_in(windows)

    def count_in(self, windows: tuple[Counts, ...]) -> None:
        """Count in these from now on."""
        self.windows = windows
        self.window: Any = windows[0]

    def increment_counter(self) -> None:
        self.counter += 1

    def reset_counter(self) -> None:
        self.counter = 0


class State(CircuitBreakerBaseState):
    """What the three states have in common. Every permit ends with exactly one of `ok`, `bad` and `give_back`."""

    label: ClassVar[str]
    ramp: Ramp | None = None

    def __init__(self, breaker: Circuit, prev_state: State | None = None, notify: bool = False) -> None:
        stock: Any = super()  # one of aiobreaker's three, which takes these
        stock.__init__(breaker, prev_state, notify)
        self._circuit = breaker
        self._store = breaker.store
        self.generation: int = 1 if prev_state is None else prev_state.generation + 1
        self.busy = 0  # permits that are out

    @abstractmethod
    def enter(self, call: Call) -> Ticket:
        """A permit for this call. Raises `CircuitOpen`."""

    def ok(self, slow: bool = False) -> None:
        """The target answered."""
        self.busy -= 1
        circuit = self._circuit
        if circuit._state is self:
            self._healthy(slow)
            if circuit.heard:
                circuit.tell("success")

    def bad(self, error: Exception, retry_after: float | None = None, slow: bool = False) -> None:
        """The target is sick, and may have said when to come back."""
        self.busy -= 1
        circuit = self._circuit
        if circuit._state is self:
            self._sick(error, retry_after or 0.0, slow)
            if circuit.heard:
                circuit.tell("failure", error)

    def give_back(self) -> None:
        """Nobody learned anything: cancelled, throttled, refused beneath, or lost to another branch of a hedge."""
        self.busy -= 1

    def _healthy(self, slow: bool) -> None:
        """What an answer does to this state."""

    def _sick(self, error: Exception, retry_after: float, slow: bool) -> None:
        """What a failure does to this state."""

    def become(self, rules: Rules) -> None:
        """Go on under other rules, in the same state."""

    def calm(self) -> bool:
        """Is entering no more than ``busy += 1``, and a success one more in the window and the end of a row?"""
        return False

    def slow(self, at: float) -> int:
        """How many calls under way are slow already."""
        return 0

    def new_clock(self) -> None:
        """Another loop's clock: how old anything is, nobody knows any more."""


class Closed(State, CircuitClosedState):
    """Admits all calls, but for a while after it has closed, where the circuit's `ramp` says so."""

    label = "closed"

    def enter(self, call: Call) -> Ticket:
        if self.ramp is not None:
            self._climb(self.ramp)
        self.busy += 1
        return self

    def _climb(self, ramp: Ramp) -> None:
        at = self._circuit.now()
        if at >= ramp.ends:
            self.ramp = None
            self._circuit.rewire()
        elif not ramp.admits(at):
            raise CircuitOpen(self._circuit.key, ramp.ends - at, "ramping")

    def ok(self, slow: bool = False) -> None:
        self.busy -= 1  # all in one piece, because most successes pass here
        circuit = self._circuit
        if circuit._state is not self:
            return
        window, at = self._store.window, circuit.now()
        if not window.begins <= at < window.ends:
            window.turn(at)
        window.calls += 1
        self._store.counter = 0
        if circuit.heard:
            circuit.tell("success")

    def _sick(self, error: Exception, retry_after: float, slow: bool) -> None:
        circuit, store = self._circuit, self._store
        at = circuit.now()
        for window in store.windows:
            window.add(at, True, slow)
        store.increment_counter()
        if store.counter >= circuit.fail_max:
            cause: str | None = f"{store.counter} failures in a row"
        else:
            cause = circuit.rules.failing(store.windows)
        if cause is not None:
            circuit.open(f"{cause}, the last with {type(error).__name__}", floor=retry_after)

    def calm(self) -> bool:
        return self.ramp is None

    def new_clock(self) -> None:
        self.ramp = None


class Open(State, CircuitOpenState):
    label = "open"

    def enter(self, call: Call) -> Ticket:
        circuit = self._circuit
        left = self._store.until - circuit.now()
        if left > 0:
            raise CircuitOpen(circuit.key, left)
        circuit.half_open("the open time is over")
        return circuit._state.enter(call)

    def new_clock(self) -> None:
        self._store.until = -math.inf  # let a probe find out
