"""From records to what a span says: its name, its kind, its attributes. Every name here stands in docs/telemetry.md.

Names follow OpenTelemetry's semantic conventions where there is one (`http.*`, `error.type`), and lie in `resilience.*`
where there is none. The span of an attempt is a CLIENT span only if the attempt went out to somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import SpanKind

from ..call import Attempt
from .records import AttemptRecord, CallRecord

__all__ = ["attempt_attributes", "attempt_kind", "attempt_name", "call_attributes"]

_CONVENTIONS = ("http.", "url.", "server.", "network.", "error.")
_PLAIN = (str, bool, int, float)
_METHOD = "http.request.method"


def call_attributes(record: CallRecord) -> dict[str, Any]:
    """What the INTERNAL span of a whole call says."""
    found: dict[str, Any] = {
        "resilience.op": record.op.name,
        "resilience.attempts": len(record.attempts) + record.dropped,
        "resilience.outcome": record.outcome,
        "resilience.sampling.reason": record.kept,
        "resilience.sampling.probability": record.probability,
    }
    if record.pipeline:
        found["resilience.pipeline"] = record.pipeline
    if record.dropped:
        found["resilience.attempts.dropped"] = record.dropped
    if record.error_type:
        found["error.type"] = record.error_type
    if not record.attempts:  # answered from memory, from another's flight, or refused before an attempt began
        for attempt in record.history[:1]:
            found |= _noted(attempt)
    for attempt in record.history:
        if attempt.noted is not None or record.pause is not None:
            found |= _waits(record)
            break
    return found


def attempt_attributes(record: CallRecord, mine: AttemptRecord) -> dict[str, Any]:
    """What the span of one attempt says: its facts, then the decisions and timings that policies noted."""
    attempt = mine.attempt
    found = dict(mine.extra) if mine.extra else {}
    if attempt.noted is not None or attempt.circuit is not None:
        found |= _noted(attempt)
        found.pop("error.type", None)
    found["resilience.op"] = record.op.name
    found["resilience.attempt.number"] = attempt.number
    found["resilience.attempt.kind"] = attempt.kind
    found["resilience.attempt.sent"] = attempt.sent
    if mine.end_at is not None:
        found["resilience.attempt.outcome"] = mine.outcome
    if mine.error_type:
        found["error.type"] = mine.error_type
    if mine.remaining is not None:
        found["resilience.deadline.remaining"] = mine.remaining
    if mine.unparked:
        found["resilience.nested.dropped"] = mine.unparked
    resent = _sent_before(record, attempt) if attempt.sent else 0
    if resent:
        found["http.request.resend_count"] = resent
    limits = attempt.limits
    if limits is not None:
        found["resilience.server_limit.limit"] = limits.limit
        found["resilience.server_limit.remaining"] = limits.remaining
        if limits.reset_in is not None:
            found["resilience.server_limit.reset_in"] = limits.reset_in
    return found


def attempt_name(record: CallRecord, attempt: Attempt) -> str:
    """``GET /v5/market/tickers`` where the transport noted a method, else the operation's name."""
    notes = attempt.noted
    method = None if notes is None else notes.get(_METHOD)
    if notes is None or not method:
        return record.op.name
    template = notes.get("url.template")
    return f"{method} {template}" if template else str(method)


def attempt_kind(record: CallRecord, mine: AttemptRecord) -> SpanKind:
    """CLIENT if the attempt went out to somebody.

    Refused, timed out or cancelled in our own queues: nothing went out, INTERNAL. A request that a transport had in
    hand counts even if the connection failed. Around a function that is guarded itself, the spans beneath are the
    clients.
    """
    attempt = mine.attempt
    if mine.outcome == "refused" and not attempt.sent:
        return SpanKind.INTERNAL
    if not attempt.sent and _METHOD not in (attempt.noted or ()):
        return SpanKind.INTERNAL
    return SpanKind.INTERNAL if hasattr(record.target, "pipeline") else SpanKind.CLIENT


def _sent_before(record: CallRecord, attempt: Attempt) -> int:
    history: Sequence[Attempt] = record.history
    before = history[0].before if history else None
    if before is None:
        return sum(1 for other in history if other.number < attempt.number and other.sent)
    if attempt.number < history[0].number:  # a stream has forgotten it, and we have not: we have the first ones
        first = (mine.attempt for mine in record.attempts)
        return sum(1 for other in first if other.number < attempt.number and other.sent)
    return before[0] + sum(1 for other in history if other.number < attempt.number and other.sent)


def _waits(record: CallRecord) -> dict[str, float]:
    """Seconds that the whole call waited, by ``resilience.wait.<why>``; a backoff cut short counts as it was."""
    waits: dict[str, float] = {}
    before = record.history[0].before if record.history else None
    if before is not None:
        waits = {f"resilience.{note}": seconds for note, seconds in before[1].items()}
    for attempt in record.history:
        for note, value in (attempt.noted or {}).items():
            if note.startswith("wait.") and isinstance(value, (int, float)):
                key = f"resilience.{note}"
                waits[key] = waits.get(key, 0.0) + value
    if record.pause is not None and record.end_at is not None:
        why, since, planned = record.pause
        waited = record.end_at - since
        key = f"resilience.wait.{why}"
        waits[key] = waits.get(key, 0.0) + (waited if planned is None else min(waited, planned))
    return waits


def _noted(attempt: Attempt) -> dict[str, Any]:
    """What was noted on an attempt, by the names of attributes."""
    noted: dict[str, Any] = {}
    for key, value in attempt.notes.items():
        plain = _plain(value)
        if plain is not None:
            noted[key if key.startswith(_CONVENTIONS) else f"resilience.{key}"] = plain
    return noted


def _plain(value: Any) -> Any:
    """The value if OpenTelemetry can carry it, else None: an object's text could hold anything, a secret too."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)) and value:
        kind = type(value[0])
        if kind in _PLAIN and all(type(item) is kind for item in value):
            return tuple(value)
    return None
