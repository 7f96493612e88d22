"""Timeout: the time that one attempt may take, by operation, fixed or following the latency that it measures.

All calls of one length share one armed timer (`timing.timers`), which is what makes it cheap; an adaptive length
moves in steps of 10 %, so that these stay few. A result that is there in the tick of the timer is kept, and a caller's
cancellation stays a cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError, TimedOut
from ..kit import Kit
from ..policy import Policy
from ..streams import StreamHandler, stepped
from ..timing.allowance import Adaptive, Allowance
from ..timing.timers import Lane, until
from ..units import Seconds, check
from ..verdict import Kind

__all__ = ["Adaptive", "Timeout"]

_MOST_OPERATIONS = 256
_REVISIONS = 60  # a window


@dataclass(frozen=True, slots=True)
class Timeout(Policy):
    """At most `seconds` (or ``per_op[op.name]``) for what lies beneath, and never beyond the call's deadline.

    Cancels what is running and raises `TimedOut`: UNKNOWN if a byte may have left, else FAILED.

    With `adaptive` the time follows each operation's latency (see `Adaptive`). `seconds` (or ``per_op[op.name]``) is
    then the value at cold start, and the ceiling where `adaptive` names none.
    """

    enforces_deadline: ClassVar[bool] = True

    keeps: ClassVar[str] = "the latency of each operation, where it is adaptive"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = {
        "adaptive": "where it was adaptive and is, with the same window, what was measured stays; else it is lost"
    }

    seconds: Seconds
    per_op: Mapping[str, Seconds] = field(default_factory=dict)
    adaptive: Adaptive | None = None

    def __post_init__(self) -> None:
        check("Timeout", "seconds", self.seconds, above=0)
        if not isinstance(self.per_op, Mapping):
            raise ConfigError(f"Timeout: per_op is {self.per_op!r}, must map operation names to seconds")
        if not isinstance(self.adaptive, (Adaptive, type(None))):
            raise ConfigError(f"Timeout: adaptive is {self.adaptive!r}, must be Adaptive(...) or None")
        for name, seconds in self.per_op.items():
            check("Timeout", f"per_op[{name!r}]", seconds, above=0)
        if self.adaptive is not None:
            self.adaptive.suits("Timeout", "seconds", self.seconds)
            for name, seconds in self.per_op.items():
                self.adaptive.suits("Timeout", f"per_op[{name!r}]", seconds)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        adaptive = self.adaptive
        if adaptive is not None:
            grants = kit.keep("timeout", self, lambda: Grants(adaptive, self.seconds, self.per_op))
            grants.link(kit)
            return _adaptive(next, kit, grants)
        lanes = {seconds: Lane(seconds, kit.loop) for seconds in {self.seconds, *self.per_op.values()}}
        by_op = {name: lanes[seconds] for name, seconds in self.per_op.items()}
        return _fixed(next, kit, lanes[self.seconds], by_op)

    def adjust(self, state: Grants, before: Any) -> None:
        assert self.adaptive is not None  # noqa: S101 (there is no state to adjust where either is not)
        state.become(self.adaptive, self.seconds, self.per_op)

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return stepped(next, lambda step: self.bind(step, kit))


def _fixed(next: Handler, kit: Kit, default: Lane, by_op: Mapping[str, Lane]) -> Handler:
    now = kit.now

    async def run(call: Call) -> Any:
        lane = by_op.get(call.op.name, default) if by_op else default
        at = now() + lane.seconds
        deadline = call.deadline
        if deadline is not None and deadline < at:
            return await until(deadline, next, call, _sent)
        lane.begin(call, at)
        try:
            result = await next(call)
        except BaseException as error:
            if lane.end(call, error):
                raise TimedOut(lane.seconds, sent=_sent(call)) from None
            raise
        if lane.live.pop(call, None) is None:
            lane.end(call)
        return result

    return run


def _adaptive(next: Handler, kit: Kit, grants: Grants) -> Handler:
    """Success and REJECTED count as what they took, a timeout as what it was granted, and nothing else counts.

    FAILED and THROTTLED often come at once; a hedge's loser was cut off for another's sake; and what a deadline or its
    caller cut short took longer than that, but may well have been fast enough for this timeout.
    """
    judge, now, by_op = kit.judge, kit.now, grants.by_op

    async def run(call: Call) -> Any:
        begun = now()
        grant = by_op.get(call.op.name) or grants.open(call.op.name)
        if not grant.since <= begun < grant.until:
            grants.revise(grant, begun)
        lane = grant.lane
        at = begun + lane.seconds
        cut = call.deadline
        if cut is None or cut >= at:
            cut = None
            lane.begin(call, at)
        try:
            result = await (next(call) if cut is None else until(cut, next, call, _sent))
        except BaseException as error:
            if lane.end(call, error):
                if not call.attempt.lost:
                    grant.latency.add(lane.seconds, now())
                raise TimedOut(lane.seconds, sent=_sent(call)) from None
            if isinstance(error, Exception) and not call.attempt.lost:
                verdict = judge(error, call)
                if verdict is not None and verdict.kind is Kind.REJECTED:
                    ended = now()
                    grant.latency.add(ended - begun, ended)
            raise
        if cut is None and lane.live.pop(call, None) is None:
            lane.end(call)
        made = call.made
        if made is None or not made.lost:
            ended = now()
            grant.latency.add(ended - begun, ended)
        return result

    return run


def _sent(call: Call) -> bool:
    """Did this attempt send anything, or one that a retry or a hedge beneath has made since?"""
    first = call.attempt.number
    return any(attempt.sent for attempt in call.attempts if attempt.number >= first)


class Grant(Allowance):
    """One operation's allowance, the `lane` of that length, and from when until when it stands unrevised."""

    __slots__ = ("lane", "since", "until")

    lane: Lane

    def __init__(self, rules: Adaptive, cold: float) -> None:
        super().__init__(rules, cold)
        self.since = self.until = math.inf


