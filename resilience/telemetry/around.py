"""How the tracer stands around calls and attempts: with a record for each, or the lean way.

The lean way is for tail sampling where no span has to be current. It makes no record while a call runs: times are
noted on the attempts themselves, and records are made from those for the one call in a hundred that is kept.

Whatever goes wrong in here is logged, and the call never feels it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..call import Attempt, Call, Handler
from ..kit import Kit
from .current import current
from .latency import STRIDE
from .records import AttemptRecord, CallRecord, judged

if TYPE_CHECKING:
    from .spans import Tracer

AT_ONCE = 0.0
"""Instead of the time at which an attempt began: when its call did. It saves a reading of the clock."""
_SETTLE = 1 - 1 / STRIDE

__all__ = ["AT_ONCE", "Lean", "around_attempt", "around_call", "lean_attempt", "lean_call"]

_log = logging.getLogger("resilience")


class Lean:
    """Stands on a call of this tracer's of which there is no record yet, so that no other tracer takes it up."""

    __slots__ = ("tracer",)

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer


def around_call(tracer: Tracer, next: Handler, kit: Kit) -> Handler:
    """With a record from the beginning."""
    name, now, judge = kit.name, kit.now, kit.judge

    async def run(call: Call) -> Any:
        if call.record is not None:
            return await next(call)  # another tracer was here first
        try:
            tracer.call_started(call, name, now())
        except Exception:
            _complain(call)
        try:
            result = await next(call)
        except BaseException as error:
            try:
                tracer.call_ended(call, now(), error, judge(error, call) if isinstance(error, Exception) else None)
            except Exception:
                _complain(call)
            raise
        try:
            tracer.call_ended(call, now(), None, None)
        except Exception:
            _complain(call)
        return result

    return run


def around_attempt(tracer: Tracer, next: Handler, kit: Kit) -> Handler:
    """With a record from the beginning; it can be the current span while the attempt runs."""
    now, judge = kit.now, kit.judge

    async def run(call: Call) -> Any:
        record = call.record
        if record is None or record.tracer is not tracer:
            return await next(call)
        mine = tracer.attempt_started(call, now())
        try:
            result = await next(call)
        except BaseException as error:
            tracer.attempt_ended(mine, now(), error, judge(error, call) if isinstance(error, Exception) else None)
            raise
        tracer.attempt_ended(mine, now(), None, None)
        return result

    return run


def lean_call(tracer: Tracer, next: Handler, kit: Kit, whole: Handler) -> Handler:
    """With one reading of the clock, unless somebody around us traces: then `whole`."""
    now, lean, draw, sample = kit.now, tracer.lean, tracer.draw, tracer.sample
    over, slowness = tracer.slowness.over, tracer.slowness

    async def run(call: Call) -> Any:
        if call.record is not None or current():
            return await whole(call)
        call.record = lean
        at = now()
        try:
            result = await next(call)
        except BaseException as error:
            _finish(tracer, call, kit, at, "sampled" if draw() < sample else "", error)
            raise
        call.record = None
        attempt, op, lot = call.made, call.op.name, draw()
        took = (attempt.ended if attempt is not None and attempt.ended is not None else now()) - at
        if took > over.get(op, 0.0) and slowness.slow(op, took):
            _finish(tracer, call, kit, at, "slow")
        elif lot < sample:
            _finish(tracer, call, kit, at, "sampled")
        elif call.history is not None or (attempt is not None and attempt.error_type):
            _finish(tracer, call, kit, at, "")
        elif lot > _SETTLE:
            slowness.settle(op)
        return result

    return run


def lean_attempt(tracer: Tracer, next: Handler, kit: Kit, whole: Handler) -> Handler:
    """With the times noted on the attempt; the first begins when the call does."""
    now, judge, lean = kit.now, kit.judge, tracer.lean

    async def run(call: Call) -> Any:
        if call.record is not lean:
            return await whole(call)
        attempt = call.made
        if attempt is None:
            attempt = call.made = Attempt()
            attempt.at = AT_ONCE
        else:
            attempt.at = now()
        if call.deadline is not None:
            attempt.remaining = call.deadline - (attempt.at or now())
        try:
            result = await next(call)
        except BaseException as error:
            attempt.ended = now()
            verdict = judge(error, call) if isinstance(error, Exception) else None
            attempt.outcome, attempt.error_type = judged(error, verdict)
            raise
        attempt.ended = now()
        return result

    return run


def _finish(tracer: Tracer, call: Call, kit: Kit, at: float, kept: str, error: BaseException | None = None) -> None:
    """Make the records of a call that was noted the lean way, and keep it if it is worth keeping."""
    call.record = None
    try:
        end = kit.now()
        record = CallRecord(tracer, call, kit.name, at)
        record.wall -= int((end - at) * 1e9)
        record.kept, record.probability = kept, tracer.sample if kept == "sampled" else 1.0
        if call.attempts[0].before is not None:
            record.dropped = call.attempts[0].number - 1  # a stream has forgotten them
        for attempt in call.attempts:
            if attempt.at is not None:
                record.attempts.append(_recorded(record, attempt, attempt.at or at))
                record.crowd()
        tracer.finish(record, call, end, error, kit.judge(error, call) if isinstance(error, Exception) else None)
    except Exception:
        _complain(call)


def _recorded(record: CallRecord, attempt: Attempt, at: float) -> AttemptRecord:
    mine = AttemptRecord(record, attempt, at, attempt.remaining)
    mine.end_at, mine.outcome, mine.error_type = attempt.ended, attempt.outcome, attempt.error_type
    if mine.error_type:
        record.trouble = "refused" if mine.outcome == "refused" else "failed"
    record.pause = attempt.pause
    return mine


def _complain(call: Call) -> None:
    call.record = None
    _log.exception("tracing a call of %s failed; its spans are lost, the call goes on", call.op.name)
