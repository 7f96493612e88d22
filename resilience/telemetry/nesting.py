"""What calls inside calls owe one another, so that a trace is kept whole or not at all.

A call that is kept makes the calls around it certain, for its own reason. A clean one waits until it is known what
becomes of the call around it: bounded, and never longer than that call runs.
"""

from __future__ import annotations

from ..call import Call
from .records import AttemptRecord, CallRecord

__all__ = ["keep_around", "unpark", "waits"]


def waits(record: CallRecord, above: AttemptRecord, call: Call) -> bool:
    """Whether a finished call, which ran inside the attempt `above`, has to wait; then it is parked there."""
    around: CallRecord | None = above.call
    while around is not None:
        if around.forgotten:  # it ended before us, in another task, and left no span to hang from
            record.above = None
            return False
        around = None if around.above is None else around.above.call
    if record.kept:
        return False
    if above.call.kept:
        record.kept, record.probability = "parent", above.call.probability
        return False
    record.history = call.attempts
    above.park(record)
    return True


def keep_around(record: CallRecord, reason: str) -> None:
    """A span that is kept needs the spans above it: those calls are certain now, for the same reason."""
    while record.above is not None:
        record = record.above.call
        if record.kept and (record.kept != "sampled" or reason in ("sampled", "parent")):
            return
        record.kept, record.probability = reason, 1.0
        unpark(record)


def unpark(record: CallRecord) -> None:
    """Keep the calls that waited for this one."""
    for mine in record.attempts:
        parked, mine.parked = mine.parked, None
        for call in parked or ():
            call.kept, call.probability = "parent", record.probability
            call.tracer.keep(call)
