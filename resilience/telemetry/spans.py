"""The tracer: an observer that turns a call into one INTERNAL span, and one span per attempt beneath it.

Nothing is built while a call runs. Times are noted, and when the call ends it is decided whether anybody will want to
see it; most clean calls are forgotten there, for less than a microsecond. What is kept is built at once, with
exact times. So a sampler at the root cannot lose the one call in a thousand that was retried.

Calls inside a guarded function hang beneath its attempt. A call that is kept takes the calls around it with it, and a
clean call waits, bounded, for what becomes of the one around it.
"""

from __future__ import annotations

from random import Random
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from ..call import Call, Handler
from ..errors import ConfigError, Refused
from ..events import Event, Waiting
from ..kit import Kit
from ..verdict import Verdict
from .around import Lean, around_attempt, around_call, lean_attempt, lean_call
from .current import SPAN_KEY, SUPPRESSED, current, enter, leave
from .latency import Slowness
from .nesting import keep_around, unpark, waits
from .others import instrumented
from .records import AttemptRecord, CallRecord, judged
from .settings import Parenting, TelemetrySettings, Traces
from .sinks import Sink, sink_for

__all__ = ["Tracer", "global_tracer"]


class _Silent:
    """Stands on a call that this tracer leaves out, so that no other tracer takes it up."""

    tracer = None


