"""One span as the dashboard keeps it: plain values only, cut to a size that nobody can make us regret.

Everything that enters passes through `tidy`, so that whatever is stored can be written as JSON and as UTF-8: a number
that JSON has no word for (NaN) becomes text, and half a surrogate pair becomes a question mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = [
    "KINDS",
    "MOST_ATTRIBUTES",
    "MOST_TEXT",
    "STATUSES",
    "Span",
    "epoch_ms",
    "from_readable",
    "instance_of",
    "service_of",
    "shared",
    "tidy",
    "tidy_attributes",
    "tidy_text",
    "tidy_time",
]

MOST_TEXT = 4_096  # characters of a value
MOST_ATTRIBUTES = 128  # of a span
MOST_NAME = 256  # characters of a name or of an attribute's key
MOST_ITEMS = 128  # of an attribute that is a list
MOST_LINKS = 32
MOST_NANOSECONDS = 2**63 - 1  # what a database column holds; in the year 2262
KINDS = (
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
)  # in the order of the SDK's numbers; OTLP's are one more
STATUSES = ("unset", "ok", "error")  # in the order of OTLP's and the SDK's numbers
_MOST_SHARED = 64  # characters of a value that others may have too
_MOST_TEXTS = 10_000
_texts: dict[str, str] = {}

Value = Any  # str, int, float, bool, or a list of them


class Span(msgspec.Struct, frozen=True, gc=False):
    """One span. Ids are lower-case hexadecimal, times nanoseconds since 1970, `end_ns` is never before `start_ns`.

    The garbage collector does not look at it: a full collection stops the application, and a hundred thousand spans
    would make it last a tenth of a second. Nothing in a span can refer back to it.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    attributes: dict[str, Value]
    links: tuple[tuple[str, str], ...]
    service: str
    instance: str

    @property
    def is_call(self) -> bool:
        """Is it a whole call of ours?"""
        return "resilience.sampling.reason" in self.attributes

    @property
    def is_attempt(self) -> bool:
        """Is it one attempt of such a call?"""
        return "resilience.attempt.number" in self.attributes and not self.is_call

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory: enough to keep a bound, no measurement."""
        texts = sum(len(value) for value in self.attributes.values() if isinstance(value, (str, list)))
        return 700 + 70 * len(self.attributes) + texts + 150 * len(self.links) + len(self.name)


def from_readable(span: Any) -> Span:
    """The row of a finished span of OpenTelemetry's SDK (a `ReadableSpan`)."""
    context, parent, resource = span.context, span.parent, span.resource.attributes
    start = tidy_time(span.start_time)
    return Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{parent.span_id:016x}" if parent is not None and parent.span_id else "",
        name=shared(tidy_text(span.name, MOST_NAME)),
        kind=KINDS[span.kind.value],
        start_ns=start,
        end_ns=max(start, tidy_time(span.end_time)),
        status=STATUSES[span.status.status_code.value],
        attributes=tidy_attributes(span.attributes or {}),
        links=tuple((f"{o.context.trace_id:032x}", f"{o.context.span_id:016x}") for o in span.links[:MOST_LINKS]),
        service=service_of(resource),
        instance=instance_of(resource),
    )


def service_of(resource: Mapping[str, Any]) -> str:
    """The name of the program that a span comes from."""
    return shared(tidy_text(str(resource.get("service.name", "")), MOST_NAME))


def instance_of(resource: Mapping[str, Any]) -> str:
    """Which of the program's processes: its own id of an instance, else the operating system's of a process."""
    said = resource.get("service.instance.id") or resource.get("process.pid") or ""
    return shared(tidy_text(str(said), MOST_NAME))


def tidy_attributes(found: Mapping[str, Any]) -> dict[str, Value]:
    """The first 128 attributes, keys and values cut."""
    kept: dict[str, Value] = {}
    for key, value in found.items():
        if len(kept) == MOST_ATTRIBUTES:
            break
        plain = tidy(value)
        if type(plain) is str and len(plain) <= _MOST_SHARED:
            plain = shared(plain)
        kept[shared(tidy_text(key, MOST_NAME))] = plain
    return kept


def shared(text: str) -> str:
    """The same text, one object for all spans that have it: a third of the memory. Forgotten when there are many."""
    if len(_texts) >= _MOST_TEXTS:
        _texts.clear()
    return _texts.setdefault(text, text)


def tidy(value: Any) -> Value:
    """A value that JSON and a database can carry, of a bounded size."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= MOST_TEXT and value.isascii() else tidy_text(value)
    if kind is float:
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if kind is bool or (kind is int and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, (list, tuple)):
        return _list(value)
    if kind is int and value.bit_length() > 1_000:  # from 4,300 digits on Python refuses to write it
        return "(a very large number)"
    return tidy_text(str(value))


def _list(values: list[Any] | tuple[Any, ...]) -> list[Value]:
    """A list, its texts no longer together than one text may be."""
    kept: list[Value] = []
    left = MOST_TEXT
    for value in values[:MOST_ITEMS]:
        plain = tidy(value if not isinstance(value, (list, tuple)) else str(value))
        if isinstance(plain, str):
            plain = tidy_text(plain, max(left, 1))
            left -= len(plain)
        kept.append(plain)
    return kept


def tidy_text(text: str, most: int = MOST_TEXT) -> str:
    """At most so many characters, the last an ellipsis if some were cut; nothing that UTF-8 has no bytes for."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def epoch_ms(nanoseconds: int) -> float:
    """Milliseconds since 1970, exact to the microsecond: 19 digits are more than a float holds."""
    return nanoseconds // 1_000 / 1_000


def tidy_time(nanoseconds: int | None) -> int:
    """A time that a database column can hold."""
    return min(max(nanoseconds or 0, 0), MOST_NANOSECONDS)
