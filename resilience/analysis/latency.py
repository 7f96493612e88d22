"""The longest that one call can take: a recursion over the policies, from the outermost in.

Each policy says what the worst of what lies beneath becomes, given how much time the call's deadline leaves. The target
is hostile: it answers at the last moment or never, and fails just early enough that one more attempt is still begun.
Circuits stay closed and budgets are never spent, since calls beside this one may go well. A target that is cancelled
ends at once; one that does not adds its own time.

The surprising part is that failing *late* is not always worst. Where the last pause would reach beyond the deadline, a
call that failed a little sooner begins one more attempt and lasts until the deadline itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ..call import Op
from ..descriptor import kind_of
from .nested import attempts_over
from .pauses import pauses_of
from .queues import queue_wait

__all__ = ["Terms", "shortest_delay", "timeout_of", "worst_latency"]

_Rule: TypeAlias = "Callable[[Any, Sequence[Any], float, Terms], float]"
_MOST = 1000  # attempts that are looked at one by one: pauses have long met their cap by then
_JITTER_OF_ORDERS = 1.1  # what a server orders is waited for, and up to a tenth more


@dataclass(frozen=True, slots=True)
class Terms:
    """Which operation is asked about, and what counts.

    `queues`: the waits in our own queues and limiters, ``"all"``, those that a `max_wait` states, or ``"none"``.
    `ordered`: whether the server orders the longest pause that the retry accepts, each time. `deadlines`: whether they
    hold; without them the answer is what the call would like to have. `peers`: the other operations of this pipeline.
    """

    op: Op
    queues: Literal["all", "stated", "none"] = "all"
    ordered: bool = False
    deadlines: bool = True
    peers: tuple[Op, ...] = ()


def worst_latency(policies: Sequence[Any], terms: Terms, left: float = math.inf) -> float:
    """Seconds, `math.inf` where there is no bound. `left` is the time until the call's deadline."""
    if not policies:
        return left  # the target may hang until it is cut off
    policy, rest = policies[0], policies[1:]
    rule = _RULES.get(kind_of(policy) or "", _passes)
    return rule(policy, rest, left, terms)


def _passes(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    return worst_latency(rest, terms, left)


def _deadline(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    seconds = policy.per_op.get(terms.op.name, policy.seconds)
    return worst_latency(rest, terms, min(left, seconds) if terms.deadlines else left)


def timeout_of(policy: Any, op: Op) -> float:
    """The longest that a timeout grants this operation; an adaptive one its ceiling."""
    seconds = policy.per_op.get(op.name, policy.seconds)
    adaptive = policy.adaptive
    return float(seconds if adaptive is None or adaptive.ceiling is None else adaptive.ceiling)


def _timeout(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    return min(timeout_of(policy, terms.op), worst_latency(rest, terms, left))


def _retry(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    """Attempt n begins somewhere between its earliest and its latest time, wherever the hostile target likes."""
    pauses = pauses_of(policy)
    attempts = min(attempts_over(policy, rest), pauses.count + 1)
    allowed = math.inf if policy.max_duration is None else policy.max_duration
    order = policy.max_retry_after * _JITTER_OF_ORDERS if terms.ordered else 0.0
    end = latest = one = worst_latency(rest, terms, left)
    before = 0.0
    for number in range(1, min(attempts, _MOST)):
        earliest = pauses.earliest(number)
        if earliest >= left or earliest > allowed:
            return end
        longest = max(pauses.latest(number) - pauses.latest(number - 1), order)
        one = one if earliest == before or math.isinf(left) else worst_latency(rest, terms, left - earliest)
        before = earliest
        start = min(latest + longest, left, allowed)
        latest = start + one
        end = max(end, min(left, latest))
        if end >= left:
            return end
    if attempts <= _MOST:
        return end
    further = (attempts - _MOST) * (longest + one)  # none of them takes longer than the last one that was looked at
    return max(end, min(left, allowed + one, latest + further))


def _hedge(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    """The last branch that is sent ends last. Branches are only added while one is under way."""
    one = worst_latency(rest, terms, left)
    if not terms.op.idempotent:
        return one
    shortest = shortest_delay(policy)
    if shortest > one:
        return one
    delay = one if isinstance(policy.delay, str) else shortest  # what is measured may be as long as a call takes
    return float(min(left, policy.extra * delay + one))


def shortest_delay(policy: Any) -> float:
    """Of a hedge, in seconds."""
    return float(policy.least if isinstance(policy.delay, str) else policy.delay)


def _coalesce(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    """What several callers share has no deadline from above; each of them waits until its own."""
    if not terms.op.idempotent:
        return worst_latency(rest, terms, left)
    return min(left, worst_latency(rest, terms))


def _queues(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    def longest() -> float:
        """That anybody holds a place here."""
        ops = (terms.op,) if getattr(policy, "key", None) == "op" else (terms.op, *terms.peers)
        return max(worst_latency(rest, replace(terms, op=op)) for op in ops)

    wait = queue_wait(policy, terms.queues, longest)
    return min(left, wait + worst_latency(rest, terms, left))


def _chaos(policy: Any, rest: Sequence[Any], left: float, terms: Terms) -> float:
    """Its pause is cut off only by what stands above it."""
    concerned = policy.enabled and policy.rate > 0 and (not policy.ops or terms.op.name in policy.ops)
    pause = policy.latency if concerned else 0.0
    return float(pause + worst_latency(rest, terms, max(0.0, left - pause)))


_RULES: dict[str, _Rule] = {
    "adaptive_limit": _queues,
    "bulkhead": _queues,
    "chaos": _chaos,
    "coalesce": _coalesce,
    "deadline": _deadline,
    "hedge": _hedge,
    "pool": _queues,
    "rate_limit": _queues,
    "retry": _retry,
    "timeout": _timeout,
}