class Tracer:
    """Give it to ``Pipeline(..., observers=(tracer,))``. `provider` is an OpenTelemetry `TracerProvider`.

    `traces`, `sample` (0 to 1), `slow` (seconds) and `parenting` as in `TelemetrySettings`. A call belongs to the first
    tracer that is told of it; others leave it alone, so that no span is made twice. Raises `ConfigError` for wrong
    settings, and for a provider that records nothing.
    """

    innermost = True  # so that other observers find out which span a call has become

    def __init__(
        self,
        provider: Any,
        traces: Traces = "tail",
        sample: float = 0.01,
        slow: float | None = None,
        parenting: Parenting = "on",
    ) -> None:
        TelemetrySettings(traces=traces, sample=sample, slow=slow, parenting=parenting)
        sink = sink_for(provider)
        if sink is None:
            raise ConfigError(f"telemetry: {type(provider).__name__} records nothing; give the SDK's TracerProvider")
        self.provider = provider
        self.sample = sample
        self._sink: Sink = sink
        self._tail = traces == "tail"
        self._always = traces == "always"
        self._never = traces == "off"
        self.draw = Random().random  # noqa: S311 (of our own: a program that seeds the common one keeps its dice)
        self._silent = _Silent()
        self._attach_all = sink.owns_ids and parenting == "on"
        self._asks = sink.owns_ids and parenting == "auto"
        self._attach_kept = sink.owns_ids and parenting != "off"
        self.slowness = Slowness(slow)
        self.lean = Lean(self)

    def __call__(self, event: Event) -> None:
        """Hear that a call is about to wait before its next attempt; everything else it sees for itself."""
        if type(event) is not Waiting or event.why not in ("backoff", "retry_after"):
            return
        record = event.call.record
        if record is self.lean:
            event.call.attempt.pause = event.why, event.at, event.seconds
        elif record is not None and record.tracer is self:
            record.pause = event.why, event.at, event.seconds

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        """The top of an observed pipeline. Calls that nobody is tracing around us are noted the lean way."""
        whole = around_call(self, next, kit)
        return lean_call(self, next, kit, whole) if self._is_lean() else whole

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        """The attempt boundary of an observed pipeline."""
        whole = around_attempt(self, next, kit)
        return lean_attempt(self, next, kit, whole) if self._is_lean() else whole

    def _is_lean(self) -> bool:
        """Asked when a pipeline links: does no attempt have to be the current span?"""
        if self._asks and instrumented(self.provider):
            self._asks, self._attach_all = False, True
        return self._tail and not self._attach_all

    # -- one call ---------------------------------------------------------------------------------------------

    def call_started(self, call: Call, pipeline: str, at: float) -> None:
        """A call begins that no tracer has yet."""
        record = call.record = CallRecord(self, call, pipeline, at)
        context = current()
        if context:
            if context.get(SUPPRESSED):
                call.record = self._silent
                return
            self._join(record, context)
        if not self._tail:
            if self._always:
                record.kept, record.probability = "always", 1.0
            elif not record.kept or self._never:
                call.record = self._silent
                return
        elif not record.kept and record.above is None and self.draw() < self.sample:
            record.kept, record.probability = "sampled", self.sample

    def _join(self, record: CallRecord, context: Context) -> None:
        """Find the span that this call runs in: an attempt of ours, or somebody else's span."""
        span = context.get(SPAN_KEY)
        if type(span) is AttemptRecord and span.call.tracer.provider is self.provider:
            if span.end_at is not None:
                return  # a task that was started inside an attempt and outlives it: on its own
            around = span.call
            record.above = span
            if around.kept:
                record.kept, record.probability = "parent", around.probability
        elif isinstance(span, trace.Span):
            parent = span.get_span_context()
            if parent.is_valid:
                record.parent = parent
                if parent.trace_flags.sampled or (type(span) is not AttemptRecord and span.is_recording()):
                    record.kept = "parent"

    def call_ended(self, call: Call, at: float, error: BaseException | None, verdict: Verdict | None) -> None:
        """It ended, and so did all its attempts: is it worth keeping?"""
        record: Any = call.record
        if record is None or record.tracer is not self:
            if record is self._silent:
                call.record = None
            return
        call.record = None
        if (
            self._tail
            and error is None
            and self.slowness.observe(record.op.name, at - record.at, self.draw())
            and record.kept in ("", "sampled")
        ):
            record.kept, record.probability = "slow", 1.0
        self.finish(record, call, at, error, verdict)

    def finish(
        self, record: CallRecord, call: Call, at: float, error: BaseException | None, verdict: Verdict | None
    ) -> None:
        """Keep a call that ended, let it wait for the call around it, or forget it."""
        record.end_at = at
        if error is not None:
            record.outcome, record.error_type = judged(error, verdict)
        if self._tail:
            record.kept = self._trouble(record, error) or record.kept
        if record.above is not None and waits(record, record.above, call):
            return
        if record.kept:
            record.history = call.attempts
            self.keep(record)
            call.span = record.context
        else:
            record.forget()

    def _trouble(self, record: CallRecord, error: BaseException | None) -> str:
        """Why this call is worth keeping whatever the draw said, "" if it is not."""
        attempts = record.attempts
        reason = ""
        if len(attempts) > 1:
            kinds = {mine.attempt.kind for mine in attempts if mine.attempt.number > 1}
            reason = "hedged" if kinds == {"hedge"} else "retried"
        elif isinstance(error, Exception):
            reason = "refused" if isinstance(error, Refused) else "failed"
        elif record.trouble:
            reason = record.trouble
        if reason:
            record.probability = 1.0
        return reason

    # -- its attempts -----------------------------------------------------------------------------------------

    def attempt_started(self, call: Call, at: float) -> AttemptRecord:
        """An attempt of a call of ours begins; returns its record."""
        record: CallRecord = call.record
        deadline = call.deadline
        mine = AttemptRecord(record, call.attempt, at, None if deadline is None else deadline - at)
        attempts = record.attempts
        attempts.append(mine)
        if len(attempts) > 1:
            record.pause = None
            record.crowd()
        if self._attach_all or (self._attach_kept and record.kept):
            mine.token = enter(mine)
        return mine

    def attempt_ended(
        self, mine: AttemptRecord, at: float, error: BaseException | None, verdict: Verdict | None
    ) -> None:
        """It ended."""
        mine.end_at = at
        if mine.token is not None:
            leave(mine.token)
            mine.token = None
        if error is not None:
            mine.outcome, mine.error_type = judged(error, verdict)
            if mine.error_type:
                mine.call.trouble = "refused" if mine.outcome == "refused" else "failed"

    # -- what is kept -----------------------------------------------------------------------------------------

    def keep(self, record: CallRecord) -> None:
        """Build the spans of a finished call, of the calls that waited for it, and make sure of those around it."""
        self._sink.export(record)
        unpark(record)
        keep_around(record, record.kept)
        record.attempts.clear()

    def hand_out(self, mine: AttemptRecord) -> SpanContext:
        """The ids of an attempt for somebody who needs them while it runs, and so cannot wait for our decision.

        The provider's own sampler decides then, as it would have done had this been an ordinary span. If it says yes,
        this call and those around it are certain to be kept.
        """
        record = mine.call
        if not record.kept and record.end_at is None and self._sink.wanted(record):
            record.kept = "parent"
            unpark(record)
            keep_around(record, "parent")
        return self._sink.context(mine, sampled=bool(record.kept))


_found: Tracer | None = None


def global_tracer() -> Tracer | None:
    """The tracer of the application's global `TracerProvider`, with default settings; None if it has set none.

    Asked by every pipeline when it links, so set the provider before the first call.
    """
    global _found  # noqa: PLW0603 (there is one global provider in a process, and it is set once)
    provider = trace.get_tracer_provider()
    if _found is None or _found.provider is not provider:
        _found = None if sink_for(provider) is None else Tracer(provider)
    return _found
