"""The most requests that one call can become, and how soon each of them can be sent.

The answer of every policy is the list of the earliest times, in seconds since the call, at which its first, second,
third ... request can leave: a target that fails at once, or just late enough that one more hedge is sent, and jitters
at their shortest. A deadline or a timeout cuts the list; a retry repeats it after its pauses, a hedge lays it over
itself. How many remain is how many can be sent.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..descriptor import kind_of
from .latency import Terms, shortest_delay, timeout_of, worst_latency
from .nested import attempts_over
from .pauses import pauses_of

__all__ = ["MOST", "send_times"]

MOST = 2000
"""Requests that are looked at one by one. A configuration that can send more is told "at least so many"."""

_Rule: TypeAlias = Callable[[Any, Sequence[Any], Terms], list[float]]


def send_times(policies: Sequence[Any], terms: Terms) -> list[float]:
    """The earliest time of each request that one call can send, in seconds, in order; at most `MOST` of them."""
    if not policies:
        return [0.0]
    policy, rest = policies[0], policies[1:]
    rule = _RULES.get(kind_of(policy) or "")
    return send_times(rest, terms) if rule is None else rule(policy, rest, terms)


def _deadline(policy: Any, rest: Sequence[Any], terms: Terms) -> list[float]:
    """A retry begins nothing that would end at the deadline or later."""
    times = send_times(rest, terms)
    seconds = policy.per_op.get(terms.op.name, policy.seconds)
    return times[: max(1, bisect_left(times, seconds))] if terms.deadlines else times


def _timeout(policy: Any, rest: Sequence[Any], terms: Terms) -> list[float]:
    """A retry beneath does not know of it: what begins in the very tick of the timeout is still sent."""
    times = send_times(rest, terms)
    return times[: max(1, bisect_right(times, timeout_of(policy, terms.op)))]


def _retry(policy: Any, rest: Sequence[Any], terms: Terms) -> list[float]:
    one = send_times(rest, terms)
    pauses = pauses_of(policy)
    attempts = min(attempts_over(policy, rest), pauses.count + 1, MOST)
    allowed = math.inf if policy.max_duration is None else policy.max_duration
    if len(one) == 1:
        return [time for time in (pauses.earliest(number) for number in range(attempts)) if time <= allowed]
    sent = list(one)  # by the end of the attempts so far: the earliest time of each request
    for number in range(1, attempts):
        pause = pauses.earliest(number) - pauses.earliest(number - 1)
        further = [time + pause for time in sent if time + pause <= allowed]
        following = _joined(sent, further, one)
        if following == sent or len(following) >= MOST:
            return following[:MOST]
        sent = following
    return sent


def _joined(sent: Sequence[float], begins: Sequence[float], one: Sequence[float]) -> list[float]:
    """One attempt more: it may begin after any number of requests, and sends up to as many as one attempt can."""
    earliest = list(sent)
    for before, begin in enumerate(begins, 1):
        for more, time in enumerate(one, 1):
            index = before + more - 1
            if index < len(earliest):
                earliest[index] = min(earliest[index], begin + time)
            elif index == len(earliest):
                earliest.append(begin + time)
    return earliest[:MOST]


def _hedge(policy: Any, rest: Sequence[Any], terms: Terms) -> list[float]:
    one = send_times(rest, terms)
    delay = shortest_delay(policy)
    if not terms.op.idempotent or delay > worst_latency(rest, terms):
        return one
    branches = min(policy.extra, MOST) + 1
    return sorted(branch * delay + time for branch in range(branches) for time in one[:MOST])[:MOST]


_RULES: dict[str, _Rule] = {"deadline": _deadline, "hedge": _hedge, "retry": _retry, "timeout": _timeout}
