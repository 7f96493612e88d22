"""Judges of attempts: breaker, timeout and shedding, each by the arithmetic of the policy itself; those of what waits
are in `queues`.

A breaker is the real one in its mode "shadow". Whom a judge would have refused it does not let in: of such a call it
learns nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ...call import Call
from ...circuit import Bystander, Circuits, Rules
from ...circuit.drive import finder
from ...errors import LoadShed, TimedOut
from ...limiting.throttle import Throttle
from ...matching import matcher
from ...policies.breaker import Breaker, CircuitOpen
from ...policies.bulkhead import Bulkhead
from ...policies.rate_limit import RateLimit
from ...policies.shed import Shed
from ...policies.timeout import Timeout
from ...timing.allowance import Allowance
from ...verdict import Kind
from .queues import Places, Rates
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
            judge = Rates(policy, found)
        elif isinstance(policy, Bulkhead):
            judge = Places(policy, found)
        elif isinstance(policy, Timeout):
            judge = _Times(policy, found)
        elif isinstance(policy, Shed):
            judge = _Shedding(policy, found)
        else:
            return False
        if isinstance(judge, (Rates, Places)):
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
        circuits = Circuits(rules, rng, "shadow", math.inf if policy.key is None else policy.forget_after)
        circuits.link(clock, None)
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
