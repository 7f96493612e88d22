"""How a call waits for its limits: the one place where `resilience.limiting.turns` meets the event loop and the caller.

The surprising part is what follows the wait. A call whose loop stalled between its turn and this moment counts as sent
now and not then; one that was cancelled in the very tick of its turn gives its tokens back.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterable

from ..call import Call
from ..errors import ConfigError
from ..events import Emit, Waiting
from .line import Line, Waiter
from .turns import queue_of

__all__ = ["divert", "enter"]


async def enter(lines: tuple[Line, ...], call: Call, most: float, emit: Emit | None) -> None:
    """Take the call's tokens of all these lines, or wait for them, until `most` (on the loop's clock) or its deadline.

    Raises `RateLimited` as soon as it is certain that the turn would come too late, and at the latest when the time is
    up; `ConfigError` for a call that costs more than a whole limit.
    """
    loop = get_running_loop()
    now = loop.time()
    waiter = _join(lines, call, most, loop, now)
    if waiter is None:
        return
    waits = not waiter.turn.done()
    if waits and emit is not None:
        emit(Waiting(call, "limiter", waiter.at - now, now))
    try:
        await waiter.turn
        _depart(waiter, loop.time())
    except BaseException:  # a refusal, a cancellation, or the coroutine is closed
        _leave(waiter)
        raise
    finally:
        if waits:
            waited = loop.time() - now
            notes = call.attempt.notes
            notes["wait.limiter"] = notes.get("wait.limiter", 0.0) + waited
            call.attempt.waited += waited
        del waiter.turn, waiter  # it holds the error, whose traceback refers to this frame


def divert(line: Line, among: Iterable[Line], concerns: Callable[[Call], bool]) -> None:
    """From now on those who wait for one of `among`, and whom it concerns, need this line as well."""
    lines = set(among)
    for queue in {queue_of(other) for other in lines if other.needed}:
        queue.divert(line, lines, concerns)


def _join(lines: tuple[Line, ...], call: Call, most: float, loop: AbstractEventLoop, now: float) -> Waiter | None:
    """None if it goes at once; else a place, though its turn may have come already, or be known to come too late."""
    cost = call.op.cost
    for line in lines:
        if not 0 <= cost <= line.limiter.count:
            raise ConfigError(
                f"RateLimit: {call.op.name!r} costs {cost:g} tokens, so {line.name} can never admit it; "
                f"the cost must be from 0 to {line.limiter.count:g}"
            )
    queue = queue_of(lines[0])
    queue.adopt(loop, lines[0].name)
    for line in lines:
        queue.absorb(queue_of(line), line.name)
    if not any(line.needed for line in lines) and all(line.limiter.fits(cost, now) for line in lines):
        for line in lines:
            line.limiter.commit(cost, now)
        return None
    return queue.join(lines, call, most, now)


def _depart(waiter: Waiter, now: float) -> None:
    """Count it as sent now, if the loop stalled between its turn and this moment."""
    lines = waiter.route.lines
    for index, line in enumerate(lines):
        if now - waiter.at > line.limiter.tolerance:
            line.limiter.undo(waiter.entries[index], waiter.cost)
            waiter.entries[index] = line.limiter.commit(waiter.cost, now)
            line.changed()


def _leave(waiter: Waiter) -> None:
    """Give back what it was granted (it was cancelled in the very tick of its turn), or its place."""
    lines = waiter.route.lines
    queue = queue_of(lines[0])
    if waiter.entries:
        for line, entry in zip(lines, waiter.entries, strict=True):
            line.limiter.undo(entry, waiter.cost)
        queue.changed()
    elif queue.remove(waiter):
        queue.changed()
