"""OTLP in, by people of good and of bad will, and OTLP out."""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from traces import attempt, hedged, ids, retried, span

from resilience.dashboard.ingest import IngestError, Limits, export, read, reply
from resilience.dashboard.rows import from_readable

PROTOBUF, JSON = "application/x-protobuf", "application/json"


def as_json(*spans: dict[str, Any], resource: Any = None) -> bytes:
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()


def message(**more: Any) -> dict[str, Any]:
    return {
        "traceId": ids(1),
        "spanId": "0" * 15 + "1",
        "name": "n",
        "startTimeUnixNano": "5",
        "endTimeUnixNano": "9",
        **more,
    }


def request(count: int = 1) -> ExportTraceServiceRequest:
    found = ExportTraceServiceRequest()
    spans = found.resource_spans.add().scope_spans.add().spans
    for number in range(1, count + 1):
        spans.add(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="n")
    return found


def refused(body: bytes, content_type: str = JSON, encoding: str = "", **limits: int) -> IngestError:
    with pytest.raises(IngestError) as caught:
        read(body, content_type, encoding, Limits(**limits))
    assert "\n" not in str(caught.value)
    return caught.value


def attempted(body: bytes, content_type: str = JSON, encoding: str = "") -> int:
    """The status of the answer; what is taken can be written as JSON and as UTF-8."""
    try:
        batch = read(body, content_type, encoding)
    except IngestError as error:
        return error.status
    json.dumps(export(batch.spans), allow_nan=False, ensure_ascii=False).encode()
    return 200


def sdk_spans() -> list[Any]:
    """What the SDK itself exports: every kind of attribute, a parent, a link, an error."""
    exporter = InMemorySpanExporter()
    resource = Resource({"service.name": "bot", "process.pid": 42})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer:
        links = [Link(outer.get_span_context())]
        said = {"s": "é\x00", "i": -(2**62), "f": 0.5, "b": True, "l": ["a", "b"], "nan": float("nan"), "e": []}
        with tracer.start_as_current_span("inner", kind=SpanKind.CLIENT, links=links, attributes=said) as inner:
            inner.set_status(Status(StatusCode.ERROR))
    provider.shutdown()
    return list(exporter.get_finished_spans())


def test_the_sdks_own_protobuf_reads_as_its_spans_do_here() -> None:
    """The same rows come from the process itself and over the wire, compressed or not."""
    spans = sdk_spans()
    body = encode_spans(spans).SerializeToString()
    wanted = [from_readable(s) for s in spans]
    assert read(body, PROTOBUF).spans == wanted
    assert read(gzip.compress(body), f"{PROTOBUF.upper()}; v=1", " GZIP").spans == wanted
    assert (wanted[0].service, wanted[0].instance, wanted[0].kind, wanted[0].status) == ("bot", "42", "client", "error")
    assert wanted[0].attributes["nan"] == "NaN"
    assert wanted[0].parent_id == wanted[1].span_id == wanted[0].links[0][1]


@pytest.mark.parametrize("spans", [retried(), hedged(), [span(1, 2, 3, links=((ids(4), "0" * 15 + "5"),))]])
def test_what_is_exported_reads_back(spans: list[Any]) -> None:
    """A trace taken from one dashboard to another is the same there."""
    spans = [
        *spans,
        attempt(1, 88, at=3, l=["a", 1, True, 0.5], kind="producer", status="ok"),
        span(1, 99, instance="2"),
    ]
    batch = read(json.dumps(export(spans)).encode(), JSON)
    assert (batch.spans, batch.rejected) == (spans, 0)


