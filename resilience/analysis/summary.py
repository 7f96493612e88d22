"""What can be said of one operation before it is ever called: the best, the typical and the worst, in numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..call import Op
from ..descriptor import kind_of
from .latency import Terms, worst_latency
from .load import Load, load
from .nested import attempts_over
from .pauses import pauses_of
from .queues import queue_wait
from .sends import send_times
from .timeline import Step, timeline

__all__ = ["ANY", "Case", "Estimate", "estimate", "operations"]

ANY = Op("*", idempotent=True)
"""An operation of which nothing is known: what may be repeated is repeated."""

_QUEUES = ("rate_limit", "bulkhead", "adaptive_limit", "pool")
_BOUNDS = ("deadline", "timeout")


@dataclass(frozen=True, slots=True)
class Case:
    """`latency` in seconds (`math.inf`: no bound), beyond what the target takes in the best case; requests sent."""

    latency: float
    sends: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """One operation of one pipeline.

    `best`: the first attempt answers. `typical`: one attempt fails at once, the next answers, with the mean pause.
    `worst`: the longest call, and the one with the most requests, which need not be the same; capped by the deadline.
    `uncapped` is what the longest would be without deadlines, and `work` the same with no waiting in our own queues and
    limiters but what a `max_wait` states. `unbounded` says in words why there is no bound, if there is none.

    Apart from all this: `transparent` more requests, for a reused connection that was reset (once a call); `ordered`
    seconds, the worst case if the server orders a wait of `max_retry_after` each time, None where nothing is retried.
    """

    op: Op
    best: Case
    typical: Case
    worst: Case
    uncapped: float
    work: float
    unbounded: tuple[str, ...]
    transparent: int
    ordered: float | None
    timeline: tuple[Step, ...]
    load: tuple[Load, ...]


def operations(policies: Iterable[Any], known: Iterable[Op] = ()) -> list[Op]:
    """What can be told apart: `known`, every name in a `per_op` table, and `ANY` for all others."""
    ops = {op.name: op for op in known}
    for policy in policies:
        tables = [getattr(policy, "per_op", None), *(limit.per_op for limit in getattr(policy, "also", ()))]
        for name in (name for table in tables for name in table or ()):
            ops.setdefault(name, replace(ANY, name=name))
    return [ANY, *(op for name, op in ops.items() if name != ANY.name)]


def estimate(policies: Sequence[Any], op: Op = ANY, peers: Iterable[Op] | None = None) -> Estimate:
    """The numbers of one operation. `peers` are the others of its pipeline, by default those in `per_op` tables."""
    policies = tuple(policies)
    peers = tuple(operations(policies) if peers is None else peers)
    terms = Terms(op, peers=peers)
    free = replace(terms, deadlines=False)
    latency = worst_latency(policies, terms)
    retries = any(kind_of(policy) == "retry" for policy in policies)
    return Estimate(
        op,
        Case(0.0, 1),
        _typical(policies),
        Case(latency, len(send_times(policies, terms))),
        worst_latency(policies, free),
        worst_latency(policies, replace(free, queues="stated")),
        _unbounded(policies, terms) if math.isinf(latency) else (),
        int(retries and op.idempotent),
        worst_latency(policies, replace(terms, ordered=True)) if retries else None,
        tuple(timeline(policies, terms)),
        tuple(load(policies, terms)),
    )


def _typical(policies: Sequence[Any]) -> Case:
    for index, policy in enumerate(policies):
        if kind_of(policy) == "retry" and attempts_over(policy, policies[index + 1 :]) > 1:
            return Case(pauses_of(policy).first.mean, 2)
    return Case(0.0, 1)


def _unbounded(policies: Sequence[Any], terms: Terms) -> tuple[str, ...]:
    """Every reason for which the worst case has no bound."""
    reasons = []
    if math.isinf(worst_latency(policies, replace(terms, queues="none"))):
        reasons.append("no timeout on an attempt, and no deadline")
    for index, policy in enumerate(policies):
        if kind_of(policy) not in _QUEUES or any(kind_of(other) in _BOUNDS for other in policies[:index]):
            continue
        if math.isinf(queue_wait(policy, "all", lambda: 1.0)):
            reasons.append(f"no max_wait on {kind_of(policy)}, and no deadline above it")
    return tuple(reasons)
