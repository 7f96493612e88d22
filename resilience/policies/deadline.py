"""Deadline: the time that a whole call may take, all its attempts and waits together.

It only writes a number on the call. Whoever waits beneath bounds the wait by it, and the innermost timeout (or the
attempt boundary, where there is none) arms the one timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..call import Call, Handler
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, check

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline(Policy):
    """At most `seconds` for everything beneath; an earlier deadline (``within``) stays in force.

    A late call raises `TimedOut`, or the last attempt's own error with a note where a retry would have come too late.
    """

    sets_deadline: ClassVar[bool] = True

    seconds: Seconds

    def __post_init__(self) -> None:
        check("Deadline", "seconds", self.seconds, above=0)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        seconds, now = self.seconds, kit.now

        async def run(call: Call) -> Any:
            outer = call.deadline
            at = now() + seconds
            if outer is not None and outer <= at:
                return await next(call)
            call.deadline = at
            try:
                return await next(call)
            finally:
                call.deadline = outer

        return run
