"""OTLP's protobuf form of a trace request.

The layers above the spans are walked by hand, on the wire format, and each span is parsed alone. So a request of empty
spans, two bytes each, makes no millions of objects, a broken span costs only itself, and what is in memory at any time
is one span. Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from .pacing import Stride
from .rows import (
    KINDS,
    MOST_ATTRIBUTES,
    MOST_LINKS,
    MOST_NAME,
    MOST_TEXT,
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

__all__ = ["read", "reply"]

_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
_RESOURCE_SPANS, _RESOURCE, _SCOPE_SPANS, _SPANS = 1, 1, 2, 2  # numbers of fields, outermost first


def read(body: bytes, limits: Limits, stride: Stride = iter) -> Batch:
    """The spans of an `ExportTraceServiceRequest`. Raises `IngestError`."""
    try:
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource
        from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
    except ImportError:
        raise IngestError(415, 'protobuf needs the extra "dashboard" of exchange-resilience; send JSON') from None
    batch = Batch("protobuf")
    whole, most = memoryview(body), limits.spans
    for number, resource_spans in stride(fields(whole, most)):
        if number != _RESOURCE_SPANS:
            continue
        service, instance = "", ""
        for number_inside, part in fields(resource_spans, most):
            if number_inside == _RESOURCE:
                service, instance = _who(Resource, part, limits)
        for number_inside, part in stride(fields(resource_spans, most)):
            if number_inside == _SCOPE_SPANS:
                _scope(batch, Message, stride(fields(part, 2 * most)), (service, instance), limits)
    return batch


def _who(resource: Any, part: memoryview, limits: Limits) -> tuple[str, str]:
    if len(part) > limits.span:
        raise IngestError(413, f"a resource has more than {limits.span} bytes")
    try:
        message = resource.FromString(bytes(part))
    except Exception:  # DecodeError; of google.protobuf, which comes with the extra
        raise IngestError(400, "a resource is no valid protobuf") from None
    attributes = tidy_attributes(_attributes(message.attributes, limits))
    return service_of(attributes), instance_of(attributes)


def _scope(
    batch: Batch, message: Any, scope: Iterable[tuple[int, memoryview]], who: tuple[str, str], limits: Limits
) -> None:
    for number, part in scope:
        if number != _SPANS:
            continue
        if len(batch.spans) + batch.rejected >= limits.spans:
            batch.reject(f"a request may hold {limits.spans} spans")
        elif len(part) > limits.span:
            batch.reject(f"a span has more than {limits.span} bytes")
        else:
            try:
                parsed = message.FromString(bytes(part))
            except Exception:  # DecodeError, as above
                batch.reject("a span is no valid protobuf")
                continue
            span = _span(parsed, who, limits)
            batch.spans.append(span) if span is not None else batch.reject("a span's ids are not valid")


def fields(message: memoryview, most: int) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message: numbers and bytes; others are passed over. Raises `IngestError`.

    Two bytes make a field, so a small request can hold a million: there may be `most`, of any kind.
    """
    at, end, left = 0, len(message), most
    while at < end:
        left -= 1
        if left < 0:
            raise IngestError(413, f"a part of the request has more than {most} parts")
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _varint(message, at)
            if length > end - at:
                raise _broken()
            yield number, message[at : at + length]
            at += length
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:  # groups, which nobody sends, and what is not defined
            raise _broken()
        if at > end or number == 0:
            raise _broken()


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends: seven bits a byte, ten bytes at most."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _broken()


def _broken() -> IngestError:
    return IngestError(400, "the body is no valid protobuf")


def _span(message: Any, who: tuple[str, str], limits: Limits) -> Span | None:
    """A row, None if its ids are not valid."""
    trace_id, span_id, parent_id = message.trace_id, message.span_id, message.parent_span_id
    if len(trace_id) != 16 or len(span_id) != 8 or len(parent_id) not in (0, 8):
        return None
    if not any(trace_id) or not any(span_id):
        return None
    start = tidy_time(message.start_time_unix_nano)
    kind, status = message.kind - 1, message.status.code
    links = [link for link in message.links[:MOST_LINKS] if len(link.trace_id) == 16 and len(link.span_id) == 8]
    return Span(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_id=parent_id.hex() if any(parent_id) else "",
        name=shared(tidy_text(message.name, MOST_NAME)),
        kind=KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0],
        start_ns=start,
        end_ns=max(start, tidy_time(message.end_time_unix_nano)),
        status=STATUSES[status] if 0 <= status < len(STATUSES) else STATUSES[0],
        attributes=tidy_attributes(_attributes(message.attributes, limits)),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in links),
        service=who[0],
        instance=who[1],
    )


def _attributes(pairs: Any, limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs[:MOST_ATTRIBUTES]:
        value = _value(pair.value, limits.depth)
        if value is not None:
            found[pair.key] = value
    return found


def _value(value: Any, depth: int) -> Any:
    """A value as Python's; None if there is none."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which in ("array_value", "kvlist_value"):
        if depth <= 1:
            return "(nested too deeply)"
        values = getattr(value, which).values[:MOST_ATTRIBUTES]
        if which == "array_value":
            return [_value(item, depth - 1) for item in values]
        return str({pair.key: _value(pair.value, depth - 1) for pair in values})
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value[:MOST_TEXT]).decode()  # as in OTLP's JSON
    return getattr(value, which)


def reply(batch: Batch) -> bytes:
    """An `ExportTraceServiceResponse`."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    if batch.rejected:
        response.partial_success.rejected_spans = batch.rejected
        response.partial_success.error_message = batch.error
    return bytes(response.SerializeToString())
