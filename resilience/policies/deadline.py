"""Deadline: the time that a whole call may take, all its attempts and waits together.

It only writes a number on the call. Whoever waits beneath bounds the wait by it, and the innermost timeout (or the
attempt boundary, where there is none) arms the one timer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, check

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline(Policy):
    """At most `seconds` (or ``per_op[op.name]``) for everything beneath; an earlier one (``within``) stays in force.

    A late call raises `TimedOut`, or the last attempt's own error with a note where a retry would have come too late.
    """

    sets_deadline: ClassVar[bool] = True

    seconds: Seconds
    per_op: Mapping[str, Seconds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check("Deadline", "seconds", self.seconds, above=0)
        if not isinstance(self.per_op, Mapping):
            raise ConfigError(f"Deadline: per_op is {self.per_op!r}, must map operation names to seconds")
        for name, seconds in self.per_op.items():
            check("Deadline", f"per_op[{name!r}]", seconds, above=0)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        seconds, per_op, now = self.seconds, self.per_op, kit.now

        async def run(call: Call) -> Any:
            outer = call.deadline
            at = now() + (per_op.get(call.op.name, seconds) if per_op else seconds)
            if outer is not None and outer <= at:
                return await next(call)
            call.deadline = at
            try:
                return await next(call)
            finally:
                call.deadline = outer

        return run