def test_json_that_protobuf_libraries_write_is_read() -> None:
    """Names of kinds, numbers for numbers, upper-case ids, null where nothing is."""
    body = as_json(
        message(
            traceId=ids(0xAB).upper(), kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR"},
            parentSpanId="0" * 16, startTimeUnixNano=5, attributes=[
                {"key": "a", "value": {"intValue": 7}}, {"key": "b", "value": {"intValue": "-7"}},
                {"key": "c", "value": {"doubleValue": "NaN"}}, {"key": "d", "value": {"doubleValue": 10**400}},
                {"key": "e", "value": None}, {"key": "f", "value": {}}, {"key": "g", "value": {"stringValue": None}},
                {"key": "h", "value": {"kvlistValue": {"values": [{"key": "x", "value": {"boolValue": True}}]}}},
                {"key": "k", "value": {"doubleValue": 10**310}}, {"key": "l", "value": {"doubleValue": -(10**310)}},
                {"key": "i", "value": {"bytesValue": "aGk="}}, {"key": "j", "value": {"doubleValue": -1}},
            ],
        ),
        resource={"attributes": [{"key": "service.name", "value": {"stringValue": "x" * 999}}]},
    ).replace(b"1" + b"0" * 400, b"1" + b"0" * 300)  # fmt: skip
    (found,) = read(body, JSON).spans
    assert (found.trace_id, found.parent_id, found.kind, found.status) == (ids(0xAB), "", "client", "error")
    assert len(found.service) == 256
    assert found.attributes == {
        "a": 7,
        "b": -7,
        "c": "NaN",
        "d": 1e300,
        "h": "{'x': True}",
        "i": "aGk=",
        "j": -1.0,
        "k": "Infinity",
        "l": "-Infinity",
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"traceId": "0" * 32}, "traceId is not valid"),
        ({"traceId": "a" * 31}, "traceId is not valid"),
        ({"traceId": 7}, "traceId is not valid"),
        ({"spanId": "<img src=x>"}, "spanId is not valid"),
        ({"parentSpanId": "zz"}, "parentSpanId is not valid"),
        ({"links": [{"traceId": ids(1)}]}, "spanId is not valid"),
        ({"links": [7]}, "an item of links is no object"),
        ({"name": 7}, "name is no text"),
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano is no whole number"),
        ({"endTimeUnixNano": True}, "endTimeUnixNano is no whole number"),
        ({"status": "ERROR"}, "status is no object"),
        ({"attributes": {}}, "attributes is no list"),
        ({"attributes": ["a"]}, "an attribute is no object"),
        ({"attributes": [{"value": {}}]}, "an attribute's key is no text"),
        ({"attributes": [{"key": "a", "value": "b"}]}, "an attribute's value is no object"),
        ({"attributes": [{"key": "a", "value": {"intValue": 1, "boolValue": True}}]}, "has two types"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "yes"}}]}, "value is not valid"),
        ({"attributes": [{"key": "a", "value": {"doubleValue": "1.5"}}]}, "doubleValue is no number"),
        ({"attributes": [{"key": "a", "value": {"intValue": 1.5}}]}, "intValue is no whole number"),
        ({"attributes": [{"key": "a", "value": {"intValue": 10**4_000}}]}, "intValue is no whole number of 64 bits"),
        ({"attributes": [{"key": "a", "value": {"intValue": str(2**64)}}]}, "intValue is no whole number of 64 bits"),
    ],
)
def test_a_span_that_cannot_be_used_costs_only_itself(more: dict[str, Any], reason: str) -> None:
    """It is counted, with the reason, and the others are taken."""
    batch = read(as_json(message(**more), message(), 7), JSON)  # type: ignore[arg-type]
    assert (len(batch.spans), batch.rejected) == (1, 2)
    assert reason in batch.error
    partial = json.loads(reply(batch))["partialSuccess"]
    assert partial == {"rejectedSpans": "2", "errorMessage": batch.error}
    assert reply(read(as_json(message()), JSON)) == b"{}"


