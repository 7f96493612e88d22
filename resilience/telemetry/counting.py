"""How `Metrics` stands around calls and attempts. What a clean one needs is written out; all else is in `measures`.

Whatever goes wrong in here is logged, and the call never feels it.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeAlias

from ..call import Attempt, Call, Handler
from ..kit import Kit
from ..verdict import Verdict
from .histograms import BOUNDS, FINE, Example
from .measures import Operation
from .records import judged

__all__ = ["Add", "Find", "count_attempts", "count_calls"]

Find: TypeAlias = Callable[[str], Operation | None]
Add: TypeAlias = Callable[[str], Operation]
Judge: TypeAlias = Callable[[Exception, Call], Verdict | None]

_log = logging.getLogger("resilience")


def count_calls(next: Handler, kit: Kit, find: Find, add: Add) -> Handler:
    """The top of an observed pipeline: when a call ends, it is counted."""
    now, judge = kit.now, kit.judge
    edges, bucket = FINE, bisect_left

    async def run(call: Call) -> Any:
        op = find(call.op.name)
        if op is None:
            op = add(call.op.name)
        op.begun += 1
        at = now()
        try:
            result = await next(call)
        except BaseException as error:
            end = now()
            try:
                _call_failed(op, call, end, end - at, *_judged(error, judge, call))
            except Exception:
                _complain(call)
            raise
        end = now()
        if end >= op.due:
            op.turn(end)
        ok, took = op.ok, end - at
        ok.cells[bucket(edges, took)] += 1
        ok.sum += took
        made = call.made
        if made is not None and (made.noted or call.history is not None):
            op.waited(call)
        if call.span is not None:
            ok.show(_example(call, took))
        return result

    return run


def count_attempts(next: Handler, kit: Kit, find: Find, add: Add) -> Handler:
    """The attempt boundary: when an attempt ends, it is counted."""
    now, judge = kit.now, kit.judge
    bounds, bucket = BOUNDS, bisect_left

    async def run(call: Call) -> Any:
        made = call.made
        waited = 0.0 if made is None else made.waited
        at = now()
        try:
            result = await next(call)
        except BaseException as error:
            end = now()
            try:
                _attempt_failed(
                    find(call.op.name) or add(call.op.name),
                    call.attempt,
                    end,
                    end - at,
                    waited,
                    *_judged(error, judge, call),
                )
            except Exception:
                _complain(call)
            raise
        end = now()
        op = find(call.op.name)
        if op is None:
            op = add(call.op.name)
        if end >= op.due:
            op.turn(end)
        ok, took = op.attempt_ok, end - at
        ok.cells[bucket(bounds, took)] += 1
        ok.sum += took
        made = call.made
        if made is None or (made.noted is None and made.limits is None and made.kind == "original"):
            op.originals += 1
        else:
            op.attempt_succeeded(made)
            try:
                op.learn(made, took - (made.waited - waited), "", end)
            except Exception:
                _complain(call)
        return result

    return run


def _judged(error: BaseException, judge: Judge, call: Call) -> tuple[str, str]:
    return judged(error, judge(error, call) if isinstance(error, Exception) else None)


def _call_failed(op: Operation, call: Call, at: float, seconds: float, outcome: str, error_type: str) -> None:
    if at >= op.due:
        op.turn(at)
    op.call_failed(seconds, outcome, error_type)
    op.waited(call)
    if call.span is not None:
        op.others[outcome].show(_example(call, seconds))


def _attempt_failed(
    op: Operation, attempt: Attempt, at: float, seconds: float, waited: float, outcome: str, error_type: str
) -> None:
    if at >= op.due:
        op.turn(at)
    op.attempt_failed(attempt, seconds, outcome, error_type)
    op.learn(attempt, seconds - (attempt.waited - waited), error_type, at)


def _complain(call: Call) -> None:
    """In an except clause. Whatever goes wrong in here, the call never feels it."""
    _log.exception("counting %s failed; the call goes on", call.op.name)


def _example(call: Call, seconds: float) -> Example:
    span = call.span
    return Example(seconds, f"{span.trace_id:032x}", f"{span.span_id:016x}", time.time())
