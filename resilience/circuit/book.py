"""The circuits of one breaker, by key, in bounded memory, and the mode in which they all are."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, get_args

from ..errors import ConfigError
from ..events import Emit, StateChanged
from .circuit import Circuit, CircuitBreakerListener, Rules
from .modes import Mode
from .states import Closed

__all__ = ["Circuits"]

_MOST_CIRCUITS = 1000


class Circuits(CircuitBreakerListener):
    """The circuits of one breaker by key, at most 1,000: ``pipeline.states["breaker"]``.

    One that has not been used for `forget_after` seconds is forgotten when a new key comes or somebody asks for the
    `status`. Beyond 1,000 one is forgotten at once: of the closed ones that nobody is using, the one that was used
    longest ago; failing that any closed one, and only then another. So a flood of new keys does not close what is open.
    """

    _now: Callable[[], float]

    def __init__(self, rules: Rules, rng: random.Random, mode: Mode, forget_after: float) -> None:
        self._emit: Emit | None = None
        self._rules = rules
        self._rng = rng
        self._mode: Mode = mode
        self._forget_after = forget_after
        self._closed: OrderedDict[str, Circuit] = OrderedDict()  # both in order of use
        self._sick: OrderedDict[str, Circuit] = OrderedDict()  # open and half-open
        self._listeners: list[CircuitBreakerListener] = []

    def link(self, now: Callable[[], float], emit: Emit | None) -> None:
        """Follow the pipeline to another loop's clock, and to those who observe it now."""
        self._now, self._emit = now, emit
        for circuit in self:
            circuit.follow(now)

    @property
    def mode(self) -> Mode:
        """``"normal"``, ``"forced_open"``, ``"disabled"`` or ``"shadow"``; may be set at any time, for all circuits.

        Counts and states stay as they are. Raises `ConfigError` for another.
        """
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"Breaker: mode is {mode!r}, must be one of {', '.join(get_args(Mode))}")
        old, self._mode = self._mode, mode
        for circuit in self:
            circuit.switch(mode)
        if self._emit is not None and mode != old:
            self._emit(StateChanged("breaker.mode", "*", old, mode, "by hand", self._now()))

    def become(self, rules: Rules, forget_after: float) -> None:
        """Go on under other rules, the circuits that there are and those to come; open ones stay open."""
        self._rules, self._forget_after = rules, forget_after
        for circuit in self:
            circuit.become(rules)

    def __getitem__(self, key: str) -> Circuit:
        """The circuit of this key, made if there is none: for manual control, ``[...].open()``."""
        home = self._closed
        circuit = home.get(key)
        if circuit is None:
            home = self._sick
            circuit = home.get(key)
            if circuit is None:
                return self._add(key)
        home.move_to_end(key)
        return circuit

    def __iter__(self) -> Iterator[Circuit]:
        return chain(self._closed.values(), self._sick.values())

    def __len__(self) -> int:
        return len(self._closed) + len(self._sick)

    def __contains__(self, key: object) -> bool:
        return key in self._closed or key in self._sick

    def _add(self, key: str) -> Circuit:
        self._forget_eldest()
        if len(self) >= _MOST_CIRCUITS:
            self._forget_one()
        circuit = self._closed[key] = Circuit(key, self._rules, self._rng, self._now, (self,), self._mode)
        for listener in self._listeners:
            circuit.add_listener(listener)
        return circuit

    def _forget_eldest(self) -> None:
        """Those at the front of each row, which is in order of use: a new key costs no look at all of them."""
        since = self._now() - self._forget_after
        for home in (self._closed, self._sick):
            while home:
                key, circuit = next(iter(home.items()))
                if not circuit.unused_since(since):
                    break
                del home[key]

    def _forget_one(self) -> None:
        closed = self._closed
        if closed:
            del closed[next((key for key, circuit in closed.items() if circuit.idle), next(iter(closed)))]
        else:
            self._sick.popitem(last=False)

    def add_listener(self, listener: CircuitBreakerListener) -> None:
        """Tell an aiobreaker listener what happens to every circuit, those to come included."""
        self._listeners.append(listener)
        for circuit in self:
            circuit.add_listener(listener)

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        """File a circuit that has changed, and tell those who observe the pipeline."""
        key = breaker.key
        away, home = (self._sick, self._closed) if isinstance(new, Closed) else (self._closed, self._sick)
        if away.get(key) is breaker:  # not one that was forgotten while its calls were under way
            home[key] = away.pop(key)
        if self._emit is not None:
            at = breaker.store.since
            self._emit(StateChanged("breaker", key, old.label, new.label, breaker.cause, at))

    def status(self) -> dict[str, Any]:
        """How each circuit stands, by key, as plain data."""
        since = self._now() - self._forget_after
        for home in (self._closed, self._sick):
            for key in [key for key, circuit in home.items() if circuit.unused_since(since)]:
                del home[key]
        return {circuit.key: circuit.status() for circuit in self}
