"""Bulkhead: how many calls may be under way at once, and how many may queue for a place.

The waiting is `concurrency.gate`'s. Here stand which gate a call goes to and how many places it takes, and the way in
for a call that need not wait, in as many versions as there are sorts of bulkhead: none pays for what it does not use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from ..call import Call, Handler
from ..concurrency.gate import Gate, Order
from ..errors import ConfigError
from ..keys import NAMED
from ..kit import Kit
from ..policy import Policy
from ..streams import StreamHandler, held
from ..units import Seconds, check

__all__ = ["Bulkhead"]

_MOST_GATES = 1000  # keys in memory before the idle ones are dropped
_Find = Callable[[Call], Hashable]
_Weigh = Callable[[Call], int]


class Gates:
    """The gates of one bulkhead, by key. An idle one remembers nothing that matters, so it may go at any time.

    At most 1,000, or twice as many as were in use when the idle ones were last dropped.
    """

    __slots__ = ("_make", "_sweep_at", "by_key")

    def __init__(self, make: Callable[[str], Gate]) -> None:
        self.by_key: dict[Hashable, Gate] = {}
        self._make = make
        self._sweep_at = _MOST_GATES

    def add(self, key: Hashable) -> Gate:
        """The gate of a key that has none yet."""
        gates = self.by_key
        if len(gates) >= self._sweep_at:
            for idle in [key for key, gate in gates.items() if not gate.busy and not gate.waiting]:
                del gates[idle]
            self._sweep_at = max(_MOST_GATES, 2 * len(gates))
        gate = gates[key] = self._make(str(key))
        return gate

    def become(self, make: Callable[[str], Gate], adjust: Callable[[Gate], None]) -> None:
        """Go on under other terms, the gates that there are and those to come."""
        self._make = make
        for gate in self.by_key.values():
            adjust(gate)

    def status(self) -> dict[str, Any]:
        return {str(key) or "default": gate.status() for key, gate in self.by_key.items()}


@dataclass(frozen=True, slots=True)
class Bulkhead(Policy):
    """At most `limit` places taken beneath at once; up to `queue` calls wait their turn, each at most `max_wait` s.

    `order` says who is next: ``"fifo"`` who has waited longest, ``"lifo"`` who came last. `key`: None for one limit;
    ``"host"``, ``"account"``, ``"op"``, or a function of the `Call`, for one limit each. `weight`: how many places a
    call takes, ``"one"``, its operation's ``"cost"`` (rounded up, at least 1), or what a function of the `Call` gives.

    Raises `BulkheadFull` at once when the queue is full, or after `max_wait`; `ConfigError` for a call that takes more
    than `limit`, or no whole number of places.
    """

    keeps: ClassVar[str] = "places taken, and calls that wait for one"
    anew: ClassVar[Mapping[str, str]] = {"key": "its places are counted by another key"}

    limit: int
    queue: int = 0
    max_wait: Seconds | None = None
    order: Order = "fifo"
    key: Literal["host", "account", "op"] | Callable[[Call], Hashable] | None = None
    weight: Literal["one", "cost"] | Callable[[Call], int] = "one"

    def __post_init__(self) -> None:
        check("Bulkhead", "limit", self.limit, least=1, whole=True)
        check("Bulkhead", "queue", self.queue, least=0, whole=True)
        if self.max_wait is not None:
            check("Bulkhead", "max_wait", self.max_wait, least=0)
        if self.order not in ("fifo", "lifo"):
            raise ConfigError(f"Bulkhead: order is {self.order!r}, must be fifo or lifo")
        if not (self.key is None or callable(self.key) or self.key in tuple(NAMED)):
            raise ConfigError(f"Bulkhead: key is {self.key!r}, must be host, account, op, or a function of the call")
        if not (callable(self.weight) or self.weight in ("one", "cost")):
            raise ConfigError(f"Bulkhead: weight is {self.weight!r}, must be one, cost, or a function of the call")

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        key, weigh = self.key, None if self.weight == "one" else _weigher(self.weight, self.limit)
        if key is not None:
            gates = kit.keep("bulkhead", self, lambda: Gates(self._gate))
            return _by_key(next, kit, gates, key if callable(key) else NAMED[key], weigh)
        gate = kit.keep("bulkhead", self, self._gate)
        return _one_each(next, kit, gate) if weigh is None else _by_weight(next, kit, gate, weigh)

    def _gate(self, name: str = "") -> Gate:
        return Gate(self.limit, self.queue, self.max_wait, self.order, name=name, weighted=self.weight != "one")

    def adjust(self, state: Gates | Gate, before: Any) -> None:
        if isinstance(state, Gates):
            state.become(self._gate, self._become)
        else:
            self._become(state)

    def _become(self, gate: Gate) -> None:
        gate.become(self.limit, self.queue, self.max_wait, self.order, self.weight != "one")

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return held(next, lambda hold: self.bind(hold, kit))


def _weigher(weight: str | _Weigh, limit: int) -> _Weigh:
    """How many places a call takes. Raises `ConfigError` for one that can never have them."""

    def misfit(call: Call, weight: object) -> ConfigError:
        return ConfigError(
            f"Bulkhead: {call.op.name!r} takes {weight!r} places, must be a whole number from 1 to {limit}"
        )

    def cost(call: Call) -> int:
        cost = call.op.cost
        if not cost <= limit:
            raise misfit(call, cost)
        return max(1, math.ceil(cost))

    def asked(call: Call) -> int:
        places = ask(call)
        if type(places) is not int or not 1 <= places <= limit:
            raise misfit(call, places)
        return places

    ask = cast("_Weigh", weight)
    return cost if weight == "cost" else asked


def _one_each(next: Handler, kit: Kit, gate: Gate) -> Handler:
    """The handler of one limit for all, where every call takes one place."""
    waiting = gate.waiting

    async def run(call: Call) -> Any:
        if gate.busy < gate.limit:
            gate.busy += 1
        else:
            await gate.wait(call, kit)
        try:
            return await next(call)
        finally:
            if waiting:
                gate.leave()
            else:
                gate.busy -= 1

    return run


def _by_weight(next: Handler, kit: Kit, gate: Gate, weigh: _Weigh) -> Handler:
    """The handler of one limit for all, where a call may take several places."""

    async def run(call: Call) -> Any:
        weight = weigh(call)
        if not gate.enter(weight):
            await gate.wait(call, kit, weight)
        try:
            return await next(call)
        finally:
            gate.leave(weight)

    return run


def _by_key(next: Handler, kit: Kit, gates: Gates, find: _Find, weigh: _Weigh | None) -> Handler:
    """The handler of one limit for each key."""
    known, add = gates.by_key.get, gates.add

    async def run(call: Call) -> Any:
        key = find(call)
        gate = known(key) or add(key)
        weight = 1 if weigh is None else weigh(call)
        if not gate.enter(weight):
            await gate.wait(call, kit, weight)
        try:
            return await next(call)
        finally:
            gate.leave(weight)

    return run
