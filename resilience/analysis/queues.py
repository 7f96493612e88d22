"""How long a call waits for its turn in what is ours: a limiter, a bulkhead, the opening of a pool.

A bulkhead's queue has a bound even where nobody stated one: who is last of q, behind n places, is in after as many
rounds as q / n, rounded up, each as long as a place is held.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..descriptor import kind_of

__all__ = ["queue_wait"]


def queue_wait(policy: Any, counted: str, longest: Callable[[], float]) -> float:
    """Seconds at most, `math.inf` without a bound.

    `counted`: ``"all"`` the waits, those that a `max_wait` ``"stated"``, or ``"none"``. `longest` says for how long a
    place is held at most.
    """
    stated = policy.max_wait
    if counted == "none" or (counted == "stated" and stated is None) or not _queues(policy):
        return 0.0
    bound = math.inf if counted == "stated" else _bound(policy, longest)
    return min(bound, math.inf if stated is None else float(stated))


def _queues(policy: Any) -> bool:
    return bool(getattr(policy, "queue", 1))


def _bound(policy: Any, longest: Callable[[], float]) -> float:
    """What the length of the queue itself allows, first come first served, where each takes one place."""
    queue = getattr(policy, "queue", None)
    if queue is None or policy.order != "fifo" or getattr(policy, "weight", "one") != "one":
        return math.inf
    places = policy.limit if kind_of(policy) == "bulkhead" else policy.least
    return float(math.ceil(queue / places) * longest())
