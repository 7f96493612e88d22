"""What the tracer remembers of a running call: two small records, filled from events and dropped if nobody wants them.

The surprising one is `AttemptRecord`: it *is* the current OpenTelemetry span while its attempt runs, so that spans made
inside it hang beneath it. Its ids are handed out only when somebody asks, and asking is what makes a trace certain.

Defaults are attributes of the class, not stores at birth, because a clean call changes hardly any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import NonRecordingSpan, SpanContext

from ..call import Attempt, Call
from ..errors import Refused, TimedOut
from ..verdict import Verdict

if TYPE_CHECKING:
    from .spans import Tracer

__all__ = ["AttemptRecord", "CallRecord", "judged"]

_FIRST = 8
_LAST = 8
_MOST_PARKED = 32


class CallRecord:
    """One call. `at` and `end_at` are on the event loop's clock; `wall` is the wall time (ns) at `at`.

    `kept` is why its spans are certain to be kept, "" while that is undecided; `probability` is the chance that a call
    like it had. `parent` is a span of somebody else's above it, `above` an attempt of ours. `pause` is the backoff that
    the call is in: (why, since, planned seconds).
    """

    trace_id = 0
    span_id = 0
    kept = ""
    probability = 1.0
    parent: SpanContext | None = None
    above: AttemptRecord | None = None
    context: SpanContext | None = None
    dropped = 0
    trouble = ""
    pause: tuple[str, float, float | None] | None = None
    end_at: float | None = None
    outcome = "ok"
    error_type = ""
    history: list[Attempt] | tuple[Attempt, ...] = ()
    forgotten = False
    waited_for = False

    def __init__(self, tracer: Tracer, call: Call, pipeline: str, at: float) -> None:
        self.tracer = tracer
        self.op = call.op
        self.target = call.target
        self.pipeline = pipeline
        self.at = at
        self.wall = time_ns()
        self.attempts: list[AttemptRecord] = []

    def crowd(self) -> None:
        """Keep the first and the last attempts of a call that makes very many, and all that still run."""
        attempts = self.attempts
        if len(attempts) <= _FIRST + _LAST:
            return
        for position in range(_FIRST, len(attempts) - 1):
            if attempts[position].end_at is not None:
                attempts.pop(position).parked = None
                self.dropped += 1
                return

    def forget(self) -> None:
        """Nobody wants it. Attempts point back here: cut that, and leave nothing to the garbage collector."""
        self.forgotten = True
        if self.waited_for:
            for mine in self.attempts:
                mine.parked = None
        self.attempts.clear()

    def outermost(self) -> CallRecord:
        """The call of ours around all others in this trace: itself, mostly.

        Its one reading of the wall clock serves them all, which keeps order and lengths exact.
        """
        record = self
        while record.above is not None:
            record = record.above.call
        return record


class AttemptRecord(NonRecordingSpan):
    """One attempt. Also the current span while it runs; what a guarded function sets on it becomes attributes.

    `remaining` is what was left of the call's time when it began, in seconds. `parked` holds finished clean calls that
    ran inside it: they are kept if the call around them is.
    """

    end_at: float | None = None
    span_id = 0
    outcome = "ok"
    error_type = ""
    token: Any = None
    context: SpanContext | None = None
    handed: SpanContext | None = None
    extra: dict[str, Any] | None = None
    parked: list[CallRecord] | None = None
    unparked = 0

    def __init__(self, call: CallRecord, attempt: Attempt, at: float, remaining: float | None) -> None:
        self.call = call
        self.attempt = attempt
        self.at = at
        self.remaining = remaining

    def park(self, call: CallRecord) -> None:
        """Hold a finished call until it is known whether the one around it is kept; the newest few."""
        if self.parked is None:
            self.parked = []
            self.call.waited_for = True
        self.parked.append(call)
        if len(self.parked) > _MOST_PARKED:
            del self.parked[0]
            self.unparked += 1

    def get_span_context(self) -> SpanContext:
        """The ids of this attempt's span. Whoever asks is about to hang something beneath it, or to send it away."""
        handed = self.handed
        if handed is None:
            handed = self.handed = self.call.tracer.hand_out(self)
        return handed

    def is_recording(self) -> bool:
        return self.end_at is None

    def set_attribute(self, key: str, value: Any) -> None:
        if self.end_at is None:
            if self.extra is None:
                self.extra = {}
            self.extra[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def __repr__(self) -> str:
        return f"AttemptRecord({self.attempt!r} of {self.call.op.name!r})"


def judged(error: BaseException, verdict: Verdict | None) -> tuple[str, str]:
    """(outcome, error type) of what an attempt or a call ended with. A cancellation has no error type."""
    if not isinstance(error, Exception):
        return "cancelled", ""
    if isinstance(error, Refused):
        return "refused", error.reason
    outcome = "failed" if verdict is None else verdict.kind.value
    if isinstance(error, TimedOut):
        return outcome, error.reason
    return outcome, (verdict.reason if verdict is not None else "") or type(error).__name__
