"""The rate at which the other side throttles, from when it did."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from ..recorded import Call
from ..units import rate
from .proposal import Proposal

__all__ = ["rate_for"]

_FEWEST = 3
_ROOM = 0.9
_TOGETHER = 0.005  # seconds: of requests that are let go together nobody knows which arrives first


def rate_for(calls: Sequence[Call], now: str) -> Proposal:
    """The rate of a limiter that is set to `now` (``600/5s``); its window is taken to be the other side's."""
    count, window = rate(now)
    sent = sorted((a.start, call.weight, a.outcome) for call in calls for a in call.attempts if a.asked)
    starts = [start for start, _, _ in sent]
    sums = [0.0, *accumulate(weight for _, weight, _ in sent)]
    before = [
        sums[bisect_right(starts, start + _TOGETHER)] - sums[bisect_left(starts, start - window)] for start in starts
    ]
    throttled = [seen for seen, (_, _, outcome) in zip(before, sent, strict=True) if outcome == "throttled"]
    unit = now.replace(" ", "").partition("/")[2]
    told = sorted({a.limit for call in calls for a in call.attempts if a.limit is not None})
    said = f" The server itself named limits of {', '.join(f'{limit:g}' for limit in told[:5])}." if told else ""

    def say(evidence: str, value: str | None = None) -> Proposal:
        return Proposal("rate_limit", ("rate",), "", now, value, evidence + said)

    if len(throttled) < _FEWEST:
        most = max(before, default=0.0)
        return say(
            f"{len(throttled)} attempts were throttled, with up to {most:.0f} sent in {unit}: nothing to change."
        )
    least = min(throttled)
    evidence = f"{len(throttled)} attempts were throttled, the earliest when {least:.0f} had been sent in {unit}."
    proposed = int(least * _ROOM)
    if proposed < 1:
        return say(f"{evidence} Other programs seem to spend the same limit: no rate of ours would help.")
    if proposed >= count:
        return say(f"{evidence} Our own limit is below that: the other side's window or scope is another one.")
    return say(evidence + " A tenth below that.", f"{proposed}/{unit}")
