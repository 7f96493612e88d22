"""The three states, aiobreaker's with permits, and the refusal that two of them give.

Each of their objects is one generation: whoever comes back with the permit of a state that has been left moves nothing.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from aiobreaker.state import (
    CircuitBreakerBaseState,
    CircuitBreakerError,
    CircuitBreakerState,
    CircuitClosedState,
    CircuitHalfOpenState,
    CircuitOpenState,
)
from aiobreaker.storage.base import CircuitBreakerStorage

from ..call import Call
from ..errors import Refused
from .window import Window

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["STATES", "CircuitOpen", "Closed", "HalfOpen", "Open", "State", "Store"]


class CircuitOpen(Refused, CircuitBreakerError):
    """The circuit of `key` is open, or half-open with all its probes under way: nothing was sent.

    `retry_after`: seconds until a probe is admitted; None while probes are under way, whose end nobody knows. Being an
    aiobreaker error, it has `message`, `reopen_time` (local wall time with no zone, as there) and `time_remaining`.
    """

    __slots__ = ("_made", "key", "retry_after", "state")  # a third of the price of fields in an exception's dict

    policy = "breaker"
    reason = "circuit_open"

    def __init__(self, key: str = "default", retry_after: float | None = None, state: str = "open") -> None:
        # No super().__init__(): all fields are here, and the words are made when somebody reads them.
        self.key = key
        self.retry_after = retry_after
        self.state = state
        self._made = time.time()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.retry_after, self.state), self.__dict__

    @property
    def what(self) -> str:  # type: ignore[override]  # a field of other refusals; here a sentence made on demand
        return f"the circuit {self.key!r} is {self.state}" + ("" if self.state == "open" else ", its probes are out")

    @property
    def message(self) -> str:  # type: ignore[override]  # aiobreaker sets a field
        return self.what

    @property
    def reopen_time(self) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(self._made + (self.retry_after or 0.0))  # noqa: DTZ006 (aiobreaker has no zones)


class Store(CircuitBreakerStorage):
    """aiobreaker's storage: the state and its times (on the loop's clock), failures in a row, and the window."""

    state: CircuitBreakerState = CircuitBreakerState.CLOSED  # plain fields where aiobreaker has properties
    counter: int = 0
    opened_at: datetime | None = None  # type: ignore[assignment]  # wall time, only shown
    until = 0.0  # when an open circuit admits a probe

    def __init__(self, window: float, since: float) -> None:
        super().__init__("memory")
        self.window = Window(window)
        self.since = since

    def increment_counter(self) -> None:
        self.counter += 1

    def reset_counter(self) -> None:
        self.counter = 0


class State(CircuitBreakerBaseState):
    """What the three states have in common. Every permit ends with exactly one of `ok`, `bad` and `give_back`."""

    label: ClassVar[str]

    def __init__(self, breaker: Circuit, prev_state: State | None = None, notify: bool = False) -> None:
        stock: Any = super()  # one of aiobreaker's three, which takes these
        stock.__init__(breaker, prev_state, notify)
        self._circuit = breaker
        self._store = breaker.store
        self._window = breaker.store.window
        self.generation: int = 1 if prev_state is None else prev_state.generation + 1
        self.busy = 0  # permits that are out

    def enter(self, call: Call) -> State:
        """A permit for this call: the state that admits it. Raises `CircuitOpen`."""
        self.busy += 1
        return self

    def ok(self) -> None:
        """The target answered."""
        self.busy -= 1
        circuit = self._circuit
        if circuit._state is self:
            self._healthy()
            if circuit.heard:
                circuit.tell("success")

    def bad(self, error: Exception) -> None:
        """The target is sick."""
        self.busy -= 1
        circuit = self._circuit
        if circuit._state is self:
            self._sick(error)
            if circuit.heard:
                circuit.tell("failure", error)

    def give_back(self) -> None:
        """Nobody learned anything: cancelled, throttled, or refused beneath."""
        self.busy -= 1

    def _healthy(self) -> None:
        """What an answer does to this state."""

    def _sick(self, error: Exception) -> None:
        """What a failure does to this state."""


class Closed(State, CircuitClosedState):
    label = "closed"

    def ok(self) -> None:
        self.busy -= 1  # all in one piece, because every success passes here
        circuit = self._circuit
        if circuit._state is not self:
            return
        window, at = self._window, circuit.now()
        if not window.begins <= at < window.ends:
            window.turn(at)
        window.calls += 1
        self._store.counter = 0
        if circuit.heard:
            circuit.tell("success")

    def _sick(self, error: Exception) -> None:
        window, store, rules = self._window, self._store, self._circuit.rules
        window.catch_up(self._circuit.now())
        window.calls += 1
        window.sick += 1
        store.increment_counter()
        if store.counter >= self._circuit.fail_max:
            cause = f"{store.counter} failures in a row"
        elif rules.failure_rate is not None and window.calls >= rules.min_calls and window.rate >= rules.failure_rate:
            cause = f"{window.sick} of {window.calls} calls failed"
        else:
            return
        self._circuit.open(f"{cause}, the last with {type(error).__name__}")


class Open(State, CircuitOpenState):
    label = "open"

    def enter(self, call: Call) -> State:
        store, at = self._store, self._circuit.now()
        if store.since <= at < store.until:  # a clock before `since` is another loop's: then let a probe find out
            raise CircuitOpen(self._circuit.key, store.until - at)
        self._circuit.half_open("the open time is over")
        return self._circuit._state.enter(call)


class HalfOpen(State, CircuitHalfOpenState):
    label = "half-open"
    passed = 0

    def enter(self, call: Call) -> State:
        if self.busy >= self._circuit.rules.probes:
            raise CircuitOpen(self._circuit.key, None, self.label)
        if call.attempt.kind == "original":
            call.attempt.kind = "probe"
        return super().enter(call)

    def _healthy(self) -> None:
        self.passed += 1
        if self.passed >= self._circuit.rules.probes:
            self._circuit.close("its probes succeeded")

    def _sick(self, error: Exception) -> None:
        self._circuit.open(f"a probe failed with {type(error).__name__}")


STATES: dict[CircuitBreakerState, type[State]] = {
    CircuitBreakerState.CLOSED: Closed,
    CircuitBreakerState.OPEN: Open,
    CircuitBreakerState.HALF_OPEN: HalfOpen,
}
