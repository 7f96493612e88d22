"""The course of a call in which everything fails: every attempt as late as it can, every pause at its longest.

No queue is waited in, and nothing is known about it but the policies. What is cut off by a deadline or a timeout ends
there, and the last step says why nothing follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..descriptor import kind_of
from .latency import Terms, shortest_delay, timeout_of
from .nested import attempts_over
from .pauses import pauses_of

__all__ = ["Step", "played", "timeline"]

_MOST = 200  # steps; nobody reads on
_Play: TypeAlias = "Callable[[Any, Sequence[Any], float, float, _Stage], float]"


@dataclass(frozen=True, slots=True)
class Step:
    """`kind`: ``"attempt"``, ``"hedge"``, ``"pause"``, ``"chaos"`` or ``"end"``. Seconds since the call began.

    `end` may be `math.inf`. `lane` counts the branches that run beside one another, from 0. `note` says why it ended.
    """

    kind: str
    start: float
    end: float
    lane: int = 0
    note: str = ""


class _Stage:
    """What has been played so far."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.steps: list[Step] = []
        self.whole = True
        self.kind, self.lane = "attempt", 0

    def full(self) -> bool:
        """Whether there is no room for what follows, which is left out then."""
        self.whole = self.whole and len(self.steps) < _MOST
        return len(self.steps) >= _MOST

    def add(self, kind: str, start: float, end: float, note: str = "") -> None:
        if not self.full():
            self.steps.append(Step(kind, start, end, self.lane, note))

    def cut(self, since: int, at: float, why: str) -> None:
        """Nothing that was played since then goes on beyond this time."""
        played, self.steps[since:] = self.steps[since:], []
        for step in played:
            if step.start < at:
                late = step.end > at
                note = why if late and step.kind in ("attempt", "hedge") else step.note
                self.steps.append(Step(step.kind, step.start, min(step.end, at), step.lane, note))


def timeline(policies: Sequence[Any], terms: Terms) -> list[Step]:
    """The steps of the failing call, in the order in which they begin; the last is of kind ``"end"``."""
    return played(policies, terms)[0]


def played(policies: Sequence[Any], terms: Terms) -> tuple[list[Step], bool]:
    """The same, and whether these are all: of a long call only the beginning is told."""
    stage = _Stage(terms)
    end = _play(policies, 0.0, math.inf, stage)
    steps = sorted(stage.steps, key=lambda step: (step.start, step.lane))
    sent = sum(step.kind in ("attempt", "hedge") for step in steps)
    if not stage.whole:
        why = f"the call goes on, and sends more: these are its first {_MOST} steps"
    elif math.isinf(end):
        why = "it never ends: nothing bounds an attempt"
    else:
        why = f"the call fails after {end:.4g} s and {sent} request{'' if sent == 1 else 's'}"
    last = [step.note for step in steps if step.kind == "end"]
    steps = [step for step in steps if step.kind != "end"]
    return [*steps, Step("end", end, end, 0, "; ".join([why, *dict.fromkeys(last)]))], stage.whole


def _play(policies: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    """When what lies here ends, if it begins at `at`."""
    if not policies:
        stage.add(stage.kind, at, deadline, "deadline" if deadline < math.inf else "")
        return deadline
    policy, rest = policies[0], policies[1:]
    play = _PLAYS.get(kind_of(policy) or "")
    return _play(rest, at, deadline, stage) if play is None else play(policy, rest, at, deadline, stage)


def _deadline(policy: Any, rest: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    seconds = policy.per_op.get(stage.terms.op.name, policy.seconds)
    return _play(rest, at, min(deadline, at + seconds), stage)


def _timeout(policy: Any, rest: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    since, until = len(stage.steps), at + timeout_of(policy, stage.terms.op)
    end = _play(rest, at, deadline, stage)
    if end >= until:
        stage.cut(since, until, "timeout")
    return min(end, until)


def _retry(policy: Any, rest: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    pauses = pauses_of(policy)
    attempts = min(attempts_over(policy, rest), pauses.count + 1)
    allowed = math.inf if policy.max_duration is None else at + policy.max_duration
    for number in range(1, attempts + 1):
        end = _play(rest, at, deadline, stage)
        if number == attempts or math.isinf(end) or stage.full():
            return end
        following = end + pauses[number - 1].most
        if following >= deadline or following > allowed:
            stage.add("end", end, end, _not_made(number + 1, attempts, following >= deadline))
            return end
        if following > end:
            stage.add("pause", end, following)
        at = following
    return at


def _not_made(first: int, last: int, deadline: bool) -> str:
    what = "the deadline" if deadline else "max_duration"
    if first == last:
        return f"attempt {first} would begin after {what}, so it is not made"
    return f"attempts {first} to {last} would begin after {what}, so they are not made"


def _hedge(policy: Any, rest: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    delay = shortest_delay(policy) if not isinstance(policy.delay, str) else policy.initial
    end = _play(rest, at, deadline, stage)
    if not stage.terms.op.idempotent:
        return end
    kind, lane = stage.kind, stage.lane
    for branch in range(1, policy.extra + 1):
        begin = at + branch * delay
        if begin >= end or stage.full():
            break
        stage.kind, stage.lane = "hedge", lane + branch
        end = max(end, _play(rest, begin, deadline, stage))
    stage.kind, stage.lane = kind, lane
    return end


def _coalesce(policy: Any, rest: Sequence[Any], at: float, deadline: float, stage: _Stage) -> float:
    since = len(stage.steps)
    end = _play(rest, at, math.inf, stage)
    if end >= deadline:
        stage.cut(since, deadline, "deadline")
    return min(end, deadline)


_PLAYS: dict[str, _Play] = {
    "coalesce": _coalesce,
    "deadline": _deadline,
    "hedge": _hedge,
    "retry": _retry,
    "timeout": _timeout,
}
