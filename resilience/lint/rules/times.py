"""Rules about time: what cannot be done before a deadline, what is never cut off, and what never comes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ...analysis import pauses_of, timeout_of
from ...call import Op
from ...descriptor import kind_of
from ..subject import Found, Rule, Subject, counted, seconds

__all__ = ["RULES"]


def _deadline_of(policy: Any, op: Op) -> float:
    return float(policy.per_op.get(op.name, policy.seconds))


def _of(op: Op) -> str:
    return "a call" if op.name == "*" else op.name


def _timed_out(subject: Subject, op: Op) -> bool:
    """Whether a timeout is as long as the deadline above it, which `timeout-above-deadline` tells."""
    timeouts = [timeout_of(policy, op) for _, policy in subject.each("timeout")]
    return any(seconds >= _deadline_of(policy, op) for _, policy in subject.each("deadline") for seconds in timeouts)


def _worst_case_above_deadline(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("deadline"):
        late = []
        for op in subject.ops:
            most, work = _deadline_of(policy, op), subject.beneath(position, op, queues="stated", deadlines=False)
            never = any(True for _ in _never_begins(subject, op))
            if most * (1 + 1e-9) < work < math.inf and not never and not _timed_out(subject, op):
                late.append((work / most, op, work, most))
        if late:
            _, op, work, most = max(late, key=lambda one: one[0])
            begun = [step for step in subject.estimate(op).timeline if step.kind in ("attempt", "hedge")]
            ended = sum(step.note != "deadline" for step in begun)
            more = f" ({len(late) - 1} more operations too)" if len(late) > 1 else ""
            yield Found(
                position,
                f"{_of(op)} whose attempts all fail at the last moment needs up to {seconds(work)} for them and the "
                f"pauses between, and the deadline ends it after {seconds(most)}: of at most "
                f"{subject.sends(op)} requests {ended} come to their end{more}; lengthen the "
                "deadline, or "
                "shorten the timeout or the pauses",
                "seconds",
            )


def _never_begins(subject: Subject, op: Op) -> Iterator[tuple[int, int, str]]:
    """A retry's position, its first attempt that can never begin, and why: its pauses alone take too long."""
    for position, policy in subject.each("retry"):
        bounds = [(_deadline_of(other, op), "the deadline") for other in subject.above(position, "deadline")]
        bounds += [(timeout_of(other, op), "the timeout above") for other in subject.above(position, "timeout")]
        if policy.max_duration is not None:
            bounds.append((math.nextafter(policy.max_duration, math.inf), "max_duration"))
        if not bounds:
            continue
        most, whose = min(bounds)
        pauses = pauses_of(policy)
        for number in range(1, min(policy.attempts, pauses.count + 1, 100)):
            if pauses.earliest(number) >= most:
                yield position, number + 1, f"{whose} of {seconds(most)}"
                break


def _retry_never_begins(subject: Subject) -> Iterator[Found]:
    told = set()
    for op in subject.ops:
        for position, number, whose in _never_begins(subject, op):
            if position not in told:
                told.add(position)
                pauses = pauses_of(subject.policies[position])
                yield Found(
                    position,
                    f"attempt {number} of {subject.policies[position].attempts} of {_of(op)} never begins: the pauses "
                    f"before it come to at least {seconds(pauses.earliest(number - 1))}, even if every attempt fails "
                    "at "
                    f"once, and {whose} is over then; fewer attempts, or shorter pauses",
                    "attempts",
                )


def _no_timeout(subject: Subject) -> Iterator[Found]:
    for op in subject.ops[:1]:
        if subject.policies and math.isinf(subject.beneath(-1, op)):
            yield Found(
                None,
                "nothing bounds an attempt: a server that accepts the connection and then says nothing holds the call "
                "for ever; add Timeout, and Deadline for the whole call",
            )


def _no_attempt_timeout(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("retry"):
        op = subject.ops[0]
        bounded = subject.above(position, "deadline", "timeout")
        if policy.attempts > 1 and bounded and math.isinf(subject.beneath(position, op)):
            yield Found(
                position,
                "the deadline bounds the call but nothing bounds one attempt: the first that meets silence takes "
                "all of "
                "the time, and nothing is ever tried again; add Timeout beneath Retry",
            )


def _no_deadline(subject: Subject) -> Iterator[Found]:
    if any(True for _ in subject.each("deadline")) or any(True for _ in _no_timeout(subject)):
        return
    estimate = subject.estimate(subject.ops[0])
    if estimate.unbounded:
        yield Found(None, f"no bound on the whole call: {'; '.join(estimate.unbounded)}")
    elif estimate.worst.sends > 1:
        yield Found(
            None, f"no deadline: a call can take {seconds(estimate.worst.latency)}; if nobody waits so long, say so"
        )


def _timeout_outside_retry(subject: Subject) -> Iterator[Found]:
    for position, _ in subject.each("timeout"):
        if any(kind_of(policy) == "retry" and policy.attempts > 1 for policy in subject.policies[position + 1 :]):
            yield Found(
                position,
                "Timeout above Retry ends the whole call, but the retry does not know of it: it pauses for attempts "
                "that "
                "are never made; use Deadline there, and Timeout beneath Retry for one attempt",
            )


def _hedge_never_sent(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("hedge"):
        delay = policy.least if isinstance(policy.delay, str) else policy.delay
        lasts = [
            min(
                [
                    subject.beneath(position, op),
                    *(_deadline_of(other, op) for other in subject.above(position, "deadline")),
                ]
            )
            for op in subject.ops
            if op.idempotent
        ]
        if lasts and delay >= max(lasts):
            yield Found(
                position,
                f"no hedge is ever sent: the attempt is over after {seconds(max(lasts))}, before the delay of "
                f"{seconds(delay)}; a delay near the 95th percentile of the latency is usual (delay: p95)",
                "delay",
            )


def _slow_never_counted(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        longest = max(subject.beneath(position, op) for op in subject.ops)
        if policy.slow_after is not None and policy.slow_after >= longest:
            yield Found(
                position,
                f"no call is ever slow: the timeout beneath ends it after {seconds(longest)}, before slow_after, "
                f"{seconds(policy.slow_after)}; shorten slow_after",
                "slow_after",
            )


def _probe_lease_too_short(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        longest = max(subject.beneath(position, op) for op in subject.ops)
        if policy.probe_lease < longest < math.inf:
            yield Found(
                position,
                f"a probe may take {seconds(longest)}, but after {seconds(policy.probe_lease)} it counts as nothing "
                "and "
                f"its place is given to another: a slow target gets more than {counted(policy.probes, 'probe')} at "
                "once; "
                "lengthen probe_lease beyond the timeout",
                "probe_lease",
            )


RULES: dict[str, Rule] = {
    "worst-case-above-deadline": Rule("warning", _worst_case_above_deadline),
    "retry-never-begins": Rule("error", _retry_never_begins),
    "no-timeout": Rule("warning", _no_timeout),
    "no-attempt-timeout": Rule("warning", _no_attempt_timeout),
    "no-deadline": Rule("note", _no_deadline),
    "timeout-outside-retry": Rule("warning", _timeout_outside_retry),
    "hedge-never-sent": Rule("warning", _hedge_never_sent),
    "slow-never-counted": Rule("warning", _slow_never_counted),
    "probe-lease-too-short": Rule("warning", _probe_lease_too_short),
}
