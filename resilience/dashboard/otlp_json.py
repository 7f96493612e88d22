"""OTLP's JSON form: ids in hexadecimal, camelCase, 64-bit numbers as text. Read, and written for other tools.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from .pacing import Stride
from .rows import (
    KINDS,
    MOST_ATTRIBUTES,
    MOST_LINKS,
    MOST_NAME,
    STATUSES,
    Span,
    instance_of,
    service_of,
    shared,
    tidy_attributes,
    tidy_text,
    tidy_time,
)
from .wire import Batch, IngestError, Limits

__all__ = ["export", "read", "reply"]

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-fA-F]{16}")
_PIECE = 2**17  # bytes
_NO_PARENT = ("", None, "0" * 16)
_SPECIAL = {"NaN", "Infinity", "-Infinity"}
_KIND_NAMES = {f"SPAN_KIND_{name.upper()}": name for name in KINDS}
_STATUS_NAMES = {f"STATUS_CODE_{name.upper()}": name for name in STATUSES}


class _Malformed(Exception):
    """A part that is not of the shape it must have; the text says which."""


class _ScopeSpans(msgspec.Struct):
    spans: list[msgspec.Raw] | None = None


class _ResourceSpans(msgspec.Struct):
    resource: Any = None
    scopeSpans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct):
    """The layers above the spans, which are left as bytes: to find their ends takes a twentieth of reading them.

    Reading all of 4 MB at one go would keep the interpreter, and with it every call, for a tenth of a second.
    """

    resourceSpans: list[_ResourceSpans] | None = None


_request = msgspec.json.Decoder(_Request)


def read(body: bytes, limits: Limits, stride: Stride = iter) -> Batch:
    """The spans of a request as JSON. Raises `IngestError`."""
    if len(body) > limits.json:
        raise IngestError(413, f"the body has more than {limits.json} bytes when decompressed")
    if sum(stride(_values(body))) > limits.values:  # each would become an object
        raise IngestError(413, f"the body holds more than {limits.values} values")
    try:
        request = _request.decode(body)
    except msgspec.ValidationError as error:
        raise IngestError(400, f"the body is no request: {error}") from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise IngestError(400, "the body is no valid JSON") from None
    batch = Batch("json")
    try:
        for resource_spans in request.resourceSpans or ():
            resource = tidy_attributes(_attributes(_object(resource_spans.resource or {}, "resource"), limits))
            who = service_of(resource), instance_of(resource)
            for scope_spans in resource_spans.scopeSpans or ():
                _scope(batch, scope_spans.spans or [], who, limits, stride)
    except _Malformed as error:
        raise IngestError(400, str(error)) from None
    return batch


def _values(body: bytes) -> Iterator[int]:
    """How many values there may be, at most, in each piece of the body."""
    for start in range(0, len(body), _PIECE):
        yield sum(body.count(sign, start, start + _PIECE) for sign in (b"{", b"[", b","))


def _scope(batch: Batch, spans: list[msgspec.Raw], who: tuple[str, str], limits: Limits, stride: Stride) -> None:
    room = max(limits.spans - len(batch.spans) - batch.rejected, 0)
    for message in stride(islice(spans, room)):
        try:
            batch.spans.append(_span(_object(_decoded(message, limits), "a span"), who, limits))
        except _Malformed as error:
            batch.reject(str(error))
    if len(spans) > room:
        batch.reject(f"a request may hold {limits.spans} spans", len(spans) - room)


def _decoded(message: msgspec.Raw, limits: Limits) -> Any:
    if len(memoryview(message)) > limits.span:
        raise _Malformed(f"a span has more than {limits.span} bytes")
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise _Malformed("a span is no valid JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed(f"{what} is no object")
    return value


def _list(message: dict[str, Any], key: str) -> list[Any]:
    value = message.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _Malformed(f"{key} is no list")
    return value


def _objects(message: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [_object(item, f"an item of {key}") for item in _list(message, key)]


def _span(message: dict[str, Any], who: tuple[str, str], limits: Limits) -> Span:
    parent = message.get("parentSpanId")
    start = _time(message, "startTimeUnixNano")
    status = _object(message.get("status") or {}, "status").get("code", 0)
    return Span(
        trace_id=_id(_TRACE_ID, message, "traceId"),
        span_id=_id(_SPAN_ID, message, "spanId"),
        parent_id="" if parent in _NO_PARENT else _id(_SPAN_ID, message, "parentSpanId"),
        name=shared(tidy_text(_text(message, "name"), MOST_NAME)),
        kind=_named(message.get("kind", 0), 1, KINDS, _KIND_NAMES),
        start_ns=start,
        end_ns=max(start, _time(message, "endTimeUnixNano")),
        status=_named(status, 0, STATUSES, _STATUS_NAMES),
        attributes=tidy_attributes(_attributes(message, limits)),
        links=tuple(
            (_id(_TRACE_ID, link, "traceId"), _id(_SPAN_ID, link, "spanId"))
            for link in _objects(message, "links")[:MOST_LINKS]
        ),
        service=who[0],
        instance=who[1],
    )


def _id(pattern: re.Pattern[str], message: dict[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _Malformed(f"a span's {key} is not valid")
    return value.lower()


def _text(message: dict[str, Any], key: str) -> str:
    value = message.get(key, "")
    if not isinstance(value, str):
        raise _Malformed(f"a span's {key} is no text")
    return value


def _time(message: dict[str, Any], key: str) -> int:
    return tidy_time(_integer(message.get(key, 0), key))


def _integer(value: Any, what: str) -> int:
    """A 64-bit number: text by the rule, a number from those who do not know it."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64:
        return value
    raise _Malformed(f"{what} is no whole number of 64 bits")


