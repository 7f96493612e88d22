"""The time that one attempt is granted: a quantile of how long answers take, with its interval.

The quantile is the share of good answers that one is ready to wait for; a timeout at p99 gives up one in a hundred that
would have come (the reasoning: AWS Builders' Library, "Timeouts, retries, and backoff with jitter"). What was cut off
counts as longer than it was seen. Where the quantile lies among what was never answered, nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..estimates import Curve, Sample, few
from ..recorded import Attempt, Call, Histogram
from .proposal import Proposal, time_text, up

__all__ = ["curve_of", "from_histogram", "name_of", "timeout_for"]

_CUT = ("timeout", "deadline_exceeded")
_GAP = 2.0  # times the slowest answer
_WIDE = 1.5  # times the value: a wider interval is no basis for a proposal


def name_of(q: float) -> str:
    """``p99``, ``p99.9``."""
    return f"p{q * 100:.10g}"


def _usable(attempt: Attempt) -> bool:
    return attempt.asked or (attempt.error in _CUT and attempt.outcome != "refused")


def curve_of(calls: Sequence[Call]) -> Curve:
    """How long the answers of these calls' attempts take, hangs included."""
    return Curve(Sample(a.seconds, a.answered, call.weight) for call in calls for a in call.attempts if _usable(a))


def _without_hangs(calls: Sequence[Call]) -> tuple[Curve, float]:
    """The same without hangs, and the share that hung.

    A hang is an attempt that was cut off at twice the slowest answer or later: a time in which many should have
    answered, had they been slow, and none did. No timeout can wait for those, so they say nothing about its length.
    """
    whole = curve_of(calls)
    kept: list[Sample] = []
    hung = total = 0.0
    for call in calls:
        for attempt in call.attempts:
            if not _usable(attempt):
                continue
            total += call.weight
            if attempt.error in _CUT and whole.answers and attempt.seconds >= _GAP * whole.longest:
                hung += call.weight
            else:
                kept.append(Sample(attempt.seconds, attempt.answered, call.weight))
    return (Curve(kept), hung / total) if hung else (whole, 0.0)


def timeout_for(
    op: str, calls: Sequence[Call], q: float, confidence: float, now: float, deadline: float | None
) -> Proposal:
    """What is proposed for one operation, whose timeout is `now` seconds beneath a `deadline`."""
    curve, hung = _without_hangs(calls)
    name, needed = name_of(q), few(q, confidence)

    def say(evidence: str, value: float | None = None) -> Proposal:
        text = None if value is None else time_text(value)
        return Proposal("timeout", ("per_op", op), op, time_text(now), text, evidence)

    if curve.answers < needed:
        return say(f"{curve.answers} answers were recorded; {name} with bounds on both sides needs {needed}.")
    value, bounds = curve.quantile(q), curve.interval(q, confidence)
    if value is None or bounds is None:
        return say(
            f"{name} is not known: only {curve.answered:.2%} of {curve.count} attempts were answered as far as anybody "
            f"waited ({curve.longest:.3g} s), and the rest was cut off while others were still answering. Record with "
            "a longer timeout, or ask for a lower quantile (--quantile)."
        )
    low, high, how = bounds
    if high > _WIDE * value or value > _WIDE * low:
        return say(f"{name} lies between {_ms(low)} and {_ms(high)}: that is no knowledge. Record more.")
    evidence = (
        f"{name} of {curve.count} attempts is {_ms(value)} ({confidence:.4g} interval {_ms(low)} to {_ms(high)}, {how}"
        f"{f'; {curve.cut} of them ended without an answer and count as longer' if curve.cut else ''})."
    )
    if hung:
        evidence += f" Left out: {hung:.2%} that hung, cut off at twice the slowest answer or later."
    if low <= now <= high:
        return say(f"{evidence} The timeout lies within that already.")
    proposed = up(value)
    if deadline is not None and proposed >= deadline:
        return say(
            f"{evidence} That is not below the deadline of {deadline:g} s, which ends the call before; raise it."
        )
    return say(evidence, proposed)


def from_histogram(histogram: Histogram, q: float, confidence: float, now: float, deadline: float | None) -> Proposal:
    """The same from a histogram, which knows the bucket of a quantile and no more: its upper end is proposed."""
    name, op = name_of(q), histogram.op

    def say(evidence: str, value: float | None = None) -> Proposal:
        text = None if value is None else time_text(value)
        return Proposal("timeout", ("per_op", op), op, time_text(now), text, evidence)

    needed = few(q, confidence)
    if histogram.count < needed:
        return say(f"{histogram.count:.0f} attempts were counted; {name} with bounds on both sides needs {needed}.")
    found = histogram.bucket(q, confidence)
    if found is None:
        return say(
            f"{name} of {histogram.count:.0f} attempts lies beyond the last bucket, or among the "
            f"{histogram.cut / histogram.count:.2%} that no answer ended: nothing can be said."
        )
    low, high, sure = found
    evidence = (
        f"{name} of {histogram.count:.0f} attempts lies in the bucket from {_ms(low)} to {_ms(high)} (with "
        f"{confidence:.4g} confidence at most {_ms(sure)}); a histogram tells no more, and its attempts include our "
        "own queues. Traces would give a point."
    )
    if low < now <= sure:
        return say(f"{evidence} The timeout lies there already.")
    if deadline is not None and sure >= deadline:
        return say(f"{evidence} That is not below the deadline of {deadline:g} s.")
    return say(evidence, sure)


def _ms(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
