"""What a finished call leaves: the shapes of its spans, and links between calls that are not each other's parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from ..call import Attempt
from .attributes import attempt_attributes, attempt_kind, attempt_name, call_attributes
from .records import AttemptRecord, CallRecord
from .why import why

__all__ = ["ERROR", "Shape", "named", "shapes"]

UNSET = Status(StatusCode.UNSET)
ERROR = Status(StatusCode.ERROR)


class Shape(NamedTuple):
    """One span to be, but for its ids. `attempt` is None for the span of the call."""

    name: str
    kind: SpanKind
    attributes: dict[str, Any]
    status: Status
    start: int
    end: int
    attempt: AttemptRecord | None
    links: Sequence[Link]


def shapes(record: CallRecord) -> list[Shape]:
    """The call's span, then one an attempt in the order in which they began."""
    end_at = record.at if record.end_at is None else record.end_at
    at_once = record.attempts or not record.history
    call = Shape(
        record.op.name,
        SpanKind.INTERNAL,
        call_attributes(record),
        ERROR if record.error_type else UNSET,
        record.nanoseconds(record.at),
        record.nanoseconds(end_at),
        None,
        () if at_once else _links(record.history[0]),
    )
    found = [call]
    for mine in record.attempts:
        attempt = mine.attempt
        found.append(
            Shape(
                attempt_name(record, attempt),
                attempt_kind(record, mine),
                attempt_attributes(record, mine),
                ERROR if mine.error_type else UNSET,
                record.nanoseconds(mine.at),
                record.nanoseconds(end_at if mine.end_at is None else mine.end_at),
                mine,
                _links(attempt),
            )
        )
    call.attributes["resilience.why"] = why(
        call.attributes, [shape.attributes for shape in found[1:]], end_at - record.at
    )
    return found


def named(record: CallRecord, context: SpanContext) -> None:
    """The call has a span now: whoever refers to it later is linked to that."""
    for attempt in record.history:
        if attempt.marked is not None:
            attempt.marked.span = context


def _links(attempt: Attempt) -> Sequence[Link]:
    """The link to the call that this attempt refers to, if that one was kept too."""
    if attempt.link is None:
        return ()
    why, mark = attempt.link
    return () if mark.span is None else (Link(mark.span, {"resilience.link": why}),)