def _named(value: Any, offset: int, names: tuple[str, ...], by_name: dict[str, str]) -> str:
    """One of an enumeration, by its number or its name; the first if it is another."""
    if isinstance(value, str):
        return by_name.get(value, names[0])
    if isinstance(value, int) and 0 <= value - offset < len(names):
        return names[value - offset]
    return names[0]


def _attributes(message: dict[str, Any], limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in _list(message, "attributes")[:MOST_ATTRIBUTES]:
        key = _object(pair, "an attribute").get("key")
        if not isinstance(key, str):
            raise _Malformed("an attribute's key is no text")
        value = _value(pair.get("value"), limits.depth)
        if value is not None:
            found[key] = value
    return found


def _value(value: Any, depth: int) -> Any:
    """A value as Python's; None if there is none."""
    if value is None or value == {}:
        return None
    (which, inside), *more = _object(value, "an attribute's value").items()
    if more:
        raise _Malformed("an attribute's value has two types")
    if inside is None:
        return None
    if which == "intValue":
        return _integer(inside, "intValue")
    if which == "doubleValue":
        return _double(inside)
    if which == "boolValue" and isinstance(inside, bool):
        return inside
    if which in ("stringValue", "bytesValue") and isinstance(inside, str):
        return inside
    if which in ("arrayValue", "kvlistValue"):
        return _nested(which, _list(_object(inside, which), "values")[:MOST_ATTRIBUTES], depth - 1)
    raise _Malformed("an attribute's value is not valid")


def _nested(which: str, values: list[Any], depth: int) -> Any:
    if depth < 1:
        return "(nested too deeply)"
    if which == "arrayValue":
        return [_value(item, depth) for item in values]
    pairs = [_object(pair, "an attribute") for pair in values]
    return str({str(pair.get("key")): _value(pair.get("value"), depth) for pair in pairs})


def _double(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return "Infinity" if value > 0 else "-Infinity"
    if value in _SPECIAL:
        return value
    raise _Malformed("doubleValue is no number")


def reply(batch: Batch) -> bytes:
    """An `ExportTraceServiceResponse` as JSON."""
    if not batch.rejected:
        return b"{}"
    partial = {"rejectedSpans": str(batch.rejected), "errorMessage": batch.error}
    return msgspec.json.encode({"partialSuccess": partial})


# ------------------------------------------------------------------------------------------------------ writing


def export(spans: Iterable[Span]) -> dict[str, Any]:
    """An `ExportTraceServiceRequest` as JSON objects, which other tools read, and `read` as well."""
    by_process: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for span in spans:
        by_process.setdefault((span.service, span.instance), []).append(_written(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _pairs({"service.name": service, "service.instance.id": instance})},
                "scopeSpans": [{"scope": {"name": "resilience"}, "spans": written}],
            }
            for (service, instance), written in by_process.items()
        ]
    }


def _written(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": KINDS.index(span.kind) + 1,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _pairs(span.attributes),
        "status": {"code": STATUSES.index(span.status)} if span.status != STATUSES[0] else {},
        "links": [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in span.links],
    }


def _pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _typed(value)} for key, value in attributes.items()]


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_typed(item) for item in value]}}
    return {"stringValue": value}
