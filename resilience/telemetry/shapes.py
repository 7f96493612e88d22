"""What a finished call leaves: the shapes of its spans, and links between calls that are not each other's parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from ..call import Attempt
from .attributes import attempt_attributes, attempt_kind, attempt_name, call_attributes
from .records import AttemptRecord, CallRecord
from .why import why

__all__ = ["ERROR", "Shape", "named", "shapes"]

UNSET = Status(StatusCode.UNSET)
ERROR = Status(StatusCode.ERROR)


Shape: TypeAlias = tuple[
    str, SpanKind, dict[str, Any], Status, int, int, AttemptRecord | None, Sequence[Link]
]  # a named one would cost half a microsecond
"""One span to be, but for its ids: name, kind, attributes, status, start and end (ns), attempt (or None), links."""


def shapes(record: CallRecord) -> list[Shape]:
    """The call's span, then one an attempt in the order in which they began."""
    first = record.outermost()
    wall, since, end_at = first.wall, first.at, record.end_at
    if end_at is None:
        end_at = record.at
    end = wall + int((end_at - since) * 1e9)
    whole = call_attributes(record)
    links = () if record.attempts or not record.history else _links(record.history[0])
    status = ERROR if record.error_type else UNSET
    start = wall + int((record.at - since) * 1e9)
    found: list[Shape] = [(record.op.name, SpanKind.INTERNAL, whole, status, start, end, None, links)]
    told = []
    for mine in record.attempts:
        attempt = mine.attempt
        attributes = attempt_attributes(record, mine)
        told.append(attributes)
        found.append(
            (
                attempt_name(record, attempt),
                attempt_kind(record, mine),
                attributes,
                ERROR if mine.error_type else UNSET,
                wall + int((mine.at - since) * 1e9),
                end if mine.end_at is None else wall + int((mine.end_at - since) * 1e9),
                mine,
                () if attempt.link is None else _links(attempt),
            )
        )
    whole["resilience.why"] = why(whole, told, end_at - record.at)
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
