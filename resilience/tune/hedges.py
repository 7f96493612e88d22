"""When a second request pays: how much faster the slowest calls would be, for how many requests more.

Computed from the latencies seen, under the assumption that a second request is as slow as any and not slow for the same
reason as the first (Dean and Barroso, "The Tail at Scale", 2013). Where a whole exchange is slow it does not hold, and
a hedge then costs more and brings less; its budget bounds the cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..estimates import Curve, few
from ..recorded import Call
from .proposal import Proposal
from .timeouts import curve_of

__all__ = ["hedge_for", "hedged_quantile"]

_DELAYS = (0.95, 0.98, 0.99)
_TARGET = 0.99
_GAIN = 0.20


def hedged_quantile(curve: Curve, q: float, delay: float) -> float | None:
    """The latency that a share `q` would not exceed, if a second request were sent after `delay` seconds."""

    def beyond(at: float) -> float:
        first = 1.0 - curve.within(at)
        return first if at < delay else first * (1.0 - curve.within(at - delay))

    least, most = 0.0, curve.longest + delay
    if beyond(most) > 1.0 - q + 1e-9:
        return None
    while most - least > 1e-6 * max(most, 1e-3):
        middle = (least + most) / 2
        least, most = (least, middle) if beyond(middle) <= 1.0 - q + 1e-9 else (middle, most)
    return most


def hedge_for(by_operation: Mapping[str, Sequence[Call]], now: str, confidence: float) -> Proposal:
    """The delay for all operations of a pipeline, as a quantile of each one's latency. `now`: "" if there is none."""
    curves = {op: curve_of(calls) for op, calls in by_operation.items()}
    curves = {op: curve for op, curve in curves.items() if curve.answers >= few(_TARGET, confidence)}

    def say(evidence: str, value: str | None = None) -> Proposal:
        return Proposal("hedge", ("delay",), "", now, value, evidence, new=not now)

    if not curves:
        return say(f"No operation has the {few(_TARGET, confidence)} answers from which p99 is known.")
    weights = {op: sum(call.weight for call in by_operation[op]) for op in curves}
    gains: dict[float, float] = {}
    told: dict[float, list[str]] = {}
    for delay in _DELAYS:
        parts = {op: _gain(curve, delay) for op, curve in curves.items()}
        gains[delay] = sum(weights[op] * gain for op, (gain, _) in parts.items()) / sum(weights.values())
        told[delay] = [f"{op} {text}" for op, (_, text) in parts.items()]
    best = max(_DELAYS, key=lambda delay: (round(gains[delay], 2), delay))
    text = f"p{best * 100:g}"
    evidence = (
        f"A second request after {text} would send {1 - best:.0%} more and change p99: {'; '.join(told[best])} "
        "(if the second is not slow for the same reason as the first)."
    )
    if gains[best] < _GAIN:
        return say(f"{evidence} Less than {_GAIN:.0%} on average: it does not pay.")
    if now == text:
        return say(f"{evidence} That is the delay already.")
    return say(f"{evidence} Only idempotent operations are hedged.", text)


def _gain(curve: Curve, delay: float) -> tuple[float, str]:
    """By what share p99 shrinks, and that in words; an unknown p99 counts as the longest wait that was seen."""
    after = curve.quantile(delay)
    before = curve.quantile(_TARGET)
    if after is None:
        return 0.0, "unknown: fewer were ever answered"
    hedged = hedged_quantile(curve, _TARGET, after)
    if hedged is None:
        return 0.0, "unknown before and after"
    if before is None:
        return 1.0, f"never answered -> {hedged * 1000:.3g} ms"
    return 1.0 - hedged / before, f"{before * 1000:.3g} -> {hedged * 1000:.3g} ms"