class Grants:
    """What each operation is granted. Beyond 256 of them the eldest goes, and begins at its cold start when it returns.

    Lengths that nobody is granted any more lose their lane; calls that still run under it are in its own hands.
    """

    __slots__ = ("_cold", "_cold_by_op", "_kit", "_lanes", "_rules", "by_op")

    def __init__(self, rules: Adaptive, cold: float, cold_by_op: Mapping[str, float]) -> None:
        self._rules = rules
        self._cold = cold
        self._cold_by_op = cold_by_op
        self._lanes: dict[float, Lane] = {}
        self.by_op: dict[str, Grant] = {}

    def link(self, kit: Kit) -> None:
        """The loop whose lanes and clock count from now on. What was measured stays."""
        self._kit = kit
        self._lanes.clear()
        for grant in self.by_op.values():
            grant.since = grant.until = math.inf

    def become(self, rules: Adaptive, cold: float, cold_by_op: Mapping[str, float]) -> None:
        """Grant by other rules from the next link on. What was measured stays, if it was over the same time."""
        if rules.window != self._rules.window:
            self.by_op.clear()
        self._rules, self._cold, self._cold_by_op = rules, cold, cold_by_op
        for op, grant in self.by_op.items():
            grant.become(rules, cold_by_op.get(op, cold))

    def open(self, op: str) -> Grant:
        if len(self.by_op) >= _MOST_OPERATIONS:
            del self.by_op[next(iter(self.by_op))]
        grant = self.by_op[op] = Grant(self._rules, self._cold_by_op.get(op, self._cold))
        return grant

    def revise(self, grant: Grant, at: float) -> None:
        """Look at what was measured, and set the grant's lane for the next sixtieth of the window."""
        grant.since, grant.until = at, at + self._rules.window / _REVISIONS
        seconds = grant.revise(at)
        lane = self._lanes.get(seconds)
        if lane is None:
            lane = Lane(seconds, self._kit.loop)
            used = {other.seconds for other in self.by_op.values()}
            self._lanes = {length: kept for length, kept in self._lanes.items() if length in used}
            self._lanes[seconds] = lane
        grant.lane = lane

    def status(self) -> dict[str, Any]:
        """By operation: the seconds that are granted now, and the samples that they rest on."""
        now = self._kit.now()
        for grant in self.by_op.values():
            self.revise(grant, now)
        return {op: grant.status() for op, grant in self.by_op.items()}
