"""Judges of attempts: breaker, rate limit, bulkhead, timeout and shedding, each by the arithmetic of the policy itself.

A breaker is the real one in its mode "shadow"; a limit is the real log of what was sent, in which a call that would
have waited counts as sent later. Whom a judge would have refused it does not let in: of such a call it learns nothing.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from ...allowance import Allowance
from ...call import Attempt, Call
from ...circuit import Bystander, Circuits, Rules
from ...circuit.drive import finder
from ...errors import BulkheadFull, LoadShed, RateLimited, TimedOut
from ...limiter import Entry, Limiter
from ...limits import Limits, learn
from ...line import Line, Route
from ...matching import matcher
from ...policies.breaker import Breaker, CircuitOpen
from ...policies.bulkhead import _KEYS, Bulkhead
from ...policies.rate_limit import RateLimit
from ...policies.shed import Shed
from ...policies.timeout import Timeout
from ...throttle import Throttle
from ...verdict import Kind
from .report import Tally

if TYPE_CHECKING:
    from .engine import Outcome

__all__ = ["AttemptJudges"]

_LEAST = 1e-3  # seconds: a smaller difference of waits is none


class _Judge(Protocol):
    def begin(self, call: Call, at: float) -> None: ...
    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None: ...


class AttemptJudges:
    """All that judge attempts of one pipeline."""

    def __init__(self, tally: Tally, clock: Callable[[], float], rng: random.Random) -> None:
        self._tally, self._clock, self._rng = tally, clock, rng
        self._judges: list[_Judge] = []

    def counts(self, policy: Any) -> bool:
        """Whether it decides by how many other calls there are."""
        return isinstance(policy, (Breaker, RateLimit, Bulkhead, Shed)) or getattr(policy, "adaptive", None) is not None

    def add(self, where: tuple[str, str, int], policy: Any, whole: bool) -> bool:
        """Judge this policy too; False if there is no judge for it."""

        def found(op: str, what: str, seconds: float = 0.0, count: float = 1.0) -> None:
            self._tally.add(where, op, what, seconds, count)

        judge: _Judge
        if isinstance(policy, Breaker):
            judge = _Circuits(policy, found, self._clock, self._rng)
        elif isinstance(policy, RateLimit):
            judge = _Rates(policy, found)
        elif isinstance(policy, Bulkhead):
            judge = _Places(policy, found)
        elif isinstance(policy, Timeout):
            judge = _Times(policy, found)
        elif isinstance(policy, Shed):
            judge = _Shedding(policy, found)
        else:
            return False
        if isinstance(judge, (_Rates, _Places)):
            for above in self._judges:
                if isinstance(above, _Times):
                    above.queues = True
        self._judges.append(judge)
        return True

    def begin(self, call: Call, at: float) -> None:
        for judge in self._judges:
            judge.begin(call, at)

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        for judge in self._judges:
            judge.end(call, since, at, outcome)


class _Circuits:
    def __init__(self, policy: Breaker, found: Any, clock: Callable[[], float], rng: random.Random) -> None:
        rules = Rules(*(getattr(policy, name) for name in Rules._fields))
        circuits = Circuits(rules, rng, clock, "shadow", math.inf if policy.key is None else policy.forget_after)
        self._find = finder(circuits, policy.key)
        self._matches = matcher("Breaker", policy.on)
        self._off = policy.mode in ("disabled", "shadow")
        self._forced = policy.mode == "forced_open"
        self._found = found
        self._permits: dict[Call, Any] = {}

    def begin(self, call: Call, at: float) -> None:
        self._permits[call] = self._find(call).enter(call)

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        permit = self._permits.pop(call)
        refuses = not self._off and (self._forced or type(permit) is Bystander)
        refused = isinstance(outcome.error, CircuitOpen)
        if refuses is not refused and (refused or outcome.refusal is None):
            self._found(call.op.name, "refuses" if refuses else "admits")
        if outcome.ok:
            permit.ok()
            return
        verdict = outcome.verdict
        if outcome.silent or verdict is None or verdict.kind is Kind.THROTTLED or outcome.stale:
            permit.give_back()
            return
        error: Any = outcome.error
        sick = verdict.kind in (Kind.FAILED, Kind.UNKNOWN) if self._matches is None else self._matches(error)
        if sick:
            permit.bad(error, verdict.retry_after)
        else:
            permit.ok()


class _Rates:
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


class _Places:
    """The places of a bulkhead, by key. Who would wait, and has ended meanwhile, waited at least so long."""

    def __init__(self, policy: Bulkhead, found: Any) -> None:
        self._policy, self._found = policy, found
        key: Any = policy.key if callable(policy.key) else _KEYS.get(policy.key or "", lambda call: "")
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


class _Times:
    """`queues`: do our own queues stand beneath, so that what was waited there counts?"""

    queues = False

    def __init__(self, policy: Timeout, found: Any) -> None:
        self._policy, self._found = policy, found
        self._grants: dict[str, Allowance] = {}

    def _granted(self, op: str, at: float) -> float:
        policy = self._policy
        seconds = policy.per_op.get(op, policy.seconds)
        if policy.adaptive is None:
            return seconds
        if op not in self._grants:
            self._grants[op] = Allowance(policy.adaptive, seconds)
        return self._grants[op].revise(at)

    def begin(self, call: Call, at: float) -> None:
        """Nothing to decide yet."""

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        took = at - since - (0.0 if self.queues else outcome.wait("limiter") + outcome.wait("queue"))
        granted = self._granted(call.op.name, at)
        if outcome.silent:
            return
        if took > granted + _LEAST:
            self._found(call.op.name, "cuts" if outcome.ok else "gives_up_sooner", took - granted)
        elif isinstance(outcome.error, TimedOut) and outcome.error.limit != "deadline" and took < granted - _LEAST:
            self._found(call.op.name, "gives_up_later", granted - took)
        if self._policy.adaptive is not None and outcome.answered:
            self._grants[call.op.name].latency.add(min(took, granted), at)


class _Shedding:
    def __init__(self, policy: Shed, found: Any) -> None:
        self._policy, self._found = policy, found
        self._throttle = Throttle(policy.window, policy.floor, policy.min_calls)

    def _k(self, call: Call) -> float:
        policy, priority = self._policy, self._policy.priority
        rank = priority(call) if callable(priority) else priority or call.op.priority
        if rank == "critical":
            return 2 * policy.k if policy.k_critical is None else policy.k_critical
        if rank == "sheddable":
            return (1 + policy.k) / 2 if policy.k_sheddable is None else policy.k_sheddable
        return policy.k

    def begin(self, call: Call, at: float) -> None:
        self._throttle.catch_up(at)
        chance = self._throttle.refusal(self._k(call))
        if chance > 0:
            self._found(call.op.name, "sheds", count=chance)

    def end(self, call: Call, since: float, at: float, outcome: Outcome) -> None:
        if isinstance(outcome.error, LoadShed):
            self._found(call.op.name, "admits")
        if not outcome.silent:
            self._throttle.catch_up(at)
            self._throttle.requests += 1
            self._throttle.accepts += outcome.answered
