"""The circuits of one breaker, by key, in bounded memory."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..events import Emit, StateChanged
from .circuit import Circuit, CircuitBreakerListener, Rules

__all__ = ["Circuits"]

_MOST_CIRCUITS = 1000


class Circuits(CircuitBreakerListener):
    """The circuits of one breaker by key, at most 1,000: ``pipeline.states["breaker"]``.

    Beyond that the one that was used longest ago is forgotten, closed and idle ones first, so that a flood of new keys
    does not close what is open.
    """

    def __init__(self, rules: Rules, rng: random.Random, now: Callable[[], float]) -> None:
        self._emit: Emit | None = None
        self._now = now
        self._rules = rules
        self._rng = rng
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()
        self._listeners: list[CircuitBreakerListener] = []

    def link(self, now: Callable[[], float], emit: Emit | None) -> None:
        """Follow the pipeline to another loop's clock, and to those who observe it now."""
        self._now, self._emit = now, emit
        for circuit in self._circuits.values():
            circuit.now = now

    def __getitem__(self, key: str) -> Circuit:
        """The circuit of this key, made if there is none: for manual control, ``[...].open()``."""
        circuit = self._circuits.get(key)
        if circuit is None:
            return self._add(key)
        self._circuits.move_to_end(key)
        return circuit

    def __len__(self) -> int:
        return len(self._circuits)

    def __contains__(self, key: object) -> bool:
        return key in self._circuits

    def _add(self, key: str) -> Circuit:
        if len(self._circuits) >= _MOST_CIRCUITS:
            self._forget_one()
        circuit = self._circuits[key] = Circuit(key, self._rules, self._rng, self._now, (self,))
        for listener in self._listeners:
            circuit.add_listener(listener)
        return circuit

    def _forget_one(self) -> None:
        eldest_first = self._circuits.items()
        idle = next((key for key, circuit in eldest_first if circuit.expendable == 2), None)
        if idle is None:  # rare, and the only time that all are looked at
            idle = max(self._circuits, key=lambda key: self._circuits[key].expendable)
        del self._circuits[idle]

    def add_listener(self, listener: CircuitBreakerListener) -> None:
        """Tell an aiobreaker listener what happens to every circuit, those to come included."""
        self._listeners.append(listener)
        for circuit in self._circuits.values():
            circuit.add_listener(listener)

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        """Pass a change of a circuit on to those who observe the pipeline."""
        if self._emit is not None:
            at = breaker.store.since
            self._emit(StateChanged("breaker", breaker.key, old.label, new.label, breaker.cause, at))

    def status(self) -> dict[str, Any]:
        return {key: circuit.status() for key, circuit in self._circuits.items()}
