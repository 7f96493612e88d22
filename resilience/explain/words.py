"""The sentences: what the numbers of one operation mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..analysis import MOST, Estimate, Load
from ..descriptor import kind_of

__all__ = ["course_words", "duration", "load_words", "repeats_unknown", "requests", "sentences", "twice_words"]

_RETRY = "the server may ask for longer pauses (up to max_retry_after each)"


def duration(seconds: float) -> str:
    """``1.5 s``, ``250 ms``, or that there is no bound."""
    if math.isinf(seconds):
        return "no bound"
    if 0 < seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.4g} s"


def requests(sends: int) -> str:
    """``4 requests``; "at least" where nobody counted on."""
    if sends >= MOST:
        return f"at least {sends} requests"
    return f"{sends} request{'' if sends == 1 else 's'}"


def sentences(estimate: Estimate) -> list[str]:
    """Best, typical and worst, what is not in the worst, and why there is no bound."""
    best, typical, worst = estimate.best, estimate.typical, estimate.worst
    said = [f"Best: the first attempt answers; {requests(best.sends)}, and nothing is added to the target's own time."]
    if typical.sends > 1:
        said.append(
            f"Typical trouble: one attempt fails at once and the next answers; {requests(typical.sends)}, "
            f"{duration(typical.latency)} more than the target takes."
        )
    if math.isinf(worst.latency):
        said.append(f"Worst: no bound: {'; '.join(estimate.unbounded)}. Up to {requests(worst.sends)}.")
    else:
        said.append(f"Worst: {duration(worst.latency)}, and up to {requests(worst.sends)}.{_capped(estimate)}")
    if estimate.transparent:
        said.append("Apart: one request more, once a call, where a reused connection is reset before any answer.")
    if estimate.ordered is not None:
        same = math.isclose(estimate.ordered, worst.latency) or estimate.ordered == worst.latency
        most = "the worst case stays what it is" if same else f"then the worst is {duration(estimate.ordered)}"
        said.append(f"Apart: {_RETRY}; {most}.")
    return said


def repeats_unknown(estimate: Estimate, policies: Sequence[Any]) -> bool:
    """Whether an attempt of which nobody knows whether it was executed may be sent again."""
    retries = [policy for policy in policies if kind_of(policy) == "retry" and policy.attempts > 1]
    if any(policy.on is not None or policy.result is not None for policy in retries):
        return True
    hedges = any(kind_of(policy) == "hedge" for policy in policies)
    return estimate.op.idempotent and (bool(retries) or hedges)


def twice_words(estimate: Estimate, policies: Sequence[Any], *, others: bool) -> list[str]:
    """What becomes of an operation that must not happen twice: this one, or (`others`) those that nobody has named."""
    repeats = any(kind_of(policy) == "retry" and policy.attempts > 1 for policy in policies)
    hedges = any(kind_of(policy) == "hedge" for policy in policies)
    if (estimate.op.idempotent and not others) or not (repeats or hedges):
        return []
    whose = (
        "An operation that must not happen twice" if estimate.op.idempotent else "This operation must not happen twice"
    )
    if repeats and repeats_unknown(replace(estimate, op=replace(estimate.op, idempotent=False)), policies):
        does = "`on` or `result` sends it again although nobody knows whether it was executed"
        return [f"{whose}, and {does}." if not estimate.op.idempotent else f"{whose}: {does}."]
    does = "not sent again unless it was certainly not executed" if repeats else "never hedged"
    more = ", and never hedged" if repeats and hedges else ""
    return [f"{whose}: it is {does}{more}."]


def course_words(estimate: Estimate, policies: Sequence[Any]) -> str:
    """What the timeline shows."""
    course = "If everything fails, each attempt at the last moment"
    retries = any(kind_of(policy) == "retry" and policy.attempts > 1 for policy in policies)
    if retries and not repeats_unknown(estimate, policies):
        course += " and before it was sent (what may have been executed is not sent again)"
    return course


def _capped(estimate: Estimate) -> str:
    if estimate.uncapped <= estimate.worst.latency * (1 + 1e-9):
        return ""
    if math.isinf(estimate.uncapped):
        return " The deadline ends it; the waits in our own queues and limiters have no other bound."
    return f" The deadline ends it; without one it could take {duration(estimate.uncapped)}."


def load_words(load: Sequence[Load], policies: Sequence[Any]) -> list[str]:
    """What the table of loads does not say by itself."""
    said = []
    worst = load[-1]
    if worst.budgeted < max(worst.errors, worst.silence) - 1e-9:
        said.append(
            f"The budget holds the load of an outage to {worst.budgeted:.3g} requests a call where there are many "
            "calls; "
            "a few retries a second are always within it."
        )
    elif max(worst.errors, worst.silence) > 1:
        said.append("No budget bounds it: the load of an outage is multiplied for as long as it lasts.")
    if worst.shed < worst.budgeted - 1e-9:
        said.append(f"Shed keeps back what is not accepted, down to {worst.shed:.3g} requests a call.")
    opening = [f"{100 * one.share:.0f} %" for one in load if one.opens]
    breaker = next((policy for policy in policies if kind_of(policy) == "breaker"), None)
    if opening and breaker is not None:
        said.append(
            f"The breaker opens where {' or '.join(opening)} fail, if there are enough calls: then all are refused "
            "at once, "
            f"and after {duration(breaker.open_for)} or more {breaker.probes} at a time "
            f"{'is' if breaker.probes == 1 else 'are'} "
            "sent as probes."
        )
    return said