def test_a_protobuf_span_with_wrong_ids_costs_only_itself() -> None:
    """So does one that is no protobuf at all, or too large; the answer says so in protobuf."""
    whole = request(6)
    spans = whole.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = b"short"
    spans[1].span_id = bytes(8)
    spans[2].parent_span_id = b"1234567"
    spans[3].name = "x" * 2_000
    body = whole.SerializeToString()
    batch = read(body, PROTOBUF, limits=Limits(span=1_000))
    assert (len(batch.spans), batch.rejected, batch.error) == (2, 4, "a span's ids are not valid")
    response = ExportTraceServiceResponse.FromString(reply(batch))
    assert response.partial_success.rejected_spans == 4
    assert reply(read(request().SerializeToString(), PROTOBUF)) == b""

    broken = b"\x0a\x08\x12\x06\x12\x04\x0a\x10\x01\x01"  # a span whose trace id is longer than the span
    batch = read(broken, PROTOBUF)
    assert (batch.rejected, batch.error) == (1, "a span is no valid protobuf")


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "status"),
    [
        (b"{}", "text/html", "", 415),
        (b"{}", "", "", 415),
        (b"{}", JSON, "br", 415),
        (b"x" * (4 * 2**20 + 1), JSON, "", 413),
        (b"no gzip", JSON, "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-4], JSON, "gzip", 400),
        (gzip.compress(b"{}", mtime=0) * 2, JSON, "gzip", 400),
        (gzip.compress(random.Random(1).randbytes(20_000)) + b" " * 20_000, JSON, "gzip", 400),
        (gzip.compress(b" " * (16 * 2**20 + 1)), JSON, "gzip", 413),
        (b"{", JSON, "", 400),
        (b"", JSON, "", 400),
        (b"[]", JSON, "", 400),
        (b"[" * 100_000, JSON, "", 400),
        (b'{"resourceSpans": 7}', JSON, "", 400),
        (b'{"resourceSpans": [7]}', JSON, "", 400),
        (b'{"resourceSpans": [{"scopeSpans": [7]}]}', JSON, "", 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": 7}]}]}', JSON, "", 400),
        (b'{"resourceSpans": [{"resource": 7}]}', JSON, "", 400),
        (b"\xff\xfe", JSON, "", 400),
        (b"[" + b"{}," * 700_000, JSON, "", 400),
        (b"[" + b"{}," * 800_000, JSON, "", 413),
        (b"<html>", PROTOBUF, "", 400),
        (b"\x0a\x7f", PROTOBUF, "", 400),
        (b"\x0a", PROTOBUF, "", 400),
        (b"\x80" * 11, PROTOBUF, "", 400),
        (b"\x09\x01", PROTOBUF, "", 400),  # a fixed number that is cut off
        (b"\x00\x01", PROTOBUF, "", 400),  # field 0
        (b"\x0b", PROTOBUF, "", 400),  # a group
        (b"\x0a\x04\x0a\x02\x0a\x05", PROTOBUF, "", 400),  # a resource that is cut off
    ],
)
def test_what_cannot_be_read_is_refused_with_a_status(
    body: bytes, content_type: str, encoding: str, status: int
) -> None:
    """One line, and nothing of the body in it."""
    assert refused(body, content_type, encoding).status == status


def test_unknown_fields_are_passed_over() -> None:
    """Of all wire types: a later version of OTLP is read as far as it is known."""
    strange = b"\x10\x05" + b"\x19" + b"\x00" * 8 + b"\x25" + b"\x00" * 4 + b"\x2a\x01x"
    assert len(read(strange + request(2).SerializeToString(), PROTOBUF).spans) == 2
    inside = b"\x12" + bytes([len(strange)]) + strange  # a scope with nothing but those
    assert read(b"\x0a" + bytes([len(inside)]) + inside, PROTOBUF).spans == []
    assert read(b'{"later": [1], "resourceSpans": null}', JSON).spans == []


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_a_request_holds_so_many_spans(content_type: str) -> None:
    """The others are rejected and counted; a million empty ones, two bytes each, cost neither memory nor a crash."""
    if content_type == JSON:
        body = as_json(*(message(spanId=f"{n:016x}") for n in range(1, 8)))
    else:
        body = request(7).SerializeToString()
    batch = read(body, content_type, limits=Limits(spans=5))
    assert (len(batch.spans), batch.rejected, batch.error) == (5, 2, "a request may hold 5 spans")


def test_a_bomb_of_empty_spans_is_counted_and_forgotten() -> None:
    """Two bytes each: parsed as one message they would be a gigabyte."""

    def body(spans: int) -> bytes:
        scope = b"\x12\x00" * spans
        inner = b"\x12" + varint(len(scope)) + scope
        return gzip.compress(b"\x0a" + varint(len(inner)) + inner)

    batch = read(body(40_000), PROTOBUF, "gzip")
    assert (batch.spans, batch.rejected) == ([], 40_000)
    with pytest.raises(IngestError, match="more than 40000 parts"):
        read(body(40_001), PROTOBUF, "gzip")


@pytest.mark.parametrize("around", [lambda part: part, lambda part: b"\x0a" + varint(len(part)) + part])
def test_a_million_empty_parts_are_not_walked(around: Callable[[bytes], bytes]) -> None:
    """On no level: walking them would take seconds of the interpreter."""
    with pytest.raises(IngestError, match="more than 20000 parts"):
        read(around(b"\x0a\x00" * 1_000_000), PROTOBUF)


def test_a_span_of_json_that_is_none_costs_only_itself() -> None:
    """Spans are read one by one."""
    good = json.dumps(message()).encode()
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + good + b",7,[" + b"[" * 500 + b"]" * 500 + b"]]}]}]}"
    batch = read(body, JSON)
    assert (len(batch.spans), batch.rejected) == (1, 2)
    large = json.dumps(message(name="x" * 2**20)).encode()
    batch = read(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + good + b"," + large + b"]}]}]}", JSON)
    assert (len(batch.spans), batch.rejected, batch.error) == (1, 1, "a span has more than 1048576 bytes")


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_attributes_are_bounded_in_number_length_and_depth(content_type: str) -> None:
    """128 a span, 4,096 characters a text, 8 levels."""
    whole = request()
    one = whole.resource_spans[0].scope_spans[0].spans[0]
    value = one.attributes.add(key="deep").value
    for _ in range(20):
        value = value.array_value.values.add()
    value.string_value = "bottom"
    one.attributes.add(key="list").value.kvlist_value.values.add(key="k").value.int_value = 1
    one.attributes.add(key="bytes").value.bytes_value = b"hi"
    one.attributes.add(key="none")
    for number in range(300):
        one.attributes.add(key=f"{number}").value.string_value = "x" * 5_000
    body = whole.SerializeToString()
    if content_type == JSON:
        from google.protobuf.json_format import MessageToDict

        said = MessageToDict(one)
        body = as_json({**said, "traceId": ids(1), "spanId": "0" * 15 + "1"})
    (found,) = read(body, content_type, limits=Limits(span=2**22)).spans
    assert len(found.attributes) in (127, 128)
    assert {len(v) for k, v in found.attributes.items() if k.isdigit()} == {4_096}
    assert "nested too deeply" in str(found.attributes["deep"])
    assert found.attributes["list"] == "{'k': 1}"
    assert found.attributes["bytes"] == "aGk="
    assert "none" not in found.attributes


def test_times_are_clamped() -> None:
    """A database has 63 bits; a span that ends before it begins took no time."""
    (found,) = read(as_json(message(startTimeUnixNano=str(2**64 - 1), endTimeUnixNano="-5")), JSON).spans
    assert found.start_ns == found.end_ns == 2**63 - 1


def test_a_resource_may_not_be_larger_than_a_span() -> None:
    """It is parsed whole."""
    whole = request()
    whole.resource_spans[0].resource.attributes.add(key="x" * 2_000)
    assert refused(whole.SerializeToString(), PROTOBUF, span=1_000).status == 413


def test_without_the_extra_protobuf_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is read without it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.trace.v1.trace_pb2", None)
    error = refused(request().SerializeToString(), PROTOBUF)
    assert error.status == 415
    assert 'the extra "dashboard"' in str(error)


GOOD = [
    (encode_spans(sdk_spans()).SerializeToString(), PROTOBUF, ""),
    (json.dumps(export(retried())).encode(), JSON, ""),
    (gzip.compress(json.dumps(export(hedged())).encode(), mtime=0), JSON, "gzip"),
]


@given(
    st.sampled_from(GOOD),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 255), st.sampled_from(["set", "cut", "add"])), min_size=1, max_size=6
    ),
)
@example(GOOD[0], [(0.0, 0, "cut")])
@settings(max_examples=300, deadline=None)
def test_a_damaged_request_is_read_in_part_or_refused(
    good: tuple[bytes, str, str], damage: list[tuple[float, int, str]]
) -> None:
    """Never another exception; what is taken can be written as JSON."""
    body, content_type, encoding = bytearray(good[0]), *good[1:]
    for place, byte, how in damage:
        at = int(place * (len(body) - 1)) if body else 0
        if how == "set" and body:
            body[at] = byte
        elif how == "add":
            body.insert(at, byte)
        else:
            del body[at : at + byte]
    assert attempted(bytes(body), content_type, encoding) in (200, 400, 413)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["spans", "key", "value", "arrayValue", "values", "intValue", "code"]), inside, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(["traceId", "attributes", "links", "status", "kind", "parentSpanId", "name"]), json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_in_any_place_is_read_or_refused(key: str, value: Any) -> None:
    """Shapes that nobody sends."""
    for body in (as_json(message(**{key: value})), as_json(value), json.dumps({"resourceSpans": value}).encode()):
        assert attempted(body) in (200, 400)
