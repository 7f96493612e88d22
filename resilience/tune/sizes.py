"""How many places: Little's law (L = rate x time) on the busiest ten seconds, with room for chance.

The number under way at random arrivals varies like a Poisson count; three standard deviations above its mean are passed
about once in a thousand looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..recorded import Call
from .proposal import Proposal

__all__ = ["busiest", "places_for", "places_needed"]

_WINDOW = 10.0
_FEWEST = 100
_SPACIOUS = 4  # times what is needed: such a limit protects nobody


def busiest(calls: Sequence[Call]) -> float:
    """The most attempts that were under way on average over ten seconds, or over all of a recording that is shorter.

    Weighted, so right for sampled calls too.
    """
    asked = [attempt for call in calls for attempt in call.attempts if attempt.asked]
    first = min((one.start for one in asked), default=0.0)
    length = min(_WINDOW, max((one.start + one.seconds for one in asked), default=0.0) - first)
    if length <= 0.0:
        return 0.0
    sums: dict[int, float] = {}
    for call in calls:
        for attempt in call.attempts:
            if not attempt.asked:
                continue
            at, ends = attempt.start - first, attempt.start - first + attempt.seconds
            while at < ends:
                window = math.floor(at / length)
                until = min(ends, (window + 1) * length)
                sums[window] = sums.get(window, 0.0) + call.weight * (until - at)
                at = until if until > at else ends
    return max(sums.values(), default=0.0) / length


def places_needed(load: float) -> int:
    """So many places suffice for a load of so many attempts on average."""
    return math.ceil(load + 3.0 * math.sqrt(load)) if load else 1


def places_for(calls: Sequence[Call], now: int) -> Proposal:
    """The limit of a bulkhead that has `now` places."""
    load = busiest(calls)
    needed = places_needed(load)
    total = sum(call.weight for call in calls)
    refused = sum(call.weight for call in calls if call.error == "bulkhead_full") / total if total else 0.0
    evidence = (
        f"In the busiest {_WINDOW:g} s {load:.3g} attempts were under way on average (Little's law), which takes "
        f"{needed} place{'' if needed == 1 else 's'} with room for chance; {refused:.2%} of calls were refused a place."
    )

    def say(more: str, value: int | None = None) -> Proposal:
        text = None if value is None else str(value)
        return Proposal("bulkhead", ("limit",), "", str(now), text, evidence + more)

    if len(calls) < _FEWEST:
        return say(f" {len(calls)} calls are too few to judge by.")
    if now < needed:
        return say(" The limit holds back calls that the target answers.", needed)
    if refused > 0:
        return say(" The refusals came in moments that ten seconds do not show; a queue bridges those.")
    if now > _SPACIOUS * needed:
        return say(f" More than {_SPACIOUS} times that protects nobody when the target slows down.", 2 * needed)
    return say("")
