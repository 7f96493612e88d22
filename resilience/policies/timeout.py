"""Timeout: the time that one attempt may take, by operation.

All calls of one length share one armed timer (`resilience.timers`), which is what makes it cheap. A result that is
there in the tick of the timer is kept, and a caller's cancellation stays a cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError, TimedOut
from ..kit import Kit
from ..policy import Policy
from ..streams import StreamHandler, stepped
from ..timers import Lane, until
from ..units import Seconds, check

__all__ = ["Timeout"]


@dataclass(frozen=True, slots=True)
class Timeout(Policy):
    """At most `seconds` (or ``per_op[op.name]``) for what lies beneath, and never beyond the call's deadline.

    Cancels what is running and raises `TimedOut`: UNKNOWN if a byte may have left, else FAILED.
    """

    enforces_deadline: ClassVar[bool] = True

    seconds: Seconds
    per_op: Mapping[str, Seconds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check("Timeout", "seconds", self.seconds, above=0)
        if not isinstance(self.per_op, Mapping):
            raise ConfigError(f"Timeout: per_op is {self.per_op!r}, must map operation names to seconds")
        for name, seconds in self.per_op.items():
            check("Timeout", f"per_op[{name!r}]", seconds, above=0)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        lengths = {self.seconds, *self.per_op.values()}
        lanes = {seconds: Lane(seconds, kit.loop) for seconds in lengths}
        default = lanes[self.seconds]
        by_op = {name: lanes[seconds] for name, seconds in self.per_op.items()}
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

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return stepped(next, lambda step: self.bind(step, kit))


def _sent(call: Call) -> bool:
    """Did this attempt send anything, or one that a retry or a hedge beneath has made since?"""
    first = call.attempt.number
    return any(attempt.sent for attempt in call.attempts if attempt.number >= first)
