"""What stands at the edges of a pipeline: the target beneath all policies, the deadline, and those who are told.

The leaf is no coroutine: it returns what the target returns, so that the innermost policy awaits the target itself.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from .call import Call, Handler, TakesCall
from .events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Emit
from .kit import Kit
from .timing.timers import until

__all__ = ["leaf", "observed_attempt", "observed_call", "until_deadline"]


def leaf(call: Call) -> Awaitable[Any]:
    """Beneath all policies: the call itself. A target that does not speak for itself counts as sent when called."""
    target, lent = call.target, call.lent
    if type(target) is TakesCall:
        return target(call, *lent, *call.args, **call.kwargs)
    if call.made is None:
        call.reached = True
    else:
        call.made.sent = True
    return target(*lent, *call.args, **call.kwargs) if lent else target(*call.args, **call.kwargs)


def observed_attempt(next: Handler, kit: Kit, emit: Emit) -> Handler:
    """The attempt boundary: one event when an attempt begins, one when it ends, whatever happens."""
    now = kit.now

    async def run(call: Call) -> Any:
        emit(AttemptStarted(call, now()))
        try:
            result = await next(call)
        except BaseException as exc:
            verdict = kit.judge(exc, call) if isinstance(exc, Exception) else None
            emit(AttemptEnded(call, now(), exc, verdict))
            raise
        emit(AttemptEnded(call, now(), None, None))
        return result

    return run


def observed_call(next: Handler, kit: Kit, emit: Emit) -> Handler:
    """The top of an observed pipeline: one event when the call begins, one when it ends, whatever happens."""
    name, now = kit.name, kit.now

    async def run(call: Call) -> Any:
        emit(CallStarted(call, name, now()))
        try:
            result = await next(call)
        except BaseException as exc:
            verdict = kit.judge(exc, call) if isinstance(exc, Exception) else None
            emit(CallEnded(call, name, now(), exc, verdict))
            raise
        emit(CallEnded(call, name, now(), None, None))
        return result

    return run


def until_deadline(next: Handler) -> Handler:
    """Enforce the call's deadline where no timeout beneath does."""

    def run(call: Call) -> Awaitable[Any]:
        deadline = call.deadline
        return next(call) if deadline is None else until(deadline, next, call, _sent)

    return run


def _sent(call: Call) -> bool:
    return call.attempt.sent
