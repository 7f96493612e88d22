"""Judges of what waits: a rate limit and a bulkhead, by the log of what was sent and by the places taken.

A call that would have waited counts as sent, or as let in, later: so that the next one waits behind it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from ...call import Attempt, Call
from ...errors import BulkheadFull, LoadShed, RateLimited
from ...keys import NAMED
from ...limiting.limiter import Entry, Limiter
from ...limiting.limits import Limits, learn
from ...limiting.line import Line, Route
from ...policies.breaker import CircuitOpen
from ...policies.bulkhead import Bulkhead
from ...policies.rate_limit import RateLimit

if TYPE_CHECKING:
    from .engine import Outcome

__all__ = ["Places", "Rates"]

_LEAST = 1e-3  # seconds: a smaller difference of waits is none


class Rates:
    def __init__(self, policy: RateLimit, found: Any) -> None:
        self._several = [Limits(one.text, one.key, dict(one.per_op)) for one in policy._all()]
        self._most = math.inf if policy.max_wait is None else policy.max_wait
        self._found = found
        self._free: dict[Line, float] = {}  # when the last one went: whoever comes later goes later
        self._waits: dict[Call, float | None] = {}
        self._sent: dict[Call, list[tuple[Limiter, Entry]]] = {}

    def begin(self, call: Call, at: float) -> None:
        lines = [limits.line(limits.find(call)) for limits in self._several]
        lines += [line for limits in self._several for line in limits.pauses(call, at)]
        cost, begins = call.op.cost, max(at, *(self._free.get(line, at) for line in lines))
        turn = Route(tuple(lines)).together(cost, begins)
        late = math.inf if call.deadline is None else call.deadline
        if turn - at > self._most or turn >= late:
            self._waits[call] = None
            return
        self._free |= dict.fromkeys(lines, turn)
        self._sent[call] = [(line.limiter, line.limiter.commit(cost, turn)) for line in lines]
        self._waits[call] = turn - at

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        wait, waited = self._waits.pop(call), outcome.wait("limiter")
        sent = self._sent.pop(call, [])
        if isinstance(outcome.error, (CircuitOpen, LoadShed)):  # it never came so far
            for limiter, entry in sent:
                limiter.undo(entry, call.op.cost)
            return
        if wait is None:
            if outcome.refusal is None:
                self._found(call.op.name, "refuses")
        elif isinstance(outcome.error, RateLimited):
            self._found(call.op.name, "admits")
        elif abs(wait - waited) > _LEAST:
            self._found(call.op.name, "waits" if wait > waited else "waits_less", abs(wait - waited))
        call.made = Attempt()
        call.made.limits = outcome.limits
        learn([(limits, limits.find(call)) for limits in self._several], call, outcome.verdict, at)


class Places:
    """The places of a bulkhead, by key. Who would wait, and has ended meanwhile, waited at least so long."""

    def __init__(self, policy: Bulkhead, found: Any) -> None:
        self._policy, self._found = policy, found
        key: Any = policy.key if callable(policy.key) else NAMED.get(policy.key or "", lambda call: "")
        self._key: Callable[[Call], Hashable] = key
        self._busy: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, OrderedDict[Call, float]] = {}
        self._in: dict[Call, float] = {}  # how long each of those who are in has waited
        self._refused: set[Call] = set()

    def _weight(self, call: Call) -> int:
        weight = self._policy.weight
        if callable(weight):
            return weight(call)
        return max(1, math.ceil(call.op.cost)) if weight == "cost" else 1

    def begin(self, call: Call, at: float) -> None:
        key, policy = self._key(call), self._policy
        waiting = self._waiting.setdefault(key, OrderedDict())
        if not waiting and self._busy.get(key, 0) + self._weight(call) <= policy.limit:
            self._enter(key, call, 0.0)
        elif len(waiting) < policy.queue:
            waiting[call] = at
        else:
            self._refused.add(call)

    def _enter(self, key: Hashable, call: Call, wait: float) -> None:
        self._busy[key] = self._busy.get(key, 0) + self._weight(call)
        self._in[call] = wait

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        key = self._key(call)
        waiting, most = self._waiting[key], self._policy.max_wait
        if call in self._in:
            wait: float | None = self._in.pop(call)
            self._busy[key] -= self._weight(call)
        else:
            begun = waiting.pop(call, None)
            self._refused.discard(call)
            wait = None if begun is None else at - begun
        while waiting:
            other = next(iter(waiting)) if self._policy.order == "fifo" else next(reversed(waiting))
            if self._busy.get(key, 0) + self._weight(other) > self._policy.limit and self._busy.get(key, 0):
                break
            self._enter(key, other, at - waiting.pop(other))
        refuses, waited = wait is None or (most is not None and wait > most), outcome.wait("queue")
        if refuses:
            if outcome.refusal is None:
                self._found(call.op.name, "refuses")
        elif isinstance(outcome.error, BulkheadFull):
            self._found(call.op.name, "admits")
        elif wait is not None and abs(wait - waited) > _LEAST:
            self._found(call.op.name, "waits" if wait > waited else "waits_less", abs(wait - waited))
